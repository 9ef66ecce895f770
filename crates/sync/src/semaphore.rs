//! The semaphore: permits that are acquired and released, by whomever.
//!
//! Words of the header: 0 the word of [`crate::permits`], 1 the value that it began with, 2 flags. First
//! list: those who wait for a permit. A *robust* semaphore has a body besides, its books: a word for each
//! holder, its name with the number of its permits in bits 12 to 31.
//!
//! Without books a permit is one CAS on one word. With them it takes two words, and so the object's
//! section: word and entry change in one commit, so a permit of an ended member comes back exactly once.
//!
//! A waiter of over 10 ms is handed the permit, as with a lock. Of several releases in a row only the
//! first wakes somebody; whoever acquires wakes the next if it leaves permits behind.
//!
//! # What a crash leaves
//! | killed | left | put right by |
//! |---|---|---|
//! | having acquired, not robust | a permit fewer: the semaphore may be a signal that was taken | nobody |
//! | having acquired, robust | an entry of the dead | recovery gives back what it says, up to the first value where that is a bound |
//! | with one set aside for it | a word that names the dead | recovery sets it free |
//! | having released, before it looked who waits | sleepers | its note of the object: recovery rouses them |

use crate::lock::{Patience, is_live, is_overdue};
use crate::permits::{MOST, Permits, State};
use polyproc_arena::block_on::{Outcome, block_on};
use polyproc_arena::blocks::{BODY_TAG, Side};
use polyproc_arena::error::{Error, Result};
use polyproc_arena::map::Offset;
use polyproc_arena::object::{self, Handle, Kind};
use polyproc_arena::primitive::Ordering::Relaxed;
use polyproc_arena::primitive::now;
use polyproc_arena::wait::List;
use polyproc_arena::{Arena, Guard, Member, Name, names, recovery};

/// Index of the kind.
pub const KIND: usize = 10;
/// Index of the kind whose value never exceeds the first one.
pub const BOUNDED: usize = 11;

const FIRST: Offset = 8;
const FLAGS: Offset = 16;
const ROBUST: u64 = 1;
/// Books of so many entries have one for each member, at its slot.
const ALL: u64 = 4096;
/// Books of up to so many are searched from end to end.
const SEARCHED: u64 = 256;

/// A semaphore that this process holds a handle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Semaphore {
    /// Its handle.
    pub handle: Handle,
    at: Offset,
    books: Offset,
    entries: u64,
    first: u32,
    bounded: bool,
}

/// How a wait for a permit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// There is one, and it is the caller's.
    Acquired,
    /// The deadline passed.
    TimedOut,
    /// `stop` said so.
    Stopped,
}

/// Entries that the books of a robust semaphore need: as many as can hold a permit at a time.
fn entries(bounded: bool, value: u32) -> u64 {
    if bounded && u64::from(value) <= SEARCHED {
        u64::from(value.max(1))
    } else {
        ALL
    }
}

fn holder(entry: u64) -> Option<(Name, u32)> {
    Some((
        Name::from_word(entry & !(u64::from(MOST) << 12))?,
        (entry >> 12) as u32 & MOST,
    ))
}

fn entry(name: Name, permits: u32) -> u64 {
    if permits == 0 {
        0
    } else {
        name.word() | u64::from(permits) << 12
    }
}

impl Semaphore {
    /// Makes a semaphore with `value` permits, or finds the one of that name.
    ///
    /// # Errors
    /// `OutOfMemory`; `State` when there are too many permits, or when the one of that name has another
    /// value or other books.
    pub fn create(
        arena: &Arena,
        me: &Member,
        value: u32,
        bounded: bool,
        robust: bool,
        name: Option<&str>,
    ) -> Result<Self> {
        if value > MOST {
            return Err(Error::State(format!(
                "a semaphore has at most {MOST} permits, not {value}"
            )));
        }
        let kind = if bounded { BOUNDED } else { KIND };
        let body = if robust { entries(bounded, value) * 8 } else { 0 };
        let make = || {
            arena.create(me, kind, body, |index, _| {
                let words = arena.layout.object(index) + object::WORDS;
                let state = State {
                    free: value,
                    heir: None,
                };
                arena.map.word(words)?.store(state.pack(), Relaxed);
                arena.map.word(words + FIRST)?.store(u64::from(value), Relaxed);
                arena.map.word(words + FLAGS)?.store(u64::from(robust), Relaxed);
                Ok(())
            })
        };
        let handle = match name {
            None => make()?,
            Some(name) => names::find_or_create(arena, me, kind, name, make)?.0,
        };
        let semaphore = Self::opened(arena, handle)?;
        let said = |differs: String| {
            let _ = arena.close(me, handle);
            Err(Error::State(format!(
                "the semaphore {:?} exists {differs}",
                name.unwrap_or_default()
            )))
        };
        if semaphore.first != value {
            return said(format!("with value {}, not {value}", semaphore.first));
        }
        if semaphore.is_robust() != robust {
            return said(format!("with robust {}, not {robust}", semaphore.is_robust()));
        }
        Ok(semaphore)
    }

