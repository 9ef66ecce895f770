//! The queue: first in, first out, many producers and consumers, unbounded or bounded.
//!
//! Body, 512 bytes, words that different sides write 128 bytes apart:
//!
//! ```text
//! +0    tail   ticket of the next put (a hint that anybody may advance)
//! +128  head   ticket of the next get (likewise; never goes back)
//! +256  low    version << 48 | lowest ticket behind the head that was given back, 0: none
//! +384  first  oldest segment · +392 last  newest segment · +400 spare  segments to use again
//! +408  most   bound on items, 0: none · +416 shut  1 when a shutdown has begun
//! ```
//!
//! A put takes the ticket at `tail`, claims its slot, writes, publishes. A get looks from `head` on for
//! the first full slot; a slot that is being written is passed over, for its put has not returned. When
//! the last segment is used up a producer links another in the queue's section; when the first is over
//! a consumer moves it to the spares.
//!
//! # What a crash leaves
//! Before each operation the member notes queue and ticket in its own slot; recovery looks at that one
//! slot. See [`slot`] for its states. A message given back lies behind the head, so recovery sets `low`
//! once the slot is full; getters look there first. If the recoverer dies between the two, the next one
//! finds the slot full and sets `low`. Linking and retiring a segment are one commit each: a crash leaves
//! it done or not begun.

use crate::segment::{self, Segment};
use crate::slot::{self, Look, Slot};
use polyproc_arena::blocks::{BODY_TAG, Side};
use polyproc_arena::error::{Error, Result};
use polyproc_arena::map::Offset;
use polyproc_arena::object::{self, Handle, Kind};
use polyproc_arena::primitive::Ordering::{Acquire, Relaxed, SeqCst};
use polyproc_arena::wait::List;
use polyproc_arena::{Arena, Member, Name, member, names, recovery};

/// Index of the kind.
pub const KIND: usize = 1;
/// Index of the kind that users know as SimpleQueue: the same thing under another name.
pub const SIMPLE: usize = 3;
const BODY: u64 = 512;
const TAIL: Offset = 0;
const HEAD: Offset = 128;
const LOW: Offset = 256;
const FIRST: Offset = 384;
const LAST: Offset = 392;
const SPARE: Offset = 400;
const MOST: Offset = 408;
const SHUT: Offset = 416;

/// Ticket of the first put; anything above 0 does, for slots begin as "free(0)".
pub const FIRST_TICKET: u64 = 1;
/// Tickets have 48 bits.
const TICKETS: u64 = 1 << 48;
/// The first segment of a queue fills a block of this size.
const FIRST_SEGMENT: u64 = 4 << 10;
/// No segment is larger.
const LARGEST_SEGMENT: u64 = 128 << 10;

/// A queue has no more; a damaged chain must not be walked for ever.
const MOST_SEGMENTS: u32 = 1 << 24;
/// A put or a get that has had to begin again so often is going round in damaged memory.
const MOST_TURNS: u32 = 1 << 18;

const HAS_BLOCK: u64 = 1 << 40;
const HAS_PINS: u64 = 1 << 41;

/// A queue that this process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Its handle.
    pub handle: Handle,
    body: Offset,
    most: u64,
}

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

/// A message that has been taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// As the sender gave it.
    pub kind: u8,
    /// Bytes of payload.
    pub len: u32,
    /// The block with the payload, owned by the caller now; 0: the payload is in the caller's buffer.
    pub block: Offset,
    /// The block begins with a table of handles.
    pub pins: bool,
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

impl Queue {
    /// Makes a queue of at most `most` items (0: no bound), or finds the one of that name.
    ///
    /// # Errors
    /// `OutOfMemory`; `State` when the queue of that name has another bound.
    pub fn create(arena: &Arena, me: &Member, most: u64, name: Option<&str>) -> Result<Self> {
        Self::create_at(arena, me, most, name, FIRST_TICKET)
    }

