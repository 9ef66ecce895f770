//! Atomics for loom models (`cfg(loom)` only): loom's own, and three things more.
//!
//! - *SeqCst accesses.* Loom takes them for acquire and release; only its fences are sequentially
//!   consistent. A SeqCst load that follows a SeqCst write of the same thread therefore has a fence put
//!   between the two, which is what the pair is for wherever a protocol here uses one.
//! - *Mutants.* [`expect_failure`] makes one access of the shipping source relaxed, named by its text. A
//!   model that still passes then proves nothing about that access.
//! - *Death.* [`die_after`] turns the current thread into a ghost after some accesses: it runs on to its
//!   end, for a model's threads must, and changes nothing any more.

use loom::sync::atomic as inner;
use std::cell::Cell;
use std::panic::Location;
use std::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};

thread_local! {
    // Loom runs all threads of a model on this one.
    static WEAKENED: Cell<Option<(&'static str, u32)>> = const { Cell::new(None) };
    static HITS: Cell<u64> = const { Cell::new(0) };
}

loom::thread_local! {
    static LEFT: Cell<Option<u64>> = Cell::new(None);
    static WROTE_SEQ_CST: Cell<bool> = Cell::new(false);
}

/// Makes the accesses on one line of a source file relaxed for models that this thread runs; a fence
/// there is left out. `file` is how its path ends.
fn weaken(file: &'static str, line: u32) {
    WEAKENED.set(Some((file, line)));
    HITS.set(0);
}

/// Ends [`weaken`]; how many accesses were weakened.
fn restore() -> u64 {
    WEAKENED.set(None);
    HITS.get()
}

/// Lets the current loom thread make `accesses` accesses, and then die.
pub fn die_after(accesses: u64) {
    LEFT.with(|left| left.set(Some(accesses)));
}

/// Runs a model, bounded to `preemptions` a thread (0: not at all), in all its executions.
pub fn run(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = (preemptions > 0).then_some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}

/// Runs a model with one access weakened, and panics if it does not fail. The access is the one on the
/// only line of `source` (the text of the file whose path ends with `file`) that contains `snippet`, or
/// on the first such line after the one that contains `after`.
pub fn expect_failure(
    (file, source): (&'static str, &str),
    (after, snippet): (&str, &str),
    model: impl FnOnce(),
) {
    let start = source.lines().position(|line| line.contains(after));
    let start = start.unwrap_or_else(|| panic!("{file} has no line with {after:?}"));
    let line = source.lines().skip(start).position(|line| line.contains(snippet));
    let line = start + line.unwrap_or_else(|| panic!("{file} has no {snippet:?} after {after:?}")) + 1;
    weaken(file, line as u32);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(model));
    let hits = restore();
    assert!(hits > 0, "the model never comes to {file}:{line}");
    assert!(
        outcome.is_err(),
        "the model does not notice that {file}:{line} is relaxed"
    );
}

fn is_weakened(place: &Location<'_>) -> bool {
    let hit = WEAKENED
        .get()
        .is_some_and(|(file, line)| place.line() == line && place.file().ends_with(file));
    HITS.set(HITS.get() + u64::from(hit));
    hit
}

fn strength(place: &Location<'_>, order: Ordering) -> Ordering {
    if is_weakened(place) { Relaxed } else { order }
}

/// The ordering of a read-and-write, with nothing sequentially consistent about it.
fn as_both(order: Ordering) -> Ordering {
    if order == SeqCst { AcqRel } else { order }
}

/// Counts an access; true when the thread is dead.
fn is_ghost() -> bool {
    LEFT.with(|left| match left.get() {
        None => false,
        Some(0) => true,
        Some(more) => {
            left.set(Some(more - 1));
            false
        }
    })
}

fn wrote(order: Ordering) {
    WROTE_SEQ_CST.with(|wrote| wrote.set(order == SeqCst));
}

/// As [`std::sync::atomic::fence`].
#[track_caller]
pub fn fence(order: Ordering) {
    if !is_weakened(Location::caller()) {
        inner::fence(order);
    }
}

macro_rules! atomic {
    ($name:ident, $int:ty) => {
        /// See the module.
        #[derive(Debug)]
        pub struct $name(inner::$name);

        impl $name {
            #[must_use]
            pub fn new(value: $int) -> Self {
                Self(inner::$name::new(value))
            }

            #[track_caller]
            pub fn load(&self, order: Ordering) -> $int {
                let order = strength(Location::caller(), order);
                let _ = is_ghost();
                if order == SeqCst && WROTE_SEQ_CST.with(Cell::get) {
                    inner::fence(SeqCst);
                }
                self.0.load(if order == SeqCst { Acquire } else { order })
            }

            #[track_caller]
            pub fn store(&self, value: $int, order: Ordering) {
                let order = strength(Location::caller(), order);
                if !is_ghost() {
                    wrote(order);
                    self.0
                        .store(value, if order == SeqCst { Release } else { order });
                }
            }

            #[track_caller]
            pub fn swap(&self, value: $int, order: Ordering) -> $int {
                let order = strength(Location::caller(), order);
                if is_ghost() {
                    return value;
                }
                wrote(order);
                self.0.swap(value, as_both(order))
            }

            /// # Errors
            /// What stood there instead of `expected`.
            #[track_caller]
            pub fn compare_exchange(
                &self,
                expected: $int,
                new: $int,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$int, $int> {
                let weak = is_weakened(Location::caller());
                let (success, failure) = if weak {
                    (Relaxed, Relaxed)
                } else {
                    (success, failure)
                };
                if is_ghost() {
                    // It goes on as if it had won, so that it comes to its end.
                    return Ok(expected);
                }
                wrote(success);
                let failure = if failure == SeqCst { Acquire } else { failure };
                self.0
                    .compare_exchange(expected, new, as_both(success), failure)
            }
        }
    };
}

atomic!(AtomicU64, u64);
atomic!(AtomicU32, u32);
