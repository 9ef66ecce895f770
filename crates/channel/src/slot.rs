//! A slot: the place of one message, and the protocol by which it changes hands.
//!
//! 128 bytes, so that neighbours never share a pair of cache lines:
//!
//! ```text
//! +0    word   ticket << 16 | phase << 12 | slot number of the owner
//! +8    meta   length (32 bits) | kind << 32 | flags << 40 | deliveries << 43
//! +16   block  where the payload is when it does not fit here, else 0
//! +24   104 bytes of payload
//! ```
//!
//! Phases: free, writing, full, reading, closed. A slot is *used once a ticket*: free with a ticket
//! lower than the one that maps to it means "empty", free with that very ticket "used and over".
//!
//! ```text
//!            claim                publish           take               release
//! free(<t) ─────────▶ writing(t,p) ───────▶ full(t) ─────▶ reading(t,c) ───────▶ free(t)
//!    │ close                │ p is dead        ▲               │ c is dead
//!    ▼                      ▼                  └───────────────┘
//!  closed(t)             free(t), a tombstone
//! ```
//!
//! The owner stands in the claiming CAS itself, so a dead producer or consumer can be told from a slow
//! one by anybody. Every arrow is a SeqCst CAS: claim and take so that exactly one wins; publish and
//! release because recovery may have been faster, and because each is followed by a look at the list of
//! waiters, with which it must not be reordered.
//!
//! In a queue that is joined a slot stays in phase reading until its item has been marked done: the flag
//! "in hand" in `meta`, which only the owner of the slot writes, tells an item that was delivered from one
//! that is being taken.
//!
//! # What a crash leaves
//! `writing(t, dead)`: a message in a block is whole once the block belongs to the slot: recovery shows it.
//! Else it makes a tombstone.
//! `reading(t, dead)`: recovery makes it full again, for somebody else. If it was in hand, see
//! [`crate::joinable`]. Any other phase names nobody.

use polyproc_arena::error::Result;
use polyproc_arena::map::{Map, Offset};
use polyproc_arena::primitive::Ordering::{Acquire, Relaxed, SeqCst};
use polyproc_arena::primitive::fence;

/// Bytes of a slot.
pub const SIZE: u64 = 128;
/// The word.
pub const WORD: Offset = 0;
/// Length, kind and flags.
pub const META: Offset = 8;
/// The block.
pub const BLOCK: Offset = 16;
/// The payload.
pub const PAYLOAD: Offset = 24;
/// Bytes of payload that fit.
pub const INLINE: usize = 104;

/// In `meta`: the message lies in a block.
pub const HAS_BLOCK: u64 = 1 << 40;
/// In `meta`: the block begins with a table of handles.
pub const HAS_PINS: u64 = 1 << 41;
/// In `meta`: the message was delivered to the owner of the slot.
pub const IN_HAND: u64 = 1 << 42;
/// Deliveries that came to nothing are counted up to this.
pub const MOST_DELIVERIES: u64 = (1 << 21) - 1;
const DELIVERIES: u32 = 43;

/// How often a message was delivered before, by its `meta`.
#[must_use]
pub fn deliveries(meta: u64) -> u64 {
    meta >> DELIVERIES
}

/// The `meta` of a message that goes back to the queue after one more delivery.
#[must_use]
pub fn once_more(meta: u64) -> u64 {
    let count = (deliveries(meta) + 1).min(MOST_DELIVERIES);
    meta & ((1 << DELIVERIES) - 1) & !IN_HAND | count << DELIVERIES
}

/// What a slot is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Empty, or used and over: the ticket tells.
    Free,
    /// A producer has claimed it.
    Writing,
    /// A message is in it.
    Full,
    /// A consumer has claimed it.
    Reading,
    /// Nobody may put here or behind here.
    Closed,
}

/// The word of a slot, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The ticket that it served last, or serves.
    pub ticket: u64,
    /// See [`Phase`].
    pub phase: Phase,
    /// Member slot of the owner in phases writing and reading, else 0.
    pub owner: u64,
}

impl State {
    /// From the word in shared memory; an unknown phase reads as closed, which hurts least.
    #[must_use]
    #[inline]
    pub fn unpack(word: u64) -> Self {
        Self {
            ticket: word >> 16,
            phase: match word >> 12 & 0xf {
                0 => Phase::Free,
                1 => Phase::Writing,
                2 => Phase::Full,
                3 => Phase::Reading,
                _ => Phase::Closed,
            },
            owner: word & 0xfff,
        }
    }

    /// As the word in shared memory.
    #[must_use]
    #[inline]
    pub fn pack(self) -> u64 {
        self.ticket << 16 | (self.phase as u64) << 12 | self.owner
    }

    fn new(ticket: u64, phase: Phase, owner: u64) -> Self {
        Self { ticket, phase, owner }
    }
}

