//! Taking messages.
//!
//! # What a crash leaves
//! See [`crate::take`]. The head is moved last: whoever comes next moves it past what is over.

use crate::inside::Inside;
use crate::joinable::Hand;
use crate::queue::{DROPS, HEAD, LOW, MOST_TURNS, Queue, SHUT, TAIL, TICKETS};
use crate::segment::Segment;
use crate::slot::{self, Look};
use polyproc_arena::error::{Error, Result};
use polyproc_arena::map::Offset;
use polyproc_arena::primitive::Ordering::{Acquire, SeqCst};
use polyproc_arena::{Arena, Member};
use std::ops::Range;

/// A message that has been taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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

/// What became of one of several gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A message: [`Gets::received`].
    Message,
    /// Nothing is there.
    Empty,
    /// Nothing is there and nothing will come.
    ShutDown,
}

/// What becomes of a message that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taking {
    /// It leaves the queue.
    Away,
    /// It is in the taker's hand; `keeps`: its block stays the queue's, so that it can come back.
    InHand { keeps: bool },
}

/// Gets in a row. Those who wait for room, or for what was left, are told once, when this ends.
#[derive(Debug)]
pub struct Gets<'a> {
    pub(crate) queue: &'a Queue,
    pub(crate) arena: &'a Arena,
    pub(crate) me: &'a Member,
    pub(crate) taking: Taking,
    pub(crate) received: Received,
    inside: Option<Inside<'a>>,
    /// Tickets that were taken one after the other from the head on, which has not been moved yet.
    run: Range<u64>,
    /// The segment that goes on behind the run.
    segment: Option<Segment>,
    /// Something was taken of which nobody was told yet.
    pub(crate) untold: bool,
    /// A segment was used up.
    used_up: bool,
}

impl Gets<'_> {
    /// Takes the next message, if there is one, as [`Queue::try_get`].
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn next(&mut self, buffer: &mut [u8; slot::INLINE]) -> Result<Next> {
        let Self { queue, arena, me, .. } = *self;
        if self.inside.is_none() {
            self.inside = Some(queue.inside(arena, me)?);
        }
        let low = arena.map.word(queue.body + LOW)?.load(Acquire);
        let returned = low & (TICKETS - 1) != 0 && self.take_returned(low, buffer)?;
        if returned || self.take_first(buffer)? {
            return Ok(Next::Message);
        }
        self.search(buffer)
    }

    /// The common case: what the head points at, or what follows the run, has been published. Where that is so no
    /// message before it was passed over, and the tail, which producers write, need not be read.
    #[inline]
    fn take_first(&mut self, buffer: &mut [u8; slot::INLINE]) -> Result<bool> {
        let Self { queue, arena, .. } = *self;
        if self.segment.is_none_or(|segment| !segment.serves(self.run.end)) {
            self.advance()?;
            let head = arena.map.word(queue.body + HEAD)?.load(Acquire);
            self.run = head..head;
            self.segment = queue.find(arena, head)?;
        }
        let Some(segment) = self.segment else {
            return Ok(false);
        };
        let ticket = self.run.end;
        let slot = segment.slot(arena, ticket);
        if slot.look()? == Look::Full && self.take(&slot, buffer)? {
            self.run.end = ticket + 1;
            self.used_up |= ticket + 1 == segment.end();
            return Ok(true);
        }
        self.advance()?;
        Ok(false)
    }

    /// Looks for the first full slot from the head on.
    #[inline(never)]
    fn search(&mut self, buffer: &mut [u8; slot::INLINE]) -> Result<Next> {
        let Self { queue, arena, .. } = *self;
        'again: for _ in 0..MOST_TURNS {
            let head = queue.head(arena)?;
            // SYNC: SeqCst: a put that has returned advanced the tail before, so it is seen here.
            let tail = arena.map.word(queue.body + TAIL)?.load(SeqCst);
            if head >= tail {
                return queue.nothing(arena, tail);
            }
            let mut found = queue.find(arena, head)?;
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
                if !self.take(&slot, buffer)? {
                    continue 'again;
                }
                if ticket == head {
                    self.run = head..head + 1;
                    self.segment = Some(segment);
                }
                self.used_up |= ticket + 1 == segment.end();
                return Ok(Next::Message);
            }
            // Everything from head to tail is being written, or was taken while we looked.
            if queue.head(arena)? == head {
                return Ok(Next::Empty);
            }
        }
        Err(Error::Corrupt("a get goes round in circles"))
    }

    /// The message that was taken last.
    #[must_use]
    #[inline]
    pub fn received(&self) -> &Received {
        &self.received
    }

    /// Moves the head behind the run.
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<()> {
        let Self { queue, arena, .. } = *self;
        let run = std::mem::take(&mut self.run);
        self.segment = None;
        if run.is_empty() {
            return Ok(());
        }
        // All of the run has been taken, so these are as many steps of `head` at once.
        if arena
            .map
            .word(queue.body + HEAD)?
            .cas(run.start, run.end)
            .is_err()
        {
            queue.head(arena)?;
        }
        Ok(())
    }

    /// The same as a value of its own.
    fn got(&self, next: Next) -> Got {
        match next {
            Next::Message => Got::Message(self.received),
            Next::Empty => Got::Empty,
            Next::ShutDown => Got::ShutDown,
        }
    }

    /// Leaves the queue until the next get: before anything that enters a section.
    #[inline]
    pub fn pause(&mut self) {
        // What is not in the chain any more may be freed from here on.
        self.segment = None;
        self.inside = None;
    }

    /// Tells those who wait.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn end(mut self) -> Result<()> {
        self.tell()
    }

    #[inline]
    fn tell(&mut self) -> Result<()> {
        let Self { queue, arena, me, .. } = *self;
        self.advance()?;
        self.pause();
        if !std::mem::take(&mut self.untold) {
            return Ok(());
        }
        // One waiter is woken a put at most; whoever finds more than it takes wakes the next.
        let getters = queue.getters(arena);
        if arena.has_waiters(getters.at)?
            && queue.head(arena)? < arena.map.word(queue.body + TAIL)?.load(Acquire)
        {
            arena.wake_one(me, getters)?;
        }
        queue.call_putters(arena, me)?;
        if std::mem::take(&mut self.used_up) {
            queue.head(arena)?;
            queue.retire(arena, me)?;
        }
        Ok(())
    }
}

