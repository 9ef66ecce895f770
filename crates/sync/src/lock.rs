//! The lock, and what every object with a lock's word does: acquiring, waiting, releasing, handing over.
//!
//! Words of the header: 0 the word of [`crate::owned`], 1 depth and context of a reentrant lock, 2 not 0: somebody glances, 3 counts
//! releases that see somebody on its way.
//! First list: those who wait for the lock; second list: those who wait for a condition of it.
//!
//! Whoever comes while the lock is free takes it, also past those who wait: their wake-up takes longer
//! than most critical sections. But a waiter of over 10 ms that sleeps is *handed* the lock by the release,
//! so none waits for ever. A release wakes one. One that sees somebody who has been woken and has not looked since leaves everything
//! to that one; of [`ASKS`] such releases all but one do not even ask the time.
//!
//! Whoever finds it held *glances* at it for a moment before it sleeps. A release that sees that somebody does leaves it a
//! moment to itself: else the same thread, whose core has the word, would have it again before the other has seen it free.
//! Where a crowd waits, some asleep, whoever comes glances seldom, and no moment is left: many turns in a row on one core
//! take less time than a turn on each, and fairness is a matter of the 10 ms.
//!
//! Word 2 is a hint: at worst, by a death or a race, one release waits that moment for nobody.
//!
//! # What a crash leaves
//! | killed | left | put right by |
//! |---|---|---|
//! | holding it | a word that names the dead | recovery frees it, marked `died`, and wakes one |
//! | handed it | the same, `handed` | recovery frees it and wakes one |
//! | having freed it, before it looked who waits | sleepers of a free lock | the word, which names it: recovery wakes one |
//! | having handed it over, or chosen whom to wake, before the call | one that sleeps | its note of the object: recovery rouses them |
//! | waiting | a record in the list | recovery of the arena |

use crate::owned::{Acquired, Owned, State};
use polyproc_arena::block_on::{Outcome, block_on};
use polyproc_arena::error::{Error, Result};
use polyproc_arena::map::Offset;
use polyproc_arena::object::{self, Handle, Kind, Phase};
use polyproc_arena::primitive::Ordering::Relaxed;
use polyproc_arena::primitive::{Word, last_tick};
use polyproc_arena::section::Liveness;
use polyproc_arena::wait::List;
use polyproc_arena::{Arena, Member, Name, member, names, spin};
use polyproc_sys::clock;
use std::ptr::NonNull;

/// Index of the kind.
pub const KIND: usize = 8;
/// Index of the kind of reentrant locks.
pub const REENTRANT: usize = 9;
/// A waiter of so many ns is handed the lock.
pub const HAND_OVER: u64 = 10_000_000;

/// A release asks the clock of the last tick, which is behind by so many ns at most where the kernel has 250 ticks a second: so
/// much earlier it may hand over, and where ticks are rarer, some ms later.
const TICK: u64 = 4_000_000;

/// See [`Lock::seen`].
pub const SEEN_LEN: u64 = 128;

/// Looks at the word, each some 10 to 40 ns, before it is given up for now: about as long as it takes to sleep and be woken.
const GLANCES: u32 = 250;
/// Where others sleep, looks are so many times further apart: each takes the word from the core of whoever has the lock.
const APART: u32 = 64;
/// How many looks a release leaves to those who glance: more than it takes one core to see what another has written.
const ROOM: u32 = 16;
const GLANCING: Offset = 16;
const SEEN: Offset = 24;
/// Of so many releases that see somebody on its way one asks for how long it has been, and for how long others have waited: to ask
/// costs as much as half a short turn. That one sleeps again once it has found the lock held for some us, which ends it sooner,
/// unless it is stopped or finds no core.
const ASKS: u64 = if cfg!(feature = "points") { 2 } else { 8 };

/// A lock that this process holds a handle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// Its handle.
    pub handle: Handle,
    at: Offset,
}

/// How a wait for a lock ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// It is the caller's.
    Acquired(Acquired),
    /// The deadline passed.
    TimedOut,
    /// `stop` said so.
    Stopped,
}

/// How long to wait, and what ends the wait early: see [`block_on`].
pub struct Patience<'a> {
    /// In ns of the monotonic clock; `None`: for ever.
    pub deadline: Option<u64>,
    /// How often to look up, in ns.
    pub slice: Option<&'a dyn Fn() -> u64>,
    /// Asked after every interruption and every slice.
    pub stop: &'a mut dyn FnMut() -> bool,
}