    /// Takes hold of the semaphore that a handle stands for.
    ///
    /// # Errors
    /// `Stale` when it is gone or no semaphore.
    pub fn open(arena: &Arena, me: &Member, handle: Handle) -> Result<Self> {
        arena.open(me, handle)?;
        Self::opened(arena, handle).inspect_err(|_| {
            let _ = arena.close(me, handle);
        })
    }

    fn opened(arena: &Arena, handle: Handle) -> Result<Self> {
        let kind = arena.object_kind(handle.index)?;
        if !matches!(kind, KIND | BOUNDED) {
            return Err(Error::Stale);
        }
        let at = arena.layout.object(handle.index);
        let word =
            |offset: Offset| Ok::<_, Error>(arena.map.word(at + object::WORDS + offset)?.load(Relaxed));
        let bounded = kind == BOUNDED;
        let first = word(FIRST)?.min(u64::from(MOST)) as u32;
        let robust = word(FLAGS)? & ROBUST != 0;
        let mut semaphore = Self {
            handle,
            at,
            books: 0,
            entries: 0,
            first,
            bounded,
        };
        if robust {
            semaphore.books = arena.link(at + object::BODY)?;
            semaphore.entries = entries(bounded, first);
            if arena.side(semaphore.books)? != Side::held(handle.index, BODY_TAG)
                || arena.place(semaphore.books)?.size < semaphore.entries * 8
            {
                return Err(Error::Corrupt("a semaphore has lost its books"));
            }
        }
        Ok(semaphore)
    }

    /// True when permits of ended members come back.
    #[must_use]
    pub fn is_robust(&self) -> bool {
        self.entries > 0
    }

    /// The value that it began with.
    #[must_use]
    pub fn first(&self) -> u32 {
        self.first
    }

    fn bound(&self) -> u32 {
        if self.bounded { self.first } else { MOST }
    }

