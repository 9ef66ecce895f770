//! Taking messages.
//!
//! # What a crash leaves
//! A slot in phase reading: recovery makes it full again. A message that was delivered by a queue that is
//! joined stays in that phase, in hand: see [`crate::joinable`].

use crate::inside::Inside;
use crate::joinable::Hand;
use crate::queue::{DROPS, HEAD, LOW, MOST_TURNS, Queue, SHUT, TAIL, TICKETS};
use crate::segment::Walk;
use crate::slot::{self, HAS_BLOCK, HAS_PINS, IN_HAND, Look, Slot};
use polyproc_arena::blocks::Side;
use polyproc_arena::error::{Error, Result};
use polyproc_arena::map::Offset;
use polyproc_arena::primitive::Ordering::{Acquire, SeqCst};
use polyproc_arena::{Arena, Member};

/// A message that has been taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// As the sender gave it.
    pub kind: u8,
    /// Bytes of payload.
    pub len: u32,
    /// The block with the payload; 0: the payload is in the caller's buffer. It is the caller's now, unless
    /// the hand keeps it for the queue.
    pub block: Offset,
    /// The block begins with a table of handles.
    pub pins: bool,
    /// Of a queue that is joined: for marking it done.
    pub hand: Option<Hand>,
}

/// What became of a get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Got {
    /// A message.
    Message(Received),
    /// Nothing is there.
    Empty,
    /// Nothing is there and nothing will come.
    ShutDown,
}

/// What becomes of a message that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taking {
    /// It leaves the queue.
    Away,
    /// It is in the taker's hand; `keeps`: its block stays the queue's, so that it can come back.
    InHand { keeps: bool },
}

