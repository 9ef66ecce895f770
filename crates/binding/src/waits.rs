//! Waiting for a queue or a process: blocking the thread, or as a record that the event loop looks at.

use crate::event_loop;
use crate::failure::{Fail, Result, fail, state};
use crate::isolate::{Isolate, isolate};
use crate::shared::Shared;
use napi::bindgen_prelude::*;
use napi::sys;
use napi_derive::napi;
use polyproc_arena::block_on::{Outcome, block_on_any};
use polyproc_arena::wait::{List, Record, Sleeper};
use polyproc_channel::joinable::Joined;
use polyproc_family::{Key, children};
use polyproc_sys::{clock, interrupt};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What can be waited for.
pub enum Target {
    Getter(polyproc_channel::Queue),
    Putter(polyproc_channel::Queue),
    /// The end of a process.
    End(Key),
    /// A lock, or whatever else of its kind.
    Shared(Shared),
    /// Everything done, of one who joined at that tail.
    Joiner(polyproc_channel::Queue, u64),
}

/// No wait.
const NONE: f64 = -1.0;
/// A worker thread's wait looks up so often, in ns: termination is noticed only by calling JavaScript.
const WORKER_SLICE: u64 = 50_000_000;
/// And so often, in ns, while threads of this process are being ended: Node ends them one after the other.
const ENDING_SLICE: u64 = 1_000_000;
/// How long that is taken to go on after the last sign of it, in ns.
const ENDING_FOR: u64 = 200_000_000;
/// When a thread of this process was last seen ending, in ns of the monotonic clock.
static ENDING_AT: AtomicU64 = AtomicU64::new(0);

fn worker_slice() -> u64 {
    // SYNC: Relaxed: only how soon a thread looks up depends on it.
    if clock::now().saturating_sub(ENDING_AT.load(Relaxed)) < ENDING_FOR {
        ENDING_SLICE
    } else {
        WORKER_SLICE
    }
}

/// The process is about to end its worker threads: those that wait look up more often.
#[napi]
pub fn threads_end() {
    ENDING_AT.store(clock::now(), Relaxed);
}

fn target(isolate: &Isolate, what: u8, id: f64) -> Result<Target> {
    match what {
        0 => Ok(Target::Getter(isolate.queue(id as u32)?)),
        1 => Ok(Target::Putter(isolate.queue(id as u32)?)),
        2 => Ok(Target::End(Key(id as u64))),
        3 => Ok(Target::Shared(isolate.shared(id as u32)?)),
        4 => Ok(Target::Joiner(isolate.queue(id as u32)?, u64::MAX)),
        _ => Err(state("nothing can be waited for by that number")),
    }
}

impl Target {
    fn list(&self, isolate: &Isolate) -> List {
        match self {
            Self::Getter(queue) => queue.getters(isolate.arena),
            Self::Putter(queue) => queue.putters(isolate.arena),
            Self::End(key) => children::waiters(isolate.arena, *key),
            Self::Shared(shared) => shared.waiters(),
            Self::Joiner(queue, _) => queue.joiners(isolate.arena),
        }
    }

    fn is_ready(&self, isolate: &Isolate) -> polyproc_arena::Result<bool> {
        match self {
            Self::Getter(queue) => queue.is_readable(isolate.arena),
            Self::Putter(queue) => queue.is_writable(isolate.arena, &isolate.me),
            Self::Joiner(queue, since) => {
                Ok(queue.joined(isolate.arena, &isolate.me, *since)? != Joined::Pending)
            }
            Self::End(key) => match children::exit_of(isolate.arena, *key) {
                Ok(exit) => Ok(exit.is_some()),
                Err(_) => children::has_ended(isolate.arena, *key),
            },
            Self::Shared(shared) => shared.is_ready(isolate.arena),
        }
    }
}

/// Blocks until the thing is ready: 0. After `timeout` ms (negative: never): 1. Cut short by a signal
/// that the process listens for, where `interruptible`, or by the end of this thread: 2.
#[napi]
pub fn wait_sync(env: &Env, what: u8, id: f64, timeout: f64, interruptible: bool) -> Result<u8> {
    let isolate = isolate(env)?;
    let target = target(&isolate, what, id)?;
    wait_for(&isolate, &[target], timeout, interruptible)
}

/// As `wait_sync` for any of several things.
#[napi]
pub fn wait_sync_many(
    env: &Env,
    what: Vec<u8>,
    ids: Vec<f64>,
    timeout: f64,
    interruptible: bool,
) -> Result<u8> {
    let isolate = isolate(env)?;
    let targets = what
        .iter()
        .zip(&ids)
        .map(|(what, id)| target(&isolate, *what, *id))
        .collect::<Result<Vec<_>>>()?;
    wait_for(&isolate, &targets, timeout, interruptible)
}

/// When a wait of `timeout` ms (negative: for ever) that begins now is over, in ns of the monotonic clock.
pub fn deadline(timeout: f64) -> Option<u64> {
    (timeout >= 0.0).then(|| clock::now().saturating_add((timeout * 1e6) as u64))
}

/// How often a synchronous wait of this thread looks up.
pub fn slice(isolate: &Isolate) -> Option<&'static dyn Fn() -> u64> {
    isolate.is_worker.get().then_some(&worker_slice)
}

/// What ends a synchronous wait early: the end of this thread, or, where `interruptible`, a signal.
pub fn stop(isolate: &Isolate, interruptible: bool) -> impl FnMut() -> bool {
    let worker = isolate.is_worker.get();
    let before = if interruptible { interrupt::watch() } else { 0 };
    move || {
        if worker {
            let ending = is_ending(isolate);
            if ending {
                threads_end();
            }
            ending
        } else {
            interruptible && interrupt::count() != before
        }
    }
}

