//! The board of a pool, as a shared object.
//!
//! ```text
//! +0     seats   64 offsets of blocks with 64 seats each, by the slot of the member; 0: none yet
//! +512   epoch   counts what whoever waits for the board is to hear of
//! +520   deaths  workers that ended without having left
//! +528   broken  1: nobody replaces workers any more
//! +536   stillborn: workers that ended without having come so far as to enter
//! +544   kept    block with the handles that the board keeps alive, and a note of the pool's own; 0: none
//! +552   owner   name of the process that made the pool, which starts and ends its workers
//! +560   wanted  1: it is to look whether more workers are wanted
//! +568   armed   when it looks for deadlines next, in ms of the monotonic clock; 0: it does not
//! +576   forgiven: deaths and stillborn ones when a task was settled last, and those since that were wanted
//! +1024  log     the last 32 deaths, 32 bytes each: which one · worker's name · its process · its end:
//!                pid, bit 31 set once the exit code is known, which stands in bits 32-63
//! ```
//!
//! All but `stillborn`, `forgiven`, `wanted` and `armed`, which change by CAS, changes in the object's section.
//! First waiter list: those who wait for the next epoch.
//! Seats are never given back before the board is destroyed; a seat is a member's while its words name it
//! (see [`crate::seat`]).
//!
//! # What a crash leaves
//! A block that was to become part of the board is the member's own until the commit that links it, so
//! recovery frees it. A death is logged in the commit that takes the seat from the dead, so it is logged
//! once; who recovers it and is killed before the wake is itself recovered, with its note of the object.

use crate::row::Worker;
use crate::seat::{self, Seat};
use polyproc_arena::block_on::{Outcome, block_on};
use polyproc_arena::blocks::{BODY_TAG, Side};
use polyproc_arena::error::{Error, Result};
use polyproc_arena::map::Offset;
use polyproc_arena::object::{self, Handle};
use polyproc_arena::primitive::Ordering::{Acquire, Relaxed, SeqCst};
use polyproc_arena::wait::List;
use polyproc_arena::{Arena, Guard, Member, Name, names, process, watch};

/// Index of the kind.
pub const KIND: usize = 16;

const BODY: u64 = 2048;
const TABLES: u64 = 64;
const IN_TABLE: u64 = 64;
const EPOCH: Offset = 512;
const DEATHS: Offset = 520;
const BROKEN: Offset = 528;
const STILLBORN: Offset = 536;
const KEPT: Offset = 544;
const OWNER: Offset = 552;
pub(crate) const WANTED: Offset = 560;
pub(crate) const ARMED: Offset = 568;
const FORGIVEN: Offset = 576;
const LOG: Offset = 1024;
const LOGGED: u64 = 32;
const ENTRY: u64 = 32;

/// The most handles that a board keeps alive.
pub const MOST_KEPT: usize = 64;
/// The longest note, in bytes.
pub const LONGEST_NOTE: usize = 1 << 20;

/// A board that this process holds a handle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Board {
    /// Its handle.
    pub handle: Handle,
    at: Offset,
    pub(crate) body: Offset,
}

/// A worker that ended without having left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// Name of its process (`generation << 32 | slot`).
    pub process: u64,
    /// Its pid.
    pub pid: u32,
    /// The exit code of the process, -N for signal N, once whoever keeps it has said so.
    pub exit: Option<i32>,
}

const KNOWN: u64 = 1 << 31;

impl Death {
    fn end(self) -> u64 {
        let exit = self.exit.map_or(0, |code| u64::from(code as u32) << 32 | KNOWN);
        u64::from(self.pid) & (KNOWN - 1) | exit
    }

    fn ended(process: u64, end: u64) -> Self {
        Self {
            process,
            pid: (end & (KNOWN - 1)) as u32,
            exit: (end & KNOWN != 0).then_some((end >> 32) as i32),
        }
    }
}

