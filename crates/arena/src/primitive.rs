//! The words of shared memory, and the only way to touch them.
//!
//! [`Word`] (64 bits) and [`Flag`] (32 bits, usable as a futex) wrap an atomic. Protocols are written
//! against them, so that the same source runs on the shipping atomics, under loom's model checker
//! (`cfg(loom)`), and in a build with kill points (`feature = "points"`).
//!
//! Each access takes its ordering explicitly; every ordering stronger than Relaxed has a `SYNC:`
//! comment at its call that names the access it pairs with.

#[cfg(loom)]
use crate::model::{AtomicU32, AtomicU64};
pub use std::sync::atomic::Ordering;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, AtomicU64};

#[cfg(feature = "points")]
use crate::points::{self, Access, Edge};
#[cfg(not(loom))]
use polyproc_sys::futex;

#[cfg(loom)]
pub use crate::model::fence;
#[cfg(not(loom))]
pub use std::sync::atomic::fence;

macro_rules! observed {
    ($self:ident, $access:ident, $body:expr) => {{
        #[cfg(feature = "points")]
        let place = std::panic::Location::caller();
        #[cfg(feature = "points")]
        points::hit(
            place,
            Access::$access,
            Edge::Before,
            std::ptr::from_ref($self) as usize,
            size_of_val($self),
        );
        let result = $body;
        #[cfg(feature = "points")]
        points::hit(
            place,
            Access::$access,
            Edge::After,
            std::ptr::from_ref($self) as usize,
            size_of_val($self),
        );
        result
    }};
}

macro_rules! shared_word {
    ($(#[$doc:meta])* $name:ident, $atomic:ty, $int:ty) => {
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(Debug)]
        pub struct $name($atomic);

        impl $name {
            /// A word that is not in shared memory (models and tests).
            #[must_use]
            pub fn new(value: $int) -> Self {
                Self(<$atomic>::new(value))
            }

            /// Reads the word.
            #[cfg_attr(any(loom, feature = "points"), track_caller)]
            #[inline]
            pub fn load(&self, order: Ordering) -> $int {
                observed!(self, Load, self.0.load(order))
            }

            /// Writes the word.
            #[cfg_attr(any(loom, feature = "points"), track_caller)]
            #[inline]
            pub fn store(&self, value: $int, order: Ordering) {
                observed!(self, Write, self.0.store(value, order))
            }

            /// Writes the word and returns what stood there.
            #[cfg_attr(any(loom, feature = "points"), track_caller)]
            #[inline]
            pub fn swap(&self, value: $int, order: Ordering) -> $int {
                observed!(self, Write, self.0.swap(value, order))
            }

            /// Compare-and-swap, SeqCst on success and on failure: it is also the full barrier of the
            /// claims and publications that use it.
            ///
            /// # Errors
            /// What stood there instead of `expected`; nothing was changed.
            #[cfg_attr(any(loom, feature = "points"), track_caller)]
            #[inline]
            pub fn cas(&self, expected: $int, new: $int) -> Result<$int, $int> {
                observed!(
                    self,
                    Write,
                    self.0.compare_exchange(expected, new, Ordering::SeqCst, Ordering::SeqCst)
                )
            }

            /// Compare-and-swap with a chosen success ordering; Relaxed on failure.
            ///
            /// # Errors
            /// What stood there instead of `expected`; nothing was changed.
            #[cfg_attr(any(loom, feature = "points"), track_caller)]
            #[inline]
            pub fn cas_ordered(
                &self,
                expected: $int,
                new: $int,
                success: Ordering,
            ) -> Result<$int, $int> {
                observed!(
                    self,
                    Write,
                    self.0.compare_exchange(expected, new, success, Ordering::Relaxed)
                )
            }
        }
    };
}

shared_word!(
    /// 64 bits of shared memory.
    Word, AtomicU64, u64
);
shared_word!(
    /// 32 bits of shared memory on which a thread can sleep.
    Flag, AtomicU32, u32
);

#[cfg(not(loom))]
impl Flag {
    /// The futex under the flag. Only for sleeping and waking: changes go through the methods.
    #[must_use]
    pub fn futex(&self) -> &AtomicU32 {
        &self.0
    }

    /// Sleeps while the flag holds `expected`, until it is woken or `deadline` (ns of the monotonic
    /// clock) passes.
    pub fn sleep(&self, expected: u32, deadline: Option<u64>) -> futex::Wait {
        #[cfg(feature = "points")]
        if let Some(machine) = points::machine()
            && let Some(outcome) = (machine.sleep)(std::ptr::from_ref(self) as usize, expected)
        {
            return outcome;
        }
        futex::wait(&self.0, expected, deadline)
    }

    /// Wakes one thread that sleeps on the flag. A point like a write: a process can die before it.
    #[cfg_attr(any(loom, feature = "points"), track_caller)]
    pub fn wake(&self) {
        observed!(self, Write, {
            #[cfg(feature = "points")]
            let simulated =
                points::machine().is_some_and(|machine| (machine.wake)(std::ptr::from_ref(self) as usize));
            #[cfg(not(feature = "points"))]
            let simulated = false;
            if !simulated {
                futex::wake(&self.0, 1);
            }
        });
    }
}

/// Nanoseconds of the monotonic clock, as seen by protocols: a simulation can stop it.
#[cfg(not(loom))]
#[must_use]
#[inline]
pub fn now() -> u64 {
    seen(polyproc_sys::clock::now)
}

/// [`now`] as it was some milliseconds ago at most, at a quarter of its cost.
#[cfg(not(loom))]
#[must_use]
#[inline]
pub fn last_tick() -> u64 {
    seen(polyproc_sys::clock::last_tick)
}

/// What a clock says, unless a simulation says what time it is.
#[cfg(not(loom))]
#[inline]
fn seen(clock: impl FnOnce() -> u64) -> u64 {
    #[cfg(feature = "points")]
    if let Some(now) = points::machine().and_then(|machine| (machine.now)()) {
        return now;
    }
    clock()
}