impl Lock {
    /// Makes a lock of one of the kinds ([`KIND`] or [`REENTRANT`]), or finds the one of that name.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn create(arena: &Arena, me: &Member, kind: usize, name: Option<&str>) -> Result<Self> {
        let make = || arena.create(me, kind, 0, |_, _| Ok(()));
        let handle = match name {
            None => make()?,
            Some(name) => names::find_or_create(arena, me, kind, name, make)?.0,
        };
        Ok(Self::at(arena, handle))
    }

    /// Takes hold of the lock that a handle stands for.
    ///
    /// # Errors
    /// `Stale` when it is gone or no lock.
    pub fn open(arena: &Arena, me: &Member, handle: Handle) -> Result<Self> {
        arena.open(me, handle)?;
        Self::borrowed(arena, handle).inspect_err(|_| {
            let _ = arena.close(me, handle);
        })
    }

    /// The lock of a handle that something else keeps alive for as long as it is used.
    ///
    /// # Errors
    /// `Stale` when it is no lock.
    pub fn borrowed(arena: &Arena, handle: Handle) -> Result<Self> {
        if matches!(arena.object_kind(handle.index)?, KIND | REENTRANT) {
            Ok(Self::at(arena, handle))
        } else {
            Err(Error::Stale)
        }
    }

    fn at(arena: &Arena, handle: Handle) -> Self {
        let at = arena.layout.object(handle.index);
        Self { handle, at }
    }

    /// Its word.
    #[must_use]
    #[inline]
    pub fn word<'a>(&self, arena: &'a Arena) -> Owned<'a> {
        Owned {
            map: &arena.map,
            at: self.at + object::WORDS,
        }
    }

    /// Offset of the word beside it, which only its owner changes.
    pub(crate) fn beside(&self) -> Offset {
        self.at + object::WORDS + 8
    }

    /// The [`SEEN_LEN`] bytes of which JavaScript can acquire and release it without a call: the first list, and 64 bytes on its
    /// word. `None` where it must not: in a build with kill points, which stand in this source; and on any machine but x86-64, where
    /// a plain read after a CAS stays after it.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn seen(&self, arena: &Arena) -> Result<Option<NonNull<u8>>> {
        if cfg!(feature = "points") || !cfg!(target_arch = "x86_64") {
            return Ok(None);
        }
        arena.map.bytes(self.at + object::LIST_A, SEEN_LEN).map(Some)
    }

    /// Those who wait for it.
    #[must_use]
    #[inline]
    pub fn waiters(&self) -> List {
        List {
            at: self.at + object::LIST_A,
            section: self.at + object::SECTION,
        }
    }

    /// Those who wait for a condition of it, each with the condition's handle as key.
    #[must_use]
    pub fn sleepers(&self) -> List {
        List {
            at: self.at + object::LIST_B,
            section: self.at + object::SECTION,
        }
    }

    /// Acquires it if it is free, or its owner is dead.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn try_acquire(&self, arena: &Arena, me: &Member) -> Result<Option<Acquired>> {
        self.word(arena).acquire(me.name, Some(arena))
    }

    /// Acquires it, waiting until it is free.
    ///
    /// # Errors
    /// `Corrupt`; `OutOfMemory` when there is no room for a record.
    pub fn acquire(&self, arena: &Arena, me: &Member, patience: Patience<'_>) -> Result<Waited> {
        let word = self.word(arena);
        let mut got = None;
        let mut turn = 0_u32;
        let outcome = block_on(
            arena,
            me,
            self.waiters(),
            patience.deadline,
            patience.slice,
            || {
                // Whether the owner lives is looked at now and then: recovery frees what the dead hold.
                let alive = (turn.is_multiple_of(32) || cfg!(feature = "points")).then_some(arena);
                turn = turn.wrapping_add(1);
                got = word.acquire(me.name, alive)?;
                if got.is_none() {
                    // Who has just been woken would sleep again, because another holds it for a moment.
                    got = self.glance(arena, me)?;
                }
                Ok(got.is_some())
            },
            patience.stop,
        )?;
        if let Some(acquired) = got {
            // What it was woken for it has: should it die now, the word names it.
            arena.settled(me)?;
            return Ok(Waited::Acquired(acquired));
        }
        // It may have been handed over since the last look.
        if outcome == Outcome::TimedOut {
            if word.look()?.owner == Some(me.name)
                && let Some(acquired) = word.acquire(me.name, None::<&Arena>)?
            {
                return Ok(Waited::Acquired(acquired));
            }
            return Ok(Waited::TimedOut);
        }
        self.give_up(arena, me)?;
        Ok(Waited::Stopped)
    }

    /// Acquires it if it becomes free within a moment, some microseconds at most. For whoever has just tried in vain, before
    /// it goes to the trouble of waiting.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn glance(&self, arena: &Arena, me: &Member) -> Result<Option<Acquired>> {
        if cfg!(feature = "points") || !spin::is_possible() {
            return Ok(None);
        }
        let word = self.word(arena);
        let glancing = self.glancing(arena)?;
        let is_crowd = arena.has_waiters(self.waiters().at)?;
        let pauses = if is_crowd { APART } else { 1 };
        for _ in 0..GLANCES / pauses {
            for _ in 0..pauses {
                clock::cpu_relax();
            }
            if word.look()?.owner.is_none()
                && let Some(acquired) = word.acquire(me.name, None::<&Arena>)?
            {
                // SYNC: Relaxed, as all of this word: a hint.
                glancing.store(0, Relaxed);
                return Ok(Some(acquired));
            }
            if !is_crowd && glancing.load(Relaxed) == 0 {
                glancing.store(1, Relaxed);
            }
        }
        Ok(None)
    }

    #[inline]
    fn glancing<'a>(&self, arena: &'a Arena) -> Result<&'a Word> {
        arena.map.word(self.at + object::WORDS + GLANCING)
    }

    /// After a release that saw somebody glance.
    #[cold]
    fn leave_room(&self, arena: &Arena) -> Result<()> {
        self.glancing(arena)?.store(0, Relaxed);
        let word = self.word(arena);
        for _ in 0..ROOM {
            if word.look()?.owner.is_some() {
                break;
            }
            clock::cpu_relax();
        }
        Ok(())
    }

    /// Passes on what was handed to `me` and is not wanted any more.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn give_up(&self, arena: &Arena, me: &Member) -> Result<()> {
        arena.note(me, self.handle, 0)?;
        if self.word(arena).give_up(me.name)? {
            arena.wake_one(me, self.waiters())?;
        }
        Ok(())
    }

    /// Releases the acquisition of that turn by `me`. False, and nothing happens, when it was released
    /// already, whoever holds the lock by now.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn release_turn(&self, arena: &Arena, me: &Member, turn: u32) -> Result<bool> {
        let seen = self.word(arena).look()?;
        if !seen.is_held_by(me.name) || seen.turn != turn {
            return Ok(false);
        }
        self.let_go(arena, me, seen)
    }

    /// Releases it, whoever holds it. False when nobody who is alive does.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn release(&self, arena: &Arena, me: &Member) -> Result<bool> {
        let seen = self.word(arena).look()?;
        // What the dead held is nobody's, and the next to acquire it is to be told.
        if seen.handed || seen.owner.is_none_or(|owner| arena.is_dead(owner)) {
            return Ok(false);
        }
        self.let_go(arena, me, seen)
    }

    /// Frees what was seen held, or hands it over, and sees to it that somebody looks.
    #[inline]
    pub(crate) fn let_go(&self, arena: &Arena, me: &Member, seen: State) -> Result<bool> {
        if arena.has_waiters(self.waiters().at)? && !self.may_leave(arena)? {
            return self.let_go_to(arena, me, seen);
        }
        let freed = self.word(arena).release(seen, me.name)?;
        self.look_after(arena, me)?;
        if self.glancing(arena)?.load(Relaxed) != 0 {
            self.leave_room(arena)?;
        }
        Ok(freed)
    }

    /// Wakes one who waits, after `me` freed the word, unless one is on its way.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn look_after(&self, arena: &Arena, me: &Member) -> Result<()> {
        let waiters = self.waiters();
        if arena.has_waiters(waiters.at)? && !arena.has_woken(waiters.at)? {
            // Should it die having chosen one: by then the word may be another's.
            arena.note(me, self.handle, 0)?;
            arena.wake_one(me, waiters)?;
            arena.settled(me)?;
        }
        Ok(())
    }

    /// True when somebody is on its way, and this is not the release that asks for how long. While holding it. That one may look
    /// before the lock is free: [`Lock::look_after`] must follow.
    #[inline]
    fn may_leave(&self, arena: &Arena) -> Result<bool> {
        if !arena.has_woken(self.waiters().at)? {
            return Ok(false);
        }
        // SYNC: Relaxed: only who holds the lock changes it.
        let seen = arena.map.word(self.at + object::WORDS + SEEN)?;
        let count = seen.load(Relaxed).wrapping_add(1) % ASKS;
        seen.store(count, Relaxed);
        Ok(count != 0)
    }

    /// The same where somebody waits.
    #[cold]
    fn let_go_to(&self, arena: &Arena, me: &Member, seen: State) -> Result<bool> {
        let waiters = self.waiters();
        // Should it die having chosen one.
        arena.note(me, self.handle, 0)?;
        let at = last_tick();
        if is_overdue(arena, waiters, at + TICK)? && self.hand_over(arena, me, seen)? {
            arena.settled(me)?;
            return Ok(true);
        }
        let freed = self.word(arena).release(seen, me.name)?;
        if !arena.is_somebody_coming(waiters.at, at)? {
            arena.wake_one(me, waiters)?;
        }
        arena.settled(me)?;
        Ok(freed)
    }

    /// Hands it to somebody who has waited for too long, if there is one.
    fn hand_over(&self, arena: &Arena, me: &Member, seen: State) -> Result<bool> {
        let word = self.word(arena);
        arena.grant(me, self.waiters(), |_, heir| word.hand(seen, heir))
    }

    /// Who holds it, as its word says.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn state(&self, arena: &Arena) -> Result<State> {
        self.word(arena).look()
    }

    /// True when somebody who is alive holds it.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn is_locked(&self, arena: &Arena) -> Result<bool> {
        let state = self.state(arena)?;
        Ok(state.owner.is_some_and(|owner| !arena.is_dead(owner)))
    }

    /// True when `me` holds it and nobody else could ever release it: no other process has it, no message
    /// and no other object carries it, and this process has no other thread that shares memory.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn is_deadlock(&self, arena: &Arena, me: &Member) -> Result<bool> {
        if !self.state(arena)?.is_held_by(me.name) || arena.is_held_elsewhere(self.handle.index)? {
            return Ok(false);
        }
        let process = arena.process_slot();
        let native = arena.native();
        let others = arena
            .members()
            .filter(|(slot, state)| {
                let name = Name::new(*slot, state.generation);
                state.process == process
                    && state.phase == member::Phase::Live
                    && name != me.name
                    && Some(name) != native
            })
            .count();
        Ok(others == 0)
    }
}

