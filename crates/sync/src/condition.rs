//! The condition: a lock, and those who wait until somebody who holds it says that something has changed.
//!
//! The waiters lie in the *lock's* second list, with the condition's handle as key; several conditions of
//! one lock share it. To notify is to move a record to the end of the lock's first list: one commit of one
//! section, and nobody is woken. The release of the lock wakes the first, that one's release the next, so
//! each waiter sleeps once and wakes once, with the lock free, however many are notified. A thread that has not gone to sleep yet
//! is only taken out of the list, and comes for the lock like anybody else.
//!
//! Word 0 of the header: a block with the lock's handle, which keeps the lock alive.
//!
//! # What a crash leaves
//! | killed | left | put right by |
//! |---|---|---|
//! | waiting | a record | recovery of the arena; if it had been notified, that goes with it, as with any thread that dies |
//! | between entering the list and releasing the lock | a record, and a lock of the dead | recovery of both |
//! | notifying | some moved, some not; the lock is the dead's | recovery of the lock, which rouses its lists |

use crate::lock::{self, Lock, Patience, REENTRANT, Waited};
use crate::rlock::{RLock, SHARED};
use polyproc_arena::blocks::{BODY_TAG, Side};
use polyproc_arena::error::{Error, Result};
use polyproc_arena::map::Offset;
use polyproc_arena::object::{self, Handle, Kind};
use polyproc_arena::primitive::Ordering::{Acquire, Release};
use polyproc_arena::primitive::now;
use polyproc_arena::wait::{Record, Sleeper};
use polyproc_arena::{Arena, Member, Name, names, spin};
use polyproc_sys::futex::Wait;

/// Index of the kind.
pub const KIND: usize = 13;
/// Longest sleep without a look around, in ns: with a deadline, a handled signal returns the system call.
const LONGEST_SLEEP: u64 = 3_600_000_000_000;

/// A condition that this process holds a handle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Its handle.
    pub handle: Handle,
    /// Its lock.
    pub lock: Lock,
    reentrant: bool,
}

/// A wait that has begun: where it stands, and how the lock was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The record.
    pub record: Record,
    turn: u32,
    depth: (u32, u32),
}

impl Waiting {
    /// How the lock was held before: turn, context and depth.
    #[must_use]
    pub fn held(&self) -> (u32, u32, u32) {
        (self.turn, self.depth.0, self.depth.1)
    }
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// Somebody notified it.
    Notified,
    /// The deadline passed.
    TimedOut,
    /// `stop` said so.
    Stopped,
}

impl Condition {
    /// Makes a condition of a lock (`None`: of one of its own), or finds the one of that name.
    ///
    /// # Errors
    /// `OutOfMemory`; `Stale` when there is no such lock; `State` when the one of that name has another.
    pub fn create(arena: &Arena, me: &Member, lock: Option<Handle>, name: Option<&str>) -> Result<Self> {
        let make = || {
            let own = match lock {
                Some(_) => None,
                None => Some(Lock::create(arena, me, lock::KIND, None)?.handle),
            };
            let made = lock
                .or(own)
                .ok_or(Error::Stale)
                .and_then(|lock| pin(arena, me, lock));
            if let Some(own) = own {
                // The condition has a hold of its own by now; on failure this was the last one.
                arena.close(me, own)?;
            }
            made
        };
        let handle = match name {
            None => make()?,
            Some(name) => names::find_or_create(arena, me, KIND, name, make)?.0,
        };
        let condition = Self::opened(arena, me, handle).inspect_err(|_| {
            let _ = arena.close(me, handle);
        })?;
        if lock.is_some_and(|lock| lock != condition.lock.handle) {
            condition.close(arena, me)?;
            return Err(Error::State(format!(
                "the condition {:?} exists with another lock",
                name.unwrap_or_default()
            )));
        }
        Ok(condition)
    }

    /// Takes hold of the condition that a handle stands for, and of its lock.
    ///
    /// # Errors
    /// `Stale` when it is gone or no condition.
    pub fn open(arena: &Arena, me: &Member, handle: Handle) -> Result<Self> {
        arena.open(me, handle)?;
        Self::opened(arena, me, handle).inspect_err(|_| {
            let _ = arena.close(me, handle);
        })
    }

    fn opened(arena: &Arena, me: &Member, handle: Handle) -> Result<Self> {
        if arena.object_kind(handle.index)? != KIND {
            return Err(Error::Stale);
        }
        let lock = part(arena, handle.index)?.ok_or(Error::Corrupt("a condition has lost its lock"))?;
        let lock = Lock::open(arena, me, lock)?;
        Ok(Self {
            handle,
            lock,
            reentrant: arena.object_kind(lock.handle.index)? == REENTRANT,
        })
    }