impl Queue {
    /// Takes the next message, if there is one. A small payload is copied into `buffer`. In a queue that is
    /// joined it is in the caller's hand from now on; its block stays the queue's if it may be redelivered.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn try_get(&self, arena: &Arena, me: &Member, buffer: &mut [u8; slot::INLINE]) -> Result<Got> {
        self.next(
            arena,
            me,
            buffer,
            match self.policy {
                None => Taking::Away,
                Some(policy) => Taking::InHand {
                    keeps: policy.redeliver || policy.most_deliveries > 0,
                },
            },
        )
    }

    /// As [`Queue::try_get`] of a queue that is joined, for an item that may be given back.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn try_receive(&self, arena: &Arena, me: &Member, buffer: &mut [u8; slot::INLINE]) -> Result<Got> {
        self.next(
            arena,
            me,
            buffer,
            match self.policy {
                None => Taking::Away,
                Some(_) => Taking::InHand { keeps: true },
            },
        )
    }

    /// Drops everything that is in the queue. After a shutdown also what comes back later.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn drain(&self, arena: &Arena, me: &Member) -> Result<()> {
        if arena.map.word(self.body + SHUT)?.load(Acquire) != 0 {
            self.raise(arena, SHUT, DROPS)?;
        }
        let mut buffer = [0; slot::INLINE];
        while let Got::Message(received) = self.next(arena, me, &mut buffer, Taking::Away)? {
            if received.block != 0 {
                arena.free(me, received.block)?;
            }
            self.tell_joiners(arena, me)?;
        }
        Ok(())
    }

    fn next(
        &self,
        arena: &Arena,
        me: &Member,
        buffer: &mut [u8; slot::INLINE],
        taking: Taking,
    ) -> Result<Got> {
        let mut inside = Some(self.inside(arena, me)?);
        let low = arena.map.word(self.body + LOW)?.load(Acquire);
        if low & (TICKETS - 1) != 0
            && let Some(received) = self.take_returned(arena, me, low, buffer, taking, &mut inside)?
        {
            return Ok(Got::Message(received));
        }
        'again: for _ in 0..MOST_TURNS {
            let head = self.head(arena)?;
            // SYNC: SeqCst: a put that has returned advanced the tail before, so it is seen here.
            let tail = arena.map.word(self.body + TAIL)?.load(SeqCst);
            if head >= tail {
                return self.nothing(arena, tail);
            }
            let mut found = self.find(arena, head)?;
            for ticket in head..tail {
                while let Some(segment) = found
                    && ticket >= segment.end()
                {
                    found = segment.after(arena)?.segment();
                }
                let Some(segment) = found.filter(|segment| segment.serves(ticket)) else {
                    // Segments changed under us: the head has moved on.
                    continue 'again;
                };
                let slot = segment.slot(arena, ticket);
                if slot.look()? != Look::Full {
                    continue;
                }
                if let Some(received) = self.take(arena, me, &slot, buffer, taking, &mut inside)? {
                    if ticket + 1 == segment.end() {
                        self.retire(arena, me)?;
                    }
                    return Ok(Got::Message(received));
                }
                continue 'again;
            }
            // Everything from head to tail is being written, or was taken while we looked.
            if self.head(arena)? == head {
                return Ok(Got::Empty);
            }
        }
        Err(Error::Corrupt("a get goes round in circles"))
    }

    pub(crate) fn nothing(&self, arena: &Arena, tail: u64) -> Result<Got> {
        if arena.map.word(self.body + SHUT)?.load(Acquire) == 0 {
            return Ok(Got::Empty);
        }
        let last = self.last(arena)?;
        let closed = last.serves(tail) && last.slot(arena, tail).look()? == Look::Closed;
        Ok(if closed { Got::ShutDown } else { Got::Empty })
    }

    fn take(
        &self,
        arena: &Arena,
        me: &Member,
        slot: &Slot<'_>,
        buffer: &mut [u8; slot::INLINE],
        taking: Taking,
        inside: &mut Option<Inside<'_>>,
    ) -> Result<Option<Received>> {
        self.note(arena, me, slot.ticket)?;
        if !slot.take(me.name.slot())? {
            return Ok(None);
        }
        let (mut meta, block) = slot.meta()?;
        let keeps = taking == Taking::InHand { keeps: true };
        let mut received = Received {
            kind: (meta >> 32) as u8,
            len: meta as u32,
            block: 0,
            pins: false,
            hand: None,
        };
        if meta & HAS_BLOCK == 0 {
            let len = (received.len as usize).min(slot::INLINE);
            received.len = len as u32;
            arena.map.copy_out(slot.at + slot::PAYLOAD, &mut buffer[..len])?;
        } else {
            let pins = meta & HAS_PINS != 0;
            let its = Side::held(self.handle.index, slot.ticket).with_pins(pins);
            let mine = Side::owned(me.name).with_pins(pins);
            let ours = if keeps {
                arena.side(block)? == its
            } else {
                arena.hand_over(block, its, mine)?
            };
            if !ours || u64::from(received.len) > arena.place(block)?.size {
                slot.release(me.name.slot())?;
                return Err(Error::Corrupt("a message's block is not the queue's"));
            }
            received.block = block;
            received.pins = pins;
            if !keeps {
                meta &= !(HAS_BLOCK | HAS_PINS);
            }
        }
        if let Taking::InHand { .. } = taking {
            received.hand = Some(Hand {
                ticket: slot.ticket,
                slot: slot.at,
                attempt: slot::deliveries(meta) + 1,
                keeps: keeps && received.block != 0,
            });
            // From here on it counts as delivered.
            slot.mark(meta | IN_HAND)?;
        } else if self.policy.is_some() {
            slot.finish(me.name.slot())?;
        } else {
            slot.release(me.name.slot())?;
        }
        if received.block != 0 && !keeps {
            self.take_bytes_off(arena, arena.place(received.block)?.size)?;
        }
        // The slot is no longer ours to change, and what follows enters sections.
        drop(inside.take());
        let head = self.head(arena)?;
        // One waiter is woken a put at most; whoever finds more than it takes wakes the next.
        let getters = self.getters(arena);
        if arena.has_waiters(getters.at)? && head < arena.map.word(self.body + TAIL)?.load(Acquire) {
            arena.wake_one(me, getters)?;
        }
        self.call_putters(arena, me)?;
        Ok(Some(received))
    }

    /// Looks behind the head for messages that were given back.
    fn take_returned(
        &self,
        arena: &Arena,
        me: &Member,
        low: u64,
        buffer: &mut [u8; slot::INLINE],
        taking: Taking,
        inside: &mut Option<Inside<'_>>,
    ) -> Result<Option<Received>> {
        let word = arena.map.word(self.body + LOW)?;
        let head = arena.map.word(self.body + HEAD)?.load(Acquire);
        let mut ticket = low & (TICKETS - 1);
        let mut walk = self.from(arena, ticket)?;
        for _ in 0..MOST_TURNS {
            match walk {
                Walk::At(segment) if segment.base < head => {
                    for ticket in segment.base.max(ticket)..segment.end().min(head) {
                        let slot = segment.slot(arena, ticket);
                        if slot.look()? == Look::Full
                            && let Some(received) = self.take(arena, me, &slot, buffer, taking, inside)?
                        {
                            // The next one looks from behind it, unless more was given back meanwhile.
                            let _ = word.cas(low, bump(low, ticket + 1));
                            return Ok(Some(received));
                        }
                    }
                    ticket = segment.end();
                    walk = segment.after(arena)?;
                }
                Walk::Moved => walk = self.from(arena, ticket)?,
                Walk::At(_) | Walk::End => {
                    // Nothing is left there, unless recovery has just given back more: then the version
                    // differs.
                    let _ = word.cas(low, bump(low, 0));
                    return Ok(None);
                }
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