/// True when the first in a list has waited for so long that it is handed what it waits for.
pub(crate) fn is_overdue(arena: &Arena, waiters: List, at: u64) -> Result<bool> {
    // A hint: who stands there is looked at again in the section.
    Ok(arena
        .first_key(waiters.at)?
        .is_some_and(|began| at.saturating_sub(began) > HAND_OVER))
}

/// True when the header is still that of a live object of one of the kinds. In its section.
pub(crate) fn is_live(arena: &Arena, handle: Handle, kinds: &[usize]) -> Result<bool> {
    let state = arena.object_state(handle.index)?;
    Ok(state.phase == Phase::Live
        && state.generation == handle.generation
        && kinds.contains(&arena.object_kind(handle.index)?))
}

/// How locks are recovered.
#[derive(Debug, Clone, Copy)]
pub struct LockKind;

impl Kind for LockKind {
    fn destroy(&self, _: &Arena, _: &Member, _: u64) -> Result<()> {
        Ok(())
    }

    fn recover(&self, _: &Arena, _: &Member, _: Name, _: u64, _: u64) -> Result<()> {
        // Whoever the dead had to wake is roused by the arena; what it holds is taken by `forsake`.
        Ok(())
    }

    fn forsake(&self, arena: &Arena, me: &Member, dead: Name, index: u64) -> Result<bool> {
        let generation = arena.object_state(index)?.generation;
        let lock = Lock::at(arena, Handle { index, generation });
        let state = lock.state(arena)?;
        if state.releaser == Some(dead) {
            // One is enough, as after any release. Had it chosen one and not called it, its note would say so.
            arena.wake_one(me, lock.waiters())?;
            return Ok(false);
        }
        if state.owner != Some(dead) {
            return Ok(false);
        }
        // Should this recoverer die after the CAS, another rouses those who wait.
        arena.note(me, lock.handle, 0)?;
        let _guard = arena.enter(me, lock.waiters().section)?;
        if !is_live(arena, lock.handle, &[KIND, REENTRANT])? {
            return Ok(false);
        }
        lock.word(arena).bury(dead)
    }
}
