//! Messages that came in a block: copied to a receiving area, or shown to JavaScript where they lie.

use crate::failure::{Result, fail, node, state};
use crate::isolate::{Area, Isolate, existing, isolate};
use napi::bindgen_prelude::*;
use napi::sys;
use napi_derive::napi;
use polyproc_channel::{Received as Message, envelope};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

thread_local! {
    static ANNOUNCED: RefCell<Option<Message>> = const { RefCell::new(None) };
}

/// A message that was too large for a receiving area, or has buffers or handles beside it.
#[napi(object)]
pub struct Received<'a> {
    pub kind: u8,
    /// The message proper.
    pub bytes: ArrayBuffer<'a>,
    /// Its large buffers, which lie in shared memory.
    pub blobs: Vec<ArrayBuffer<'a>>,
    /// The number of each buffer, for letting go of it before the engine does; none where they are copies.
    pub numbers: Vec<f64>,
    /// Its handles: index and generation each. Open them, then `release` the message.
    pub handles: Vec<u32>,
    /// For `release`.
    pub token: u32,
}

/// Copies a message without buffers and handles into an area and frees its block, if it is ours. `None` when it does
/// not fit or is not plain.
pub fn copy_plain(isolate: &Isolate, message: &Message, area: Area) -> Result<Option<usize>> {
    if message.pins {
        return Ok(None);
    }
    let parts = envelope::open(isolate.arena, message.block, false).map_err(fail)?;
    let (at, len) = parts.message;
    if !parts.buffers.is_empty() || len as usize > area.len {
        return Ok(None);
    }
    // SAFETY: the area is alive and at least that long.
    let target = unsafe { std::slice::from_raw_parts_mut(area.at, len as usize) };
    isolate.arena.map.copy_out(at, target).map_err(fail)?;
    if !is_kept(message) {
        isolate.arena.free(&isolate.me, message.block).map_err(fail)?;
    }
    Ok(Some(len as usize))
}

/// True when the block stays the queue's: the item may have to be delivered to somebody else.
fn is_kept(message: &Message) -> bool {
    message.hand.is_some_and(|hand| hand.keeps)
}

/// Remembers the message that the next `fetch` asks for.
pub fn keep(message: Message) {
    ANNOUNCED.with(|slot| *slot.borrow_mut() = Some(message));
}

/// A block that JavaScript sees, in one or more pieces; freed with the last of them.
struct Lent {
    block: u64,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(arena) = crate::family::joined() {
            let isolate = existing();
            arena.reclaim(isolate.as_deref().map(|isolate| &isolate.me), self.block);
        }
    }
}

thread_local! {
    /// What the buffers that JavaScript of this thread sees lie in, by a number that is never used twice. Node may say of
    /// a buffer that it could not make that it is gone, or may not: what is taken out here is let go of once.
    static SHOWN: RefCell<HashMap<u64, Arc<Lent>>> = RefCell::default();
    static LAST: Cell<u64> = const { Cell::new(0) };
}

unsafe extern "C" fn finalize(_: sys::napi_env, _: *mut c_void, number: *mut c_void) {
    let_go(number.addr() as u64);
}

/// Lets go of what the buffer of a number lies in, once.
pub fn let_go(number: u64) {
    // Taken out first: freeing it may come back here. A thread that has ended has let go of all.
    let lent = SHOWN.try_with(|shown| shown.borrow_mut().remove(&number));
    drop(lent);
}

/// Shows `len` bytes of a lent block as an ArrayBuffer, without a copy. Its number comes with it, 0 where it is empty.
fn show<'a>(
    env: &Env,
    isolate: &Isolate,
    lent: &Arc<Lent>,
    at: u64,
    len: u64,
) -> Result<(ArrayBuffer<'a>, u64)> {
    let mut value = ptr::null_mut();
    let mut number = 0;
    if len == 0 {
        let mut data = ptr::null_mut();
        // SAFETY: `env` is the current environment; both places are ours.
        let status = unsafe { sys::napi_create_arraybuffer(env.raw(), 0, &raw mut data, &raw mut value) };
        node(status, "napi_create_arraybuffer")?;
    } else {
        let data = isolate
            .arena
            .map
            .bytes(at, len)
            .map_err(fail)?
            .as_ptr()
            .cast::<c_void>();
        number = LAST.get() + 1;
        LAST.set(number);
        SHOWN.with(|shown| shown.borrow_mut().insert(number, lent.clone()));
        // SAFETY: the bytes stay mapped, and ours, until `finalize` gives the last piece back.
        let status = unsafe {
            sys::napi_create_external_arraybuffer(
                env.raw(),
                data,
                len as usize,
                Some(finalize),
                ptr::without_provenance_mut(number as usize),
                &raw mut value,
            )
        };
        if status != sys::Status::napi_ok {
            let_go(number);
            node(status, "napi_create_external_arraybuffer")?;
        }
    }
    // SAFETY: `value` is an ArrayBuffer that was made above.
    let buffer = unsafe { ArrayBuffer::from_napi_value(env.raw(), value) }
        .map_err(|error| state(format!("an ArrayBuffer cannot be shown: {error}")))?;
    Ok((buffer, number))
}

/// A copy of `len` bytes of the arena: the message proper is read once and then of no use.
fn copy<'a>(env: &Env, isolate: &Isolate, at: u64, len: u64) -> Result<ArrayBuffer<'a>> {
    let (mut data, mut value) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: `env` is the current environment; both places are ours.
    let status =
        unsafe { sys::napi_create_arraybuffer(env.raw(), len as usize, &raw mut data, &raw mut value) };
    node(status, "napi_create_arraybuffer")?;
    if len > 0 {
        // SAFETY: the buffer has just been made, `len` bytes long.
        let target = unsafe { std::slice::from_raw_parts_mut(data.cast::<u8>(), len as usize) };
        isolate.arena.map.copy_out(at, target).map_err(fail)?;
    }
    // SAFETY: `value` is an ArrayBuffer that was made above.
    unsafe { ArrayBuffer::from_napi_value(env.raw(), value) }
        .map_err(|error| state(format!("a message cannot be shown: {error}")))
}

