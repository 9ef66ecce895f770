//! Waiting: lists of waiter records, and how a waiter is woken.
//!
//! Who waits for something puts a record into the thing's list (first in, first out), looks once more,
//! and sleeps: a thread on the record's state word, an isolate in its own event loop. A record is 64
//! bytes in a block of its member:
//!
//! ```text
//! record   +0 owner  +8 list  +16 next  +24 previous  +32 state, kind  +40 key  +48 woken at  +56 section
//! list     +0 head   +8 tail  +16 woken
//! ```
//!
//! State: waiting → woken (look, you have been chosen) or hinted (look at the end of your turn), and
//! back to waiting by its owner before it looks. A thread goes from waiting to asleep before it sleeps: whoever calls one that is
//! awake need not wake it. Lists are changed in the section of the thing.
//!
//! **A wake goes only to a sleeping thread, or an isolate that is parked or watches** (spins before it
//! parks: it comes first, since nobody need be rung for it). An isolate that runs JavaScript is marked
//! dirty and looks for itself before it parks, so nothing is handed to a loop that is busy. Of each list
//! at most one waiter is woken and has not looked yet; it wakes the next if it finds more.
//!
//! The pairs that make a wake-up impossible to lose (each side writes, then reads what the other wrote,
//! with a full barrier between):
//! - waker: publish the change, read the list's head · waiter: enter the list, look at the thing again;
//! - waker: set `dirty`, read `parked` · isolate: set `parked`, read `dirty`, also where it has watched.
//!
//! # What a crash leaves
//! | killed | left | put right by |
//! |---|---|---|
//! | waiting | a record in a list | recovery unlinks it, and wakes the next in its place |
//! | after leaving, before it looked or passed on | nothing | its note of the object: recovery rouses its lists |
//! | having changed the thing, before it looked for waiters | a sleeper nobody calls | the same |
//! | having chosen a waiter, before futex or doorbell | a sleeper that seems to be called | its note of the section, kept until then: recovery rouses its lists |
//!
//! *Rousing* calls everybody in a list, also those who have been called already.

use crate::arena::{Arena, Member};
use crate::blocks::Side;
use crate::error::{Error, Result};
use crate::handshake;
use crate::layout;
use crate::map::Offset;
use crate::member::{self, Name};
use crate::object;
use crate::primitive::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::primitive::now;
use crate::process;
use crate::section::Liveness;
use crate::spin;
use polyproc_sys::futex;

const OWNER: Offset = 0;
const LIST: Offset = 8;
const NEXT: Offset = 16;
const PREVIOUS: Offset = 24;
const STATE: Offset = 32;
const SLEEPER: Offset = 36;
const KEY: Offset = 40;
const WOKEN_AT: Offset = 48;
const SECTION: Offset = 56;
const SIZE: u64 = 64;

const HEAD: Offset = 0;
const TAIL: Offset = 8;
const WOKEN: Offset = 16;

/// State of a record that has not been called. Its owner looks at the thing before it sleeps.
const WAITING: u32 = 1;
const HINTED: u32 = 2;
const CHOSEN: u32 = 3;
/// State of a record that has not been called, of a thread that sleeps or is about to.
pub(crate) const ASLEEP: u32 = 4;

fn was_called(state: u32) -> bool {
    state == HINTED || state == CHOSEN
}

/// First block of records, in bytes; each further one is twice the last.
const FIRST_BLOCK: u64 = 2048;
/// A woken waiter that has not looked for so long, in ns, is passed over: its loop is busy after all.
const UNSEEN: u64 = 1_000_000;
/// So many of a list are looked at for one that watches.
const FIRST: u32 = 16;
/// No list is longer; a scribbled one must not be walked for ever.
const LONGEST: u32 = 1 << 20;

/// How the waiter sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sleeper {
    /// A thread, on its record.
    Thread,
    /// An isolate, in its event loop.
    Isolate,
}

