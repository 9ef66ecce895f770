//! Messages behind the head: those that dead consumers had, and those that living ones gave back. They come before all
//! others, in their order.
//!
//! `low` says from which ticket on to look for them; its version changes with every message that comes there, so that
//! who has looked in vain takes away only what it has seen.
//!
//! # What a crash leaves
//! A full slot behind the head that `low` does not lead to: whoever gives a message back has noted its ticket, and
//! recovery lowers `low` to it.

use crate::get::Gets;
use crate::queue::{HEAD, LOW, MOST_TURNS, Queue, TICKETS};
use crate::segment::Walk;
use crate::slot::{self, Look};
use polyproc_arena::Arena;
use polyproc_arena::error::{Error, Result};
use polyproc_arena::primitive::Ordering::Acquire;

impl Gets<'_> {
    /// Looks behind the head for messages that were given back.
    #[cold]
    pub(crate) fn take_returned(&mut self, low: u64, buffer: &mut [u8; slot::INLINE]) -> Result<bool> {
        let Self { queue, arena, .. } = *self;
        self.advance()?;
        let word = arena.map.word(queue.body + LOW)?;
        let head = arena.map.word(queue.body + HEAD)?.load(Acquire);
        let mut ticket = low & (TICKETS - 1);
        let mut walk = queue.from(arena, ticket)?;
        for _ in 0..MOST_TURNS {
            match walk {
                Walk::At(segment) if segment.base < head => {
                    for ticket in segment.base.max(ticket)..segment.end().min(head) {
                        let slot = segment.slot(arena, ticket);
                        if slot.look()? == Look::Full && self.take(&slot, buffer)? {
                            // The next one looks from behind it, unless more was given back meanwhile.
                            let _ = word.cas(low, bump(low, ticket + 1));
                            return Ok(true);
                        }
                    }
                    ticket = segment.end();
                    walk = segment.after(arena)?;
                }
                Walk::Moved => walk = queue.from(arena, ticket)?,
                Walk::At(_) | Walk::End => {
                    // Nothing is left there, unless recovery has just given back more: then the version
                    // differs.
                    let _ = word.cas(low, bump(low, 0));
                    return Ok(false);
                }
            }
        }
        Err(Error::Corrupt("a queue's segments go round in circles"))
    }
}

impl Queue {
    /// Messages that wait behind the head: what dead consumers had, and what living ones gave back.
    pub(crate) fn returned(&self, arena: &Arena, head: u64) -> Result<u64> {
        let mut ticket = arena.map.word(self.body + LOW)?.load(Acquire) & (TICKETS - 1);
        if ticket == 0 {
            return Ok(0);
        }
        let mut count = 0;
        let mut walk = self.from(arena, ticket)?;
        for _ in 0..MOST_TURNS {
            match walk {
                Walk::At(segment) if segment.base < head => {
                    for ticket in segment.base.max(ticket)..segment.end().min(head) {
                        count += u64::from(segment.slot(arena, ticket).look()? == Look::Full);
                    }
                    ticket = segment.end();
                    walk = segment.after(arena)?;
                }
                Walk::Moved => walk = self.from(arena, ticket)?,
                Walk::At(_) | Walk::End => return Ok(count),
            }
        }
        Err(Error::Corrupt("a queue's segments go round in circles"))
    }

    /// Lets getters look for a message at `ticket` behind the head.
    pub(crate) fn lower(&self, arena: &Arena, ticket: u64) -> Result<()> {
        let word = arena.map.word(self.body + LOW)?;
        let mut low = word.load(Acquire);
        loop {
            let lowest = match low & (TICKETS - 1) {
                0 => ticket,
                now => now.min(ticket),
            };
            // SYNC: after the slot's CAS, so who sees this sees the message.
            match word.cas(low, bump(low, lowest)) {
                Ok(_) => return Ok(()),
                Err(now) => low = now,
            }
        }
    }
}

fn bump(low: u64, ticket: u64) -> u64 {
    (low >> 48).wrapping_add(1) << 48 | ticket
}
