//! Queues, by the ids that this isolate gave them.
//!
//! Message bytes cross through scratch areas that both sides see; numbers in, numbers out.

use crate::failure::{Result, fail, state};
use crate::isolate::{Area, Isolate, isolate};
use crate::received::{self, Received};
use napi::Env;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use polyproc_arena::object::Handle;
use polyproc_arena::spin;
use polyproc_channel::put::Puts;
use polyproc_channel::queue::Options;
use polyproc_channel::slot::INLINE;
use polyproc_channel::{Message, Next, Put, Queue};
use polyproc_channel::{envelope, number};

/// What a put returns.
const DONE: i32 = 0;
const FULL: i32 = 1;
const SHUT_DOWN: i32 = 2;
/// What a get says instead of the kind of a message.
pub const NOTHING: i32 = -1;
pub const ENDED: i32 = -2;
/// The message is to be fetched by `receive`.
pub const LARGE: i32 = -3;
/// It is a number.
pub const NUMBER: i32 = -4;

/// What a get says.
#[derive(Default)]
pub struct Taken {
    /// The kind of a message that stands in the receiving area now, or one of the above.
    pub kind: i32,
    /// Bytes of that message.
    pub len: u32,
    /// The number.
    pub number: f64,
}

impl Taken {
    /// There is none.
    pub fn none(why: i32) -> Self {
        Self {
            kind: why,
            ..Self::default()
        }
    }

    /// A message of which the first bytes stand in the receiving area.
    #[inline]
    fn small(kind: u8, bytes: &[u8]) -> Self {
        match number::read(kind, bytes) {
            Some(number) => Self {
                kind: NUMBER,
                number,
                len: 0,
            },
            None => Self {
                kind: i32::from(kind),
                len: bytes.len() as u32,
                number: 0.0,
            },
        }
    }

    /// A message that is taken: it is copied to the receiving area if it fits, and kept for `receive` else.
    pub fn of(isolate: &Isolate, message: &polyproc_channel::Received, area: Area) -> Result<Self> {
        if message.block == 0 {
            return Ok(Self::small(
                message.kind,
                inline_part(area, 0)?
                    .get(..message.len as usize)
                    .unwrap_or_default(),
            ));
        }
        Ok(match copied(isolate, message, area)? {
            Some(len) => Self {
                kind: i32::from(message.kind),
                len: len as u32,
                number: 0.0,
            },
            None => Self::none(LARGE),
        })
    }
}

fn outcome(put: Put) -> i32 {
    match put {
        Put::Done => DONE,
        Put::Full => FULL,
        Put::ShutDown => SHUT_DOWN,
    }
}

/// The bound on bytes: a quarter of the shared memory where `max_bytes` is below 0.
pub fn bytes_of(isolate: &crate::isolate::Isolate, max_bytes: f64) -> u64 {
    if max_bytes < 0.0 {
        isolate.arena.max_bytes() / 4
    } else {
        max_bytes as u64
    }
}

/// Makes a queue of a kind, or finds the one of that name; returns its id. A bound of 0 is none, and
/// `max_bytes` below 0 is a quarter of the shared memory.
#[napi]
pub fn queue_create(
    env: &Env,
    kind: u32,
    max_size: f64,
    max_bytes: f64,
    name: Option<String>,
) -> Result<u32> {
    let isolate = isolate(env)?;
    let (arena, me) = (isolate.arena, &isolate.me);
    let options = Options {
        most: max_size as u64,
        bytes: bytes_of(&isolate, max_bytes),
        name: name.as_deref(),
        ..Options::default()
    };
    let queue = Queue::create_kind(arena, me, kind as usize, &options);
    Ok(isolate.keep(queue.map_err(fail)?))
}

/// Opens the queue of a handle; returns its id.
#[napi]
pub fn queue_open(env: &Env, index: u32, generation: u32) -> Result<u32> {
    let isolate = isolate(env)?;
    let handle = Handle {
        index: u64::from(index),
        generation,
    };
    let queue = Queue::open(isolate.arena, &isolate.me, handle).map_err(fail)?;
    Ok(isolate.keep(queue))
}

/// Lets go of a queue.
#[napi]
pub fn queue_close(env: &Env, id: u32) -> Result<()> {
    let isolate = isolate(env)?;
    let queue = isolate.queue(id)?;
    isolate.queues.borrow_mut()[id as usize] = None;
    isolate.arena.close(&isolate.me, queue.handle).map_err(fail)
}

/// The handle of a queue: index and generation.
#[napi]
pub fn queue_handle(env: &Env, id: u32) -> Result<Vec<u32>> {
    let queue = isolate(env)?.queue(id)?;
    Ok(vec![queue.handle.index as u32, queue.handle.generation])
}