    /// Lets go of the condition and its lock.
    ///
    /// # Errors
    /// `Stale` when this process does not hold them.
    pub fn close(self, arena: &Arena, me: &Member) -> Result<()> {
        let closed = arena.close(me, self.handle);
        arena.close(me, self.lock.handle)?;
        closed
    }

    /// Whether its lock is reentrant.
    #[must_use]
    pub fn is_reentrant(&self) -> bool {
        self.reentrant
    }

    /// What its waiters have as key.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.handle.word()
    }

    fn expect_held(&self, arena: &Arena, me: &Member, context: u32) -> Result<()> {
        let held = self.lock.state(arena)?.is_held_by(me.name) && {
            let owner = self.rlock().map_or(Ok((0, 1)), |rlock| rlock.depth(arena))?.0;
            owner & SHARED == 0 || owner == context
        };
        if held {
            Ok(())
        } else {
            Err(Error::State(
                "the condition's lock must be held for that, and it is not".into(),
            ))
        }
    }

    fn rlock(&self) -> Option<RLock> {
        self.reentrant.then_some(RLock { lock: self.lock })
    }

    /// Begins to wait: enters the list and releases the lock, however often it is held.
    ///
    /// # Errors
    /// `State` when `context` of this thread does not hold the lock; `OutOfMemory`.
    pub fn begin(&self, arena: &Arena, me: &Member, context: u32, sleeper: Sleeper) -> Result<Waiting> {
        self.expect_held(arena, me, context)?;
        let state = self.lock.state(arena)?;
        let waiting = Waiting {
            record: arena.enter_list(me, self.lock.sleepers(), sleeper, self.key())?,
            turn: state.turn,
            depth: self.rlock().map_or(Ok((0, 1)), |rlock| rlock.depth(arena))?,
        };
        self.lock.let_go(arena, me, state)?;
        Ok(waiting)
    }

    /// True when somebody has notified the wait.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn is_notified(&self, arena: &Arena, waiting: &Waiting) -> Result<bool> {
        Ok(arena.list_of(waiting.record)? != self.lock.sleepers().at)
    }

    /// Ends the wait if it has been notified and the lock is free: the lock is held as before then.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn try_end(&self, arena: &Arena, me: &Member, waiting: &Waiting) -> Result<bool> {
        if !self.is_notified(arena, waiting)? || self.lock.try_acquire(arena, me)?.is_none() {
            return Ok(false);
        }
        arena.quit_list(me, waiting.record)?;
        // What it was woken for it has: should it die now, the lock's word names it.
        arena.settled(me)?;
        self.restore(arena, me, waiting.held())?;
        Ok(true)
    }

    /// Gives the wait up. True when it has been notified, which was in vain for everybody else. The lock is
    /// not held: acquire it and call [`Condition::restore`].
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn cancel(&self, arena: &Arena, me: &Member, waiting: &Waiting) -> Result<bool> {
        let (chosen, list) = arena.quit_list(me, waiting.record)?;
        let waiters = self.lock.waiters();
        if list == waiters.at {
            self.lock.give_up(arena, me)?;
            if chosen {
                arena.wake_one(me, waiters)?;
            }
        }
        Ok(list != self.lock.sleepers().at)
    }

    /// Once the lock is held again: makes it held as [`Waiting::held`] says, for the same guards.
    ///
    /// # Errors
    /// `Corrupt`; `State` when it is not held.
    pub fn restore(&self, arena: &Arena, me: &Member, (turn, context, depth): (u32, u32, u32)) -> Result<()> {
        if !self.lock.word(arena).renumber(me.name, turn)? {
            return Err(Error::State("the lock is not held".into()));
        }
        if let Some(rlock) = self.rlock() {
            rlock.set_depth(arena, context, depth)?;
        }
        Ok(())
    }

    /// Waits, blocking the thread, until it is notified, and holds the lock again either way.
    ///
    /// # Errors
    /// As [`Condition::begin`].
    pub fn wait(&self, arena: &Arena, me: &Member, context: u32, patience: Patience<'_>) -> Result<Woken> {
        let waiting = self.begin(arena, me, context, Sleeper::Thread)?;
        let Patience {
            deadline,
            slice,
            stop,
        } = patience;
        let outcome = self.sleep(arena, me, &waiting, deadline, slice, stop);
        if matches!(outcome, Ok(None)) {
            return Ok(Woken::Notified);
        }
        let notified = self.cancel(arena, me, &waiting)?;
        let outcome = outcome?.unwrap_or(Woken::Notified);
        // A thread that is being ended acquires nothing more; a signal must wait until the lock is held.
        let ending = slice.is_some() && outcome == Woken::Stopped;
        let waited = self.lock.acquire(
            arena,
            me,
            Patience {
                deadline: ending.then_some(0),
                slice,
                stop: &mut || slice.is_some() && stop(),
            },
        )?;
        if matches!(waited, Waited::Acquired(_)) {
            self.restore(arena, me, waiting.held())?;
        } else {
            return Ok(Woken::Stopped);
        }
        Ok(if notified && outcome == Woken::TimedOut {
            Woken::Notified
        } else {
            outcome
        })
    }

    /// What has ended the wait, with the lock still to be acquired; `None` when it is held again.
    fn sleep(
        &self,
        arena: &Arena,
        me: &Member,
        waiting: &Waiting,
        deadline: Option<u64>,
        slice: Option<&dyn Fn() -> u64>,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Woken>> {
        let left = deadline.map_or(u64::MAX, |deadline| deadline.saturating_sub(now()));
        if left > 0 && spin::until(arena, me, left, || self.try_end(arena, me, waiting))? {
            return Ok(None);
        }
        loop {
            arena.acknowledge(waiting.record)?;
            if self.try_end(arena, me, waiting)? {
                return Ok(None);
            }
            if arena.list_of(waiting.record)? == 0 {
                return Ok(Some(Woken::Notified));
            }
            let at = now();
            if deadline.is_some_and(|deadline| at >= deadline) {
                return Ok(Some(Woken::TimedOut));
            }
            let next = at + slice.map_or(LONGEST_SLEEP, |slice| slice());
            let until = deadline.map_or(next, |deadline| deadline.min(next));
            let slept = arena.sleep_listed(me, waiting.record, Some(until))?;
            if !matches!(slept, Wait::Woken | Wait::Changed) && stop() {
                return Ok(Some(Woken::Stopped));
            }
        }
    }

    /// Notifies up to `most` of those who wait, in order; returns how many.
    ///
    /// # Errors
    /// `State` when `context` of this thread does not hold the lock.
    pub fn notify(&self, arena: &Arena, me: &Member, context: u32, most: u64) -> Result<u64> {
        self.expect_held(arena, me, context)?;
        if !arena.has_waiters(self.lock.sleepers().at)? {
            return Ok(0);
        }
        let (from, to) = (self.lock.sleepers(), self.lock.waiters());
        arena.move_waiters(me, (from, self.key()), (to, now()), most)
    }

    /// How many wait.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn count(&self, arena: &Arena, me: &Member) -> Result<u64> {
        arena.count_waiters(me, self.lock.sleepers(), Some(self.key()))
    }
}