    /// The same with the ticket of the first put chosen: tests go near the wraps of counters.
    ///
    /// # Errors
    /// As [`Queue::create`].
    pub fn create_at(arena: &Arena, me: &Member, most: u64, name: Option<&str>, ticket: u64) -> Result<Self> {
        Self::create_kind(arena, me, KIND, most, name, ticket)
    }

    /// The same for one of the kinds of queue: [`KIND`] or [`SIMPLE`].
    ///
    /// # Errors
    /// As [`Queue::create`].
    pub fn create_kind(
        arena: &Arena,
        me: &Member,
        kind: usize,
        most: u64,
        name: Option<&str>,
        ticket: u64,
    ) -> Result<Self> {
        let make = || {
            arena.create(me, kind, BODY, |index, body| {
                let first = arena.alloc(me, FIRST_SEGMENT)?;
                arena.zero(first, FIRST_SEGMENT)?;
                for (offset, value) in [
                    (segment::BASE, ticket),
                    (segment::LEN, segment::slots_in(FIRST_SEGMENT)),
                ] {
                    arena.map.word(first + offset)?.store(value, Relaxed);
                }
                for (offset, value) in [
                    (TAIL, ticket),
                    (HEAD, ticket),
                    (MOST, most),
                    (FIRST, first),
                    (LAST, first),
                ] {
                    arena.map.word(body + offset)?.store(value, Relaxed);
                }
                arena.hand_over(first, Side::owned(me.name), Side::held(index, BODY_TAG))?;
                Ok(())
            })
        };
        let (handle, made) = match name {
            None => (make()?, true),
            Some(name) => names::find_or_create(arena, me, kind, name, make)?,
        };
        let queue = Self::opened(arena, handle)?;
        if !made && queue.most != most {
            arena.close(me, handle)?;
            return Err(Error::State(format!(
                "the queue {:?} exists with maxSize {}, not {most}",
                name.unwrap_or_default(),
                queue.most
            )));
        }
        Ok(queue)
    }

    /// Takes hold of the queue that a handle stands for.
    ///
    /// # Errors
    /// `Stale` when it is gone or no queue.
    pub fn open(arena: &Arena, me: &Member, handle: Handle) -> Result<Self> {
        arena.open(me, handle)?;
        Self::opened(arena, handle).inspect_err(|_| {
            let _ = arena.close(me, handle);
        })
    }

    /// The queue of a handle that something else keeps alive for as long as it is used.
    ///
    /// # Errors
    /// `Stale` when it is no queue.
    pub fn borrowed(arena: &Arena, handle: Handle) -> Result<Self> {
        Self::opened(arena, handle)
    }

    fn opened(arena: &Arena, handle: Handle) -> Result<Self> {
        if !matches!(arena.object_kind(handle.index)?, KIND | SIMPLE) {
            return Err(Error::Stale);
        }
        let body = arena.link(arena.layout.object(handle.index) + object::BODY)?;
        let most = arena.map.word(body + MOST)?.load(Relaxed);
        arena.map.word(body + BODY - 8)?;
        Ok(Self { handle, body, most })
    }

