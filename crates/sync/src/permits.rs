//! The word of a semaphore: how many permits are free, and for whom one is set aside.
//!
//! ```text
//! bits 0-11   slot of the heir, 0: none
//! bits 12-31  permits that are free, the heir's not counted
//! bits 32-63  generation of the heir
//! ```
//!
//! ```text
//! (v, –) ──acquire──▶ (v-1, –)      (v, –) ──release──▶ (v+1, –)
//! (v, –) ──release, hand to w──▶ (v, w) ──w acquires──▶ (v, –)
//!                                  └──w gives up, or was killed──▶ (v+1, –)
//! ```
//!
//! One word, so that a permit is never between two: it is free, or set aside for a member that the word
//! names, or somebody's. Every arrow is a SeqCst CAS, for the same reason as in [`crate::owned`].
//!
//! # What a crash leaves
//! `(v, dead)`: recovery, or whoever acquires next, takes what was set aside. Who *has* a permit is not
//! written here; a robust semaphore keeps its own books of that (see [`crate::semaphore`]).

use polyproc_arena::error::Result;
use polyproc_arena::map::{Map, Offset};
use polyproc_arena::member::Name;
use polyproc_arena::primitive::Ordering::Acquire;
use polyproc_arena::section::Liveness;

const SHIFT: u32 = 12;
const MASK: u64 = (1 << 20) - 1;
const NAME: u64 = 0xffff_ffff_0000_0fff;
/// The most permits.
pub const MOST: u32 = (1 << 20) - 1;

/// The word, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Permits that anybody may take.
    pub free: u32,
    /// For whom one more is set aside.
    pub heir: Option<Name>,
}

impl State {
    /// From the word in shared memory.
    #[must_use]
    #[inline]
    pub fn unpack(word: u64) -> Self {
        Self {
            free: (word >> SHIFT & MASK) as u32,
            heir: Name::from_word(word & NAME),
        }
    }

    /// As the word in shared memory.
    #[must_use]
    #[inline]
    pub fn pack(self) -> u64 {
        self.heir.map_or(0, Name::word) | u64::from(self.free) << SHIFT
    }

    /// Permits that nobody has taken.
    #[must_use]
    #[inline]
    pub fn value(self) -> u32 {
        self.free + u32::from(self.heir.is_some())
    }

    /// After `me` has taken one: what was set aside for it, or for the dead if `alive` is given, or one
    /// of the others. `None` when there is none.
    #[must_use]
    #[inline]
    pub fn taken(self, me: Name, alive: Option<&impl Liveness>) -> Option<Self> {
        let unset = Self { heir: None, ..self };
        match self.heir {
            Some(heir) if heir == me => Some(unset),
            _ if self.free > 0 => Some(Self {
                free: self.free - 1,
                ..self
            }),
            Some(heir) if alive.is_some_and(|alive| alive.is_dead(heir)) => Some(unset),
            _ => None,
        }
    }

    /// With more permits free; `None` when they would be too many.
    #[must_use]
    #[inline]
    pub fn given(self, more: u32, bound: u32) -> Option<Self> {
        let value = self.value().checked_add(more)?;
        (value <= bound.min(MOST)).then_some(Self {
            free: self.free + more,
            ..self
        })
    }

    /// With one set aside for `heir`; `None` when there is another heir, or the permits would be too many.
    #[must_use]
    pub fn handed(self, heir: Name, bound: u32) -> Option<Self> {
        (self.heir.is_none() && self.value() < bound.min(MOST)).then_some(Self {
            heir: Some(heir),
            ..self
        })
    }

    /// With what was set aside for `heir` free for anybody; `None` when nothing was.
    #[must_use]
    pub fn unset(self, heir: Name) -> Option<Self> {
        (self.heir == Some(heir)).then_some(Self {
            heir: None,
            free: self.free + 1,
        })
    }
}

/// Where the word of a semaphore is.
#[derive(Debug, Clone, Copy)]
pub struct Permits<'a> {
    /// The memory it lies in.
    pub map: &'a Map,
    /// Its offset.
    pub at: Offset,
}

impl Permits<'_> {
    /// What stands there.
    ///
    /// # Errors
    /// `Corrupt` when the word lies outside the arena.
    #[inline]
    pub fn look(&self) -> Result<State> {
        // SYNC: Acquire pairs with the CAS or commit that put it there.
        Ok(State::unpack(self.map.word(self.at)?.load(Acquire)))
    }

    /// Changes the word, as often as it takes. `None` when `next` says that it cannot be; else what it is
    /// now.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn change(&self, next: impl Fn(State) -> Option<State>) -> Result<Option<State>> {
        let word = self.map.word(self.at)?;
        let mut seen = word.load(Acquire);
        loop {
            let Some(state) = next(State::unpack(seen)) else {
                return Ok(None);
            };
            // SYNC: releases what was done with the permit, and acquires it; SeqCst against the look at who waits.
            match word.cas(seen, state.pack()) {
                Ok(_) => return Ok(Some(state)),
                Err(now) => seen = now,
            }
        }
    }
}
