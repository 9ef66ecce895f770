//! Locks and what is built like them, by the ids that this isolate gave them: one table for all.

use crate::failure::{Fail, Result, fail};
use crate::isolate::{Isolate, isolate, place};
use napi::Env;
use napi_derive::napi;
use polyproc_arena::object::Handle;
use polyproc_arena::wait::List;
use polyproc_arena::{Arena, Member};
use polyproc_sync::{Lock, RLock};

/// One of them.
#[derive(Clone, Copy)]
pub enum Shared {
    Lock(Lock),
    RLock(RLock),
}

impl Shared {
    pub fn handle(&self) -> Handle {
        match self {
            Self::Lock(lock) => lock.handle,
            Self::RLock(rlock) => rlock.lock.handle,
        }
    }

    pub fn close(&self, arena: &Arena, me: &Member) -> polyproc_arena::Result<()> {
        arena.close(me, self.handle())
    }

    /// Those who wait for it.
    pub fn waiters(&self) -> List {
        match self {
            Self::Lock(lock) => lock.waiters(),
            Self::RLock(rlock) => rlock.lock.waiters(),
        }
    }

    /// True when whoever waits for it should try.
    pub fn is_ready(&self, arena: &Arena) -> polyproc_arena::Result<bool> {
        match self {
            Self::Lock(lock) => Ok(!lock.is_locked(arena)?),
            Self::RLock(rlock) => Ok(!rlock.lock.is_locked(arena)?),
        }
    }

    /// Passes on what was handed to this thread and is not wanted.
    pub fn give_up(&self, arena: &Arena, me: &Member) -> polyproc_arena::Result<()> {
        match self {
            Self::Lock(lock) => lock.give_up(arena, me),
            Self::RLock(rlock) => rlock.lock.give_up(arena, me),
        }
    }
}

fn closed(what: &str) -> Fail {
    Fail::new("ERR_POLYPROC_CLOSED".to_owned(), format!("the {what} is closed"))
}

impl Isolate {
    /// What an id stands for.
    pub fn shared(&self, id: u32) -> Result<Shared> {
        let table = self.shared.borrow();
        table
            .get(id as usize)
            .copied()
            .flatten()
            .ok_or_else(|| closed("object"))
    }

    /// Remembers what is open; returns its id.
    pub fn share(&self, shared: Shared) -> u32 {
        place(&mut self.shared.borrow_mut(), shared)
    }

    /// The lock of an id.
    pub fn lock(&self, id: u32) -> Result<Lock> {
        match self.shared(id)? {
            Shared::Lock(lock) => Ok(lock),
            Shared::RLock(_) => Err(closed("lock")),
        }
    }

    /// The reentrant lock of an id.
    pub fn rlock(&self, id: u32) -> Result<RLock> {
        match self.shared(id)? {
            Shared::RLock(rlock) => Ok(rlock),
            Shared::Lock(_) => Err(closed("lock")),
        }
    }
}

/// Lets go of one.
#[napi]
pub fn shared_close(env: &Env, id: u32) -> Result<()> {
    let isolate = isolate(env)?;
    let shared = isolate.shared(id)?;
    isolate.shared.borrow_mut()[id as usize] = None;
    shared.close(isolate.arena, &isolate.me).map_err(fail)
}

/// The handle of one: index and generation.
#[napi]
pub fn shared_handle(env: &Env, id: u32) -> Result<Vec<u32>> {
    let handle = isolate(env)?.shared(id)?.handle();
    Ok(vec![handle.index as u32, handle.generation])
}

/// Its name, if it has one.
#[napi]
pub fn shared_name(env: &Env, id: u32) -> Result<Option<String>> {
    let isolate = isolate(env)?;
    let index = isolate.shared(id)?.handle().index;
    polyproc_arena::names::text(isolate.arena, index).map_err(fail)
}

/// How many records wait for it, of all processes.
#[napi]
pub fn shared_waiters(env: &Env, id: u32) -> Result<u32> {
    let isolate = isolate(env)?;
    let waiters = isolate.shared(id)?.waiters();
    let count = isolate.arena.count_waiters(&isolate.me, waiters, None);
    Ok(count.map_err(fail)? as u32)
}
