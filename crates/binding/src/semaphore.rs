//! Semaphores, by the ids that this isolate gave them. What is called often is in [`crate::bare`].

use crate::failure::{Result, fail};
use crate::isolate::isolate;
use crate::lock::{NOT, STOPPED};
use crate::shared::Shared;
use crate::waits::{deadline, slice, stop};
use napi::Env;
use napi_derive::napi;
use polyproc_arena::object::Handle;
use polyproc_sync::Semaphore;
use polyproc_sync::lock::Patience;
use polyproc_sync::semaphore::Waited;

/// Makes a semaphore, or finds the one of that name; returns its id.
#[napi]
pub fn semaphore_create(
    env: &Env,
    value: u32,
    bounded: bool,
    robust: bool,
    name: Option<String>,
) -> Result<u32> {
    let isolate = isolate(env)?;
    let (arena, me) = (isolate.arena, &isolate.me);
    let semaphore = Semaphore::create(arena, me, value, bounded, robust, name.as_deref());
    Ok(isolate.share(Shared::Semaphore(semaphore.map_err(fail)?)))
}

/// Opens the semaphore of a handle; returns its id.
#[napi]
pub fn semaphore_open(env: &Env, index: u32, generation: u32) -> Result<u32> {
    let isolate = isolate(env)?;
    let handle = Handle {
        index: u64::from(index),
        generation,
    };
    let semaphore = Semaphore::open(isolate.arena, &isolate.me, handle).map_err(fail)?;
    Ok(isolate.share(Shared::Semaphore(semaphore)))
}

/// Takes a permit, blocking for at most `timeout` ms (negative: for ever): 0, -1 late, -2 cut short.
#[napi]
pub fn semaphore_wait(env: &Env, id: u32, timeout: f64, interruptible: bool) -> Result<i32> {
    let isolate = isolate(env)?;
    let patience = Patience {
        deadline: deadline(timeout),
        slice: slice(&isolate),
        stop: &mut stop(&isolate, interruptible),
    };
    let waited = isolate
        .semaphore(id)?
        .acquire(isolate.arena, &isolate.me, patience);
    Ok(match waited.map_err(fail)? {
        Waited::Acquired => 0,
        Waited::TimedOut => NOT,
        Waited::Stopped => STOPPED,
    })
}

/// What a semaphore began with.
#[napi(object)]
pub struct SemaphoreOptions {
    pub value: u32,
    pub robust: bool,
}

/// What a semaphore began with.
#[napi]
pub fn semaphore_options(env: &Env, id: u32) -> Result<SemaphoreOptions> {
    let semaphore = isolate(env)?.semaphore(id)?;
    Ok(SemaphoreOptions {
        value: semaphore.first(),
        robust: semaphore.is_robust(),
    })
}
