//! Units: 64 KiB pieces of the arena, and which of them are committed.
//!
//! One word a unit:
//!
//! ```text
//! bits 0-3    state: 0 free, 1 small blocks of one class, 2 head of a run, 3 table
//! bit  4      committed: the pages exist
//! bit  5      hint: no free block was found here lately (class units)
//! bits 8-15   class (class units)
//! bits 16-47  length of the run in units (run heads)
//! ```
//!
//! A run owns the units after its head; their words stay "free" and are skipped by going from head to
//! head. All changes happen in one section. They are single stores in an order that is right after
//! each of them, so the section needs no log: `UNITS_WORK` in the header names the unit being changed,
//! and whoever takes over after a death looks at that unit and recounts the committed bytes.
//!
//! # What a crash leaves
//! | killed after | left | put right by |
//! |---|---|---|
//! | `fallocate` | pages that no word mentions | nobody has to: the next commit of the unit finds them |
//! | some `committed` bits | bits without their count | recount at takeover |
//! | side word of a new run, before its head | a free unit whose side word names the dead | takeover sets it to retired |
//! | side word retired, before the head is free | a run whose block is retired | takeover frees the head |
//! | side words of a class unit, before its word | a free unit with free side words | its next use takes both kinds |
//!
//! Pages are committed by `fallocate` after the limit was checked, never by touching them: under strict
//! overcommit a touched hole is SIGBUS.

use crate::arena::{Arena, Guard, Member, locked};
use crate::blocks::{self, Side};
use crate::error::{Error, Result};
use crate::layout::{SIDE, UNIT, header};
use crate::map::Offset;
use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::Ordering as Std;

/// Freed memory stays for so long without use, in ns.
const IDLE: u64 = 1_000_000_000;
/// Bytes that are never given back.
const KEEP: u64 = 64 << 20;

const STATE: u64 = 0xf;
const FREE: u64 = 0;
const CLASS: u64 = 1;
const RUN: u64 = 2;
const TABLE: u64 = 3;
const COMMITTED: u64 = 1 << 4;
const HINT_FULL: u64 = 1 << 5;

/// What a unit is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Nothing, or the inside of a run.
    Free,
    /// Blocks of a size class; `full` is a hint.
    Class {
        /// Index of the class.
        class: usize,
        /// No free block was found lately.
        full: bool,
    },
    /// First unit of a run of so many units.
    Run(u64),
    /// Part of a table.
    Table,
}

/// Reads a unit word.
#[must_use]
pub fn unpack(word: u64) -> (Use, bool) {
    let used = match word & STATE {
        CLASS => Use::Class {
            class: (word >> 8 & 0xff) as usize,
            full: word & HINT_FULL != 0,
        },
        RUN => Use::Run((word >> 16 & 0xffff_ffff).max(1)),
        TABLE => Use::Table,
        _ => Use::Free,
    };
    (used, word & COMMITTED != 0)
}

impl Arena {
    /// What a unit is used for.
    ///
    /// # Errors
    /// `Corrupt` when there is no such unit.
    pub fn unit(&self, unit: u64) -> Result<(Use, bool)> {
        if unit >= self.layout.units_len {
            return Err(Error::Corrupt("no such unit"));
        }
        // SYNC: Acquire pairs with the Release stores of the units section.
        Ok(unpack(self.map.word(self.layout.unit_word(unit))?.load(Acquire)))
    }

    /// Commits the table units under `len` bytes at `at`, once. Costs a load of local memory when done.
    ///
    /// # Errors
    /// `OutOfMemory` when the system has no pages.
    pub(crate) fn ensure_table(&self, at: Offset, len: u64) -> Result<()> {
        for unit in at / UNIT..=(at + len - 1) / UNIT {
            let Some(bits) = self.local.committed.get((unit / 64) as usize) else {
                return Err(Error::Corrupt("a table lies outside its region"));
            };
            let bit = 1 << (unit % 64);
            if bits.load(Std::Relaxed) & bit == 0 {
                self.commit_table(unit)?;
                bits.fetch_or(bit, Std::Relaxed);
            }
        }
        Ok(())
    }

    fn commit_table(&self, unit: u64) -> Result<()> {
        // The words of the first units stand in unit 1, which is committed without asking.
        if unit > 1 {
            let word = self.layout.unit_word(unit);
            if word / UNIT != unit {
                self.ensure_table(word, 8)?;
            }
        }
        if let Some(fd) = self.fd {
            // Idempotent, so no section: at worst two members ask for the same pages.
            polyproc_sys::memory::commit(fd, unit * UNIT, UNIT).map_err(|_| self.no_memory(UNIT))?;
        }
        let word = self.map.word(self.layout.unit_word(unit))?;
        if word.load(Relaxed) & STATE == FREE {
            // The winner of this CAS counts the pages.
            if word.cas(0, TABLE | COMMITTED).is_ok() {
                self.add_committed(UNIT)?;
            }
        }
        Ok(())
    }

