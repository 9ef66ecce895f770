//! Locks and reentrant locks, by the ids that this isolate gave them. An acquisition is a number: its turn,
//! plus [`OWNER_DIED`].

use crate::failure::{Result, fail};
use crate::isolate::isolate;
use crate::memory::show_forever;
use crate::shared::Shared;
use crate::waits::{deadline, slice, stop};
use napi::Env;
use napi::bindgen_prelude::ArrayBuffer;
use napi_derive::napi;
use polyproc_arena::object::Handle;
use polyproc_arena::{Name, process};
use polyproc_sync::lock::{KIND, Patience, SEEN_LEN, Waited};
use polyproc_sync::rlock::Released;
use polyproc_sync::{Acquired, Lock, RLock};

/// It is somebody else's.
pub const NOT: i32 = -1;
/// Cut short by a signal, or by the end of this thread.
pub const STOPPED: i32 = -2;
/// Added to the turn when the owner before died holding it.
const OWNER_DIED: i32 = 1 << 20;

pub fn number(acquired: Acquired) -> i32 {
    acquired.turn as i32 | if acquired.owner_died { OWNER_DIED } else { 0 }
}

pub fn waited(waited: Waited) -> i32 {
    match waited {
        Waited::Acquired(acquired) => number(acquired),
        Waited::TimedOut => NOT,
        Waited::Stopped => STOPPED,
    }
}

/// Makes a lock, reentrant or not, or finds the one of that name; returns its id.
#[napi]
pub fn lock_create(env: &Env, reentrant: bool, name: Option<String>) -> Result<u32> {
    let isolate = isolate(env)?;
    let (arena, me, name) = (isolate.arena, &isolate.me, name.as_deref());
    let shared = if reentrant {
        RLock::create(arena, me, name).map(Shared::RLock)
    } else {
        Lock::create(arena, me, KIND, name).map(Shared::Lock)
    };
    Ok(isolate.share(shared.map_err(fail)?))
}

/// Opens the lock of a handle; returns its id.
#[napi]
pub fn lock_open(env: &Env, reentrant: bool, index: u32, generation: u32) -> Result<u32> {
    let isolate = isolate(env)?;
    let handle = Handle {
        index: u64::from(index),
        generation,
    };
    let shared = if reentrant {
        RLock::open(isolate.arena, &isolate.me, handle).map(Shared::RLock)
    } else {
        Lock::open(isolate.arena, &isolate.me, handle).map(Shared::Lock)
    };
    Ok(isolate.share(shared.map_err(fail)?))
}

/// Acquires a lock, blocking for at most `timeout` ms (negative: for ever): the acquisition, -1 late, -2 cut short.
#[napi]
pub fn lock_wait(env: &Env, id: u32, timeout: f64, interruptible: bool) -> Result<i32> {
    let isolate = isolate(env)?;
    let lock = isolate.lock(id)?;
    let patience = Patience {
        deadline: deadline(timeout),
        slice: slice(&isolate),
        stop: &mut stop(&isolate, interruptible),
    };
    lock.acquire(isolate.arena, &isolate.me, patience)
        .map(waited)
        .map_err(fail)
}

/// Releases a lock, whoever holds it. False when nobody does.
#[napi]
pub fn lock_release(env: &Env, id: u32) -> Result<bool> {
    let isolate = isolate(env)?;
    isolate
        .lock(id)?
        .release(isolate.arena, &isolate.me)
        .map_err(fail)
}

/// Some words of a lock, for `lock-words.ts`.
#[napi(object)]
pub struct LockWords<'a> {
    /// They themselves.
    pub words: ArrayBuffer<'a>,
    /// This thread's slot and generation, by which they name it.
    pub slot: u32,
    pub generation: u32,
}

/// The words by which JavaScript can acquire and release a lock that this thread released last. Null where it cannot. Nothing may
/// touch them after the lock's handle has been let go of.
#[napi]
pub fn lock_words(env: &Env, id: u32) -> Result<Option<LockWords<'_>>> {
    let isolate = isolate(env)?;
    let Some(bytes) = isolate.lock(id)?.seen(isolate.arena).map_err(fail)? else {
        return Ok(None);
    };
    Ok(show_forever(env, bytes, SEEN_LEN)?.map(|words| LockWords {
        words,
        slot: isolate.me.name.slot() as u32,
        generation: isolate.me.name.generation(),
    }))
}

/// As `lock_wait`, for a context of this thread.
#[napi]
pub fn rlock_wait(env: &Env, id: u32, context: u32, timeout: f64, interruptible: bool) -> Result<i32> {
    let isolate = isolate(env)?;
    let rlock = isolate.rlock(id)?;
    let patience = Patience {
        deadline: deadline(timeout),
        slice: slice(&isolate),
        stop: &mut stop(&isolate, interruptible),
    };
    rlock
        .acquire(isolate.arena, &isolate.me, context, patience)
        .map(waited)
        .map_err(fail)
}

/// Gives a reentrant lock back once: 0 done, 1 nobody holds it, 2 somebody else does.
#[napi]
pub fn rlock_release(env: &Env, id: u32, context: u32) -> Result<u8> {
    let isolate = isolate(env)?;
    let released = isolate.rlock(id)?.release(isolate.arena, &isolate.me, context);
    Ok(match released.map_err(fail)? {
        Released::Done => 0,
        Released::NotHeld => 1,
        Released::Anothers => 2,
    })
}

/// Who holds a lock: for people, and for the refusal of a wait without end.
#[napi(object)]
pub struct LockState {
    /// It is held, by somebody alive.
    pub locked: bool,
    /// By this thread.
    pub mine: bool,
    /// Pid of the holder's process, 0 when nobody holds it.
    pub pid: u32,
    /// The holder's number in the family: a thread has one.
    pub member: u32,
    /// Reentrant: how often the holder has acquired it. Else 1.
    pub depth: u32,
    /// Reentrant: which context of its thread holds it.
    pub context: u32,
    /// This thread holds it, and nobody else could ever release it.
    pub deadlock: bool,
}

/// Who holds a lock.
#[napi]
pub fn lock_state(env: &Env, id: u32) -> Result<LockState> {
    let isolate = isolate(env)?;
    let (arena, me) = (isolate.arena, &isolate.me);
    let (lock, rlock) = match isolate.shared(id)? {
        Shared::RLock(rlock) => (rlock.lock, Some(rlock)),
        _ => (isolate.lock(id)?, None),
    };
    let state = lock.state(arena).map_err(fail)?;
    let pid_of = |owner: Name| -> polyproc_arena::Result<u32> {
        let process = arena.member_state(owner.slot())?.process;
        Ok(process::state(arena, process)?.pid)
    };
    let (context, depth) = match rlock {
        Some(rlock) => rlock.depth(arena).map_err(fail)?,
        None => (0, 1),
    };
    let mine = state.is_held_by(me.name);
    Ok(LockState {
        locked: lock.is_locked(arena).map_err(fail)?,
        mine,
        pid: state.owner.map_or(Ok(0), pid_of).map_err(fail)?,
        member: state.owner.map_or(0, |owner| owner.slot() as u32),
        depth,
        context,
        deadlock: mine && (rlock.is_some() || lock.is_deadlock(arena, me).map_err(fail)?),
    })
}

/// True when somebody alive holds the lock.
#[napi]
pub fn lock_locked(env: &Env, id: u32) -> Result<bool> {
    let isolate = isolate(env)?;
    let lock = match isolate.shared(id)? {
        Shared::RLock(rlock) => rlock.lock,
        _ => isolate.lock(id)?,
    };
    lock.is_locked(isolate.arena).map_err(fail)
}
