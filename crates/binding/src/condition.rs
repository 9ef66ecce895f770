//! Conditions, by the ids that this isolate gave them. An asynchronous wait goes by the number of its record.

use crate::event_loop;
use crate::failure::{Result, fail, state};
use crate::isolate::{Isolate, isolate};
use crate::shared::Shared;
use crate::waits::{deadline, slice, stop};
use napi::Env;
use napi_derive::napi;
use polyproc_arena::object::Handle;
use polyproc_arena::wait::{Record, Sleeper};
use polyproc_sync::Condition;
use polyproc_sync::condition::{Waiting, Woken};
use polyproc_sync::lock::Patience;

fn pair(handle: &[u32]) -> Option<Handle> {
    let [index, generation] = *handle else { return None };
    Some(Handle {
        index: u64::from(index),
        generation,
    })
}

/// Makes a condition of the lock of a handle (null: of one of its own), or finds the one of that name;
/// returns its id.
#[napi]
pub fn condition_create(env: &Env, lock: Option<Vec<u32>>, name: Option<String>) -> Result<u32> {
    let isolate = isolate(env)?;
    let (arena, me) = (isolate.arena, &isolate.me);
    let lock = lock.as_deref().and_then(pair);
    let condition = Condition::create(arena, me, lock, name.as_deref()).map_err(fail)?;
    Ok(isolate.share(Shared::Condition(condition)))
}

/// Opens the condition of a handle; returns its id.
#[napi]
pub fn condition_open(env: &Env, index: u32, generation: u32) -> Result<u32> {
    let isolate = isolate(env)?;
    let handle = Handle {
        index: u64::from(index),
        generation,
    };
    let condition = Condition::open(isolate.arena, &isolate.me, handle).map_err(fail)?;
    Ok(isolate.share(Shared::Condition(condition)))
}

/// The handle of a condition's lock: index and generation.
#[napi]
pub fn condition_lock(env: &Env, id: u32) -> Result<Vec<u32>> {
    let handle = isolate(env)?.condition(id)?.lock.handle;
    Ok(vec![handle.index as u32, handle.generation])
}

/// Waits, blocking, for at most `timeout` ms (negative: for ever): 0 notified, 1 late, 2 cut short. The lock
/// is held again in any case, unless this thread is being ended.
pub fn wait(isolate: &Isolate, id: u32, context: u32, timeout: f64, interruptible: bool) -> Result<i32> {
    let condition = isolate.condition(id)?;
    let patience = Patience {
        deadline: deadline(timeout),
        slice: slice(isolate),
        stop: &mut stop(isolate, interruptible),
    };
    let woken = condition.wait(isolate.arena, &isolate.me, context, patience);
    Ok(match woken.map_err(fail)? {
        Woken::Notified => 0,
        Woken::TimedOut => 1,
        Woken::Stopped => 2,
    })
}

/// Begins to wait in the event loop, releasing the lock; returns the number of the wait.
#[napi]
pub fn condition_begin(env: &Env, id: u32, context: u32) -> Result<f64> {
    let isolate = isolate(env)?;
    let condition = isolate.condition(id)?;
    event_loop::start(&isolate)?;
    let (arena, me) = (isolate.arena, &isolate.me);
    let waiting = condition
        .begin(arena, me, context, Sleeper::Isolate)
        .map_err(fail)?;
    isolate.waits.borrow_mut().push(waiting.record);
    isolate.conditions.borrow_mut().push((condition, waiting));
    event_loop::update(&isolate);
    Ok(waiting.record.0 as f64)
}

fn find(isolate: &Isolate, wait: f64) -> Result<(Condition, Waiting)> {
    let record = Record(wait as u64);
    let conditions = isolate.conditions.borrow();
    let found = conditions.iter().find(|(_, waiting)| waiting.record == record);
    found.copied().ok_or_else(|| state("no such wait"))
}

fn forget(isolate: &Isolate, record: Record) {
    isolate
        .conditions
        .borrow_mut()
        .retain(|(_, waiting)| waiting.record != record);
}

fn wait_no_more(isolate: &Isolate, record: Record) {
    isolate.waits.borrow_mut().retain(|known| *known != record);
    event_loop::update(isolate);
}

/// Ends a wait that has been notified, if the lock is free: it is held as before then. False: not yet.
#[napi]
pub fn condition_try(env: &Env, wait: f64) -> Result<bool> {
    let isolate = isolate(env)?;
    let (condition, waiting) = find(&isolate, wait)?;
    let ended = condition.try_end(isolate.arena, &isolate.me, &waiting);
    let ended = ended.map_err(fail)?;
    if ended {
        forget(&isolate, waiting.record);
        wait_no_more(&isolate, waiting.record);
    }
    Ok(ended)
}

/// Gives a wait up; true when it had been notified. Acquire the lock, then `conditionRestore` with what
/// this returns: it is no record any more.
#[napi]
pub fn condition_cancel(env: &Env, wait: f64) -> Result<CancelledWait> {
    let isolate = isolate(env)?;
    let (condition, waiting) = find(&isolate, wait)?;
    forget(&isolate, waiting.record);
    let notified = condition.cancel(isolate.arena, &isolate.me, &waiting);
    wait_no_more(&isolate, waiting.record);
    let (turn, context, depth) = waiting.held();
    Ok(CancelledWait {
        notified: notified.map_err(fail)?,
        turn,
        context,
        depth,
    })
}

/// What is left of a wait that was given up: how the lock was held before.
#[napi(object)]
pub struct CancelledWait {
    pub notified: bool,
    pub turn: u32,
    pub context: u32,
    pub depth: u32,
}

/// Makes the lock, which this thread holds, held as it was before a wait.
#[napi]
pub fn condition_restore(env: &Env, id: u32, turn: u32, context: u32, depth: u32) -> Result<()> {
    let isolate = isolate(env)?;
    isolate
        .condition(id)?
        .restore(isolate.arena, &isolate.me, (turn, context, depth))
        .map_err(fail)
}

/// Notifies up to `most` of those who wait.
pub fn notify(isolate: &Isolate, id: u32, context: u32, most: u32) -> Result<i32> {
    let (arena, me) = (isolate.arena, &isolate.me);
    let notified = isolate.condition(id)?.notify(arena, me, context, most.into());
    notified.map(|_| 0).map_err(fail)
}

/// How many wait for a condition, of all processes.
#[napi]
pub fn condition_waiters(env: &Env, id: u32) -> Result<u32> {
    let isolate = isolate(env)?;
    let count = isolate.condition(id)?.count(isolate.arena, &isolate.me);
    Ok(count.map_err(fail)? as u32)
}
