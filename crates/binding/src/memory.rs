//! Shared memory as ArrayBuffers: given out by [`memory_allocate`], received in messages.

use crate::failure::{Result, fail, node, state};
use crate::isolate::{Isolate, existing, isolate};
use crate::received;
use napi::Env;
use napi::bindgen_prelude::*;
use napi::sys;
use napi_derive::napi;
use polyproc_arena::object::Handle;
use polyproc_channel::memory::Memory;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr::{self, NonNull};

/// A piece of memory that JavaScript sees.
#[napi(object)]
pub struct Piece<'a> {
    pub buffer: ArrayBuffer<'a>,
    pub handle: Vec<u32>,
}

thread_local! {
    /// Pieces that JavaScript of this thread sees, by a number that is never used twice: an address may be, while the
    /// engine has yet to tell that the buffer before is gone.
    static SHOWN: RefCell<HashMap<u64, Handle>> = RefCell::default();
    static LAST: Cell<u64> = const { Cell::new(0) };
}

/// `n` zeroed bytes of shared memory.
#[napi]
pub fn memory_allocate<'a>(env: &Env, bytes: f64) -> Result<Piece<'a>> {
    let isolate = isolate(env)?;
    let memory = Memory::create(isolate.arena, &isolate.me, bytes as u64).map_err(fail)?;
    show(env, &isolate, memory)
}

/// The piece of memory of a handle, held once more.
#[napi]
pub fn memory_open<'a>(env: &Env, index: u32, generation: u32) -> Result<Piece<'a>> {
    let isolate = isolate(env)?;
    let handle = Handle {
        index: u64::from(index),
        generation,
    };
    let memory = Memory::open(isolate.arena, &isolate.me, handle).map_err(fail)?;
    show(env, &isolate, memory)
}

/// Takes a received buffer away from JavaScript, its length is 0 from here on, and lets go at once of what it lies in. Its
/// number is 0 where it is a copy.
#[napi]
pub fn memory_return(env: &Env, buffer: ArrayBuffer<'_>, number: f64) -> Result<()> {
    detach(env, buffer)?;
    received::let_go(number as u64);
    Ok(())
}

fn detach(env: &Env, buffer: ArrayBuffer<'_>) -> Result<()> {
    // SAFETY: an ArrayBuffer of this environment.
    let status = unsafe { sys::napi_detach_arraybuffer(env.raw(), buffer.raw()) };
    node(status, "napi_detach_arraybuffer")
}

/// Lets go at once of a piece whose number is given (the last element of its `handle`), and takes it away from JavaScript.
#[napi]
pub fn memory_release(env: &Env, buffer: ArrayBuffer<'_>, number: f64) -> Result<()> {
    detach(env, buffer)?;
    let isolate = isolate(env)?;
    let handle = SHOWN.with(|shown| shown.borrow_mut().remove(&(number as u64)));
    match handle {
        Some(handle) => isolate.arena.close(&isolate.me, handle).map_err(fail),
        None => Ok(()),
    }
}

fn show<'a>(env: &Env, isolate: &Isolate, memory: Memory) -> Result<Piece<'a>> {
    let number = LAST.get() + 1;
    LAST.set(number);
    SHOWN.with(|shown| shown.borrow_mut().insert(number, memory.handle));
    let buffer = wrap(env, isolate, memory, number);
    if buffer.is_err() {
        let_go(number);
    }
    Ok(Piece {
        buffer: buffer?,
        handle: vec![
            memory.handle.index as u32,
            memory.handle.generation,
            number as u32,
        ],
    })
}

/// Bytes of the arena as an `ArrayBuffer` that owns nothing: the arena stays mapped. `None` where the engine has none such.
pub fn show_forever<'a>(env: &Env, bytes: NonNull<u8>, len: u64) -> Result<Option<ArrayBuffer<'a>>> {
    let mut value = ptr::null_mut();
    // SAFETY: the bytes stay mapped for as long as this process lives.
    let status = unsafe {
        sys::napi_create_external_arraybuffer(
            env.raw(),
            bytes.as_ptr().cast::<c_void>(),
            len as usize,
            None,
            ptr::null_mut(),
            &raw mut value,
        )
    };
    if status == sys::Status::napi_no_external_buffers_allowed {
        return Ok(None);
    }
    node(status, "napi_create_external_arraybuffer")?;
    // SAFETY: `value` is an ArrayBuffer that was made above.
    unsafe { ArrayBuffer::from_napi_value(env.raw(), value) }
        .map(Some)
        .map_err(|error| state(format!("an ArrayBuffer cannot be shown: {error}")))
}

fn wrap<'a>(env: &Env, isolate: &Isolate, memory: Memory, number: u64) -> Result<ArrayBuffer<'a>> {
    let mut value = ptr::null_mut();
    let bytes = isolate.arena.map.bytes(memory.at, memory.len).map_err(fail)?;
    // SAFETY: the bytes stay mapped, and the object alive, until `finalize` or `memory_release` lets go of it.
    let status = unsafe {
        sys::napi_create_external_arraybuffer(
            env.raw(),
            bytes.as_ptr().cast::<c_void>(),
            memory.len as usize,
            Some(finalize),
            ptr::without_provenance_mut(number as usize),
            &raw mut value,
        )
    };
    node(status, "napi_create_external_arraybuffer")?;
    // SAFETY: `value` is an ArrayBuffer that was made above.
    unsafe { ArrayBuffer::from_napi_value(env.raw(), value) }
        .map_err(|error| state(format!("an ArrayBuffer cannot be shown: {error}")))
}

unsafe extern "C" fn finalize(_: sys::napi_env, _: *mut c_void, number: *mut c_void) {
    let_go(number.addr() as u64);
}

fn let_go(number: u64) {
    let handle = SHOWN.try_with(|shown| shown.borrow_mut().remove(&number));
    if let (Ok(Some(handle)), Some(arena)) = (handle, crate::family::joined()) {
        let isolate = existing();
        arena.let_go(isolate.as_deref().map(|isolate| &isolate.me), handle);
    }
}
