//! Guarded sections: how everything that takes more than one word changes.
//!
//! A section is a named lock word and a redo log beside it, 256 bytes in shared memory:
//!
//! ```text
//! +0    lock     0, or the name of the member inside (generation << 32 | slot)
//! +8    count    number of committed log entries; 0: nothing to redo
//! +16   entries  15 pairs (offset of a word, its new value)
//! ```
//!
//! A member enters by a CAS of its name into the lock, reads what it likes, writes the new values of
//! all words it means to change into the log, **commits by one store to `count`**, applies the log in
//! order, clears `count`, and leaves by a CAS of 0. Words that go through a log are changed only in that
//! section (or while nobody else can reach them), so applying a log twice is harmless. A word that others
//! change by CAS without the section, such as a queue's slot, must not: applied again, the log would undo
//! what they have done since.
//!
//! # What a crash leaves
//!
//! | killed | left behind | next to enter |
//! |---|---|---|
//! | before the lock CAS | nothing | – |
//! | inside, before `count` | entries nobody reads | takes the lock over, finds 0, goes on: nothing changed |
//! | after `count`, while applying | some words new, some old | takes over, applies all of it again, clears `count` |
//! | after `count` is cleared | a lock word naming the dead | takes over |
//!
//! Taking over is a CAS *from the dead name*, generation included, so a rescuer that is late changes
//! nothing; the rescuer now simply holds the section. If it dies too, the log still stands in the
//! section, not in anybody's own memory, and the next one does the same. A rescuer that is stopped
//! delays those who need this very section and nobody else.
//!
//! Before it tries, a member notes the section in its own slot, marked [`COMING`] until it is inside; recovery of that member passes
//! through every noted section, so when recovery has gone on, no committed log of the dead is left unapplied.

use crate::error::{Error, Result};
use crate::map::{Map, Offset};
use crate::member::Name;
use crate::primitive::Ordering::{Acquire, Relaxed, Release};

/// Size of a section in shared memory, in bytes.
pub const SIZE: u64 = 256;
/// Words that one commit can change.
pub const MOST_WRITES: usize = 15;

/// In a note: the member was not inside yet, as far as it got to say. It has changed nothing and chosen nobody.
pub const COMING: u64 = 1;

const COUNT: u64 = 8;
const ENTRIES: u64 = 16;

/// Tells whether the member of a name can still act.
pub trait Liveness {
    /// True once the member can never again write to shared memory.
    fn is_dead(&self, name: Name) -> bool;
    /// Called between looks at a lock that somebody else holds; `turn` counts up from 0.
    fn relax(&self, turn: u32);
}

/// The right to change what a section guards. Dropping it leaves the section.
#[derive(Debug)]
pub struct Entered<'a> {
    map: &'a Map,
    at: Offset,
    me: Name,
    note: Offset,
    rescued: bool,
    unlocked: bool,
}

/// Enters the section at `at` as `me`, waiting for a living holder and taking over from a dead one.
/// `note` is the word of the caller's slot that recovery looks at; `patience` how many turns to wait
/// (`u32::MAX`: for ever).
///
/// # Errors
/// `Busy` when patience ran out; `Corrupt` when the section or its log is damaged.
pub fn enter<'a>(
    map: &'a Map,
    alive: &impl Liveness,
    at: Offset,
    me: Name,
    note: Offset,
    patience: u32,
) -> Result<Entered<'a>> {
    let lock = map.word(at)?;
    // SYNC: Relaxed is enough: the note is read only after the kernel has marked this process dead.
    map.word(note)?.store(at | COMING, Relaxed);
    let mut turn = 0;
    let mut rescued = false;
    loop {
        // SYNC: the CAS acquires what the last holder released in `leave`.
        match lock.cas(0, me.word()) {
            Ok(_) => break,
            Err(holder) => {
                // A name is looked at only now and then: a holder is normally gone in a microsecond.
                if is_time_to_look(turn) && Name::from_word(holder).is_none_or(|name| alive.is_dead(name)) {
                    // SYNC: acquires the dead holder's stores; its log was released by `count`.
                    if lock.cas(holder, me.word()).is_ok() {
                        rescued = true;
                        break;
                    }
                }
                if turn >= patience {
                    map.word(note)?.store(0, Relaxed);
                    return Err(Error::Busy);
                }
                alive.relax(turn);
                turn = (turn + 1).min(u32::MAX - 1);
            }
        }
    }
    map.word(note)?.store(at, Relaxed);
    let entered = Entered {
        map,
        at,
        me,
        note,
        rescued,
        unlocked: false,
    };
    if rescued {
        entered.redo()?;
    }
    Ok(entered)
}

