//! Room in a queue: the bound on items, which is exact, and the one on bytes.
//!
//! A waiting message takes the 128 bytes of its slot, and its block if it has one. The former follow from
//! head and tail; the latter are added up in `held`: added before the message is shown, taken off once it is
//! away. A put is refused when what waits takes the bound or more, so a message larger than the bound passes
//! when there is room at all. Where the bound is large this is looked at only when a message has a block and
//! when a segment is used up: a put of a small message then costs nothing more.
//!
//! # What a crash leaves
//! Whoever dies between the two leaves `held` too high. So before a put is refused the blocks are counted, at
//! most ten times a second, and `held` is put right; what somebody is just putting or taking may make that
//! wrong by as much, until the queue is empty or they are counted again. A queue in which nothing waits is
//! never full, so a putter that waits is woken by whoever takes what there is.

use crate::chain::MOST_SEGMENTS;
use crate::queue::{Queue, SHUT, TAIL};
use crate::segment::Walk;
use crate::slot::{self, HAS_BLOCK, HAS_PINS, Look};
use polyproc_arena::blocks::Side;
use polyproc_arena::error::Result;
use polyproc_arena::map::Offset;
use polyproc_arena::primitive::Ordering::{Acquire, Relaxed, SeqCst};
use polyproc_arena::primitive::now;
use polyproc_arena::{Arena, Member};

const HELD: Offset = 320;
const CHECKED: Offset = 328;
/// Bounds below this one, in bytes, are looked at in every put.
const EXACT: u64 = 8 << 20;
/// Time between two counts, in ns.
const BETWEEN: u64 = 100_000_000;

impl Queue {
    /// True when every put has to look for room.
    #[inline]
    pub(crate) fn is_tight(&self) -> bool {
        self.most > 0 || self.bytes > 0 && self.bytes < EXACT
    }

    /// True when there is room for a message that would take `ticket`, by the bound on items and, if that is
    /// a small one, by the bound on bytes.
    pub(crate) fn has_room(&self, arena: &Arena, ticket: u64) -> Result<bool> {
        // The head only grows, so a check that passes here stays true until the claim.
        let head = self.head(arena)?.min(ticket);
        let waiting = ticket - head + self.returned(arena, head)?;
        if self.most > 0 && waiting >= self.most {
            return Ok(false);
        }
        Ok(self.bytes == 0 || self.bytes >= EXACT || !self.is_crowded_by(arena, waiting)?)
    }

    /// True when waiting messages take as many bytes as they may.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn is_crowded(&self, arena: &Arena) -> Result<bool> {
        if self.bytes == 0 {
            return Ok(false);
        }
        let waiting = self.len(arena)?;
        self.is_crowded_by(arena, waiting)
    }

    fn is_crowded_by(&self, arena: &Arena, waiting: u64) -> Result<bool> {
        let held = arena.map.word(self.body + HELD)?;
        let slots = waiting.saturating_mul(slot::SIZE);
        let seen = held.load(Relaxed);
        if waiting == 0 || slots.saturating_add(seen) < self.bytes {
            return Ok(false);
        }
        if slots >= self.bytes {
            return Ok(true);
        }
        let checked = arena.map.word(self.body + CHECKED)?;
        let (last, time) = (checked.load(Relaxed), now());
        if time.saturating_sub(last) < BETWEEN || checked.cas(last, time).is_err() {
            return Ok(true);
        }
        let Some(counted) = self.count_blocks(arena)? else {
            return Ok(true);
        };
        // Only if nobody has added or taken off meanwhile.
        if counted != seen && held.cas(seen, counted).is_ok() {
            return Ok(slots.saturating_add(counted) >= self.bytes);
        }
        Ok(true)
    }

    /// Bytes in the blocks that the queue's slots hold. `None` when the chain was changed meanwhile.
    fn count_blocks(&self, arena: &Arena) -> Result<Option<u64>> {
        let tail = arena.map.word(self.body + TAIL)?.load(Acquire);
        let mut bytes = 0_u64;
        let mut walk = self.from(arena, 0)?;
        for _ in 0..MOST_SEGMENTS {
            let segment = match walk {
                Walk::At(segment) if segment.base < tail => segment,
                Walk::At(_) | Walk::End => return Ok(Some(bytes)),
                Walk::Moved => return Ok(None),
            };
            for ticket in segment.base..segment.end().min(tail) {
                let slot = segment.slot(arena, ticket);
                match slot.look()? {
                    Look::Full | Look::Reading(_) => {}
                    // Its bytes may have been added.
                    Look::Writing(_) => return Ok(None),
                    _ => continue,
                }
                let (meta, block) = slot.meta()?;
                let its = Side::held(self.handle.index, ticket).with_pins(meta & HAS_PINS != 0);
                if meta & HAS_BLOCK != 0 && arena.side(block).ok() == Some(its) {
                    bytes = bytes.saturating_add(arena.place(block)?.size);
                }
            }
            walk = segment.after(arena)?;
        }
        Ok(None)
    }

    /// A block of `size` bytes comes into a slot.
    pub(crate) fn add_bytes(&self, arena: &Arena, size: u64) -> Result<()> {
        self.change_bytes(arena, |held| held.saturating_add(size))
    }

    /// A block of `size` bytes has gone from a slot.
    pub(crate) fn take_bytes_off(&self, arena: &Arena, size: u64) -> Result<()> {
        self.change_bytes(arena, |held| held.saturating_sub(size))
    }

    fn change_bytes(&self, arena: &Arena, change: impl Fn(u64) -> u64) -> Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        let held = arena.map.word(self.body + HELD)?;
        let mut seen = held.load(Relaxed);
        // SYNC: SeqCst: before the slot is shown, or before the list of putters is looked at.
        while let Err(now) = held.cas(seen, change(seen)) {
            seen = now;
        }
        Ok(())
    }

    /// Wakes somebody who waits for room, if somebody does.
    pub(crate) fn call_putters(&self, arena: &Arena, me: &Member) -> Result<()> {
        if self.most > 0 || self.bytes > 0 {
            let putters = self.putters(arena);
            if arena.has_waiters(putters.at)? {
                arena.wake_one(me, putters)?;
            }
        }
        Ok(())
    }

    /// True when a put would find room or the end: what a putter waits for.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn is_writable(&self, arena: &Arena, me: &Member) -> Result<bool> {
        if self.most == 0 && self.bytes == 0 || arena.map.word(self.body + SHUT)?.load(Acquire) != 0 {
            return Ok(true);
        }
        let _inside = self.inside(arena, me)?;
        let head = self.head(arena)?;
        let tail = arena.map.word(self.body + TAIL)?.load(SeqCst);
        let waiting = tail.saturating_sub(head) + self.returned(arena, head)?;
        Ok((self.most == 0 || waiting < self.most)
            && (self.bytes == 0 || !self.is_crowded_by(arena, waiting)?))
    }
}
