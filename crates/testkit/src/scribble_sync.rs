//! Locks, semaphores, conditions, events and barriers in a scribbled arena ([`crate::scribble`]): one of each, some held and
//! waited for, and everything that is done with them.

use polyproc_arena::object;
use polyproc_arena::wait::Sleeper;
use polyproc_arena::{Arena, Member, Result};
use polyproc_sync::barrier::Arrival;
use polyproc_sync::lock::{KIND as LOCK, Patience};
use polyproc_sync::rlock::THREAD;
use polyproc_sync::{Barrier, Condition, Event, Lock, RLock, Semaphore};

/// One of each.
#[derive(Debug, Clone, Copy)]
pub struct Primitives {
    lock: Lock,
    rlock: RLock,
    robust: Semaphore,
    condition: Condition,
    event: Event,
    barrier: Barrier,
}

/// What they are.
pub const KINDS: &[(usize, &dyn object::Kind)] = &polyproc_sync::KINDS;

impl Primitives {
    /// Makes them. Of two processes the first holds the lock and a permit, and has arrived at the barrier; the second waits for the
    /// lock, and for the condition.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn new((arena, me): (&Arena, &Member), (other, its): (&Arena, &Member)) -> Result<Self> {
        let lock = Lock::create(arena, me, LOCK, None)?;
        let all = Self {
            lock,
            rlock: RLock::create(arena, me, None)?,
            robust: Semaphore::create(arena, me, 2, true, true, None)?,
            condition: Condition::create(arena, me, Some(lock.handle), None)?,
            event: Event::create(arena, me, None)?,
            barrier: Barrier::create(arena, me, 3, 5.0, None, None)?.0,
        };
        Lock::open(other, its, lock.handle)?;
        RLock::open(other, its, all.rlock.lock.handle)?;
        Semaphore::open(other, its, all.robust.handle)?;
        Condition::open(other, its, all.condition.handle)?;
        Event::open(other, its, all.event.handle)?;
        Barrier::open(other, its, all.barrier.handle)?;
        lock.try_acquire(other, its)?;
        all.condition.begin(other, its, THREAD, Sleeper::Thread)?;
        lock.try_acquire(arena, me)?;
        other.enter_list(its, lock.waiters(), Sleeper::Thread, 1)?;
        all.robust.try_acquire(arena, me)?;
        all.barrier.arrive(arena, me)?;
        Ok(all)
    }

    /// One operation, until `deadline` at most where it waits.
    ///
    /// # Errors
    /// Any: the arena is damaged.
    pub fn operate(&self, arena: &Arena, me: &Member, which: u8, deadline: u64) -> Result<()> {
        let Self {
            lock,
            rlock,
            robust,
            condition,
            event,
            barrier,
        } = self;
        let mut stop = || false;
        let patience = Patience {
            deadline: Some(deadline),
            slice: None,
            stop: &mut stop,
        };
        match which % 16 {
            0 => lock.try_acquire(arena, me).map(drop),
            1 => lock.acquire(arena, me, patience).map(drop),
            2 => lock.release(arena, me).map(drop),
            3 => lock
                .give_up(arena, me)
                .and(lock.is_locked(arena))
                .and(lock.is_deadlock(arena, me))
                .map(drop),
            4 => rlock.acquire(arena, me, THREAD, patience).map(drop),
            5 => rlock.release(arena, me, THREAD).map(drop),
            6 => robust.acquire(arena, me, patience).map(drop),
            7 => robust.release(arena, me, true).map(drop),
            8 => robust
                .give_up(arena, me)
                .and(robust.value(arena))
                .and(robust.release(arena, me, false))
                .map(drop),
            9 => condition.wait(arena, me, THREAD, patience).map(drop),
            10 => condition
                .notify(arena, me, THREAD, 5)
                .and(condition.count(arena, me))
                .map(drop),
            11 => event.set(arena, me).and(event.clear(arena)),
            12 => event.wait(arena, me, patience).map(drop),
            13 => match barrier.arrive(arena, me)? {
                Arrival::Wait(round, _) => barrier.wait(arena, me, round, patience).map(drop),
                _ => Ok(()),
            },
            14 => barrier
                .abort(arena, me, None)
                .and(barrier.waiting(arena))
                .and(barrier.timeout(arena))
                .map(drop),
            _ => barrier.reset(arena, me),
        }
    }
}