/// Gives the engine an occasion to look for buffers that nobody uses any more. It looks when it makes the memory of a
/// buffer itself, and then collects the young generation alone (a quarter of a millisecond) once that has 32 MB of them.
/// Of memory that comes from outside it only keeps count, until at twice as much it collects the whole heap, which takes a
/// hundred times as long: by then nothing that was freed is still in a cache.
fn let_engine_collect(env: &Env) -> Result<()> {
    let (mut data, mut value) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: `env` is the current environment; both places are ours.
    let status = unsafe { sys::napi_create_arraybuffer(env.raw(), 1, &raw mut data, &raw mut value) };
    node(status, "napi_create_arraybuffer")
}

/// The announced message. The block stays until its buffers are collected and `release` was called.
pub fn fetch<'a>(env: &Env) -> Result<Received<'a>> {
    let isolate = isolate(env)?;
    let message = ANNOUNCED
        .with(|slot| slot.borrow_mut().take())
        .ok_or_else(|| state("no message was announced"))?;
    if is_kept(&message) {
        return copies(env, &isolate, &message);
    }
    unpack(env, &isolate, message.kind, message.block, message.pins)
}

/// Copies of everything in a block that stays the queue's: what its receiver changes must not come back.
fn copies<'a>(env: &Env, isolate: &Isolate, message: &Message) -> Result<Received<'a>> {
    let parts = envelope::open(isolate.arena, message.block, message.pins).map_err(fail)?;
    let mut handles = Vec::new();
    if message.pins {
        // Alive for as long as the item is in hand.
        for handle in isolate.arena.pinned(message.block).map_err(fail)? {
            handles.extend([handle.index as u32, handle.generation]);
        }
    }
    let bytes = copy(env, isolate, parts.message.0, parts.message.1)?;
    let mut blobs = Vec::with_capacity(parts.buffers.len());
    for (at, len) in parts.buffers {
        blobs.push(copy(env, isolate, at, len)?);
    }
    Ok(Received {
        kind: message.kind,
        bytes,
        blobs,
        numbers: Vec::new(),
        handles,
        token: NONE,
    })
}

/// Takes a block apart for JavaScript.
pub fn unpack<'a>(env: &Env, isolate: &Isolate, kind: u8, block: u64, pins: bool) -> Result<Received<'a>> {
    let arena = isolate.arena;
    let parts = match envelope::open(arena, block, pins) {
        Ok(parts) => parts,
        Err(error) => {
            arena.free(&isolate.me, block).map_err(fail)?;
            return Err(fail(error));
        }
    };
    let mut handles = Vec::new();
    if pins {
        for handle in arena.pinned(block).map_err(fail)? {
            // Held by this isolate from here on: JavaScript wraps it, or lets go of it.
            handles.extend([handle.index as u32, handle.generation]);
        }
    }
    if !arena.lend(&isolate.me, block, pins).map_err(fail)? {
        return Err(state("a message's block is not its receiver's"));
    }
    let lent = Arc::new(Lent { block });
    if !parts.buffers.is_empty() {
        let_engine_collect(env)?;
    }
    let bytes = copy(env, isolate, parts.message.0, parts.message.1)?;
    let mut blobs = Vec::with_capacity(parts.buffers.len());
    let mut numbers = Vec::with_capacity(parts.buffers.len());
    for (at, len) in parts.buffers {
        let (blob, number) = show(env, isolate, &lent, at, len)?;
        blobs.push(blob);
        numbers.push(number as f64);
    }
    let token = NEXT.get();
    NEXT.set((token + 1) % NONE);
    HELD.with(|held| held.borrow_mut().insert(token, lent));
    Ok(Received {
        kind,
        bytes,
        blobs,
        numbers,
        handles,
        token,
    })
}

/// Token of a message of which nothing is to be released.
const NONE: u32 = u32::MAX;

/// A copy of a message in a block that stays whose it is. There is nothing to release.
pub fn copied<'a>(env: &Env, isolate: &Isolate, block: u64, pins: bool) -> Result<Received<'a>> {
    let arena = isolate.arena;
    let parts = envelope::open(arena, block, pins).map_err(fail)?;
    let mut handles = Vec::new();
    if pins {
        for handle in arena.pinned(block).map_err(fail)? {
            handles.extend([handle.index as u32, handle.generation]);
        }
    }
    let mut blobs = Vec::with_capacity(parts.buffers.len());
    for (at, len) in parts.buffers {
        blobs.push(copy(env, isolate, at, len)?);
    }
    Ok(Received {
        kind: 0,
        bytes: copy(env, isolate, parts.message.0, parts.message.1)?,
        blobs,
        numbers: Vec::new(),
        handles,
        token: NONE,
    })
}

thread_local! {
    /// Messages whose handles JavaScript has not opened yet.
    static HELD: RefCell<HashMap<u32, Arc<Lent>>> = RefCell::default();
    static NEXT: Cell<u32> = const { Cell::new(0) };
}

/// Lets go of the handles that a fetched message carries; its buffers stay as long as they are used.
#[napi]
pub fn release(token: u32) {
    // Taken out first: freeing it may come back here.
    let lent = HELD.with(|held| held.borrow_mut().remove(&token));
    drop(lent);
}
