//! The word of an event, apart from where it lies: a flag that is set and cleared, and how often it has been set.
//!
//! ```text
//! bit 0        set
//! bits 1-52    count of settings: 52 bits, so that JavaScript can hold one
//! ```
//!
//! Whoever remembers the count from before a setting knows of that setting also when the flag has been cleared since.
//!
//! # What a crash leaves
//! Every change is one CAS: it has happened or it has not.

use polyproc_arena::error::Result;
use polyproc_arena::map::{Map, Offset};
use polyproc_arena::primitive::Ordering::Acquire;
use polyproc_arena::primitive::Word;

const SET: u64 = 1;
const COUNTS: u64 = 1 << 52;

/// What the word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// It is set.
    pub set: bool,
    /// How often it has been set, modulo 2^52.
    pub count: u64,
}

/// The word at a place.
#[derive(Debug, Clone, Copy)]
pub struct Pulse<'a> {
    /// Where the arena is.
    pub map: &'a Map,
    /// Where the word is in it.
    pub at: Offset,
}

impl Pulse<'_> {
    #[inline]
    fn word(&self) -> Result<&Word> {
        self.map.word(self.at)
    }

    /// What it says.
    ///
    /// # Errors
    /// `Corrupt` when the word lies outside the arena.
    #[inline]
    pub fn look(&self) -> Result<State> {
        // SYNC: pairs with the CAS in `set`: who sees it set sees what was done before.
        let seen = self.word()?.load(Acquire);
        Ok(State {
            set: seen & SET != 0,
            count: seen >> 1,
        })
    }

    /// Sets it. True when it was not: those who wait must be called.
    ///
    /// # Errors
    /// As [`Pulse::look`].
    pub fn set(&self) -> Result<bool> {
        let word = self.word()?;
        let mut seen = word.load(Acquire);
        while seen & SET == 0 {
            let count = ((seen >> 1) + 1) & (COUNTS - 1);
            // SYNC: releases what was done before to `look`; SeqCst against the look at who waits (`handshake::anybody`).
            match word.cas(seen, count << 1 | SET) {
                Ok(_) => return Ok(true),
                Err(now) => seen = now,
            }
        }
        Ok(false)
    }

    /// Clears it.
    ///
    /// # Errors
    /// As [`Pulse::look`].
    pub fn clear(&self) -> Result<()> {
        let word = self.word()?;
        let mut seen = word.load(Acquire);
        while seen & SET != 0 {
            match word.cas(seen, seen & !SET) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        Ok(())
    }
}
