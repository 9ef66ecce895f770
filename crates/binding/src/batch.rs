//! Several messages in one call: what `putMany` and `getMany` of queues cross over to native code by.
//!
//! They stand one behind the other in a scratch area, each behind a head of its own:
//!
//! ```text
//! 4 bytes  length · 4 bytes  kind
//! 8 bytes  ticket · 8 bytes  place of the slot     only where items of a queue that is joined are taken; both are doubles
//! message
//! ```
//!
//! # What a crash leaves
//! What one that is killed has put by then is there, and the rest is not; what it has taken by then is gone with it. Of the one
//! message that it is at see `polyproc_channel`.

use crate::failure::{Result, fail, state};
use crate::isolate::{Area, Isolate, isolate};
use crate::joinable_queue;
use crate::queue::{ENDED, NOTHING, copied, inline_part, put_plain};
use crate::received;
use napi::Env;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use polyproc_channel::slot::INLINE;
use polyproc_channel::{Next, Put, Queue};

/// Added to a count: another message is to be fetched by `receive`.
const TWO_32: f64 = 4_294_967_296.0;
/// Length and kind.
const FRAME: usize = 8;
/// Ticket and place of the slot.
const HAND: usize = 16;

/// Puts messages that stand one behind the other, each behind 4 bytes for its length and 4 for its kind, as many as
/// there is room for: how many those are; when it is none, 0 full, -1 shut down. What fails throws if it is the first:
/// else whoever puts the rest is told.
pub fn put_many(isolate: &Isolate, queue: &Queue, mut frames: &[u8]) -> Result<i32> {
    let mut puts = queue.puts(isolate.arena, &isolate.me);
    let mut count = 0;
    let put = loop {
        let Some((head, rest)) = frames.split_first_chunk::<FRAME>() else {
            break Ok(Put::Done);
        };
        let (length, kind) = frame(head);
        let Some((bytes, rest)) = rest.split_at_checked(length) else {
            break Err(state("a message is longer than its area"));
        };
        match put_plain(isolate, queue, &mut puts, kind, bytes) {
            Ok(Put::Done) => count += 1,
            other => break other,
        }
        frames = rest;
    };
    puts.end().map_err(fail)?;
    if count > 0 {
        return Ok(count);
    }
    Ok(match put? {
        Put::Done | Put::Full => 0,
        Put::ShutDown => -1,
    })
}

/// As [`put_many`], of what stands in a sending area from `start` to `end`.
pub fn put_area(isolate: &Isolate, id: u32, area: u32, start: u32, end: u32) -> Result<i32> {
    let queue = isolate.open_queue(id)?;
    let frames = isolate.sent(area, end)?.get(start as usize..);
    put_many(isolate, &queue, frames.unwrap_or_default())
}

/// Puts messages that waited for room, from a copy of their own: see [`put_many`].
#[napi]
pub fn queue_put_many(env: &Env, id: u32, frames: Uint8Array) -> Result<i32> {
    let isolate = isolate(env)?;
    put_many(&isolate, &isolate.queue(id)?, &frames)
}

fn frame(head: &[u8; FRAME]) -> (usize, u8) {
    let [a, b, c, d, kind, ..] = *head;
    (u32::from_le_bytes([a, b, c, d]) as usize, kind)
}

/// Takes up to `max` messages that are there. They are copied to a receiving area as [`put_many`] reads them; in a queue that is
/// joined, ticket and place of the slot, 8 bytes each, stand before the bytes. The result is how many these are, and 2^32
/// more if another is to be fetched by `receive`. Else -1 nothing, -2 ended.
pub fn get_many(isolate: &Isolate, id: u32, area: u32, max: u32) -> Result<f64> {
    let queue = isolate.open_queue(id)?;
    let area = isolate.receiving(area)?;
    let head = FRAME + if queue.policy().is_some() { HAND } else { 0 };
    let mut gets = queue.gets(isolate.arena, &isolate.me);
    let (mut at, mut count, mut is_large) = (0, 0, false);
    let last = loop {
        if count == max || is_large || at + head + INLINE > area.len {
            break Ok(Next::Empty);
        }
        let next = gets.next(inline_part(area, at + head)?).map_err(fail);
        if !matches!(next, Ok(Next::Message)) {
            break next;
        }
        let message = *gets.received();
        if message.block != 0 {
            gets.pause();
        }
        let rest = Area {
            at: area.at.wrapping_add(at + head),
            len: area.len - at - head,
        };
        let len = copied(isolate, &message, rest).unwrap_or_else(|_| {
            // It is taken: whoever fetches it is told what is wrong with it.
            received::keep(message);
            None
        });
        if let Some(hand) = message.hand {
            joinable_queue::remember(&hand);
        }
        let Some(len) = len else {
            is_large = true;
            continue;
        };
        let mut words = [len as u64 | u64::from(message.kind) << 32, 0, 0];
        if let Some(hand) = message.hand {
            words[1] = (hand.ticket as f64).to_bits();
            words[2] = (hand.slot as f64).to_bits();
        }
        // SAFETY: so many bytes were left before the message; the words are our own.
        unsafe {
            std::ptr::copy_nonoverlapping(words.as_ptr().cast::<u8>(), area.at.wrapping_add(at), head);
        };
        at += head + len;
        count += 1;
    };
    gets.end().map_err(fail)?;
    if is_large {
        return Ok(f64::from(count) + TWO_32);
    }
    if count > 0 {
        // An end, or a failure, is met by the next one.
        return Ok(f64::from(count));
    }
    Ok(match last? {
        Next::ShutDown => f64::from(ENDED),
        _ => f64::from(NOTHING),
    })
}
