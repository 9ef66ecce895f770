//! The queue: first in, first out, many producers and consumers, unbounded or bounded.
//!
//! Body, 512 bytes, words that different sides write 128 bytes apart:
//!
//! ```text
//! +0    tail   ticket of the next put (a hint that anybody may advance)
//! +128  head   ticket of the next get (likewise; never goes back)
//! +256  low    version << 48 | lowest ticket behind the head that was given back, 0: none
//! +320  held   bytes in the blocks of messages, see `room` · +328 checked  when they were counted last
//! +384  first  oldest segment · +392 last  newest segment · +400 spare  segments to use again
//! +408  most   bound on items, 0: none · +416 shut  1 when a shutdown has begun, 2 when the rest is dropped
//! +424  mode … +472  of a queue that is joined: see `joinable`
//! +480  bytes  bound on bytes, 0: none
//! ```
//!
//! A put ([`crate::put`]) takes the ticket at `tail`, claims its slot, writes, publishes. A get
//! ([`crate::get`]) looks from `head` on for the first full slot; a slot that is being written is passed
//! over, for its put has not returned. When the last segment is used up a producer links another in the
//! queue's section; segments that are over are moved to the spares ([`crate::chain`]).
//!
//! # What a crash leaves
//! Before each operation the member notes queue and ticket in its own slot; recovery ([`crate::recover`])
//! looks at that one slot. See [`crate::slot`] for its states. A message given back lies behind the head,
//! so recovery sets `low` once the slot is full; getters look there first. If the recoverer dies between
//! the two, the next one finds the slot full and sets `low`. Linking and retiring a segment are one commit
//! each: a crash leaves it done or not begun.

use crate::joinable::{self, Policy};
use crate::segment;
use crate::slot::Look;
use polyproc_arena::blocks::{BODY_TAG, Side};
use polyproc_arena::error::{Error, Result};
use polyproc_arena::map::Offset;
use polyproc_arena::object::{self, Handle};
use polyproc_arena::primitive::Ordering::{Acquire, Relaxed, SeqCst};
use polyproc_arena::wait::List;
use polyproc_arena::{Arena, Member, member, names};

pub use crate::get::{Gets, Got, Next, Received};
pub use crate::joinable::Hand;
pub use crate::put::{Message, Put, Puts};
pub use crate::recover::QueueKind;

/// Index of the kind.
pub const KIND: usize = 1;
/// Index of the kind that users know as SimpleQueue: the same thing under another name.
pub const SIMPLE: usize = 3;
/// Index of the kind whose items are marked done.
pub const JOINABLE: usize = 4;
pub(crate) const BODY: u64 = 512;
pub(crate) const TAIL: Offset = 0;
pub(crate) const HEAD: Offset = 128;
pub(crate) const LOW: Offset = 256;
pub(crate) const FIRST: Offset = 384;
pub(crate) const LAST: Offset = 392;
pub(crate) const SPARE: Offset = 400;
const MOST: Offset = 408;
const BYTES: Offset = 480;
pub(crate) const SHUT: Offset = 416;
/// In `shut`: what is left, and what comes back, is dropped.
pub(crate) const DROPS: u64 = 2;

/// Ticket of the first put; anything above 0 does, for slots begin as "free(0)".
pub const FIRST_TICKET: u64 = 1;
/// Tickets have 48 bits.
pub(crate) const TICKETS: u64 = 1 << 48;
/// The first segment of a queue fills a block of this size.
const FIRST_SEGMENT: u64 = 4 << 10;

/// A put or a get that has had to begin again so often is going round in damaged memory.
pub(crate) const MOST_TURNS: u32 = 1 << 18;

/// A queue that this process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Its handle.
    pub handle: Handle,
    pub(crate) body: Offset,
    pub(crate) most: u64,
    pub(crate) bytes: u64,
    pub(crate) policy: Option<Policy>,
}

/// How a queue is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// Most items, 0: no bound.
    pub most: u64,
    /// Bytes of memory that waiting items may take before a put has to wait, 0: no bound.
    pub bytes: u64,
    /// The queue of that name is found, or made.
    pub name: Option<&'a str>,
    /// Ticket of the first put, 0: [`FIRST_TICKET`]. Tests go near the wraps of counters.
    pub ticket: u64,
    /// Its items are marked done: what becomes of those whose taker ends before.
    pub policy: Option<Policy>,
    /// Where items go that were delivered too often; kept alive by this queue.
    pub letters: Option<Handle>,
}

impl Queue {
    /// Makes a queue of at most `most` items (0: no bound), or finds the one of that name.
    ///
    /// # Errors
    /// `OutOfMemory`; `State` when the queue of that name has another bound.
    pub fn create(arena: &Arena, me: &Member, most: u64, name: Option<&str>) -> Result<Self> {
        let options = Options {
            most,
            name,
            ..Options::default()
        };
        Self::create_kind(arena, me, KIND, &options)
    }

