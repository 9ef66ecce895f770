//! Locks and what is built like them, by the ids that this isolate gave them: one table for all.

use crate::failure::{Fail, Result, fail};
use crate::isolate::{Isolate, isolate, place};
use napi::Env;
use napi_derive::napi;
use polyproc_arena::object::Handle;
use polyproc_arena::wait::List;
use polyproc_arena::{Arena, Member};
use polyproc_pool::Board;
use polyproc_sync::{Barrier, Condition, Event, Lock, RLock, Semaphore};

/// One of them.
#[derive(Clone, Copy)]
pub enum Shared {
    Lock(Lock),
    RLock(RLock),
    Semaphore(Semaphore),
    Condition(Condition),
    Event(Event),
    Barrier(Barrier),
    Board(Board),
}

impl Shared {
    pub fn handle(&self) -> Handle {
        match self {
            Self::Lock(lock) => lock.handle,
            Self::RLock(rlock) => rlock.lock.handle,
            Self::Semaphore(semaphore) => semaphore.handle,
            Self::Condition(condition) => condition.handle,
            Self::Event(event) => event.handle,
            Self::Barrier(barrier) => barrier.handle,
            Self::Board(board) => board.handle,
        }
    }

    pub fn close(&self, arena: &Arena, me: &Member) -> polyproc_arena::Result<()> {
        match self {
            Self::Condition(condition) => condition.close(arena, me),
            other => arena.close(me, other.handle()),
        }
    }

    /// Those who wait for it.
    pub fn waiters(&self) -> List {
        match self {
            Self::Lock(lock) => lock.waiters(),
            Self::RLock(rlock) => rlock.lock.waiters(),
            Self::Semaphore(semaphore) => semaphore.waiters(),
            Self::Condition(condition) => condition.lock.waiters(),
            Self::Event(event) => event.waiters(),
            Self::Barrier(barrier) => barrier.waiters(),
            Self::Board(board) => board.waiters(),
        }
    }

    /// True when whoever waits for it should try.
    pub fn is_ready(&self, arena: &Arena) -> polyproc_arena::Result<bool> {
        match self {
            Self::Lock(lock) => Ok(!lock.is_locked(arena)?),
            Self::RLock(rlock) => Ok(!rlock.lock.is_locked(arena)?),
            Self::Semaphore(semaphore) => Ok(semaphore.value(arena)? > 0),
            Self::Condition(condition) => Ok(!condition.lock.is_locked(arena)?),
            Self::Event(event) => event.is_set(arena),
            // A place in the next round is to be had once no action runs.
            Self::Barrier(barrier) => {
                let state = barrier.state(arena)?;
                Ok(state.broken || !state.acting)
            }
            // Whoever waits for a board knows for what: see `board_wait`.
            Self::Board(_) => Ok(false),
        }
    }

    /// Passes on what was handed to this thread and is not wanted.
    pub fn give_up(&self, arena: &Arena, me: &Member) -> polyproc_arena::Result<()> {
        match self {
            Self::Lock(lock) => lock.give_up(arena, me),
            Self::RLock(rlock) => rlock.lock.give_up(arena, me),
            Self::Semaphore(semaphore) => semaphore.give_up(arena, me),
            Self::Condition(condition) => condition.lock.give_up(arena, me),
            Self::Event(_) | Self::Barrier(_) | Self::Board(_) => Ok(()),
        }
    }
}

/// It is closed, or never was one.
pub fn closed(what: &str) -> Fail {
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
        match self.shared.borrow().get(id as usize) {
            Some(Some(Shared::Lock(lock))) => Ok(*lock),
            _ => Err(closed("lock")),
        }
    }

    /// The lock of an id.
    pub fn rlock(&self, id: u32) -> Result<RLock> {
        match self.shared.borrow().get(id as usize) {
            Some(Some(Shared::RLock(rlock))) => Ok(*rlock),
            _ => Err(closed("lock")),
        }
    }

    /// The semaphore of an id.
    pub fn semaphore(&self, id: u32) -> Result<Semaphore> {
        match self.shared.borrow().get(id as usize) {
            Some(Some(Shared::Semaphore(semaphore))) => Ok(*semaphore),
            _ => Err(closed("semaphore")),
        }
    }

    /// The condition of an id.
    pub fn condition(&self, id: u32) -> Result<Condition> {
        match self.shared.borrow().get(id as usize) {
            Some(Some(Shared::Condition(condition))) => Ok(*condition),
            _ => Err(closed("condition")),
        }
    }

    /// The event of an id.
    pub fn event(&self, id: u32) -> Result<Event> {
        match self.shared.borrow().get(id as usize) {
            Some(Some(Shared::Event(event))) => Ok(*event),
            _ => Err(closed("event")),
        }
    }

    /// The board of an id.
    pub fn board(&self, id: u32) -> Result<Board> {
        match self.shared.borrow().get(id as usize) {
            Some(Some(Shared::Board(board))) => Ok(*board),
            _ => Err(closed("pool")),
        }
    }

    /// The barrier of an id.
    pub fn barrier(&self, id: u32) -> Result<Barrier> {
        match self.shared.borrow().get(id as usize) {
            Some(Some(Shared::Barrier(barrier))) => Ok(*barrier),
            _ => Err(closed("barrier")),
        }
    }
}

/// Lets go of one.
#[napi]
pub fn shared_close(env: &Env, id: u32) -> Result<()> {
    let isolate = isolate(env)?;
    let shared = isolate.shared(id)?;
    isolate.shared.borrow_mut()[id as usize] = None;
    if let Shared::Board(board) = shared {
        isolate.leave_lane(id, &board).map_err(fail)?;
    }
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