/// Whether it is asked in this turn if the holder is dead. To an explorer every turn is the same.
const fn is_time_to_look(turn: u32) -> bool {
    cfg!(any(loom, feature = "points")) || turn % 16 == 15
}

impl Entered<'_> {
    /// True when the previous holder died inside. Its committed changes have been applied.
    #[must_use]
    pub fn rescued(&self) -> bool {
        self.rescued
    }

    /// Lets others in, and keeps the note until this is dropped: for what has to follow a change, and
    /// what recovery does in its place if the member dies before it is done (see [`crate::wait`]).
    pub fn unlock(&mut self) {
        if !self.unlocked {
            self.unlocked = true;
            if let Ok(lock) = self.map.word(self.at) {
                // SYNC: releases all that was done inside to the next holder's CAS in `enter`. A CAS and
                // not a store: whatever a scribbler put there stays visible as damage.
                let _ = lock.cas(self.me.word(), 0);
            }
        }
    }

    /// Changes all `writes` or, if this process dies, all or none of them. At most [`MOST_WRITES`].
    ///
    /// # Errors
    /// `Corrupt` when an offset is out of range, before anything is changed.
    ///
    /// # Panics
    /// When there are more writes than the log holds, or after [`Entered::unlock`]: mistakes in the caller.
    #[cfg_attr(feature = "points", track_caller)]
    pub fn commit(&self, writes: &[(Offset, u64)]) -> Result<()> {
        assert!(
            writes.len() <= MOST_WRITES,
            "a section's log holds {MOST_WRITES} writes"
        );
        assert!(!self.unlocked, "a section is changed after it was left");
        for (offset, _) in writes {
            self.map.word(*offset)?;
        }
        if let [(offset, value)] = writes {
            // One word needs no log.
            // SYNC: released with the lock in `leave`; Release for readers outside the section.
            self.map.word(*offset)?.store(*value, Release);
            return Ok(());
        }
        let mut entry = self.at + ENTRIES;
        for (offset, value) in writes {
            self.map.word(entry)?.store(*offset, Relaxed);
            self.map.word(entry + 8)?.store(*value, Relaxed);
            entry += 16;
        }
        // SYNC: pairs with the Acquire load in `redo`: who sees the count sees the entries.
        self.map
            .word(self.at + COUNT)?
            .store(writes.len() as u64, Release);
        self.apply(writes.len())
    }

    fn redo(&self) -> Result<()> {
        // SYNC: pairs with the Release store in `commit`.
        let count = self.map.word(self.at + COUNT)?.load(Acquire) as usize;
        if count > MOST_WRITES {
            self.map.word(self.at + COUNT)?.store(0, Release);
            return Err(Error::Corrupt("the log of a section is longer than it can be"));
        }
        if count > 0 { self.apply(count) } else { Ok(()) }
    }

    fn apply(&self, count: usize) -> Result<()> {
        let mut entry = self.at + ENTRIES;
        for _ in 0..count {
            let offset = self.map.word(entry)?.load(Relaxed);
            let value = self.map.word(entry + 8)?.load(Relaxed);
            // SYNC: Release for readers outside the section, which load with Acquire.
            self.map.word(offset)?.store(value, Release);
            entry += 16;
        }
        // SYNC: Release, so that whoever reads 0 here cannot apply older entries over newer words.
        self.map.word(self.at + COUNT)?.store(0, Release);
        Ok(())
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.unlock();
        if let Ok(note) = self.map.word(self.note) {
            note.store(0, Relaxed);
        }
    }
}