    /// Adds to the count of committed bytes. A death between a word and its count is mended by the
    /// recount at the next takeover of the units section.
    fn add_committed(&self, bytes: u64) -> Result<()> {
        let word = self.map.word(header::COMMITTED)?;
        let mut seen = word.load(Relaxed);
        while let Err(now) = word.cas(seen, seen.wrapping_add(bytes)) {
            seen = now;
        }
        Ok(())
    }

    fn no_memory(&self, wanted: u64) -> Error {
        Error::OutOfMemory {
            wanted,
            limit: self.max_bytes(),
        }
    }

    /// The limit on committed bytes.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        match self
            .map
            .word(header::MAX_BYTES)
            .map_or(0, |word| word.load(Relaxed))
        {
            0 => self.layout.size,
            limit => limit.min(self.layout.size),
        }
    }

    /// Bytes committed now.
    #[must_use]
    pub fn committed_bytes(&self) -> u64 {
        self.map
            .word(header::COMMITTED)
            .map_or(0, |word| word.load(Relaxed))
    }

    /// Enters the section of the unit words, and mends what its last holder left if that died inside.
    ///
    /// # Errors
    /// As [`Arena::enter`].
    pub(crate) fn enter_units<'a>(&'a self, me: &'a Member) -> Result<Guard<'a>> {
        let guard = self.enter(me, header::UNITS_SECTION)?;
        if guard.rescued() {
            self.repair_units()?;
        }
        Ok(guard)
    }

    fn repair_units(&self) -> Result<()> {
        let unit = self.map.word(header::UNITS_WORK)?.load(Relaxed);
        if unit >= self.layout.data / UNIT && unit < self.layout.units_len {
            let word = self.map.word(self.layout.unit_word(unit))?;
            let side = self.map.word(self.layout.side_word(unit, 0))?;
            let seen = word.load(Relaxed);
            match (unpack(seen).0, Side::unpack(side.load(Relaxed))) {
                (Use::Free, Side::Owned { .. }) => side.store(Side::Retired.pack(), Release),
                (Use::Run(_), Side::Retired) => word.store(FREE | seen & COMMITTED, Release),
                (Use::Class { class, .. }, _) => {
                    // Killed while it retired the blocks of this unit: they are free.
                    for index in 0..blocks::per_unit(class) {
                        let side = self.map.word(self.layout.side_word(unit, index))?;
                        let _ = side.cas(Side::Retired.pack(), Side::Free.pack());
                    }
                }
                _ => {}
            }
        }
        let tables = (0..self.layout.data / UNIT).filter(|unit| {
            self.local.committed[(unit / 64) as usize].load(Std::Relaxed) >> (unit % 64) & 1 == 1
        });
        let high = self.mark(header::UNITS_HIGH, self.layout.units_len);
        let mut count = 0;
        for unit in tables.chain(self.layout.data / UNIT..high) {
            let word = self.map.word(self.layout.unit_word(unit))?.load(Relaxed);
            count += u64::from(word & COMMITTED != 0) * UNIT;
        }
        self.map.word(header::COMMITTED)?.store(count, Release);
        Ok(())
    }

    /// Commits `len` units from `first`. In the units section.
    fn commit_units(&self, first: u64, len: u64) -> Result<()> {
        let mut fresh = Vec::new();
        for unit in first..first + len {
            if !unpack(self.map.word(self.layout.unit_word(unit))?.load(Relaxed)).1 {
                fresh.push(unit);
            }
        }
        if fresh.is_empty() {
            return Ok(());
        }
        let missing = fresh.len() as u64;
        let limit = self.max_bytes();
        if self.committed_bytes().saturating_add(missing * UNIT) > limit {
            self.give_back(first, len)?;
            if self.committed_bytes().saturating_add(missing * UNIT) > limit {
                return Err(self.no_memory(missing * UNIT));
            }
        }
        if let Some(fd) = self.fd {
            polyproc_sys::memory::commit(fd, first * UNIT, len * UNIT)
                .map_err(|_| self.no_memory(missing * UNIT))?;
        }
        locked(&self.local.pages).committed(&fresh);
        for unit in first..first + len {
            let word = self.map.word(self.layout.unit_word(unit))?;
            let seen = word.load(Relaxed);
            word.store(seen | COMMITTED, Relaxed);
        }
        self.add_committed(missing * UNIT)
    }

    /// Gives the pages of free units back to the system, but those of `first..first + len`. In the
    /// units section. The bit goes first: a page without a bit is harmless, a bit without a page is not.
    fn give_back(&self, first: u64, len: u64) -> Result<u64> {
        let mut given = 0;
        let mut unit = self.layout.data / UNIT;
        let high = self.mark(header::UNITS_HIGH, self.layout.units_len);
        while unit < high {
            let word = self.map.word(self.layout.unit_word(unit))?;
            let seen = word.load(Relaxed);
            match unpack(seen) {
                (Use::Run(run), _) => unit += run,
                (Use::Free, true) if !(first..first + len).contains(&unit) => {
                    word.store(seen & !COMMITTED, Relaxed);
                    self.add_committed(UNIT.wrapping_neg())?;
                    if let Some(fd) = self.fd {
                        polyproc_sys::memory::punch(fd, unit * UNIT, UNIT)
                            .map_err(|error| Error::System("giving memory back", error))?;
                    }
                    given += UNIT;
                    unit += 1;
                }
                _ => unit += 1,
            }
        }
        Ok(given)
    }

    /// Gives back the pages of all free units but `keep` bytes; returns how many bytes were given.
    ///
    /// # Errors
    /// `Corrupt` or `System`.
    pub fn trim(&self, me: &Member, keep: u64) -> Result<u64> {
        let _guard = self.enter_units(me)?;
        let start = self.layout.data / UNIT;
        self.give_back(start, keep / UNIT)
    }

    /// Takes a run of `len` units, its block owned by `me`.
    pub(crate) fn take_run(&self, me: &Member, len: u64) -> Result<u64> {
        let guard = self.enter_units(me)?;
        let unit = self.find_run(len)?;
        let side = self.layout.side_word(unit, 0);
        for covered in unit..unit + len {
            self.ensure_table(self.layout.unit_word(covered), 8)?;
        }
        self.ensure_table(side, SIDE)?;
        self.raise(header::UNITS_HIGH, unit + len)?;
        self.commit_units(unit, len)?;
        self.map.word(header::UNITS_WORK)?.store(unit, Release);
        self.map.word(side)?.store(Side::owned(me.name).pack(), Release);
        // The run exists from this store on.
        self.map
            .word(self.layout.unit_word(unit))?
            .store(RUN | COMMITTED | len << 16, Release);
        drop(guard);
        Ok(unit)
    }

    /// Gives a run back whose block `me` owns.
    pub(crate) fn free_run(&self, me: &Member, unit: u64, len: u64) -> Result<()> {
        let guard = self.enter_units(me)?;
        self.map.word(header::UNITS_WORK)?.store(unit, Release);
        self.map
            .word(self.layout.side_word(unit, 0))?
            .store(Side::Retired.pack(), Release);
        self.map
            .word(self.layout.unit_word(unit))?
            .store(FREE | COMMITTED, Release);
        drop(guard);
        let mut runs = locked(&self.local.runs);
        if runs.len() < 64 {
            runs.push((unit, len));
        }
        drop(runs);
        self.local
            .freed_at
            .store(polyproc_sys::clock::now(), Std::Relaxed);
        if !self.local.trim_wanted.swap(true, Std::AcqRel) {
            // The native thread looks again when nothing has been freed for a second.
            crate::watch::call(self, self.process_slot())?;
        }
        Ok(())
    }

    /// Gives free pages back once nothing has been freed here for a second: all but the larger of 64 MiB
    /// and a quarter of what was ever used. Fresh pages cost ten times as much to write as used ones, so
    /// what is freed stays for a while. Returns when to look again, in ns of the clock.
    ///
    /// # Errors
    /// As [`Arena::trim`].
    pub(crate) fn trim_when_idle(&self, native: &Member) -> Result<Option<u64>> {
        if !self.local.trim_wanted.load(Std::Acquire) {
            return Ok(None);
        }
        let due = self.local.freed_at.load(Std::Relaxed) + IDLE;
        if polyproc_sys::clock::now() < due {
            return Ok(Some(due));
        }
        self.local.trim_wanted.store(false, Std::Release);
        let start = self.layout.data / UNIT;
        let high = self.mark(header::UNITS_HIGH, self.layout.units_len);
        let mut unit = start;
        while unit < high {
            match self.unit(unit)?.0 {
                Use::Run(len) => unit += len,
                Use::Class { class, .. } => {
                    if self.is_class_idle(unit, class)? {
                        self.retire_class(native, unit)?;
                    }
                    unit += 1;
                }
                _ => unit += 1,
            }
        }
        let keep = KEEP.max((high.saturating_sub(start)) * UNIT / 4);
        if self.committed_bytes() > keep {
            self.trim(native, keep)?;
        }
        Ok(None)
    }

    fn is_class_idle(&self, unit: u64, class: usize) -> Result<bool> {
        for index in 0..blocks::per_unit(class) {
            let side = self.map.word(self.layout.side_word(unit, index))?.load(Relaxed);
            if side != Side::Free.pack() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes a unit of small blocks and returns it.
    pub(crate) fn take_class(&self, me: &Member, class: usize) -> Result<u64> {
        let guard = self.enter_units(me)?;
        let unit = self.find_run(1)?;
        self.ensure_table(self.layout.unit_word(unit), 8)?;
        self.ensure_table(self.layout.side_word(unit, 0), SIDE)?;
        self.raise(header::UNITS_HIGH, unit + 1)?;
        self.commit_units(unit, 1)?;
        self.map.word(header::UNITS_WORK)?.store(unit, Release);
        for index in 0..blocks::per_unit(class) {
            // A CAS and not a store: somebody with an old hint may have claimed a word that an
            // earlier, interrupted call set free; what it owns stays its own.
            let side = self.map.word(self.layout.side_word(unit, index))?;
            let _ = side.cas(Side::Retired.pack(), Side::Free.pack());
        }
        self.map
            .word(self.layout.unit_word(unit))?
            .store(CLASS | COMMITTED | (class as u64) << 8, Release);
        drop(guard);
        Ok(unit)
    }

    /// Turns a unit of small blocks that are all free into a free unit. False when one is in use.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn retire_class(&self, me: &Member, unit: u64) -> Result<bool> {
        let guard = self.enter_units(me)?;
        let word = self.map.word(self.layout.unit_word(unit))?;
        let (Use::Class { class, .. }, _) = unpack(word.load(Acquire)) else {
            return Ok(false);
        };
        self.map.word(header::UNITS_WORK)?.store(unit, Release);
        let count = blocks::per_unit(class);
        for index in 0..count {
            let side = self.map.word(self.layout.side_word(unit, index))?;
            if side.cas(Side::Free.pack(), Side::Retired.pack()).is_err() {
                for index in 0..index {
                    let side = self.map.word(self.layout.side_word(unit, index))?;
                    let _ = side.cas(Side::Retired.pack(), Side::Free.pack());
                }
                return Ok(false);
            }
        }
        word.store(FREE | COMMITTED, Release);
        drop(guard);
        Ok(true)
    }

    /// Sets or clears the hint that a class unit is full.
    pub(crate) fn hint_full(&self, unit: u64, full: bool) -> Result<()> {
        let word = self.map.word(self.layout.unit_word(unit))?;
        let seen = word.load(Relaxed);
        if matches!(unpack(seen).0, Use::Class { full: now, .. } if now != full) {
            // A failed CAS is a hint lost, no more.
            let _ = word.cas(seen, seen ^ HINT_FULL);
        }
        Ok(())
    }

    /// The first unit of `len` free ones: what this process freed last, else the lowest. In the section.
    fn find_run(&self, len: u64) -> Result<u64> {
        let known = {
            let mut runs = locked(&self.local.runs);
            runs.iter()
                .rposition(|(_, have)| *have == len)
                .map(|at| runs.swap_remove(at).0)
        };
        let high = self.mark(header::UNITS_HIGH, self.layout.units_len);
        if let Some(unit) = known
            && unit + len <= high
            && self.is_free_run(unit, len)?
        {
            return Ok(unit);
        }
        let mut unit = self.layout.data / UNIT;
        let mut first = unit;
        while unit < high {
            match unpack(self.map.word(self.layout.unit_word(unit))?.load(Relaxed)).0 {
                Use::Free => {
                    unit += 1;
                    if unit - first == len {
                        return Ok(first);
                    }
                }
                Use::Run(run) => {
                    unit += run;
                    first = unit;
                }
                Use::Class { .. } | Use::Table => {
                    unit += 1;
                    first = unit;
                }
            }
        }
        // `first..high` is free, and everything above has never been used.
        let first = first.min(high.max(self.layout.data / UNIT));
        if first + len <= self.layout.units_len {
            Ok(first)
        } else {
            Err(self.no_memory(len * UNIT))
        }
    }

    /// True when `unit` lies in no run and `len` units from it are free.
    fn is_free_run(&self, unit: u64, len: u64) -> Result<bool> {
        // A run that starts below and reaches over `unit` hides it: walk from the first data unit.
        let mut at = self.layout.data / UNIT;
        while at < unit {
            match unpack(self.map.word(self.layout.unit_word(at))?.load(Relaxed)).0 {
                Use::Run(run) => at += run,
                _ => at += 1,
            }
        }
        if at != unit {
            return Ok(false);
        }
        for unit in unit..unit + len {
            if unpack(self.map.word(self.layout.unit_word(unit))?.load(Relaxed)).0 != Use::Free {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
