//! Events, by the ids that this isolate gave them. `isSet` is in [`crate::bare`].

use crate::failure::{Result, fail};
use crate::isolate::isolate;
use crate::shared::Shared;
use crate::waits::{deadline, slice, stop};
use napi::Env;
use napi_derive::napi;
use polyproc_arena::block_on::Outcome;
use polyproc_arena::object::Handle;
use polyproc_sync::Event;
use polyproc_sync::lock::Patience;

/// Makes an event, or finds the one of that name; returns its id.
#[napi]
pub fn event_create(env: &Env, name: Option<String>) -> Result<u32> {
    let isolate = isolate(env)?;
    let event = Event::create(isolate.arena, &isolate.me, name.as_deref());
    Ok(isolate.share(Shared::Event(event.map_err(fail)?)))
}

/// Opens the event of a handle; returns its id.
#[napi]
pub fn event_open(env: &Env, index: u32, generation: u32) -> Result<u32> {
    let isolate = isolate(env)?;
    let handle = Handle {
        index: u64::from(index),
        generation,
    };
    let event = Event::open(isolate.arena, &isolate.me, handle).map_err(fail)?;
    Ok(isolate.share(Shared::Event(event)))
}

/// How often an event has been set: what a wait that begins now remembers.
#[napi]
pub fn event_count(env: &Env, id: u32) -> Result<f64> {
    let isolate = isolate(env)?;
    Ok(isolate.event(id)?.count(isolate.arena).map_err(fail)? as f64)
}

/// Whether an event is set, or has been since that count.
#[napi]
pub fn event_was_set(env: &Env, id: u32, count: f64) -> Result<bool> {
    let isolate = isolate(env)?;
    isolate
        .event(id)?
        .was_set(isolate.arena, count as u64)
        .map_err(fail)
}

/// Blocks until an event is set: 0; 1 after `timeout` ms (negative: never), 2 cut short.
#[napi]
pub fn event_wait(env: &Env, id: u32, timeout: f64, interruptible: bool) -> Result<u8> {
    let isolate = isolate(env)?;
    let patience = Patience {
        deadline: deadline(timeout),
        slice: slice(&isolate),
        stop: &mut stop(&isolate, interruptible),
    };
    let waited = isolate.event(id)?.wait(isolate.arena, &isolate.me, patience);
    Ok(match waited.map_err(fail)? {
        Outcome::Ready => 0,
        Outcome::TimedOut => 1,
        Outcome::Stopped => 2,
    })
}