    #[inline]
    fn permits<'a>(&self, arena: &'a Arena) -> Permits<'a> {
        Permits {
            map: &arena.map,
            at: self.at + object::WORDS,
        }
    }

    /// Those who wait for a permit.
    #[must_use]
    #[inline]
    pub fn waiters(&self) -> List {
        List {
            at: self.at + object::LIST_A,
            section: self.at + object::SECTION,
        }
    }

    /// Permits that nobody has taken.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn value(&self, arena: &Arena) -> Result<u32> {
        Ok(self.permits(arena).look()?.value())
    }

    /// Takes a permit if there is one.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn try_acquire(&self, arena: &Arena, me: &Member) -> Result<bool> {
        let permits = self.permits(arena);
        let taken = if self.is_robust() {
            if permits.look()?.taken(me.name, Some(arena)).is_none() {
                return Ok(false);
            }
            self.book(arena, me, |state| state.taken(me.name, Some(arena)), 1)?
        } else {
            permits.change(|state| state.taken(me.name, Some(arena)))?
        };
        let Some(left) = taken else { return Ok(false) };
        if left.free > 0 && arena.has_waiters(self.waiters().at)? {
            // The wake of the release that left it was meant for all of them.
            arena.note(me, self.handle, 0)?;
            arena.wake_one(me, self.waiters())?;
        }
        Ok(true)
    }

    /// Changes the word and the entry of `me` in one commit.
    fn book(
        &self,
        arena: &Arena,
        me: &Member,
        next: impl Fn(State) -> Option<State>,
        by: i32,
    ) -> Result<Option<State>> {
        let guard = arena.enter(me, self.waiters().section)?;
        let permits = self.permits(arena);
        let Some(state) = next(permits.look()?) else {
            return Ok(None);
        };
        let (at, has) = self.find(arena, me.name)?;
        let has = has
            .checked_add_signed(by)
            .ok_or(Error::Corrupt("a semaphore's books do not balance"))?;
        guard.commit(&[(permits.at, state.pack()), (at, entry(me.name, has))])?;
        Ok(Some(state))
    }

    /// The entry of a member, and how many permits it has; a free one if it has none.
    fn find(&self, arena: &Arena, name: Name) -> Result<(Offset, u32)> {
        let read = |at: Offset| Ok::<_, Error>(holder(arena.map.word(at)?.load(Relaxed)));
        if self.entries == ALL {
            let at = self.books + name.slot() * 8;
            return Ok((
                at,
                read(at)?
                    .filter(|(whose, _)| *whose == name)
                    .map_or(0, |(_, has)| has),
            ));
        }
        let mut free = None;
        for at in (0..self.entries).map(|k| self.books + k * 8) {
            match read(at)? {
                Some((whose, has)) if whose == name => return Ok((at, has)),
                None if free.is_none() => free = Some(at),
                _ => {}
            }
        }
        free.map(|at| (at, 0)).ok_or(Error::Corrupt(
            "more members have permits of a semaphore than it has permits",
        ))
    }

    /// Takes a permit, waiting until there is one.
    ///
    /// # Errors
    /// `Corrupt`; `OutOfMemory` when there is no room for a record.
    pub fn acquire(&self, arena: &Arena, me: &Member, patience: Patience<'_>) -> Result<Waited> {
        let mut got = false;
        let ready = || {
            got = self.try_acquire(arena, me)?;
            Ok(got)
        };
        let (deadline, slice) = (patience.deadline, patience.slice);
        let outcome = block_on(arena, me, self.waiters(), deadline, slice, ready, patience.stop)?;
        if got {
            return Ok(Waited::Acquired);
        }
        if outcome == Outcome::TimedOut {
            // One may have been set aside since the last look.
            let mine = self.permits(arena).look()?.heir == Some(me.name);
            let got = mine && self.try_acquire(arena, me)?;
            return Ok(if got { Waited::Acquired } else { Waited::TimedOut });
        }
        self.give_up(arena, me)?;
        Ok(Waited::Stopped)
    }

    /// Passes on what was set aside for `me` and is not wanted any more.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn give_up(&self, arena: &Arena, me: &Member) -> Result<()> {
        if self.permits(arena).look()?.heir != Some(me.name) {
            return Ok(());
        }
        arena.note(me, self.handle, 0)?;
        if self.alter(arena, me, |state| state.unset(me.name))? {
            arena.wake_one(me, self.waiters())?;
        }
        Ok(())
    }

    /// Changes the word alone.
    fn alter(&self, arena: &Arena, me: &Member, next: impl Fn(State) -> Option<State>) -> Result<bool> {
        let permits = self.permits(arena);
        if !self.is_robust() {
            return Ok(permits.change(next)?.is_some());
        }
        let guard = arena.enter(me, self.waiters().section)?;
        match next(permits.look()?) {
            Some(state) => guard.commit(&[(permits.at, state.pack())]).map(|()| true),
            None => Ok(false),
        }
    }

    /// Gives a permit back, or one more. `own`: only one that `me` has by the books, where there are any.
    ///
    /// # Errors
    /// `State` when there would be more than the first value of a bounded one, or than there can be.
    pub fn release(&self, arena: &Arena, me: &Member, own: bool) -> Result<bool> {
        let waiters = self.waiters();
        arena.note(me, self.handle, 0)?;
        if arena.has_waiters(waiters.at)?
            && is_overdue(arena, waiters, now())?
            && self.hand_over(arena, me, own)?
        {
            return Ok(true);
        }
        let bound = self.bound();
        let given = if self.is_robust() {
            let guard = arena.enter(me, waiters.section)?;
            let Some(debit) = self.debit(arena, me, own)? else {
                return Ok(false);
            };
            let permits = self.permits(arena);
            let given = permits.look()?.given(1, bound);
            if let Some(state) = given {
                self.write(&guard, state, debit)?;
            }
            given
        } else {
            self.permits(arena).change(|state| state.given(1, bound))?
        };
        if given.is_none() {
            return Err(Error::State(if self.bounded {
                format!("the semaphore was released more often than acquired: it has {bound} permits")
            } else {
                format!("a semaphore has at most {MOST} permits")
            }));
        }
        if arena.has_waiters(waiters.at)? {
            arena.wake_one(me, waiters)?;
        }
        Ok(true)
    }

    /// The entry from which a permit goes when `me` releases one, with what it is to become: its own; or, of a
    /// bounded semaphore, on behalf of whom it releases. `Some(None)`: nobody's. `None`: it is not to release,
    /// for it has none of its `own`. In the section.
    fn debit(&self, arena: &Arena, me: &Member, own: bool) -> Result<Option<Option<(Offset, u64)>>> {
        let (at, has) = self.find_own(arena, me.name)?;
        if has > 0 {
            return Ok(Some(Some((at, entry(me.name, has - 1)))));
        }
        if own {
            return Ok(None);
        }
        if !self.bounded {
            return Ok(Some(None));
        }
        for at in (0..self.entries).map(|k| self.books + k * 8) {
            if let Some((whose, has)) = holder(arena.map.word(at)?.load(Relaxed))
                && has > 0
            {
                return Ok(Some(Some((at, entry(whose, has - 1)))));
            }
        }
        Ok(Some(None))
    }

    /// Writes word and entry in one commit.
    fn write(&self, guard: &Guard<'_>, state: State, entry: Option<(Offset, u64)>) -> Result<()> {
        let word = (self.at + object::WORDS, state.pack());
        match entry {
            Some(entry) => guard.commit(&[word, entry]),
            None => guard.commit(&[word]),
        }
    }

    /// As [`Semaphore::find`], for one who may have none and asks for no free entry.
    fn find_own(&self, arena: &Arena, name: Name) -> Result<(Offset, u32)> {
        match self.find(arena, name) {
            Err(Error::Corrupt(_)) => Ok((0, 0)),
            other => other,
        }
    }

    /// Sets the permit aside for somebody who has waited for too long, if there is one.
    #[cold]
    fn hand_over(&self, arena: &Arena, me: &Member, own: bool) -> Result<bool> {
        let (permits, bound) = (self.permits(arena), self.bound());
        arena.grant(me, self.waiters(), |guard, heir| {
            if !self.is_robust() {
                return Ok(permits.change(|state| state.handed(heir, bound))?.is_some());
            }
            let Some(debit) = self.debit(arena, me, own)? else {
                return Ok(false);
            };
            let Some(state) = permits.look()?.handed(heir, bound) else {
                return Ok(false);
            };
            self.write(guard, state, debit)?;
            Ok(true)
        })
    }
}