    /// The same with the ticket of the first put chosen: tests go near the wraps of counters.
    ///
    /// # Errors
    /// As [`Queue::create`].
    pub fn create_at(arena: &Arena, me: &Member, most: u64, name: Option<&str>, ticket: u64) -> Result<Self> {
        let options = Options {
            most,
            name,
            ticket,
            ..Options::default()
        };
        Self::create_kind(arena, me, KIND, &options)
    }

    /// The same with all options for one of the kinds of queue: [`KIND`], [`SIMPLE`] or [`JOINABLE`],
    /// which needs a policy.
    ///
    /// # Errors
    /// `OutOfMemory`; `State` when the queue of that name was made with other options.
    pub fn create_kind(arena: &Arena, me: &Member, kind: usize, options: &Options<'_>) -> Result<Self> {
        let make = || {
            arena.create(me, kind, BODY, |index, body| {
                fill(arena, me, index, body, options)
            })
        };
        let (handle, made) = match options.name {
            None => (make()?, true),
            Some(name) => names::find_or_create(arena, me, kind, name, make)?,
        };
        let queue = Self::opened(arena, handle)?;
        if !made && let Some(difference) = queue.differs(arena, options)? {
            arena.close(me, handle)?;
            return Err(Error::State(format!(
                "the queue {:?} exists with {difference}",
                options.name.unwrap_or_default()
            )));
        }
        Ok(queue)
    }

    /// What an existing queue has that the options do not say.
    fn differs(&self, arena: &Arena, options: &Options<'_>) -> Result<Option<String>> {
        if self.most != options.most {
            return Ok(Some(format!("maxSize {}, not {}", self.most, options.most)));
        }
        if self.bytes != options.bytes {
            return Ok(Some(format!("maxBytes {}, not {}", self.bytes, options.bytes)));
        }
        if let (Some(is), Some(wanted)) = (self.policy, options.policy) {
            if is.redeliver != wanted.redeliver {
                return Ok(Some(format!(
                    "redeliver {}, not {}",
                    is.redeliver, wanted.redeliver
                )));
            }
            if is.most_deliveries != wanted.most_deliveries {
                let (is, wanted) = (is.most_deliveries, wanted.most_deliveries);
                return Ok(Some(format!("maxDeliveries {is}, not {wanted} (0: no limit)")));
            }
        }
        let letters = joinable::letters(arena, self.body)?;
        Ok((letters != options.letters).then(|| "another queue for dead letters".to_owned()))
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

    pub(crate) fn opened(arena: &Arena, handle: Handle) -> Result<Self> {
        let kind = arena.object_kind(handle.index)?;
        if !matches!(kind, KIND | SIMPLE | JOINABLE) {
            return Err(Error::Stale);
        }
        let body = arena.link(arena.layout.object(handle.index) + object::BODY)?;
        let most = arena.map.word(body + MOST)?.load(Relaxed);
        let bytes = arena.map.word(body + BYTES)?.load(Relaxed);
        arena.map.word(body + BODY - 8)?;
        let policy = if kind == JOINABLE {
            Some(Policy::read(arena, body)?)
        } else {
            None
        };
        Ok(Self {
            handle,
            body,
            most,
            bytes,
            policy,
        })
    }

    /// The bound on items, 0: none.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.most
    }

    /// What becomes of items that are not marked done, in a queue that is joined.
    #[must_use]
    pub fn policy(&self) -> Option<Policy> {
        self.policy
    }

    /// The bound on bytes, 0: none.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
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

    pub(crate) fn section(&self, arena: &Arena) -> Offset {
        arena.layout.object(self.handle.index) + object::SECTION
    }

    #[inline]
    pub(crate) fn note(&self, arena: &Arena, me: &Member, ticket: u64) -> Result<()> {
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
            return Ok(self.nothing(arena, tail)? == Next::ShutDown);
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

    /// Messages in the queue, those given back included. Exact when nobody is putting or getting; after a
    /// producer was killed in the middle of a put its place counts until those before it have been taken.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn len(&self, arena: &Arena) -> Result<u64> {
        let head = self.head(arena)?;
        let tail = arena.map.word(self.body + TAIL)?.load(Acquire);
        Ok(tail.saturating_sub(head) + self.returned(arena, head)?)
    }

    /// True when there is nothing to get.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn is_empty(&self, arena: &Arena) -> Result<bool> {
        Ok(self.len(arena)? == 0)
    }
}

/// Fills the body of a new queue.
fn fill(arena: &Arena, me: &Member, index: u64, body: Offset, options: &Options<'_>) -> Result<()> {
    let ticket = options.ticket.max(FIRST_TICKET);
    if let Some(policy) = options.policy {
        policy.write(arena, body)?;
        joinable::keep_letters(arena, me, index, body, options.letters)?;
    }
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
        (MOST, options.most),
        (BYTES, options.bytes),
        (FIRST, first),
        (LAST, first),
    ] {
        arena.map.word(body + offset)?.store(value, Relaxed);
    }
    arena.hand_over(first, Side::owned(me.name), Side::held(index, BODY_TAG))?;
    Ok(())
}