/// Its bound on items, 0: none.
#[napi]
pub fn queue_max_size(env: &Env, id: u32) -> Result<f64> {
    Ok(isolate(env)?.queue(id)?.most() as f64)
}

/// True when what waits in it takes as many bytes as it may.
#[napi]
pub fn queue_crowded(env: &Env, id: u32) -> Result<bool> {
    let isolate = isolate(env)?;
    isolate.queue(id)?.is_crowded(isolate.arena).map_err(fail)
}

/// Its name, if it has one.
#[napi]
pub fn queue_name(env: &Env, id: u32) -> Result<Option<String>> {
    let isolate = isolate(env)?;
    let queue = isolate.queue(id)?;
    polyproc_arena::names::text(isolate.arena, queue.handle.index).map_err(fail)
}

/// Puts the message in the first `length` bytes of a sending area. 0 done, 1 full, 2 shut down.
#[inline]
pub fn put(isolate: &Isolate, id: u32, kind: u8, area: u32, length: u32) -> Result<i32> {
    let queue = isolate.open_queue(id)?;
    let bytes = isolate.sent(area, length)?;
    one(isolate, &queue, kind, bytes).map(outcome)
}

/// Puts a number: as [`put`].
#[inline]
pub fn put_number(isolate: &Isolate, id: u32, value: f64) -> Result<i32> {
    let queue = isolate.open_queue(id)?;
    let message = number::Sealed::new(value);
    one(isolate, &queue, message.kind, message.bytes()).map(outcome)
}

/// Puts one message that has nothing beside its bytes.
#[inline]
fn one(isolate: &Isolate, queue: &Queue, kind: u8, bytes: &[u8]) -> Result<Put> {
    let mut puts = queue.puts(isolate.arena, &isolate.me);
    let put = put_plain(isolate, queue, &mut puts, kind, bytes)?;
    puts.end().map_err(fail)?;
    Ok(put)
}

#[inline]
pub fn put_plain(
    isolate: &Isolate,
    queue: &Queue,
    puts: &mut Puts<'_>,
    kind: u8,
    bytes: &[u8],
) -> Result<Put> {
    if bytes.len() <= INLINE {
        return puts.put(Message::Inline { kind, bytes }).map_err(fail);
    }
    put_block(isolate, queue, puts, kind, bytes, &[], &[])
}

/// The same for a message with large buffers or handles (pairs of index and generation) beside it.
#[napi]
pub fn queue_put_large(
    env: &Env,
    id: u32,
    kind: u8,
    area: u32,
    length: u32,
    blobs: Vec<Uint8Array>,
    handles: Vec<u32>,
) -> Result<i32> {
    let isolate = isolate(env)?;
    let queue = isolate.queue(id)?;
    let bytes = isolate.sent(area, length)?;
    let blobs: Vec<&[u8]> = blobs.iter().map(AsRef::as_ref).collect();
    put_large(&isolate, &queue, kind, bytes, &blobs, &pairs(&handles))
}

/// Puts a message that waited for room, from a copy of its own.
#[napi]
pub fn queue_put_bytes(
    env: &Env,
    id: u32,
    kind: u8,
    bytes: Uint8Array,
    blobs: Vec<Uint8Array>,
    handles: Vec<u32>,
) -> Result<i32> {
    let isolate = isolate(env)?;
    let queue = isolate.queue(id)?;
    if blobs.is_empty() && handles.is_empty() {
        return one(&isolate, &queue, kind, &bytes).map(outcome);
    }
    let blobs: Vec<&[u8]> = blobs.iter().map(AsRef::as_ref).collect();
    put_large(&isolate, &queue, kind, &bytes, &blobs, &pairs(&handles))
}

pub fn pairs(handles: &[u32]) -> Vec<Handle> {
    handles
        .chunks_exact(2)
        .map(|pair| Handle {
            index: u64::from(pair[0]),
            generation: pair[1],
        })
        .collect()
}

/// The kind of an object, by its handle.
#[napi]
pub fn object_kind(env: &Env, index: u32, generation: u32) -> Result<u32> {
    let isolate = isolate(env)?;
    let index = u64::from(index);
    let state = isolate.arena.object_state(index).ok();
    if state.is_none_or(|state| state.generation != generation) {
        return Err(fail(polyproc_arena::Error::Stale));
    }
    Ok(isolate.arena.object_kind(index).map_err(fail)? as u32)
}