/// How semaphores are recovered.
#[derive(Debug, Clone, Copy)]
pub struct SemaphoreKind;

impl Kind for SemaphoreKind {
    fn destroy(&self, _: &Arena, _: &Member, _: u64) -> Result<()> {
        Ok(())
    }

    fn recover(&self, _: &Arena, _: &Member, _: Name, _: u64, _: u64) -> Result<()> {
        // Whoever the dead had to wake is roused by the arena; what it has is taken back by `forsake`.
        Ok(())
    }

    fn forsake(&self, arena: &Arena, me: &Member, dead: Name, index: u64) -> Result<bool> {
        let generation = arena.object_state(index)?.generation;
        let handle = Handle { index, generation };
        let Ok(semaphore) = Semaphore::opened(arena, handle) else {
            return Ok(false);
        };
        let permits = semaphore.permits(arena);
        let has = || -> Result<(Offset, u32)> {
            if semaphore.is_robust() {
                semaphore.find_own(arena, dead)
            } else {
                Ok((0, 0))
            }
        };
        if has()?.1 == 0 && permits.look()?.heir != Some(dead) {
            return Ok(false);
        }
        arena.note(me, handle, 0)?;
        let guard = arena.enter(me, semaphore.waiters().section)?;
        if !is_live(arena, handle, &[KIND, BOUNDED])? || !recovery::is_ended(arena, dead) {
            return Ok(false);
        }
        if !semaphore.is_robust() {
            return Ok(permits.change(|state| state.unset(dead))?.is_some());
        }
        let (at, has) = has()?;
        let seen = permits.look()?;
        let state = seen.unset(dead).unwrap_or(seen);
        let most = if semaphore.bounded { semaphore.first } else { MOST };
        let more = has.min(most.saturating_sub(state.value()));
        let state = state.given(more, MOST).unwrap_or(state);
        semaphore.write(&guard, state, (has > 0).then_some((at, 0)))?;
        Ok(true)
    }
}
