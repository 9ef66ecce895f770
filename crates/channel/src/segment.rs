//! Segments: rows of slots that serve consecutive tickets.
//!
//! A block: 128 bytes of header (`base`, the ticket of the first slot; `len`, slots in all; `next`, the
//! segment that goes on) and then the slots. A segment of which all slots are over is taken out of the
//! chain, wherever it stands in it, and used again, for higher tickets, without being cleared: "free with a
//! lower ticket" means empty. So whoever was slow still finds slots there, with tickets that tell it so. A
//! segment is given back only once nobody is left in the queue who may have seen it: see [`crate::inside`].
//!
//! Chains are walked without a lock. A segment that is taken out loses its `base` before its `next`, so
//! whoever reads a `next` that leads astray and then looks at the `base` knows it, and begins anew.

use crate::slot::{self, Look, Slot};
use polyproc_arena::error::{Error, Result};
use polyproc_arena::map::Offset;
use polyproc_arena::primitive::Ordering::Acquire;
use polyproc_arena::{Arena, blocks};

/// Ticket of the first slot.
pub const BASE: Offset = 0;
/// Slots.
pub const LEN: Offset = 8;
/// The next segment, 0: none yet.
pub const NEXT: Offset = 16;
/// Where the slots begin.
pub const SLOTS: Offset = 128;

/// `base` of a segment that is in no chain: it serves no ticket.
pub const RETIRED: u64 = u64::MAX;

/// Where a walk along a chain came to.
#[derive(Debug, Clone, Copy)]
pub enum Walk {
    /// A segment.
    At(Segment),
    /// The end of the chain.
    End,
    /// The chain was changed meanwhile: begin anew.
    Moved,
}

impl Walk {
    /// The segment, if it came to one.
    #[must_use]
    pub fn segment(self) -> Option<Segment> {
        match self {
            Self::At(segment) => Some(segment),
            Self::End | Self::Moved => None,
        }
    }
}

/// A segment as read at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    /// Its block.
    pub at: Offset,
    /// Ticket of its first slot.
    pub base: u64,
    /// Slots.
    pub len: u64,
}

/// Slots of a segment in a block of `bytes`.
#[must_use]
pub fn slots_in(bytes: u64) -> u64 {
    (bytes - SLOTS) / slot::SIZE
}

impl Segment {
    /// Reads the header of the segment at `at`.
    ///
    /// # Errors
    /// `Corrupt` when no segment can be there.
    #[inline]
    pub fn read(arena: &Arena, at: Offset) -> Result<Self> {
        Self::glimpse(arena, at)?.checked()
    }

    /// Reads what stands at `at`, where there may be no segment any more: whoever looks must see to it that
    /// there still is one, and then ask [`Segment::checked`].
    ///
    /// # Errors
    /// `Corrupt` when it lies outside the arena.
    #[inline]
    pub fn glimpse(arena: &Arena, at: Offset) -> Result<Self> {
        // SYNC: Acquire pairs with the commit that linked the segment.
        let base = arena.map.word(at + BASE)?.load(Acquire);
        let len = arena.map.word(at + LEN)?.load(Acquire);
        Ok(Self { at, base, len })
    }

    /// # Errors
    /// `Corrupt` when this is no segment.
    #[inline]
    pub fn checked(self) -> Result<Self> {
        if self.at == 0 || self.len == 0 || self.len > 1 << 20 {
            return Err(Error::Corrupt("a queue's segment is damaged"));
        }
        Ok(self)
    }

    /// True when the segment serves the ticket.
    #[must_use]
    #[inline]
    pub fn serves(&self, ticket: u64) -> bool {
        ticket >= self.base && ticket - self.base < self.len
    }

    /// The first ticket after it.
    #[must_use]
    #[inline]
    pub fn end(&self) -> u64 {
        self.base.saturating_add(self.len)
    }

    /// The slot of a ticket that it serves.
    #[must_use]
    #[inline]
    pub fn slot<'a>(&self, arena: &'a Arena, ticket: u64) -> Slot<'a> {
        let at = self.at + SLOTS + (ticket - self.base) * slot::SIZE;
        Slot {
            map: &arena.map,
            at,
            ticket,
        }
    }

    /// The next segment, 0: none.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn next(&self, arena: &Arena) -> Result<Offset> {
        arena.link(self.at + NEXT)
    }

    /// The segment that goes on: the tickets of a chain grow, so a walk along it ends also where the chain
    /// is damaged.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn after(&self, arena: &Arena) -> Result<Walk> {
        let next = self.next(arena)?;
        let after = if next == 0 {
            None
        } else {
            Some(Self::glimpse(arena, next)?)
        };
        // SYNC: Acquire pairs with the commit that took this one out: it changed the base before the link.
        if arena.map.word(self.at + BASE)?.load(Acquire) != self.base || self.next(arena)? != next {
            return Ok(Walk::Moved);
        }
        match after.map(Self::checked).transpose()? {
            None => Ok(Walk::End),
            Some(after) if after.base > self.base && after.base != RETIRED => Ok(Walk::At(after)),
            Some(_) => Ok(Walk::Moved),
        }
    }

    /// True when every slot has served its ticket.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn is_over(&self, arena: &Arena) -> Result<bool> {
        for ticket in self.base..self.end() {
            if self.slot(arena, ticket).look()? != Look::Over {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Checks that the segment is a block of the queue, as large as it says.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn verify(&self, arena: &Arena, queue: u64) -> Result<()> {
        let held = matches!(arena.side(self.at)?, blocks::Side::Held { object, .. } if object == queue);
        if held && slots_in(arena.place(self.at)?.size) >= self.len {
            Ok(())
        } else {
            Err(Error::Corrupt("a queue's segment belongs to somebody else"))
        }
    }
}
