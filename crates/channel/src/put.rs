//! Putting messages, and the end of that.
//!
//! # What a crash leaves
//! A claimed slot: recovery makes it a tombstone, or shows the message if it was whole. A shutdown that has
//! begun: recovery goes on with it.

use crate::get::Next;
use crate::inside::Inside;
use crate::queue::{MOST_TURNS, Queue, SHUT, TAIL, TICKETS};
use crate::slot::{self, HAS_BLOCK, HAS_PINS, Look, Slot};
use polyproc_arena::blocks::Side;
use polyproc_arena::error::{Error, Result};
use polyproc_arena::map::Offset;
use polyproc_arena::primitive::Ordering::{Acquire, SeqCst};
use polyproc_arena::{Arena, Member};

/// What a put sends.
#[derive(Debug, Clone, Copy)]
pub enum Message<'a> {
    /// Bytes that fit into a slot (at most [`slot::INLINE`]).
    Inline {
        /// How to read them; the sender's affair.
        kind: u8,
        /// The payload.
        bytes: &'a [u8],
    },
    /// A block that the sender owns; it is the queue's once the put has succeeded.
    Block {
        /// How to read it.
        kind: u8,
        /// The block.
        block: Offset,
        /// Bytes of payload in it.
        len: u32,
        /// It begins with a table of handles.
        pins: bool,
    },
    /// A block that another queue holds and passes on, whatever the bound. If the put fails it stays there.
    Passed {
        /// How to read it.
        kind: u8,
        /// The block.
        block: Offset,
        /// Bytes of payload in it.
        len: u32,
        /// Where it is.
        from: Side,
    },
}

/// What became of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The message is in the queue.
    Done,
    /// There is no room.
    Full,
    /// Nothing may be put any more.
    ShutDown,
}

/// Puts in a row. Those who wait for messages are told once, when this ends.
#[derive(Debug)]
pub struct Puts<'a> {
    queue: &'a Queue,
    arena: &'a Arena,
    me: &'a Member,
    inside: Option<Inside<'a>>,
    /// Something was put of which nobody was told yet.
    untold: bool,
}

impl Puts<'_> {
    /// Puts a message if there is room, as [`Queue::try_put`].
    ///
    /// # Errors
    /// As there.
    pub fn put(&mut self, message: Message<'_>) -> Result<Put> {
        let Self { queue, arena, me, .. } = *self;
        let tail = arena.map.word(queue.body + TAIL)?;
        let owner = me.name.slot();
        if matches!(message, Message::Inline { bytes, .. } if bytes.len() > slot::INLINE) {
            return Err(Error::State("a payload of this size needs a block".into()));
        }
        // What another queue passes on has no choice.
        let passed = matches!(message, Message::Passed { .. });
        let bounded = !passed && queue.is_tight();
        if !bounded && matches!(message, Message::Block { .. }) && queue.is_crowded(arena)? {
            return queue.refusal(arena);
        }
        for _ in 0..MOST_TURNS {
            if self.inside.is_none() {
                self.inside = Some(queue.inside(arena, me)?);
            }
            let ticket = tail.load(Acquire);
            if ticket >= TICKETS - 1 {
                return Err(Error::State(
                    "the queue has carried 2^48 messages; make a new one".into(),
                ));
            }
            let last = queue.last(arena)?;
            if ticket >= last.end() {
                if !passed && queue.is_crowded(arena)? {
                    return queue.refusal(arena);
                }
                self.pause();
                queue.grow(arena, me)?;
                continue;
            }
            if ticket < last.base {
                continue;
            }
            let slot = last.slot(arena, ticket);
            let seen = match slot.look()? {
                Look::Empty(seen) => seen,
                Look::Closed => return Ok(Put::ShutDown),
                // Claimed by another: its producer may be dead or slow, so help the tail along.
                Look::Writing(_) | Look::Full | Look::Reading(_) | Look::Over => {
                    let _ = tail.cas(ticket, ticket + 1);
                    continue;
                }
                Look::Other => continue,
            };
            if bounded && !(queue.has_room(arena, ticket)?) {
                if tail.load(SeqCst) == ticket {
                    return Ok(Put::Full);
                }
                continue;
            }
            queue.note(arena, me, ticket)?;
            if !slot.claim(seen, owner)? {
                continue;
            }
            let _ = tail.cas(ticket, ticket + 1);
            if let Err(error) = queue.write(arena, me, &slot, message) {
                slot.abandon(owner)?;
                self.pause();
                // While it was claimed it counted as not done.
                queue.tell_joiners(arena, me)?;
                return Err(error);
            }
            if !slot.publish(owner)? {
                return Err(Error::State(
                    "this process was taken for dead while it put a message".into(),
                ));
            }
            self.untold = true;
            return Ok(Put::Done);
        }
        Err(Error::Corrupt("a put goes round in circles"))
    }

    /// Leaves the queue until the next put: before anything that enters a section.
    #[inline]
    pub fn pause(&mut self) {
        self.inside = None;
    }

    /// Tells those who wait for messages.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn end(mut self) -> Result<()> {
        self.tell()
    }

    #[inline]
    fn tell(&mut self) -> Result<()> {
        self.pause();
        if !std::mem::take(&mut self.untold) {
            return Ok(());
        }
        let Self { queue, arena, me, .. } = *self;
        // One, for any number of messages: whoever takes one and leaves others wakes the next.
        let getters = queue.getters(arena);
        if arena.has_waiters(getters.at)? {
            arena.wake_one(me, getters)?;
        }
        if queue.most > 0 || queue.bytes > 0 {
            // Likewise: one who was told of room may leave some.
            queue.call_next_putter(arena, me)?;
        }
        Ok(())
    }
}