fn put_large(
    isolate: &Isolate,
    queue: &Queue,
    kind: u8,
    bytes: &[u8],
    blobs: &[&[u8]],
    handles: &[Handle],
) -> Result<i32> {
    let mut puts = queue.puts(isolate.arena, &isolate.me);
    let put = put_block(isolate, queue, &mut puts, kind, bytes, blobs, handles)?;
    puts.end().map_err(fail)?;
    Ok(outcome(put))
}

#[inline(never)]
fn put_block(
    isolate: &Isolate,
    queue: &Queue,
    puts: &mut Puts<'_>,
    kind: u8,
    bytes: &[u8],
    blobs: &[&[u8]],
    handles: &[Handle],
) -> Result<Put> {
    puts.pause();
    // A full queue is asked before a megabyte is copied for nothing.
    if !queue.is_writable(isolate.arena, &isolate.me).map_err(fail)? {
        return Ok(Put::Full);
    }
    let sealed = envelope::seal(isolate.arena, &isolate.me, bytes, blobs, handles).map_err(fail)?;
    let message = Message::Block {
        kind,
        block: sealed.block,
        len: sealed.len,
        pins: !handles.is_empty(),
    };
    let put = puts.put(message);
    if !matches!(put, Ok(Put::Done)) {
        puts.pause();
        isolate.arena.free(&isolate.me, sealed.block).map_err(fail)?;
    }
    put.map_err(fail)
}

/// Takes the next message; a small one is copied to a receiving area.
#[inline]
pub fn get(isolate: &Isolate, id: u32, area: u32) -> Result<Taken> {
    let queue = isolate.open_queue(id)?;
    let area = isolate.receiving(area)?;
    let buffer = inline_part(area, 0)?;
    let mut gets = queue.gets(isolate.arena, &isolate.me);
    let next = gets.next(buffer).map_err(fail)?;
    match next {
        Next::Empty => return Ok(Taken::none(NOTHING)),
        Next::ShutDown => return Ok(Taken::none(ENDED)),
        Next::Message => {}
    }
    let message = *gets.received();
    gets.end().map_err(fail)?;
    Taken::of(isolate, &message, area)
}

/// Looks for something to get for some microseconds: 1 when it is there, 0 when not. Where such a look has not paid lately, others
/// may have the core instead: -1 when it is not there then.
#[inline]
pub fn glance(isolate: &Isolate, id: u32) -> Result<i32> {
    let queue = isolate.open_queue(id)?;
    let (arena, me) = (isolate.arena, &isolate.me);
    let found = spin::glance(arena, me, || queue.is_readable(arena));
    Ok(found.map_err(fail)?.map_or(-1, i32::from))
}

/// Where a get writes what fits into a slot.
#[inline]
pub fn inline_part<'a>(area: Area, start: usize) -> Result<&'a mut [u8; INLINE]> {
    if start + INLINE > area.len {
        return Err(state("the receiving area is too small"));
    }
    let at = area.at.wrapping_add(start).cast::<[u8; INLINE]>();
    // SAFETY: so many bytes of the area are there, JavaScript keeps it alive, and does not look at it while it calls us.
    Ok(unsafe { &mut *at })
}

/// Bytes of a message that stands in the area now; `None`: it is to be fetched by `receive`.
#[inline]
pub fn copied(isolate: &Isolate, message: &polyproc_channel::Received, area: Area) -> Result<Option<usize>> {
    if message.block == 0 {
        return Ok(Some(message.len as usize));
    }
    let len = received::copy_plain(isolate, message, area)?;
    if len.is_none() {
        received::keep(*message);
    }
    Ok(len)
}

/// Fetches the message that the last get announced.
#[napi]
pub fn receive(env: &Env) -> Result<Received<'_>> {
    received::fetch(env)
}

/// Messages in the queue.
#[napi]
pub fn queue_size(env: &Env, id: u32) -> Result<f64> {
    let isolate = isolate(env)?;
    Ok(isolate.queue(id)?.len(isolate.arena).map_err(fail)? as f64)
}

/// No more puts; those who wait are woken.
#[napi]
pub fn queue_shut_down(env: &Env, id: u32) -> Result<()> {
    let isolate = isolate(env)?;
    isolate
        .queue(id)?
        .shut_down(isolate.arena, &isolate.me)
        .map_err(fail)
}

/// Makes a queue whose first ticket is chosen: tests go near the wraps of its counters.
#[napi]
pub fn queue_create_at(env: &Env, max_size: f64, ticket: f64) -> Result<u32> {
    if !(1.0..281_474_976_710_655.0).contains(&ticket) {
        return Err(state("a ticket is 1 to 2^48 - 1"));
    }
    let isolate = isolate(env)?;
    let queue = Queue::create_at(isolate.arena, &isolate.me, max_size as u64, None, ticket as u64);
    Ok(isolate.keep(queue.map_err(fail)?))
}