/// Makes the object, with a block that carries the lock's handle.
fn pin(arena: &Arena, me: &Member, lock: Handle) -> Result<Handle> {
    arena.create(me, KIND, 0, |index, _| {
        let block = arena.alloc(me, object::pins_size(1))?;
        let filled = arena
            .begin_pins(me, block, 1)
            .and_then(|()| arena.pin(me, block, 0, lock));
        if let Err(error) = filled {
            arena.free(me, block)?;
            return Err(error);
        }
        let word = arena.map.word(arena.layout.object(index) + object::WORDS)?;
        // SYNC: Release: whoever destroys it after a crash reads the word first, then whose the block is.
        word.store(block, Release);
        let (mine, its) = (Side::owned(me.name), Side::held(index, BODY_TAG));
        arena.hand_over(block, mine.with_pins(true), its.with_pins(true))?;
        Ok(())
    })
}

/// The handle of a condition's lock.
fn part(arena: &Arena, index: u64) -> Result<Option<Handle>> {
    let block = block(arena, index)?;
    if block == 0 || arena.side(block)? != Side::held(index, BODY_TAG).with_pins(true) {
        return Ok(None);
    }
    Ok(arena.pinned(block)?.first().copied())
}

fn block(arena: &Arena, index: u64) -> Result<Offset> {
    Ok(arena
        .map
        .word(arena.layout.object(index) + object::WORDS)?
        .load(Acquire))
}

/// How conditions are destroyed.
#[derive(Debug, Clone, Copy)]
pub struct ConditionKind;

impl Kind for ConditionKind {
    fn destroy(&self, arena: &Arena, me: &Member, index: u64) -> Result<()> {
        let block = block(arena, index)?;
        if block != 0 {
            let its = Side::held(index, BODY_TAG).with_pins(true);
            let mine = Side::owned(me.name).with_pins(true);
            // Whoever died destroying it may have freed the block already: then it is not ours.
            if arena.hand_over(block, its, mine).unwrap_or(false) {
                arena.free(me, block)?;
            }
            arena
                .map
                .word(arena.layout.object(index) + object::WORDS)?
                .store(0, Release);
        }
        Ok(())
    }

    fn recover(&self, _: &Arena, _: &Member, _: Name, _: u64, _: u64) -> Result<()> {
        // All operations are on the lock.
        Ok(())
    }
}