impl Drop for Gets<'_> {
    fn drop(&mut self) {
        // Who gave up in the middle has an error to tell already.
        let _ = self.tell();
    }
}

impl Queue {
    /// Takes the next message, if there is one. A small payload is copied into `buffer`. In a queue that is
    /// joined it is in the caller's hand from now on; its block stays the queue's if it may be redelivered.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn try_get(&self, arena: &Arena, me: &Member, buffer: &mut [u8; slot::INLINE]) -> Result<Got> {
        let mut gets = self.gets(arena, me);
        let next = gets.next(buffer)?;
        let got = gets.got(next);
        gets.end()?;
        Ok(got)
    }

    /// As [`Queue::try_get`] of a queue that is joined, for an item that may be given back.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn try_receive(&self, arena: &Arena, me: &Member, buffer: &mut [u8; slot::INLINE]) -> Result<Got> {
        let taking = match self.policy {
            None => Taking::Away,
            Some(_) => Taking::InHand { keeps: true },
        };
        let mut gets = self.taking(arena, me, taking);
        let next = gets.next(buffer)?;
        let got = gets.got(next);
        gets.end()?;
        Ok(got)
    }

    /// For several gets in a row.
    #[must_use]
    #[inline]
    pub fn gets<'a>(&'a self, arena: &'a Arena, me: &'a Member) -> Gets<'a> {
        let taking = match self.policy {
            None => Taking::Away,
            Some(policy) => Taking::InHand {
                keeps: policy.redeliver || policy.most_deliveries > 0,
            },
        };
        self.taking(arena, me, taking)
    }

    #[inline]
    fn taking<'a>(&'a self, arena: &'a Arena, me: &'a Member, taking: Taking) -> Gets<'a> {
        Gets {
            queue: self,
            arena,
            me,
            taking,
            received: Received::default(),
            inside: None,
            run: 0..0,
            segment: None,
            untold: false,
            used_up: false,
        }
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
        loop {
            let mut gets = self.taking(arena, me, Taking::Away);
            if gets.next(&mut buffer)? != Next::Message {
                return Ok(());
            }
            let received = *gets.received();
            gets.end()?;
            if received.block != 0 {
                arena.free(me, received.block)?;
            }
            self.tell_joiners(arena, me)?;
        }
    }

    /// Why there is nothing.
    pub(crate) fn nothing(&self, arena: &Arena, tail: u64) -> Result<Next> {
        if arena.map.word(self.body + SHUT)?.load(Acquire) == 0 {
            return Ok(Next::Empty);
        }
        let last = self.last(arena)?;
        let closed = last.serves(tail) && last.slot(arena, tail).look()? == Look::Closed;
        Ok(if closed { Next::ShutDown } else { Next::Empty })
    }
}