/// A list of waiters and the section that guards it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List {
    /// Offset of the list.
    pub at: Offset,
    /// Offset of the section.
    pub section: Offset,
}

/// A record in a list. Must be taken out with [`Arena::leave_list`] by the member that entered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Record(pub Offset);

impl Arena {
    fn record_block(&self, me: &Member) -> Result<()> {
        for k in 0..member::RECORDS_LEN {
            let word = self.map.word(me.slot + member::RECORDS + k * 8)?;
            if word.load(Relaxed) != 0 {
                continue;
            }
            let bytes = FIRST_BLOCK << k;
            let block = self.alloc(me, bytes)?;
            self.zero(block, bytes)?;
            // SYNC: Release, so that recovery finds zeroed records behind the offset.
            word.store(block, Release);
            me.records
                .borrow_mut()
                .extend((0..bytes / SIZE).rev().map(|r| block + r * SIZE));
            return Ok(());
        }
        Err(Error::TableFull(
            "pending waits of one thread",
            (FIRST_BLOCK << 16) / SIZE,
        ))
    }

    /// Puts a record of `me` at the end of a list. The caller must look at the thing again before it
    /// sleeps. `key` is the caller's own.
    ///
    /// # Errors
    /// `OutOfMemory`, `Corrupt`.
    pub fn enter_list(&self, me: &Member, list: List, sleeper: Sleeper, key: u64) -> Result<Record> {
        if me.records.borrow().is_empty() {
            self.record_block(me)?;
        }
        let Some(record) = me.records.borrow_mut().pop() else {
            return Err(Error::Corrupt("no waiter record"));
        };
        self.map.word(record + KEY)?.store(key, Relaxed);
        self.map.word(record + SECTION)?.store(list.section, Relaxed);
        self.map
            .flag(record + SLEEPER)?
            .store(u32::from(sleeper == Sleeper::Isolate), Relaxed);
        self.map.flag(record + STATE)?.store(WAITING, Relaxed);
        // SYNC: Release: recovery reads the owner first.
        self.map.word(record + OWNER)?.store(me.name.word(), Release);
        let guard = self.enter(me, list.section)?;
        let tail = self.link(list.at + TAIL)?;
        let link = if tail == 0 { list.at + HEAD } else { tail + NEXT };
        guard.commit(&[
            (record + NEXT, 0),
            (record + PREVIOUS, tail),
            (record + LIST, list.at),
            (link, record),
            (list.at + TAIL, record),
        ])?;
        drop(guard);
        handshake::entered();
        Ok(Record(record))
    }

    fn unlink(&self, guard: &crate::arena::Guard<'_>, list: Offset, record: Offset) -> Result<()> {
        let next = self.link(record + NEXT)?;
        let previous = self.link(record + PREVIOUS)?;
        let forward = if previous == 0 {
            list + HEAD
        } else {
            previous + NEXT
        };
        let backward = if next == 0 { list + TAIL } else { next + PREVIOUS };
        let writes = [
            (forward, next),
            (backward, previous),
            (record + LIST, 0),
            (list + WOKEN, 0),
        ];
        let is_woken = self.link(list + WOKEN)? == record;
        let most = writes.len();
        guard.commit(&writes[..if is_woken { most } else { most - 1 }])
    }

    /// Moves a record of a list to the end of a list of the same section. In the section.
    fn relink(
        &self,
        guard: &crate::arena::Guard<'_>,
        from: Offset,
        to: Offset,
        record: Offset,
        key: u64,
    ) -> Result<()> {
        let next = self.link(record + NEXT)?;
        let previous = self.link(record + PREVIOUS)?;
        let tail = self.link(to + TAIL)?;
        if tail == record {
            // The last of its own list stays where it is.
            return guard.commit(&[(record + KEY, key)]);
        }
        let mut writes = Vec::with_capacity(10);
        let forward = if previous == 0 {
            from + HEAD
        } else {
            previous + NEXT
        };
        writes.push((forward, next));
        let backward = if next == 0 { from + TAIL } else { next + PREVIOUS };
        writes.push((backward, previous));
        if self.link(from + WOKEN)? == record {
            writes.push((from + WOKEN, 0));
        }
        let link = if tail == 0 { to + HEAD } else { tail + NEXT };
        writes.extend([
            (record + NEXT, 0),
            (record + PREVIOUS, tail),
            (record + LIST, to),
            (record + KEY, key),
            (link, record),
            (to + TAIL, record),
        ]);
        guard.commit(&writes)
    }