    /// The bound on items, 0: none.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.most
    }

    /// Those who wait for a message.
    #[must_use]
    pub fn getters(&self, arena: &Arena) -> List {
        let at = arena.layout.object(self.handle.index);
        List {
            at: at + object::LIST_A,
            section: at + object::SECTION,
        }
    }

    /// Those who wait for room.
    #[must_use]
    pub fn putters(&self, arena: &Arena) -> List {
        let at = arena.layout.object(self.handle.index);
        List {
            at: at + object::LIST_B,
            section: at + object::SECTION,
        }
    }

    fn section(&self, arena: &Arena) -> Offset {
        arena.layout.object(self.handle.index) + object::SECTION
    }

    #[inline]
    fn note(&self, arena: &Arena, me: &Member, ticket: u64) -> Result<()> {
        // SYNC: Relaxed: read only after the kernel has marked this process dead.
        arena
            .map
            .word(me.slot + member::OP_OBJECT)?
            .store(self.handle.word(), Relaxed);
        arena
            .map
            .word(me.slot + member::OP_TICKET)?
            .store(ticket, Relaxed);
        Ok(())
    }

    /// Puts a message if there is room.
    ///
    /// # Errors
    /// `OutOfMemory` when the queue cannot grow; `Corrupt`.
    pub fn try_put(&self, arena: &Arena, me: &Member, message: Message<'_>) -> Result<Put> {
        let tail = arena.map.word(self.body + TAIL)?;
        let owner = me.name.slot();
        if matches!(message, Message::Inline { bytes, .. } if bytes.len() > slot::INLINE) {
            return Err(Error::State("a payload of this size needs a block".into()));
        }
        for _ in 0..MOST_TURNS {
            let ticket = tail.load(Acquire);
            if ticket >= TICKETS - 1 {
                return Err(Error::State(
                    "the queue has carried 2^48 messages; make a new one".into(),
                ));
            }
            let last = Segment::read(arena, arena.link(self.body + LAST)?)?;
            if ticket >= last.end() {
                self.grow(arena, me)?;
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
            // The head only grows, so a check that passes here stays true until the claim.
            if self.most > 0 && ticket - self.head(arena)?.min(ticket) >= self.most {
                if tail.load(SeqCst) == ticket {
                    return Ok(Put::Full);
                }
                continue;
            }
            self.note(arena, me, ticket)?;
            if !slot.claim(seen, owner)? {
                continue;
            }
            let _ = tail.cas(ticket, ticket + 1);
            if let Err(error) = self.write(arena, me, &slot, message) {
                slot.abandon(owner)?;
                return Err(error);
            }
            if !slot.publish(owner)? {
                return Err(Error::State(
                    "this process was taken for dead while it put a message".into(),
                ));
            }
            let getters = self.getters(arena);
            if arena.has_waiters(getters.at)? {
                arena.wake_one(me, getters)?;
            }
            return Ok(Put::Done);
        }
        Err(Error::Corrupt("a put goes round in circles"))
    }

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
                let flags = HAS_BLOCK | if pins { HAS_PINS } else { 0 };
                slot.set_meta(u64::from(len) | u64::from(kind) << 32 | flags, block)?;
                let mine = Side::owned(me.name).with_pins(pins);
                let its = Side::held(self.handle.index, slot.ticket).with_pins(pins);
                if arena.hand_over(block, mine, its)? {
                    Ok(())
                } else {
                    Err(Error::Corrupt("a message's block is not its sender's"))
                }
            }
        }
    }

    /// Takes the next message, if there is one. A small payload is copied into `buffer`.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn try_get(&self, arena: &Arena, me: &Member, buffer: &mut [u8; slot::INLINE]) -> Result<Got> {
        let low = arena.map.word(self.body + LOW)?.load(Acquire);
        if low & (TICKETS - 1) != 0
            && let Some(received) = self.take_returned(arena, me, low, buffer)?
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
                    found = segment.after(arena)?;
                }
                let Some(segment) = found.filter(|segment| segment.serves(ticket)) else {
                    // Segments changed under us: the head has moved on.
                    continue 'again;
                };
                let slot = segment.slot(arena, ticket);
                if slot.look()? != Look::Full {
                    continue;
                }
                if let Some(received) = self.take(arena, me, &slot, buffer)? {
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

    fn nothing(&self, arena: &Arena, tail: u64) -> Result<Got> {
        if arena.map.word(self.body + SHUT)?.load(Acquire) == 0 {
            return Ok(Got::Empty);
        }
        let last = Segment::read(arena, arena.link(self.body + LAST)?)?;
        let closed = last.serves(tail) && last.slot(arena, tail).look()? == Look::Closed;
        Ok(if closed { Got::ShutDown } else { Got::Empty })
    }

    fn take(
        &self,
        arena: &Arena,
        me: &Member,
        slot: &Slot<'_>,
        buffer: &mut [u8; slot::INLINE],
    ) -> Result<Option<Received>> {
        self.note(arena, me, slot.ticket)?;
        if !slot.take(me.name.slot())? {
            return Ok(None);
        }
        let (meta, block) = slot.meta()?;
        let mut received = Received {
            kind: (meta >> 32) as u8,
            len: meta as u32,
            block: 0,
            pins: false,
        };
        if meta & HAS_BLOCK == 0 {
            let len = (received.len as usize).min(slot::INLINE);
            received.len = len as u32;
            arena.map.copy_out(slot.at + slot::PAYLOAD, &mut buffer[..len])?;
        } else {
            let pins = meta & HAS_PINS != 0;
            let its = Side::held(self.handle.index, slot.ticket).with_pins(pins);
            let mine = Side::owned(me.name).with_pins(pins);
            if u64::from(received.len) > arena.place(block)?.size || !arena.hand_over(block, its, mine)? {
                slot.release(me.name.slot())?;
                return Err(Error::Corrupt("a message's block is not the queue's"));
            }
            received.block = block;
            received.pins = pins;
        }
        slot.release(me.name.slot())?;
        let head = self.head(arena)?;
        // One waiter is woken a put at most; whoever finds more than it takes wakes the next.
        let getters = self.getters(arena);
        if arena.has_waiters(getters.at)? && head < arena.map.word(self.body + TAIL)?.load(Acquire) {
            arena.wake_one(me, getters)?;
        }
        if self.most > 0 {
            let putters = self.putters(arena);
            if arena.has_waiters(putters.at)? {
                arena.wake_one(me, putters)?;
            }
        }
        Ok(Some(received))
    }

    /// Looks behind the head for messages that dead consumers had in hand.
    fn take_returned(
        &self,
        arena: &Arena,
        me: &Member,
        low: u64,
        buffer: &mut [u8; slot::INLINE],
    ) -> Result<Option<Received>> {
        let head = arena.map.word(self.body + HEAD)?.load(Acquire);
        let mut ticket = low & (TICKETS - 1);
        let mut found = self.find(arena, ticket)?;
        if found.is_none() {
            // The segment is gone, so all its slots are over.
            ticket = Segment::read(arena, arena.link(self.body + FIRST)?)?.base;
            found = self.find(arena, ticket)?;
        }
        while ticket < head {
            let Some(segment) = found else { break };
            if !segment.serves(ticket) {
                found = segment.after(arena)?;
                continue;
            }
            let slot = segment.slot(arena, ticket);
            if slot.look()? == Look::Full
                && let Some(received) = self.take(arena, me, &slot, buffer)?
            {
                return Ok(Some(received));
            }
            ticket += 1;
        }
        // Nothing is left there, unless recovery has just given back more: then the version differs.
        let _ = arena.map.word(self.body + LOW)?.cas(low, bump(low, 0));
        Ok(None)
    }

    /// Lets getters look for a message at `ticket` behind the head.
    fn lower(&self, arena: &Arena, ticket: u64) -> Result<()> {
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

    /// The segment that serves a ticket, walking from the first. `None` also when segments are moved
    /// meanwhile.
    fn find(&self, arena: &Arena, ticket: u64) -> Result<Option<Segment>> {
        let mut found = Some(Segment::read(arena, arena.link(self.body + FIRST)?)?);
        while let Some(segment) = found {
            if segment.serves(ticket) {
                return Ok(found);
            }
            if ticket < segment.base {
                return Ok(None);
            }
            found = segment.after(arena)?;
        }
        Ok(None)
    }

    /// The head, moved past all slots that are over or taken.
    fn head(&self, arena: &Arena) -> Result<u64> {
        let word = arena.map.word(self.body + HEAD)?;
        let mut head = word.load(Acquire);
        let tail = arena.map.word(self.body + TAIL)?.load(Acquire);
        if head >= tail {
            return Ok(head);
        }
        let Some(mut segment) = self.find(arena, head)? else {
            return Ok(word.load(Acquire));
        };
        while head < tail {
            if head >= segment.end() {
                let Some(next) = segment.after(arena)? else {
                    break;
                };
                segment = next;
            }
            if !segment.serves(head) {
                break;
            }
            match segment.slot(arena, head).look()? {
                Look::Over | Look::Reading(_) => {}
                _ => break,
            }
            match word.cas(head, head + 1) {
                Ok(_) => head += 1,
                Err(now) => {
                    head = now;
                    if !segment.serves(head) && head < segment.base {
                        break;
                    }
                }
            }
        }
        Ok(word.load(Acquire))
    }

    /// Links another segment behind the last. In the section, so that exactly one is linked.
    fn grow(&self, arena: &Arena, me: &Member) -> Result<()> {
        let guard = arena.enter(me, self.section(arena))?;
        let last = Segment::read(arena, arena.link(self.body + LAST)?)?;
        if arena.map.word(self.body + TAIL)?.load(Acquire) < last.end() {
            return Ok(());
        }
        let spare = arena.link(self.body + SPARE)?;
        let next = if spare == 0 {
            let bytes = ((last.len + 1) * slot::SIZE * 2).min(LARGEST_SEGMENT);
            let block = arena.alloc(me, bytes)?;
            arena.zero(block, bytes)?;
            arena
                .map
                .word(block + segment::LEN)?
                .store(segment::slots_in(bytes), Relaxed);
            block
        } else {
            spare
        };
        let mut writes = vec![(next + segment::BASE, last.end())];
        if spare == 0 {
            let side = arena.place(next)?.side;
            writes.push((side, Side::held(self.handle.index, BODY_TAG).pack()));
        } else {
            writes.push((self.body + SPARE, arena.link(spare + segment::NEXT)?));
        }
        writes.extend([
            (next + segment::NEXT, 0),
            (last.at + segment::NEXT, next),
            (self.body + LAST, next),
        ]);
        guard.commit(&writes)
    }

    /// Moves segments that are over from the front to the spares.
    fn retire(&self, arena: &Arena, me: &Member) -> Result<()> {
        let guard = arena.enter(me, self.section(arena))?;
        loop {
            let first = Segment::read(arena, arena.link(self.body + FIRST)?)?;
            let last = arena.link(self.body + LAST)?;
            let head = arena.map.word(self.body + HEAD)?.load(Acquire);
            if first.at == last || head < first.end() || !first.is_over(arena)? {
                return Ok(());
            }
            let next = first.next(arena)?;
            let spare = arena.link(self.body + SPARE)?;
            guard.commit(&[
                (self.body + FIRST, next),
                (first.at + segment::NEXT, spare),
                (self.body + SPARE, first.at),
            ])?;
        }
    }

    /// True when a get would find a message or the end: what a getter waits for. It may be somebody
    /// else's a moment later.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn is_readable(&self, arena: &Arena) -> Result<bool> {
        if arena.map.word(self.body + LOW)?.load(Acquire) & (TICKETS - 1) != 0 {
            return Ok(true);
        }
        let head = arena.map.word(self.body + HEAD)?.load(Acquire);
        let tail = arena.map.word(self.body + TAIL)?.load(SeqCst);
        if head >= tail {
            return Ok(self.nothing(arena, tail)? == Got::ShutDown);
        }
        // The common case: the first message has been published.
        let first = self.find(arena, head)?;
        if first.is_some_and(|s| s.slot(arena, head).look().is_ok_and(|look| look == Look::Full)) {
            return Ok(true);
        }
        let mut found = first;
        for ticket in head..tail {
            if !found.is_some_and(|segment| segment.serves(ticket)) {
                found = self.find(arena, ticket)?;
            }
            match found {
                Some(segment) if segment.slot(arena, ticket).look()? == Look::Full => return Ok(true),
                Some(_) => {}
                None => return Ok(false),
            }
        }
        Ok(false)
    }

    /// True when a put would find room or the end: what a putter waits for.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn is_writable(&self, arena: &Arena) -> Result<bool> {
        if self.most == 0 || arena.map.word(self.body + SHUT)?.load(Acquire) != 0 {
            return Ok(true);
        }
        let head = self.head(arena)?;
        let tail = arena.map.word(self.body + TAIL)?.load(SeqCst);
        Ok(tail.saturating_sub(head) < self.most)
    }

    /// Messages in the queue, those given back included. Exact when nobody is putting or getting; after a
    /// producer was killed in the middle of a put its place counts until those before it have been taken.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn len(&self, arena: &Arena) -> Result<u64> {
        let head = self.head(arena)?;
        let tail = arena.map.word(self.body + TAIL)?.load(Acquire);
        let mut len = tail.saturating_sub(head);
        let low = arena.map.word(self.body + LOW)?.load(Acquire) & (TICKETS - 1);
        if low != 0 {
            let mut found = Some(Segment::read(arena, arena.link(self.body + FIRST)?)?);
            while let Some(segment) = found {
                for ticket in segment.base.max(low)..segment.end().min(head) {
                    len += u64::from(segment.slot(arena, ticket).look()? == Look::Full);
                }
                found = segment.after(arena)?;
            }
        }
        Ok(len)
    }

    /// True when there is nothing to get.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn is_empty(&self, arena: &Arena) -> Result<bool> {
        Ok(self.len(arena)? == 0)
    }

    /// No more puts; what is in the queue can still be taken. Wakes everybody.
    ///
    /// # Errors
    /// `OutOfMemory` when the closing slot needs a segment that cannot be had.
    pub fn shut_down(&self, arena: &Arena, me: &Member) -> Result<()> {
        // No ticket: recovery finds the shutdown begun and goes on with it.
        self.note(arena, me, 0)?;
        arena.map.word(self.body + SHUT)?.swap(1, SeqCst);
        let tail = arena.map.word(self.body + TAIL)?;
        let mut turns = 0;
        loop {
            turns += 1;
            if turns > MOST_TURNS {
                return Err(Error::Corrupt("a shutdown goes round in circles"));
            }
            let ticket = tail.load(Acquire);
            let last = Segment::read(arena, arena.link(self.body + LAST)?)?;
            if ticket >= last.end() {
                self.grow(arena, me)?;
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
        arena.wake_all(me, self.getters(arena))?;
        arena.wake_all(me, self.putters(arena))
    }
}

fn bump(low: u64, ticket: u64) -> u64 {
    (low >> 48).wrapping_add(1) << 48 | ticket
}

/// How queues are destroyed and recovered.
#[derive(Debug, Clone, Copy)]
pub struct QueueKind;

impl Kind for QueueKind {
    fn destroy(&self, arena: &Arena, me: &Member, index: u64) -> Result<()> {
        let body = arena.link(arena.layout.object(index) + object::BODY)?;
        if body == 0 || arena.side(body)? != Side::held(index, BODY_TAG) {
            return Ok(());
        }
        for list in [FIRST, SPARE] {
            for _ in 0..MOST_SEGMENTS {
                let at = arena.link(body + list)?;
                if at == 0 {
                    break;
                }
                if arena.side(at).ok() != Some(Side::held(index, BODY_TAG)) {
                    // Its maker was killed before it gave the queue its first segment: that was the
                    // maker's own, and may be anybody's by now.
                    break;
                }
                let segment = Segment::read(arena, at)?;
                segment.verify(arena, index)?;
                if list == FIRST {
                    empty(arena, me, index, &segment)?;
                }
                let guard = arena.enter(me, arena.layout.object(index) + object::SECTION)?;
                guard.commit(&[
                    (body + list, segment.next(arena)?),
                    (arena.place(at)?.side, Side::owned(me.name).pack()),
                ])?;
                drop(guard);
                arena.free(me, at)?;
            }
        }
        Ok(())
    }

    fn recover(&self, arena: &Arena, me: &Member, dead: Name, index: u64, ticket: u64) -> Result<()> {
        let at = arena.layout.object(index);
        let guard = arena.enter(me, at + object::SECTION)?;
        let body = arena.link(at + object::BODY)?;
        if body == 0
            || arena.side(body).ok() != Some(Side::held(index, BODY_TAG))
            || !recovery::is_ended(arena, dead)
        {
            return Ok(());
        }
        let generation = arena.object_state(index)?.generation;
        let queue = Queue {
            handle: Handle { index, generation },
            body,
            most: 0,
        };
        queue.settle(arena, dead, ticket)?;
        let shut = arena.map.word(body + SHUT)?.load(Acquire) != 0;
        drop(guard);
        // Half a shutdown would keep putters and getters waiting for the rest of it. Another recoverer may
        // have let go of the queue for the dead by now: it is held meanwhile.
        if shut && arena.open(me, queue.handle).is_ok() {
            // If there is no memory for the closing slot, it stays open, as it would have for the dead.
            let _ = queue.shut_down(arena, me);
            arena.close(me, queue.handle)?;
        }
        Ok(())
    }
}

impl Queue {
    /// Puts right what the dead left in the slot of `ticket`. In the section.
    fn settle(&self, arena: &Arena, dead: Name, ticket: u64) -> Result<()> {
        let Some(segment) = self.find(arena, ticket)? else {
            return Ok(());
        };
        let slot = segment.slot(arena, ticket);
        let look = slot.look()?;
        let (meta, block) = slot.meta()?;
        let pins = meta & HAS_PINS != 0;
        let its = Side::held(self.handle.index, ticket).with_pins(pins);
        let deads = Side::owned(dead).with_pins(pins);
        // Each step is a CAS from a value that names the dead, and not an entry in the section's log:
        // others take the message the moment that the slot is full, and a log that is applied again after
        // a second death would give it out once more. Whoever takes over begins at the slot's new state.
        let move_block = |from: Side, to: Side| -> Result<()> {
            if meta & HAS_BLOCK != 0 && arena.place(block).is_ok() {
                arena.hand_over(block, from, to)?;
            }
            Ok(())
        };
        match look {
            Look::Writing(owner) if owner == dead.slot() => {
                move_block(its, deads)?;
                slot.abandon(owner)?;
            }
            Look::Reading(owner) if owner == dead.slot() => {
                move_block(deads, its)?;
                slot.give_back(owner)?;
                self.lower(arena, ticket)?;
            }
            // Published by the dead, or given back by a recoverer that came no further.
            Look::Full => self.lower(arena, ticket)?,
            _ => {}
        }
        Ok(())
    }
}

/// Frees the blocks of the messages in a segment of a dying queue.
fn empty(arena: &Arena, me: &Member, index: u64, segment: &Segment) -> Result<()> {
    for ticket in segment.base..segment.end() {
        let slot = segment.slot(arena, ticket);
        if slot.look()? != Look::Full {
            continue;
        }
        let (meta, block) = slot.meta()?;
        if meta & HAS_BLOCK == 0 {
            continue;
        }
        let pins = meta & HAS_PINS != 0;
        let its = Side::held(index, ticket).with_pins(pins);
        if arena
            .hand_over(block, its, Side::owned(me.name).with_pins(pins))
            .unwrap_or(false)
        {
            arena.free(me, block)?;
        }
    }
    Ok(())
}