impl Board {
    /// Makes a board that keeps `handles` alive and carries a `note`, both for whoever opens it.
    ///
    /// # Errors
    /// `OutOfMemory`; `Stale` when one of the handles is; `State` when there are too many, or the note is too
    /// long.
    pub fn create(arena: &Arena, me: &Member, handles: &[Handle], note: &[u8]) -> Result<Self> {
        if handles.len() > MOST_KEPT || note.len() > LONGEST_NOTE {
            return Err(Error::State(format!(
                "a board keeps at most {MOST_KEPT} handles and a note of {LONGEST_NOTE} bytes"
            )));
        }
        let handle = arena.create(me, KIND, BODY, |index, body| {
            arena.map.word(body + OWNER)?.store(arena.process_name(), Relaxed);
            keep(arena, me, index, body + KEPT, handles, note)
        })?;
        Self::opened(arena, handle)
    }

    /// The board of that name, made if there is none, which keeps nothing: for those who cannot be handed one.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn named(arena: &Arena, me: &Member, name: &str) -> Result<Self> {
        let make = || arena.create(me, KIND, BODY, |_, _| Ok(()));
        Self::opened(arena, names::find_or_create(arena, me, KIND, name, make)?.0)
    }

    /// Takes hold of the board that a handle stands for.
    ///
    /// # Errors
    /// `Stale` when it is gone or no board.
    pub fn open(arena: &Arena, me: &Member, handle: Handle) -> Result<Self> {
        arena.open(me, handle)?;
        Self::opened(arena, handle).inspect_err(|_| {
            let _ = arena.close(me, handle);
        })
    }

    fn opened(arena: &Arena, handle: Handle) -> Result<Self> {
        if arena.object_kind(handle.index)? != KIND {
            return Err(Error::Stale);
        }
        Self::at_header(arena, handle)
    }

    /// The board of a header, whoever holds it.
    pub(crate) fn at_header(arena: &Arena, handle: Handle) -> Result<Self> {
        let at = arena.layout.object(handle.index);
        let body = arena.link(at + object::BODY)?;
        if arena.side(body)? != Side::held(handle.index, BODY_TAG) || arena.place(body)?.size < BODY {
            return Err(Error::Corrupt("a board has lost its body"));
        }
        Ok(Self { handle, at, body })
    }

    pub(crate) fn section(&self) -> Offset {
        self.at + object::SECTION
    }

    /// Those who wait for the next epoch.
    #[must_use]
    pub fn waiters(&self) -> List {
        List {
            at: self.at + object::LIST_A,
            section: self.section(),
        }
    }

    /// The handles that the board keeps alive.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn handles(&self, arena: &Arena) -> Result<Vec<Handle>> {
        match arena.link(self.body + KEPT)? {
            0 => Ok(Vec::new()),
            block => arena.pinned(block),
        }
    }

    /// The note that the board carries.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn note(&self, arena: &Arena) -> Result<Vec<u8>> {
        let block = arena.link(self.body + KEPT)?;
        if block == 0 {
            return Ok(Vec::new());
        }
        let pins = object::pins_size(arena.pinned(block)?.len() as u64);
        let length = arena.map.word(block.saturating_add(pins))?.load(Acquire);
        let mut note = vec![0; (length as usize).min(LONGEST_NOTE)];
        arena.map.copy_out(block + pins + 8, &mut note)?;
        Ok(note)
    }

    /// Where the seat of a member is; `None` when there has never been one there.
    #[inline]
    pub(crate) fn seat<'a>(&self, arena: &'a Arena, slot: u64) -> Result<Option<Seat<'a>>> {
        let slot = slot & (TABLES * IN_TABLE - 1);
        Ok(match arena.link(self.body + slot / IN_TABLE * 8)? {
            0 => None,
            table => Some(Seat {
                arena,
                at: table + slot % IN_TABLE * seat::SIZE,
            }),
        })
    }

    /// The seat of a member, made if need be.
    pub(crate) fn make_seat<'a>(&self, arena: &'a Arena, me: &Member) -> Result<Seat<'a>> {
        let slot = me.name.slot();
        if self.seat(arena, slot)?.is_none() {
            let word = self.body + slot / IN_TABLE * 8;
            self.grow(arena, me, word, IN_TABLE * seat::SIZE)?;
        }
        self.seat(arena, slot)?
            .ok_or(Error::Corrupt("a board has no room for a seat"))
    }

    /// Links a zeroed block to the board at `word`, unless there is one.
    pub(crate) fn grow(&self, arena: &Arena, me: &Member, word: Offset, bytes: u64) -> Result<()> {
        let block = arena.alloc(me, bytes)?;
        let fill = || {
            arena.zero(block, bytes)?;
            let guard = arena.enter(me, self.section())?;
            if arena.link(word)? != 0 {
                return Ok(false);
            }
            let its = Side::held(self.handle.index, BODY_TAG);
            guard.commit(&[(word, block), (arena.place(block)?.side, its.pack())])?;
            Ok(true)
        };
        match fill() {
            Ok(true) => Ok(()),
            other => {
                arena.free(me, block)?;
                other.map(|_| ())
            }
        }
    }

    /// Seats of which there is something to say, as far as the board has any.
    pub(crate) fn seats<'a>(&self, arena: &'a Arena) -> impl Iterator<Item = (u64, Seat<'a>)> {
        let body = self.body;
        (0..TABLES)
            .filter_map(move |table| match arena.link(body + table * 8) {
                Ok(at) if at != 0 => Some((table, at)),
                _ => None,
            })
            .flat_map(move |(table, at)| {
                (0..IN_TABLE).map(move |k| {
                    let at = at + k * seat::SIZE;
                    (table * IN_TABLE + k, Seat { arena, at })
                })
            })
    }

    /// Offsets of the words that lead to blocks of the board.
    pub(crate) fn tables(&self) -> impl Iterator<Item = Offset> + use<> {
        let body = self.body;
        (0..TABLES).map(move |table| body + table * 8)
    }

    /// The word that leads to what the board keeps alive.
    pub(crate) fn kept(&self) -> Offset {
        self.body + KEPT
    }

    /// Counts what those who wait for the board are to hear of: a worker has ended or left, the board is
    /// broken.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn epoch(&self, arena: &Arena) -> Result<u64> {
        // SYNC: Acquire pairs with the commit that counted.
        Ok(arena.map.word(self.body + EPOCH)?.load(Acquire))
    }

    /// Waits for another epoch than the one that was seen.
    ///
    /// # Errors
    /// `Corrupt`; `OutOfMemory` when there is no room for a record.
    pub fn wait(
        &self,
        arena: &Arena,
        me: &Member,
        epoch: u64,
        deadline: Option<u64>,
        slice: Option<&dyn Fn() -> u64>,
        stop: impl FnMut() -> bool,
    ) -> Result<Outcome> {
        let ready = || Ok(self.epoch(arena)? != epoch);
        block_on(arena, me, self.waiters(), deadline, slice, ready, stop)
    }

    /// What counts one epoch more, for a commit.
    pub(crate) fn next_epoch(&self, arena: &Arena) -> Result<(Offset, u64)> {
        let at = self.body + EPOCH;
        Ok((at, arena.map.word(at)?.load(Relaxed).wrapping_add(1)))
    }

    /// Commits changes of the board and tells those who wait for it.
    pub(crate) fn tell(
        &self,
        arena: &Arena,
        me: &Member,
        guard: Guard<'_>,
        writes: &mut Vec<(Offset, u64)>,
    ) -> Result<()> {
        writes.push(self.next_epoch(arena)?);
        arena.note(me, self.handle, 0)?;
        guard.commit(writes)?;
        drop(guard);
        arena.wake_all(me, self.waiters())
    }

    /// Nobody replaces workers any more; whoever waits for the board is told. Twice is harmless.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn give_up(&self, arena: &Arena, me: &Member) -> Result<()> {
        let guard = arena.enter(me, self.section())?;
        if self.is_broken(arena)? {
            return Ok(());
        }
        self.tell(arena, me, guard, &mut vec![(self.body + BROKEN, 1)])
    }

    /// True once nobody replaces workers any more.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn is_broken(&self, arena: &Arena) -> Result<bool> {
        Ok(arena.map.word(self.body + BROKEN)?.load(Acquire) != 0)
    }

    /// Losses since a task was settled last.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn losses(&self, arena: &Arena) -> Result<u64> {
        let forgiven = arena.map.word(self.body + FORGIVEN)?.load(Relaxed);
        Ok(self.lost(arena)?.saturating_sub(forgiven))
    }

    /// Workers that were lost so far.
    #[inline]
    fn lost(&self, arena: &Arena) -> Result<u64> {
        let stillborn = arena.map.word(self.body + STILLBORN)?.load(Relaxed);
        Ok(self.deaths(arena)?.saturating_add(stillborn))
    }

    /// A task was settled: losses are counted from here.
    #[inline]
    pub(crate) fn forgive(&self, arena: &Arena) -> Result<()> {
        let lost = self.lost(arena)?;
        let word = arena.map.word(self.body + FORGIVEN)?;
        let mut seen = word.load(Relaxed);
        // Somebody else may have seen more.
        while seen < lost
            && let Err(now) = word.cas(seen, lost)
        {
            seen = now;
        }
        Ok(())
    }

    /// Counts a worker that ended without having come so far as to enter.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn count_stillborn(&self, arena: &Arena) -> Result<()> {
        let word = arena.map.word(self.body + STILLBORN)?;
        let mut seen = word.load(Relaxed);
        while let Err(now) = word.cas(seen, seen.saturating_add(1)) {
            seen = now;
        }
        Ok(())
    }

    /// One death was no loss: it was wanted. Nothing when all are forgiven.
    pub(crate) fn discount_loss(&self, arena: &Arena) -> Result<()> {
        let lost = self.lost(arena)?;
        let word = arena.map.word(self.body + FORGIVEN)?;
        let mut seen = word.load(Relaxed);
        while seen < lost
            && let Err(now) = word.cas(seen, seen + 1)
        {
            seen = now;
        }
        Ok(())
    }

    /// Wakes the native thread of the process that made the pool.
    fn call_owner(&self, arena: &Arena) -> Result<()> {
        let owner = arena.map.word(self.body + OWNER)?.load(Acquire);
        let slot = owner & 0xffff_ffff;
        match process::state(arena, slot) {
            Ok(state) if owner == process::name(slot, state.generation) => watch::call(arena, slot),
            _ => Ok(()),
        }
    }

    /// There is work, and nobody may be idle: asks for more workers.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn want(&self, arena: &Arena) -> Result<()> {
        // SYNC: SeqCst CAS: what is wanted was put before; pairs with the CAS of whoever looks.
        if arena.map.word(self.body + WANTED)?.cas(0, 1).is_ok() {
            self.call_owner(arena)?;
        }
        Ok(())
    }

    /// Whether more workers were asked for since this was asked last.
    pub(crate) fn is_wanted(&self, arena: &Arena) -> Result<bool> {
        // SYNC: SeqCst: whoever asks from now on rings again; what was asked for before is seen.
        Ok(arena.map.word(self.body + WANTED)?.cas(1, 0).is_ok())
    }

    /// When deadlines are looked for next; 0: not.
    pub(crate) fn armed(&self, arena: &Arena) -> Result<u64> {
        Ok(arena.map.word(self.body + ARMED)?.load(SeqCst))
    }

    /// Before deadlines are looked for: whoever sets one from now on arms the board again.
    pub(crate) fn disarm(&self, arena: &Arena) -> Result<()> {
        arena.map.word(self.body + ARMED)?.swap(0, SeqCst);
        Ok(())
    }

    /// After that: there is one at `ms`.
    pub(crate) fn rearm(&self, arena: &Arena, ms: u64) -> Result<()> {
        let word = arena.map.word(self.body + ARMED)?;
        let mut seen = 0;
        while seen == 0 || ms < seen {
            match word.cas(seen, ms) {
                Ok(_) => return Ok(()),
                Err(now) => seen = now,
            }
        }
        Ok(())
    }

    /// Deadlines are looked for at `ms` at the latest.
    pub(crate) fn arm(&self, arena: &Arena, ms: u64) -> Result<()> {
        let word = arena.map.word(self.body + ARMED)?;
        // SYNC: SeqCst: the deadline was written before. Who looks for deadlines disarms first: so it finds the
        // deadline, or this finds the board disarmed.
        let mut seen = word.load(SeqCst);
        while seen == 0 || ms < seen {
            match word.cas(seen, ms) {
                Ok(_) => return self.call_owner(arena),
                Err(now) => seen = now,
            }
        }
        Ok(())
    }

    /// What logs the death of a worker, for a commit.
    pub(crate) fn log(&self, arena: &Arena, dead: Name, death: Death) -> Result<[(Offset, u64); 5]> {
        let count = arena.map.word(self.body + DEATHS)?.load(Relaxed).wrapping_add(1);
        let entry = self.body + LOG + count % LOGGED * ENTRY;
        Ok([
            (entry, count),
            (entry + 8, dead.word()),
            (entry + 16, death.process),
            (entry + 24, death.end()),
            (self.body + DEATHS, count),
        ])
    }

    /// How many workers have ended without having left.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn deaths(&self, arena: &Arena) -> Result<u64> {
        Ok(arena.map.word(self.body + DEATHS)?.load(Acquire))
    }

    /// Notes how a process ended whose worker has died, if that is not known.
    pub(crate) fn note_exit(&self, arena: &Arena, me: &Member, process: u64, code: i32) -> Result<()> {
        for k in 0..LOGGED {
            let entry = self.body + LOG + k * ENTRY;
            if arena.map.word(entry + 16)?.load(Acquire) != process {
                continue;
            }
            let guard = arena.enter(me, self.section())?;
            let death = Death::ended(process, arena.map.word(entry + 24)?.load(Acquire));
            if arena.map.word(entry + 16)?.load(Acquire) == process && death.exit.is_none() {
                let noted = Death {
                    exit: Some(code),
                    ..death
                };
                guard.commit(&[(entry + 24, noted.end())])?;
            }
        }
        Ok(())
    }

    /// Whether the process that made the pool, and keeps its workers, is alive.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn is_kept(&self, arena: &Arena) -> Result<bool> {
        let owner = arena.map.word(self.body + OWNER)?.load(Acquire);
        let slot = owner & 0xffff_ffff;
        let state = process::state(arena, slot)?;
        Ok(owner == process::name(slot, state.generation) && !process::is_dead(arena, slot))
    }

    /// Whether the worker in a process (by the process's name) has died, if that is not long ago.
    pub(crate) fn died(&self, arena: &Arena, process: u64) -> Result<bool> {
        for k in 0..LOGGED {
            let entry = self.body + LOG + k * ENTRY;
            if arena.map.word(entry + 16)?.load(Acquire) == process {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whose a number of a worker is that has died, if that is not long ago.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn death_of(&self, arena: &Arena, worker: Worker) -> Result<Option<Death>> {
        let deaths = self.deaths(arena)?;
        for back in 0..LOGGED.min(deaths) {
            let count = deaths - back;
            let entry = self.body + LOG + count % LOGGED * ENTRY;
            let word = |offset| Ok::<_, Error>(arena.map.word(entry + offset)?.load(Acquire));
            let (name, death) = (Name::from_word(word(8)?), Death::ended(word(16)?, word(24)?));
            if name.map(Worker::of) == Some(worker) && word(0)? == count {
                return Ok(Some(death));
            }
        }
        Ok(None)
    }
}

/// Milliseconds of the monotonic clock.
#[must_use]
pub fn now_ms() -> u64 {
    polyproc_arena::primitive::now() / 1_000_000
}

/// Fills in what a new board keeps alive.
fn keep(arena: &Arena, me: &Member, index: u64, word: Offset, handles: &[Handle], note: &[u8]) -> Result<()> {
    if handles.is_empty() && note.is_empty() {
        return Ok(());
    }
    let count = handles.len() as u64;
    let pins = object::pins_size(count);
    let block = arena.alloc(me, pins + 8 + note.len() as u64)?;
    let fill = || {
        arena.begin_pins(me, block, count)?;
        for (entry, handle) in handles.iter().enumerate() {
            arena.pin(me, block, entry as u64, *handle)?;
        }
        arena.map.word(block + pins)?.store(note.len() as u64, Relaxed);
        arena.map.copy_in(block + pins + 8, note)
    };
    if let Err(error) = fill() {
        arena.free(me, block)?;
        return Err(error);
    }
    arena.map.word(word)?.store(block, Relaxed);
    let its = Side::held(index, BODY_TAG).with_pins(true);
    arena.hand_over(block, Side::owned(me.name).with_pins(true), its)?;
    Ok(())
}

/// The process of this very process's members, as a death would log it.
pub(crate) fn own(arena: &Arena) -> Result<Death> {
    let process = arena.process_name();
    let state = process::state(arena, arena.process_slot())?;
    Ok(Death {
        process,
        pid: state.pid,
        exit: None,
    })
}