    /// Moves up to `most` waiters whose key is `key` from one list to the end of another of the same
    /// section, in order, without waking anybody. Their key is `to_key` from then on. A thread that is awake is only taken out:
    /// it sees that, since it sleeps by [`Arena::sleep_listed`]. Returns how many.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn move_waiters(
        &self,
        me: &Member,
        (from, key): (List, u64),
        (to, to_key): (List, u64),
        most: u64,
    ) -> Result<u64> {
        let guard = self.enter(me, from.section)?;
        let mut moved = 0;
        let mut at = self.link(from.at + HEAD)?;
        for _ in 0..LONGEST {
            if at == 0 || moved == most {
                return Ok(moved);
            }
            let next = self.link(at + NEXT)?;
            if self.map.word(at + KEY)?.load(Relaxed) == key
                && self.owner(at)?.is_some_and(|owner| !self.is_dead(owner))
            {
                let thread = self.map.flag(at + SLEEPER)?.load(Relaxed) == 0;
                // SYNC: Relaxed: it falls asleep in this section only.
                if thread && self.map.flag(at + STATE)?.load(Relaxed) == WAITING {
                    self.unlink(&guard, from.at, at)?;
                } else {
                    self.relink(&guard, from.at, to.at, at, to_key)?;
                }
                moved += 1;
            }
            at = next;
        }
        Err(Error::Corrupt("a list of waiters has no end"))
    }

    /// Puts a record of `me` at the end of its list again: one of those for whom it stands has got what
    /// they wait for, and the others stand behind everybody else now.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn stand_last(&self, me: &Member, record: Record, key: u64) -> Result<()> {
        let guard = self.enter(me, self.link(record.0 + SECTION)?)?;
        let list = self.link(record.0 + LIST)?;
        if list == 0 {
            return Ok(());
        }
        self.relink(&guard, list, list, record.0, key)
    }

    /// How many wait in a list, and how many of them have that key (`None`: all).
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn count_waiters(&self, me: &Member, list: List, key: Option<u64>) -> Result<u64> {
        let _guard = self.enter(me, list.section)?;
        let mut count = 0;
        let mut at = self.link(list.at + HEAD)?;
        for _ in 0..LONGEST {
            if at == 0 {
                return Ok(count);
            }
            let its = self.map.word(at + KEY)?.load(Relaxed);
            count += u64::from(key.is_none_or(|key| key == its));
            at = self.link(at + NEXT)?;
        }
        Err(Error::Corrupt("a list of waiters has no end"))
    }

    /// The key of the first waiter, `None` when nobody waits. A hint: it is looked at outside the section.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn first_key(&self, list: Offset) -> Result<Option<u64>> {
        let first = self.link(list + HEAD)?;
        if first == 0 {
            return Ok(None);
        }
        Ok(Some(self.map.word(first + KEY)?.load(Relaxed)))
    }

    /// Gives something to the first waiter that sleeps or is about to look, and wakes it. `give` is called
    /// inside the section with the waiter's name, and says whether it is the waiter's now. True when it is.
    ///
    /// # Errors
    /// `Corrupt`; what `give` returns.
    pub fn grant(
        &self,
        me: &Member,
        list: List,
        give: impl FnOnce(&crate::arena::Guard<'_>, Name) -> Result<bool>,
    ) -> Result<bool> {
        let mut guard = self.enter(me, list.section)?;
        let mut at = self.link(list.at + HEAD)?;
        for _ in 0..LONGEST {
            if at == 0 {
                return Ok(false);
            }
            if let Some(owner) = self.owner(at)?
                && (self.is_asleep(at)? || self.looks_soon(at, owner)?)
            {
                if !give(&guard, owner)? {
                    return Ok(false);
                }
                guard.commit(&[(list.at + WOKEN, at)])?;
                self.map.word(at + WOKEN_AT)?.store(now(), Relaxed);
                let woken = self.call(at, CHOSEN)?;
                guard.unlock();
                self.notify(woken)?;
                return Ok(true);
            }
            at = self.link(at + NEXT)?;
        }
        Err(Error::Corrupt("a list of waiters has no end"))
    }

    /// True when the owner of a record has been woken and has had no time to look yet.
    fn looks_soon(&self, record: Offset, owner: Name) -> Result<bool> {
        Ok(self.map.flag(record + STATE)?.load(Acquire) == CHOSEN
            && !self.is_dead(owner)
            && now().saturating_sub(self.map.word(record + WOKEN_AT)?.load(Relaxed)) < UNSEEN)
    }

    /// Takes a record out of its list. True when it had been woken and not looked since: the caller
    /// either uses what it was woken for or wakes the next.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn leave_list(&self, me: &Member, record: Record) -> Result<bool> {
        Ok(self.quit_list(me, record)?.0)
    }

    /// The same; says also which list it was in, which another may have changed ([`Arena::move_waiters`]).
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn quit_list(&self, me: &Member, record: Record) -> Result<(bool, Offset)> {
        let at = record.0;
        let section = self.link(at + SECTION)?;
        // What it may have been woken for is its own affair from here on: let recovery know of which.
        self.note_object(me, section)?;
        let guard = self.enter(me, section)?;
        let list = self.link(at + LIST)?;
        if list != 0 {
            self.unlink(&guard, list, at)?;
        }
        drop(guard);
        let state = self.map.flag(at + STATE)?.load(Acquire);
        self.map.word(at + OWNER)?.store(0, Relaxed);
        me.records.borrow_mut().push(at);
        self.give_back_records(me)?;
        Ok((state == CHOSEN, list))
    }

    /// The list that a record is in now. Only its owner may ask.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn list_of(&self, record: Record) -> Result<Offset> {
        self.link(record.0 + LIST)
    }

    /// Frees all blocks of records but the first once none is in use: what many waits at once took.
    fn give_back_records(&self, me: &Member) -> Result<()> {
        let first = FIRST_BLOCK / SIZE;
        if me.records.borrow().len() as u64 <= first {
            return Ok(());
        }
        let word = |k: u64| self.map.word(me.slot + member::RECORDS + k * 8);
        let mut blocks = 0;
        while blocks < member::RECORDS_LEN && word(blocks)?.load(Relaxed) != 0 {
            blocks += 1;
        }
        // Each is twice the one before.
        if (me.records.borrow().len() as u64) < first * ((1 << blocks) - 1) {
            return Ok(());
        }
        let kept = word(0)?.load(Relaxed);
        me.records
            .borrow_mut()
            .retain(|record| (kept..kept + FIRST_BLOCK).contains(record));
        for k in 1..blocks {
            // Recovery looks for records where the word leads, and frees what is only owned.
            let block = word(k)?.swap(0, Release);
            self.free(me, block)?;
        }
        Ok(())
    }

    /// Called by a waiter before it looks: takes note of having been woken. True when it had been.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn acknowledge(&self, record: Record) -> Result<bool> {
        let state = self.map.flag(record.0 + STATE)?;
        // SYNC: the swap comes before the look, so a wake after it is a new one.
        let was = state.swap(WAITING, SeqCst);
        // Also one that has been hinted since it was chosen: who sees a name there leaves everything to it.
        if was_called(was) {
            let list = self.link(record.0 + LIST)?;
            if list != 0 {
                handshake::looks(self.map.word(list + WOKEN)?, record.0);
            }
        }
        Ok(was_called(was))
    }

    /// True when a record asks its owner to look.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn is_called(&self, record: Record) -> Result<bool> {
        Ok(was_called(self.map.flag(record.0 + STATE)?.load(Acquire)))
    }

    /// True when somebody may be waiting in the list. Call after the change has been published.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn has_waiters(&self, list: Offset) -> Result<bool> {
        Ok(handshake::anybody(self.map.word(list + HEAD)?))
    }

    /// Wakes the first waiter that sleeps, unless one is on its way already. Those awake are hinted.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn wake_one(&self, me: &Member, list: List) -> Result<()> {
        if !self.has_waiters(list.at)? {
            return Ok(());
        }
        let mut guard = self.enter(me, list.section)?;
        if self.on_its_way(list)? {
            return Ok(());
        }
        let Some(at) = self.choose(list)? else {
            return Ok(());
        };
        guard.commit(&[(list.at + WOKEN, at)])?;
        self.map.word(at + WOKEN_AT)?.store(now(), Relaxed);
        let woken = self.call(at, CHOSEN)?;
        guard.unlock();
        self.notify(woken)
    }

    /// Whom of a list to wake: who watches, else the first that sleeps. In the section.
    fn choose(&self, list: List) -> Result<Option<Offset>> {
        if let Some(watching) = self.watcher(list)?
            && self.is_asleep(watching)?
        {
            return Ok(Some(watching));
        }
        let mut at = self.link(list.at + HEAD)?;
        for _ in 0..LONGEST {
            if at == 0 || self.is_asleep(at)? {
                return Ok(Some(at).filter(|at| *at != 0));
            }
            at = self.link(at + NEXT)?;
        }
        Err(Error::Corrupt("a list of waiters has no end"))
    }

    /// One of the first of a list that watches. In the section.
    fn watcher(&self, list: List) -> Result<Option<Offset>> {
        if !spin::is_anybody(self)? {
            return Ok(None);
        }
        let mut at = self.link(list.at + HEAD)?;
        for _ in 0..FIRST {
            if at == 0 {
                break;
            }
            if self.map.flag(at + SLEEPER)?.load(Relaxed) == 1
                && let Some(owner) = self.owner(at)?
            {
                // SYNC: Relaxed: what counts is what `disturb` sees.
                let parked = self.map.flag(self.layout.member(owner.slot()) + member::PARKED)?;
                if parked.load(Relaxed) == handshake::WATCHING {
                    return Ok(Some(at));
                }
            }
            at = self.link(at + NEXT)?;
        }
        Ok(None)
    }

    /// True when somebody of the list has been woken and has not looked since: whoever has just published a change, by a SeqCst
    /// CAS, need not wake anybody. It says nothing of when that one will look.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn has_woken(&self, list: Offset) -> Result<bool> {
        Ok(handshake::left_to(self.map.word(list + WOKEN)?))
    }

    /// True when somebody of the list has been woken at most a moment ago and has not looked since: whoever
    /// has just published a change, by a SeqCst CAS, need not wake anybody then. Looked at outside the
    /// section; `at` is the time now. Should that one be dead, its recovery wakes another.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn is_somebody_coming(&self, list: Offset, at: u64) -> Result<bool> {
        let woken = self.link(list + WOKEN)?;
        if woken == 0 {
            return Ok(false);
        }
        // SYNC: SeqCst pairs with the swap in `acknowledge`, which comes before the look: who is seen here
        // not to have swapped looks after the change.
        let chosen = self.map.flag(woken + STATE)?.load(SeqCst) == CHOSEN;
        Ok(chosen
            && at.saturating_sub(self.map.word(woken + WOKEN_AT)?.load(Relaxed)) < UNSEEN
            && self.link(woken + LIST)? == list)
    }

    /// Wakes everybody in the list: for ends and shutdowns.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn wake_all(&self, me: &Member, list: List) -> Result<()> {
        if !self.has_waiters(list.at)? {
            return Ok(());
        }
        let mut calls = Vec::new();
        let mut guard = self.enter(me, list.section)?;
        let mut at = self.link(list.at + HEAD)?;
        for _ in 0..LONGEST {
            if at == 0 {
                break;
            }
            // Isolates that are awake become dirty, as those asleep do.
            let asleep = self.is_asleep(at)?;
            if asleep || self.map.flag(at + SLEEPER)?.load(Relaxed) == 1 {
                calls.push(self.call(at, HINTED)?);
            }
            at = self.link(at + NEXT)?;
        }
        guard.unlock();
        for call in calls {
            self.notify(call)?;
        }
        Ok(())
    }

    /// Calls everybody in the lists of a section, also those who have been called: for recovery, since
    /// who called may have died before futex or doorbell.
    pub(crate) fn rouse(&self, me: &Member, section: Offset) -> Result<()> {
        for list in self.lists_of(section) {
            if !self.has_waiters(list.at)? {
                continue;
            }
            let mut calls = Vec::new();
            let mut guard = self.enter(me, list.section)?;
            let mut at = self.link(list.at + HEAD)?;
            for _ in 0..LONGEST {
                if at == 0 {
                    break;
                }
                if let Some(owner) = self.owner(at)? {
                    let state = self.map.flag(at + STATE)?;
                    if state.cas(WAITING, HINTED).is_err() {
                        let _ = state.cas(ASLEEP, HINTED);
                    }
                    let thread = self.map.flag(at + SLEEPER)?.load(Relaxed) == 0;
                    calls.push(if thread {
                        Call::Thread(at)
                    } else {
                        Call::Isolate(owner)
                    });
                }
                at = self.link(at + NEXT)?;
            }
            guard.unlock();
            for call in calls {
                match call {
                    Call::Awake | Call::Thread(_) => self.notify(call)?,
                    Call::Isolate(owner) => {
                        // Whether it is parked does not tell whether its bell was rung.
                        self.ring(owner)?;
                        self.push_bell(owner)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The lists that a section guards.
    fn lists_of(&self, section: Offset) -> Vec<List> {
        let layout = &self.layout;
        let (objects, processes) = (layout.objects, layout.processes);
        if section >= objects && section < layout.object(layout.objects_len) {
            let at = layout.object((section - objects) / layout::OBJECT);
            object::LISTS
                .map(|list| List {
                    at: at + list,
                    section,
                })
                .to_vec()
        } else if section >= processes && section < layout.process(layout.processes_len) {
            let at = layout.process((section - processes) / layout::PROCESS);
            vec![List {
                at: at + process::WAITERS,
                section,
            }]
        } else {
            Vec::new()
        }
    }

    /// Notes an object as the one that `me` is at: should `me` die, recovery settles what it had under way
    /// there (`ticket` is the kind's own) and rouses those who wait for it.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn note(&self, me: &Member, object: object::Handle, ticket: u64) -> Result<()> {
        // SYNC: Relaxed: read only after the kernel has marked this process dead.
        self.map
            .word(me.slot + member::OP_OBJECT)?
            .store(object.word(), Relaxed);
        self.map.word(me.slot + member::OP_TICKET)?.store(ticket, Relaxed);
        Ok(())
    }

    /// What `me` noted has been done, and nobody is owed a wake: should it die now, nobody needs to be roused.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn settled(&self, me: &Member) -> Result<()> {
        // SYNC: Relaxed: read only after the kernel has marked this process dead.
        self.map.word(me.slot + member::OP_OBJECT)?.store(0, Relaxed);
        Ok(())
    }

    /// Notes the object of a section as the one that `me` is at, if it is an object's.
    fn note_object(&self, me: &Member, section: Offset) -> Result<()> {
        let layout = &self.layout;
        if section < layout.objects || section >= layout.object(layout.objects_len) {
            return Ok(());
        }
        let index = (section - layout.objects) / layout::OBJECT;
        let generation = self.object_state(index)?.generation;
        // SYNC: Relaxed: read only after the kernel has marked this process dead.
        self.map
            .word(me.slot + member::OP_OBJECT)?
            .store(object::Handle { index, generation }.word(), Relaxed);
        Ok(())
    }

    /// True when a woken waiter is alive and may still look soon. In the section.
    fn on_its_way(&self, list: List) -> Result<bool> {
        let woken = self.link(list.at + WOKEN)?;
        if woken == 0 {
            return Ok(false);
        }
        let valid = self.link(woken + LIST)? == list.at
            && self.map.flag(woken + STATE)?.load(Acquire) == CHOSEN
            && self.owner(woken)?.is_some_and(|owner| !self.is_dead(owner));
        Ok(valid && now().saturating_sub(self.map.word(woken + WOKEN_AT)?.load(Relaxed)) < UNSEEN)
    }

    fn owner(&self, record: Offset) -> Result<Option<Name>> {
        Ok(Name::from_word(self.map.word(record + OWNER)?.load(Acquire)))
    }

    /// True when the record's owner sleeps or watches and has not been woken. An isolate that is awake is
    /// marked dirty in passing.
    fn is_asleep(&self, record: Offset) -> Result<bool> {
        let Some(owner) = self.owner(record)? else {
            return Ok(false);
        };
        let state = self.map.flag(record + STATE)?;
        if state.load(Acquire) == CHOSEN || self.is_dead(owner) {
            return Ok(false);
        }
        if self.map.flag(record + SLEEPER)?.load(Relaxed) == 0 {
            return Ok(true);
        }
        let slot = self.layout.member(owner.slot());
        let _ = state.cas(WAITING, HINTED);
        let dirty = self.map.flag(slot + member::DIRTY)?;
        Ok(handshake::disturb(dirty, self.map.flag(slot + member::PARKED)?))
    }

    /// Marks a record; what is left is to wake its owner, outside the section, unless it is a thread that has not gone to sleep.
    fn call(&self, record: Offset, how: u32) -> Result<Call> {
        let owner = self
            .owner(record)?
            .ok_or(Error::Corrupt("a record without an owner is in a list"))?;
        // SYNC: SeqCst: read by the owner after its futex or its doorbell, and pairs with the CAS in `falls_asleep`.
        let was = self.map.flag(record + STATE)?.swap(how, SeqCst);
        Ok(if self.map.flag(record + SLEEPER)?.load(Relaxed) == 1 {
            Call::Isolate(owner)
        } else if was == WAITING {
            Call::Awake
        } else {
            Call::Thread(record)
        })
    }

    fn notify(&self, call: Call) -> Result<()> {
        match call {
            Call::Awake => Ok(()),
            Call::Thread(record) => {
                self.map.flag(record + STATE)?.wake();
                Ok(())
            }
            Call::Isolate(owner) => self.ring(owner),
        }
    }

    /// Marks an isolate dirty and wakes its event loop if it sleeps.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn ring(&self, owner: Name) -> Result<()> {
        let slot = self.layout.member(owner.slot());
        let dirty = self.map.flag(slot + member::DIRTY)?;
        if handshake::summon(dirty, self.map.flag(slot + member::PARKED)?) {
            self.push_bell(owner)?;
        }
        Ok(())
    }

    /// Says that this isolate's event loop is about to sleep. False when it must look first.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn park(&self, me: &Member) -> Result<bool> {
        let dirty = self.map.flag(me.slot + member::DIRTY)?;
        Ok(handshake::may_sleep(
            dirty,
            self.map.flag(me.slot + member::PARKED)?,
        ))
    }

    /// Says that this isolate's event loop is awake.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn unpark(&self, me: &Member) -> Result<()> {
        let parked = self.map.flag(me.slot + member::PARKED)?;
        if parked.load(Relaxed) != 0 {
            handshake::attends(parked);
        }
        Ok(())
    }

    /// Says that from now on this isolate only looks whether it is dirty, until [`Arena::unpark`] or
    /// [`Arena::park`].
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn watch_out(&self, me: &Member) -> Result<()> {
        handshake::watches(self.map.flag(me.slot + member::PARKED)?);
        Ok(())
    }

    /// True when this isolate should look at what it waits for.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn is_dirty(&self, me: &Member) -> Result<bool> {
        Ok(self.map.flag(me.slot + member::DIRTY)?.load(Acquire) == 1)
    }

    /// Takes note of being called; true when this isolate was.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn take_dirty(&self, me: &Member) -> Result<bool> {
        let dirty = self.map.flag(me.slot + member::DIRTY)?;
        // SYNC: the swap comes before the look.
        Ok(dirty.load(Relaxed) == 1 && dirty.swap(0, SeqCst) == 1)
    }

    /// Says that a thread is about to sleep on a record. False when it has been called: it must look first.
    pub(crate) fn falls_asleep(&self, record: Record) -> Result<bool> {
        // SYNC: pairs with the swap in `call`: of the two, the second sees the first.
        let state = self.map.flag(record.0 + STATE)?;
        Ok(matches!(state.cas(WAITING, ASLEEP), Ok(_) | Err(ASLEEP)))
    }

    /// Sleeps on a record until it is called or `deadline` (ns of the monotonic clock) passes. Interrupted and
    /// spurious returns count as "look again".
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn sleep(&self, record: Record, deadline: Option<u64>) -> Result<futex::Wait> {
        if !self.falls_asleep(record)? {
            return Ok(futex::Wait::Changed);
        }
        Ok(self.map.flag(record.0 + STATE)?.sleep(ASLEEP, deadline))
    }

    /// As [`Arena::sleep`], unless the record has been taken out of its list ([`Arena::move_waiters`]): nobody will call it.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn sleep_listed(&self, me: &Member, record: Record, deadline: Option<u64>) -> Result<futex::Wait> {
        let section = self.link(record.0 + SECTION)?;
        let guard = self.enter(me, section)?;
        if self.link(record.0 + LIST)? == 0 || !self.falls_asleep(record)? {
            return Ok(futex::Wait::Changed);
        }
        drop(guard);
        Ok(self.map.flag(record.0 + STATE)?.sleep(ASLEEP, deadline))
    }

    /// The word that a thread sleeps on.
    pub(crate) fn state_of(&self, record: Record) -> Result<&crate::primitive::Flag> {
        self.map.flag(record.0 + STATE)
    }

    /// Takes the records of a dead member out of their lists and passes on what they were woken for.
    pub(crate) fn recover_records(&self, me: &Member, dead: Name, valid: &dyn Fn() -> bool) -> Result<()> {
        let slot = self.layout.member(dead.slot());
        let mut outcome = Ok(());
        for k in 0..member::RECORDS_LEN {
            let block = self.map.word(slot + member::RECORDS + k * 8)?.load(Acquire);
            if block == 0 || self.side(block).ok() != Some(Side::owned(dead)) {
                continue;
            }
            let size = self.place(block)?.size.min(FIRST_BLOCK << k);
            for record in (0..size / SIZE).map(|r| block + r * SIZE) {
                if let Err(error) = self.recover_record(me, record, dead, valid) {
                    outcome = Err(error);
                }
            }
        }
        outcome
    }

    fn recover_record(
        &self,
        me: &Member,
        record: Offset,
        dead: Name,
        valid: &dyn Fn() -> bool,
    ) -> Result<()> {
        if self.owner(record)? != Some(dead) {
            return Ok(());
        }
        let section = self.link(record + SECTION)?;
        if section == 0 {
            return Ok(());
        }
        let mut guard = self.enter(me, section)?;
        let list = self.link(record + LIST)?;
        if list == 0 || !valid() || self.owner(record)? != Some(dead) {
            return Ok(());
        }
        self.unlink(&guard, list, record)?;
        guard.unlock();
        self.wake_one(me, List { at: list, section })
    }
}

#[derive(Debug, Clone, Copy)]
enum Call {
    /// A thread that looks before it sleeps.
    Awake,
    Thread(Offset),
    Isolate(Name),
}