/// A slot and the ticket that it is looked at for.
#[derive(Debug, Clone, Copy)]
pub struct Slot<'a> {
    /// The memory it lies in.
    pub map: &'a Map,
    /// Where it begins.
    pub at: Offset,
    /// The ticket.
    pub ticket: u64,
}

/// What stands in a slot for a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nobody has claimed the ticket.
    Empty(State),
    /// Claimed by the producer in that member slot.
    Writing(u64),
    /// A message.
    Full,
    /// Claimed by the consumer in that member slot.
    Reading(u64),
    /// Taken, or a tombstone.
    Over,
    /// Shut down from this ticket on.
    Closed,
    /// The slot serves another ticket: the looker is late.
    Other,
}

impl Slot<'_> {
    /// What stands there.
    ///
    /// # Errors
    /// `Corrupt` when the slot lies outside the arena.
    #[inline]
    pub fn look(&self) -> Result<Look> {
        // SYNC: pairs with the CAS that put the state there: who sees `full` sees the payload.
        let state = State::unpack(self.map.word(self.at + WORD)?.load(Acquire));
        Ok(match state.phase {
            Phase::Free if state.ticket < self.ticket => Look::Empty(state),
            _ if state.ticket != self.ticket => Look::Other,
            Phase::Free => Look::Over,
            Phase::Writing => Look::Writing(state.owner),
            Phase::Full => Look::Full,
            Phase::Reading => Look::Reading(state.owner),
            Phase::Closed => Look::Closed,
        })
    }

    fn change(&self, from: State, to: State) -> Result<bool> {
        Ok(self.map.word(self.at + WORD)?.cas(from.pack(), to.pack()).is_ok())
    }

    /// Claims an empty slot for the producer in member slot `owner`. `seen` is what [`Slot::look`] saw.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn claim(&self, seen: State, owner: u64) -> Result<bool> {
        self.change(seen, State::new(self.ticket, Phase::Writing, owner))
    }

    /// Shows the message that `owner` has written. False if recovery took the producer for dead.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn publish(&self, owner: u64) -> Result<bool> {
        self.change(
            State::new(self.ticket, Phase::Writing, owner),
            State::new(self.ticket, Phase::Full, 0),
        )
    }

    /// Makes a claimed slot a tombstone: its producer could not write the message, or died.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn abandon(&self, owner: u64) -> Result<bool> {
        self.change(
            State::new(self.ticket, Phase::Writing, owner),
            State::new(self.ticket, Phase::Free, 0),
        )
    }

    /// Takes the message for the consumer in member slot `owner`.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn take(&self, owner: u64) -> Result<bool> {
        self.change(
            State::new(self.ticket, Phase::Full, 0),
            State::new(self.ticket, Phase::Reading, owner),
        )
    }

    /// Lets go of the slot once the message has been read.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn release(&self, owner: u64) -> Result<bool> {
        self.change(
            State::new(self.ticket, Phase::Reading, owner),
            State::new(self.ticket, Phase::Free, 0),
        )
    }

    /// As [`Slot::release`] of an item that is done. Of several who do this at the same time and then look at
    /// all slots at least one sees that all are over.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn finish(&self, owner: u64) -> Result<bool> {
        let released = self.release(owner)?;
        // SYNC: between the own change and the look at the others' slots, for all of them.
        fence(SeqCst);
        Ok(released)
    }

    /// Closes an empty slot.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn close(&self, seen: State) -> Result<bool> {
        self.change(seen, State::new(self.ticket, Phase::Closed, 0))
    }

    /// Makes the slot of a dead consumer full again, for somebody else.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn give_back(&self, owner: u64) -> Result<bool> {
        self.change(
            State::new(self.ticket, Phase::Reading, owner),
            State::new(self.ticket, Phase::Full, 0),
        )
    }

    /// Length, kind, flags and block of the message. Only the owner of the slot may ask.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn meta(&self) -> Result<(u64, u64)> {
        let meta = self.map.word(self.at + META)?.load(Relaxed);
        Ok((meta, self.map.word(self.at + BLOCK)?.load(Relaxed)))
    }

    /// Writes length, kind, flags and block. Only the owner of the slot may.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn set_meta(&self, meta: u64, block: Offset) -> Result<()> {
        // SYNC: Relaxed: `publish` releases them.
        self.map.word(self.at + META)?.store(meta, Relaxed);
        self.map.word(self.at + BLOCK)?.store(block, Relaxed);
        Ok(())
    }

    /// Writes length, kind, flags and deliveries. Only the owner of the slot may.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn mark(&self, meta: u64) -> Result<()> {
        // SYNC: Relaxed: `give_back` and `release` release it, and recovery comes after the owner's death.
        self.map.word(self.at + META)?.store(meta, Relaxed);
        Ok(())
    }

    /// The word of a slot that is over: for a commit.
    #[must_use]
    pub fn over(&self) -> u64 {
        State::new(self.ticket, Phase::Free, 0).pack()
    }
}
