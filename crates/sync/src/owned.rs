//! The word of a lock: who holds it, and in which turn.
//!
//! ```text
//! bits 0-11   slot of the owner, 0: free
//! bit  12     handed: given to the owner, which has not noticed yet
//! bit  13     died: free, and the last owner died holding it
//! bits 14-31  turn: counts acquisitions
//! bits 32-63  generation of the owner
//! ```
//!
//! With both bits 12 and 13 set it is free, and the name is that of whoever released it.
//!
//! ```text
//!            acquire                  release
//! free(t) ────────────▶ held(o, t+1) ─────────▶ free(t+1)
//!    ▲                    │        │ hand to w
//!    │ died: o was killed │        ▼
//!    └────────────────────┘   handed(w, t+2) ──▶ held(w, t+2)
//!    ▲    w gives up, or was killed   │    w acquires
//!    └────────────────────────────────┘
//! ```
//!
//! Slot and generation of the owner stand in the claiming CAS itself, so that anybody can tell whether
//! the owner lives. The turn makes every acquisition different from the next by the same owner: a guard
//! remembers it, and releases nothing but its own. Every arrow is a SeqCst CAS, since each release is
//! followed by a look at the list of those who wait, with which it must not be reordered.
//!
//! That a free word names the releaser serves two ends. Should it die before it has looked who waits, recovery finds the name
//! and rouses them, so that no release has to note anything before. And whoever released it last has half of the word in common
//! with what it is going to write: a CAS of the lower half is enough for it to acquire and to release the lock, which is
//! what JavaScript can do without a call (`src/lock-words.ts`). The upper half cannot change meanwhile: as long as a member
//! lives, a word with its slot has its generation, or that of one long dead, which changes nothing any more.
//!
//! # What a crash leaves
//! `held(dead)`: the next to acquire takes it from the dead and is told so; recovery makes it
//! `free, died`, so that those who sleep can be woken. `handed(dead)`: the same, but nothing that the lock
//! guards was touched, so nobody is told.

use polyproc_arena::error::Result;
use polyproc_arena::map::{Map, Offset};
use polyproc_arena::member::Name;
use polyproc_arena::primitive::Ordering::Acquire;
use polyproc_arena::section::Liveness;

const HANDED: u64 = 1 << 12;
const DIED: u64 = 1 << 13;
const RELEASED: u64 = HANDED | DIED;
const TURN_SHIFT: u32 = 14;
const TURNS: u64 = 1 << 18;
/// What a name takes of the word.
const NAME: u64 = 0xffff_ffff_0000_0fff;

/// The word, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Who holds it, or was handed it.
    pub owner: Option<Name>,
    /// It is free: who released it, where that is known.
    pub releaser: Option<Name>,
    /// It was handed to the owner, which has not noticed yet.
    pub handed: bool,
    /// The last owner died holding it.
    pub died: bool,
    /// Counts acquisitions; wraps after 2^18.
    pub turn: u32,
}

impl State {
    /// From the word in shared memory. A name that no member would have reads as free.
    #[must_use]
    #[inline]
    pub fn unpack(word: u64) -> Self {
        let name = Name::from_word(word & NAME);
        let is_free = word & RELEASED == RELEASED;
        Self {
            owner: if is_free { None } else { name },
            releaser: if is_free { name } else { None },
            handed: word & RELEASED == HANDED,
            died: word & RELEASED == DIED,
            turn: (word >> TURN_SHIFT & (TURNS - 1)) as u32,
        }
    }

    /// As the word in shared memory.
    #[must_use]
    #[inline]
    pub fn pack(self) -> u64 {
        self.owner.map_or(0, Name::word)
            | self.releaser.map_or(0, |name| name.word() | RELEASED)
            | if self.handed { HANDED } else { 0 }
            | if self.died { DIED } else { 0 }
            | u64::from(self.turn) << TURN_SHIFT
    }

    fn held(owner: Name, turn: u32) -> Self {
        Self {
            owner: Some(owner),
            releaser: None,
            handed: false,
            died: false,
            turn,
        }
    }