impl Drop for Puts<'_> {
    fn drop(&mut self) {
        // Who gave up in the middle has an error to tell already.
        let _ = self.tell();
    }
}

impl Queue {
    /// Puts a message if there is room.
    ///
    /// # Errors
    /// `OutOfMemory` when the queue cannot grow; `Corrupt`.
    pub fn try_put(&self, arena: &Arena, me: &Member, message: Message<'_>) -> Result<Put> {
        let mut puts = self.puts(arena, me);
        let put = puts.put(message)?;
        puts.end()?;
        Ok(put)
    }

    /// For several puts in a row.
    #[must_use]
    #[inline]
    pub fn puts<'a>(&'a self, arena: &'a Arena, me: &'a Member) -> Puts<'a> {
        Puts {
            queue: self,
            arena,
            me,
            inside: None,
            untold: false,
        }
    }

    /// Why there is no room.
    fn refusal(&self, arena: &Arena) -> Result<Put> {
        let shut = arena.map.word(self.body + SHUT)?.load(Acquire) != 0;
        let tail = self.tail(arena)?;
        Ok(if shut && self.nothing(arena, tail)? == Next::ShutDown {
            Put::ShutDown
        } else {
            Put::Full
        })
    }

    fn call_next_putter(&self, arena: &Arena, me: &Member) -> Result<()> {
        let putters = self.putters(arena);
        if arena.has_waiters(putters.at)? && self.is_writable(arena, me)? {
            arena.wake_one(me, putters)?;
        }
        Ok(())
    }

    /// Writes a message into a claimed slot. A block is handed to the slot last: once the slot has it, the
    /// message is whole.
    fn write(&self, arena: &Arena, me: &Member, slot: &Slot<'_>, message: Message<'_>) -> Result<()> {
        match message {
            Message::Inline { kind, bytes } => {
                slot.set_meta(bytes.len() as u64 | u64::from(kind) << 32, 0)?;
                arena.map.copy_in(slot.at + slot::PAYLOAD, bytes)
            }
            Message::Block {
                kind,
                block,
                len,
                pins,
            } => {
                let mine = Side::owned(me.name).with_pins(pins);
                self.write_block(arena, slot, u64::from(len) | u64::from(kind) << 32, block, mine)
            }
            Message::Passed {
                kind,
                block,
                len,
                from,
            } => self.write_block(arena, slot, u64::from(len) | u64::from(kind) << 32, block, from),
        }
    }

    fn write_block(
        &self,
        arena: &Arena,
        slot: &Slot<'_>,
        meta: u64,
        block: Offset,
        from: Side,
    ) -> Result<()> {
        let pins = from.pins();
        let flags = HAS_BLOCK | if pins { HAS_PINS } else { 0 };
        slot.set_meta(meta | flags, block)?;
        let its = Side::held(self.handle.index, slot.ticket).with_pins(pins);
        let size = arena.place(block)?.size;
        self.add_bytes(arena, size)?;
        if arena.hand_over(block, from, its)? {
            Ok(())
        } else {
            self.take_bytes_off(arena, size)?;
            Err(Error::Corrupt("a message's block is not its sender's"))
        }
    }

    /// No more puts; what is in the queue can still be taken. Wakes everybody.
    ///
    /// # Errors
    /// `OutOfMemory` when the closing slot needs a segment that cannot be had.
    pub fn shut_down(&self, arena: &Arena, me: &Member) -> Result<()> {
        // No ticket: recovery finds the shutdown begun and goes on with it.
        self.note(arena, me, 0)?;
        self.raise(arena, SHUT, 1)?;
        let tail = arena.map.word(self.body + TAIL)?;
        let mut inside = Some(self.inside(arena, me)?);
        let mut turns = 0;
        loop {
            turns += 1;
            if turns > MOST_TURNS {
                return Err(Error::Corrupt("a shutdown goes round in circles"));
            }
            let ticket = tail.load(Acquire);
            let last = self.last(arena)?;
            if ticket >= last.end() {
                drop(inside.take());
                self.grow(arena, me)?;
                inside = Some(self.inside(arena, me)?);
                continue;
            }
            if ticket < last.base {
                continue;
            }
            let slot = last.slot(arena, ticket);
            match slot.look()? {
                Look::Closed => break,
                Look::Empty(seen) => {
                    if slot.close(seen)? {
                        break;
                    }
                }
                Look::Other => {}
                _ => {
                    let _ = tail.cas(ticket, ticket + 1);
                }
            }
        }
        drop(inside);
        arena.wake_all(me, self.getters(arena))?;
        arena.wake_all(me, self.putters(arena))
    }

    /// Raises a word of the body that never goes back.
    pub(crate) fn raise(&self, arena: &Arena, offset: Offset, value: u64) -> Result<()> {
        let word = arena.map.word(self.body + offset)?;
        let mut seen = word.load(Acquire);
        while seen < value {
            // SYNC: SeqCst CAS: who sees the value sees what it is about.
            match word.cas(seen, value) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        Ok(())
    }
}