/// Waits for any of several things; see `wait_sync`.
pub fn wait_for(isolate: &Isolate, targets: &[Target], timeout: f64, interruptible: bool) -> Result<u8> {
    let lists: Vec<List> = targets.iter().map(|target| target.list(isolate)).collect();
    let outcome = block_on_any(
        isolate.arena,
        &isolate.me,
        &lists,
        deadline(timeout),
        slice(isolate),
        || {
            for target in targets {
                if target.is_ready(isolate)? {
                    return Ok(true);
                }
            }
            Ok(false)
        },
        stop(isolate, interruptible),
    );
    Ok(match outcome.map_err(fail)? {
        Outcome::Ready => 0,
        Outcome::TimedOut => 1,
        Outcome::Stopped => 2,
    })
}

/// Calls a JavaScript function that does nothing: it fails when this thread is being terminated.
fn is_ending(isolate: &Isolate) -> bool {
    let pulse = isolate.pulse.get();
    if pulse.is_null() {
        return false;
    }
    let mut function = ptr::null_mut();
    // SAFETY: the reference was made by `set_pulse` in this environment.
    let status = unsafe { sys::napi_get_reference_value(isolate.env, pulse, &raw mut function) };
    if status != sys::Status::napi_ok {
        return true;
    }
    let mut this = ptr::null_mut();
    // SAFETY: the place is ours.
    unsafe { sys::napi_get_undefined(isolate.env, &raw mut this) };
    let mut result = ptr::null_mut();
    // SAFETY: we are inside a call from JavaScript on this thread, so calling back is allowed.
    let status =
        unsafe { sys::napi_call_function(isolate.env, this, function, 0, ptr::null(), &raw mut result) };
    status != sys::Status::napi_ok
}

/// Sets the function that does nothing, for waits in worker threads.
#[napi]
pub fn set_pulse(env: &Env, pulse: Function<'_, (), ()>) -> Result<()> {
    let isolate = isolate(env)?;
    let mut reference = ptr::null_mut();
    // SAFETY: the function is alive during this call; the reference is kept as long as the environment.
    let status = unsafe { sys::napi_create_reference(env.raw(), pulse.raw(), 1, &raw mut reference) };
    crate::failure::node(status, "napi_create_reference")?;
    isolate.pulse.set(reference);
    Ok(())
}

/// Begins to wait in the event loop: the number of the wait, and whether the caller must look once more. For a message that
/// was looked for here, after it was in the list. From now on the function given to `on_call` hears of it, and the process
/// stays alive.
pub fn begin(isolate: &Isolate, what: u32, id: f64) -> Result<(f64, bool)> {
    let target = target(isolate, what as u8, id)?;
    event_loop::start(isolate)?;
    let record = isolate
        .arena
        .enter_list(&isolate.me, target.list(isolate), Sleeper::Isolate, clock::now())
        .map_err(fail)?;
    isolate.waits.borrow_mut().push(record);
    event_loop::update(isolate);
    let must_look = match target {
        // What fails here does so again where the caller looks.
        Target::Getter(_) => target.is_ready(isolate).unwrap_or(true),
        _ => true,
    };
    Ok((record.0 as f64, must_look))
}

/// Ends a wait. If it was woken and nobody has looked since, the next in the list is woken instead.
pub fn end(isolate: &Isolate, what: u32, id: f64, record: Record) -> Result<()> {
    {
        let mut waits = isolate.waits.borrow_mut();
        let Some(at) = waits.iter().position(|known| *known == record) else {
            return Err(state("no such wait"));
        };
        waits.remove(at);
    }
    event_loop::update(isolate);
    let woken = isolate.arena.leave_list(&isolate.me, record).map_err(fail)?;
    let Ok(target) = target(isolate, what as u8, id) else {
        return Ok(());
    };
    if let Target::Shared(shared) = target {
        // What was handed over and nobody here wants any more.
        shared.give_up(isolate.arena, &isolate.me).map_err(fail)?;
    }
    if woken {
        isolate
            .arena
            .wake_one(&isolate.me, target.list(isolate))
            .map_err(fail)?;
    }
    Ok(())
}

/// One of those for whom a wait stands has got what they wait for: the others stand behind everybody else now.
#[napi]
pub fn wait_again(env: &Env, wait: f64) -> Result<()> {
    let isolate = isolate(env)?;
    let record = Record(wait as u64);
    if !isolate.waits.borrow().contains(&record) {
        return Err(state("no such wait"));
    }
    isolate
        .arena
        .stand_last(&isolate.me, record, clock::now())
        .map_err(fail)
}

/// The next of the waits that were called and must look now, -1 for none, and whether there are more. `first` asks who was
/// called since.
pub fn next_called(isolate: &Isolate, first: bool) -> Result<(f64, bool)> {
    let mut called = isolate.called.borrow_mut();
    if first {
        isolate.arena.take_dirty(&isolate.me).map_err(fail)?;
        for record in isolate.waits.borrow().iter().rev() {
            if isolate.arena.is_called(*record).map_err(fail)? {
                isolate.arena.acknowledge(*record).map_err(fail)?;
                called.push(*record);
            }
        }
    }
    let next = called.pop().map_or(NONE, |record| record.0 as f64);
    Ok((next, !called.is_empty()))
}

/// Sets the function that is called when a wait must look.
#[napi]
pub fn on_call(env: &Env, listener: Function<'_, (), ()>) -> Result<()> {
    let isolate = isolate(env)?;
    event_loop::prepare(env, &isolate, listener.raw()).map_err(|error: Fail| error)
}