    fn free(turn: u32, died: bool) -> Self {
        Self {
            owner: None,
            releaser: None,
            handed: false,
            died,
            turn,
        }
    }

    fn next_turn(self) -> u32 {
        self.turn.wrapping_add(1) & (TURNS as u32 - 1)
    }

    /// True when `name` holds it, and has not merely been handed it.
    #[must_use]
    #[inline]
    pub fn is_held_by(self, name: Name) -> bool {
        self.owner == Some(name) && !self.handed
    }
}

/// Proof of an acquisition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acquired {
    /// Which it is.
    pub turn: u32,
    /// The owner before died holding the lock: what it guards may be half changed.
    pub owner_died: bool,
}

/// Where the word of a lock is.
#[derive(Debug, Clone, Copy)]
pub struct Owned<'a> {
    /// The memory it lies in.
    pub map: &'a Map,
    /// Its offset.
    pub at: Offset,
}

impl Owned<'_> {
    /// What stands there.
    ///
    /// # Errors
    /// `Corrupt` when the word lies outside the arena.
    #[inline]
    pub fn look(&self) -> Result<State> {
        // SYNC: Acquire pairs with the CAS that put it there.
        Ok(State::unpack(self.map.word(self.at)?.load(Acquire)))
    }

    /// Acquires for `me` what is free, was handed to `me`, or, if `alive` is given, belongs to the dead.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn acquire(&self, me: Name, alive: Option<&impl Liveness>) -> Result<Option<Acquired>> {
        let word = self.map.word(self.at)?;
        let mut seen = word.load(Acquire);
        loop {
            let state = State::unpack(seen);
            let (turn, owner_died) = match state.owner {
                None => (state.next_turn(), state.died),
                Some(owner) if owner == me && state.handed => (state.turn, false),
                Some(owner) if alive.is_some_and(|alive| alive.is_dead(owner)) => {
                    (state.next_turn(), !state.handed)
                }
                Some(_) => return Ok(None),
            };
            // SYNC: acquires what the last owner released, or wrote before it died.
            match word.cas(seen, State::held(me, turn).pack()) {
                Ok(_) => return Ok(Some(Acquired { turn, owner_died })),
                Err(now) => seen = now,
            }
        }
    }

    /// Frees what was seen held, as `by`. False when it is no longer what was seen.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn release(&self, seen: State, by: Name) -> Result<bool> {
        let mut free = State::free(seen.turn, false);
        free.releaser = Some(by);
        self.change(seen, free)
    }

    /// Hands what was seen held to `heir`, in a turn of its own. False when it is no longer what was seen.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn hand(&self, seen: State, heir: Name) -> Result<bool> {
        let mut handed = State::held(heir, seen.next_turn());
        handed.handed = true;
        self.change(seen, handed)
    }

    /// Frees what was handed to `me` and is not wanted. False when nothing was.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn give_up(&self, me: Name) -> Result<bool> {
        let seen = self.look()?;
        if seen.owner != Some(me) || !seen.handed {
            return Ok(false);
        }
        self.change(seen, State::free(seen.turn, false))
    }

    /// Gives what `me` holds an earlier turn: it is held for the guards of that one again. False when `me`
    /// does not hold it.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn renumber(&self, me: Name, turn: u32) -> Result<bool> {
        let seen = self.look()?;
        Ok(seen.is_held_by(me) && self.change(seen, State::held(me, turn))?)
    }

    /// Frees what belongs to the dead. False when it does not.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn bury(&self, dead: Name) -> Result<bool> {
        let seen = self.look()?;
        if seen.owner != Some(dead) {
            return Ok(false);
        }
        self.change(seen, State::free(seen.turn, !seen.handed))
    }

    #[inline]
    fn change(&self, seen: State, new: State) -> Result<bool> {
        // SYNC: releases what the owner wrote to the next; SeqCst against the look at who waits.
        Ok(self.map.word(self.at)?.cas(seen.pack(), new.pack()).is_ok())
    }
}
