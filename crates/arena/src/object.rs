//! Objects: what handles stand for, and how long they live.
//!
//! A header of 512 bytes an object, in a table used for nothing else, so that a stale handle always
//! reads a header:
//!
//! ```text
//! +0    state     generation << 32 | slot << 8 | phase (0 free, 1 creating, 2 live, 3 dying)
//! +8    kind      index of the kind
//! +16   in flight copies of the handle in messages
//! +24   body      block of the kind's own, 0: none
//! +32   name      block with the name (length, then UTF-8), 0: none
//! +40   next      next object of the same name bucket
//! +48   hash      of the name
//! +64   holders   eight words, one bit a process
//! +128  lists     two waiter lists
//! +192  words     five words of the kind's own
//! +232  list      a third waiter list
//! +256  section   guards all of this
//! ```
//!
//! An object lives until no process holds it and no message carries it. Holder bits, the count of
//! copies and the step to `dying` are changed in its section, the count together with the entry in the
//! message that accounts for it, so the two never differ. Whoever takes the last of them away makes it
//! `dying` under its own name in the same commit, and destroys it.
//!
//! # What a crash leaves
//! | killed | left | put right by |
//! |---|---|---|
//! | creating | phase creating with the creator's slot | recovery destroys it |
//! | holding | a bit of the dead process | recovery clears it, and destroys the object if it was the last |
//! | with a copy in an unpublished message | a pinned entry in a block of the dead | the sweep lets go of it |
//! | destroying | phase dying with the destroyer's slot | recovery goes on: each step is harmless twice |

use crate::arena::{Arena, Member, locked};
use crate::blocks::{BODY_TAG, Side};
use crate::error::{Error, Result};
use crate::layout::{self, header};
use crate::map::Offset;
use crate::names;
use crate::primitive::Ordering::{Acquire, Relaxed, Release};

/// State word.
pub const STATE: Offset = 0;
/// Kind.
pub const KIND: Offset = 8;
/// Copies in flight.
pub const IN_FLIGHT: Offset = 16;
/// Body block.
pub const BODY: Offset = 24;
/// Name block.
pub const NAME: Offset = 32;
/// Chain of the name bucket.
pub const NEXT: Offset = 40;
/// Hash of the name.
pub const HASH: Offset = 48;
/// Holder bits.
pub const HOLDERS: Offset = 64;
/// Holder words.
pub const HOLDERS_LEN: u64 = 8;
/// First waiter list.
pub const LIST_A: Offset = 128;
/// Second waiter list.
pub const LIST_B: Offset = 160;
/// Words of the kind's own.
pub const WORDS: Offset = 192;
/// How many.
pub const WORDS_LEN: u64 = 5;
/// Third waiter list.
pub const LIST_C: Offset = 232;
/// All waiter lists.
pub const LISTS: [Offset; 3] = [LIST_A, LIST_B, LIST_C];
/// The section.
pub const SECTION: Offset = 256;
/// In an entry of a message's handle table: counted in the object's `in flight`.
const PINNED: u64 = 1 << 31;

/// What a kind of object does for itself.
pub trait Kind: Sync {
    /// Frees what the body refers to, not the body. Called once nobody can reach the object; may be
    /// called again after a crash half-way.
    ///
    /// # Errors
    /// `Corrupt`.
    fn destroy(&self, arena: &Arena, me: &Member, object: u64) -> Result<()>;
    /// Settles the operation that a dead member had under way on the object: `ticket` as it noted it.
    ///
    /// # Errors
    /// `Corrupt`.
    fn recover(&self, arena: &Arena, me: &Member, dead: crate::Name, object: u64, ticket: u64) -> Result<()>;
    /// Takes back what an ended member still had of the object: a lock that it held, items that it had in
    /// hand. Called for every live object of the kind, whether or not the member noted it, before its slot
    /// is used again; the object may be destroyed meanwhile by others, and everything is called again after
    /// a crash half-way. True when those who wait for the object must look again.
    ///
    /// # Errors
    /// `Corrupt`, `Busy`.
    fn forsake(&self, _arena: &Arena, _me: &Member, _dead: crate::Name, _object: u64) -> Result<bool> {
        Ok(false)
    }
    /// Whether what an ended member had of objects of this kind is taken back before what it had of others: so
    /// who finds the others' part finds this done.
    fn is_forsaken_first(&self) -> bool {
        false
    }
}

/// What an object can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The header is free.
    Free,
    /// Being made by the member in the slot.
    Creating,
    /// Usable.
    Live,
    /// Being destroyed by the member in the slot.
    Dying,
}

/// The state word, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Counts the uses of the header.
    pub generation: u32,
    /// Slot of the member that makes or destroys it; else 0.
    pub slot: u64,
    /// What it is.
    pub phase: Phase,
}

impl State {
    /// From the word in shared memory.
    #[must_use]
    pub fn unpack(word: u64) -> Self {
        Self {
            generation: (word >> 32) as u32,
            slot: word >> 8 & 0xfff,
            phase: match word & 0xff {
                1 => Phase::Creating,
                2 => Phase::Live,
                3 => Phase::Dying,
                _ => Phase::Free,
            },
        }
    }

    /// As the word in shared memory.
    #[must_use]
    pub fn pack(self) -> u64 {
        let phase = match self.phase {
            Phase::Free => 0,
            Phase::Creating => 1,
            Phase::Live => 2,
            Phase::Dying => 3,
        };
        u64::from(self.generation) << 32 | self.slot << 8 | phase
    }
}

/// A handle: header and generation. 0 stands for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle {
    /// Index of the header.
    pub index: u64,
    /// Which of its uses.
    pub generation: u32,
}

impl Handle {
    /// As a word in shared memory.
    #[must_use]
    pub fn word(self) -> u64 {
        u64::from(self.generation) << 32 | self.index
    }

    /// From a word in shared memory.
    #[must_use]
    pub fn from_word(word: u64) -> Option<Self> {
        let handle = Self {
            index: word & 0x7fff_ffff,
            generation: (word >> 32) as u32,
        };
        (handle.index != 0 && handle.generation != 0).then_some(handle)
    }
}

impl Arena {
    /// The state of an object's header.
    ///
    /// # Errors
    /// `Corrupt` when there is no such header.
    pub fn object_state(&self, index: u64) -> Result<State> {
        if index == 0 || index >= self.mark(header::OBJECTS_HIGH, self.layout.objects_len) {
            return Err(Error::Corrupt("no such object"));
        }
        // SYNC: Acquire pairs with the CAS or commit that changed the phase.
        Ok(State::unpack(
            self.map.word(self.layout.object(index) + STATE)?.load(Acquire),
        ))
    }

    /// The kind of an object.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn object_kind(&self, index: u64) -> Result<usize> {
        Ok(self.map.word(self.layout.object(index) + KIND)?.load(Acquire) as usize)
    }

    /// Claims a header, phase creating.
    fn claim_header(&self, me: &Member) -> Result<Handle> {
        loop {
            let hint = locked(&self.local.headers).pop();
            let high = self.mark(header::OBJECTS_HIGH, self.layout.objects_len).max(1);
            let index = match hint {
                Some(index) => index,
                None if high < self.layout.objects_len => {
                    self.ensure_table(self.layout.object(high), layout::OBJECT)?;
                    self.raise(header::OBJECTS_HIGH, high + 1)?;
                    high
                }
                None => self.find_free_header(high)?,
            };
            let word = self.map.word(self.layout.object(index) + STATE)?;
            let seen = word.load(Acquire);
            let state = State::unpack(seen);
            if state.phase != Phase::Free {
                continue;
            }
            let generation = state.generation.wrapping_add(1).max(1);
            let taken = State {
                generation,
                slot: me.name.slot(),
                phase: Phase::Creating,
            };
            // SYNC: acquires what the destroyer released with the free header.
            if word.cas(seen, taken.pack()).is_ok() {
                return Ok(Handle { index, generation });
            }
        }
    }

    fn find_free_header(&self, high: u64) -> Result<u64> {
        for index in 1..high {
            if self.object_state(index)?.phase == Phase::Free {
                return Ok(index);
            }
        }
        Err(Error::TableFull("objects", self.layout.objects_len - 1))
    }

    /// Makes an object with a body of `body` zeroed bytes (0: none), held by this process once.
    /// `init` fills in words and body while nobody else can see it.
    ///
    /// # Errors
    /// `OutOfMemory`, or what `init` returns; nothing is left then.
    pub fn create(
        &self,
        me: &Member,
        kind: usize,
        body: u64,
        init: impl FnOnce(u64, Offset) -> Result<()>,
    ) -> Result<Handle> {
        let handle = self.claim_header(me)?;
        let made = self.fill(me, handle, kind, body, init);
        if let Err(error) = made {
            self.become_dying(me, handle, Phase::Creating)?;
            self.destroy(me, handle)?;
            return Err(error);
        }
        Ok(handle)
    }

    fn fill(
        &self,
        me: &Member,
        handle: Handle,
        kind: usize,
        body: u64,
        init: impl FnOnce(u64, Offset) -> Result<()>,
    ) -> Result<()> {
        let at = self.layout.object(handle.index);
        self.map.word(at + KIND)?.store(kind as u64, Relaxed);
        for offset in (IN_FLIGHT..SECTION).step_by(8) {
            self.map.word(at + offset)?.store(0, Relaxed);
        }
        let mut block = 0;
        if body > 0 {
            block = self.alloc(me, body)?;
            self.zero(block, body)?;
            self.map.word(at + BODY)?.store(block, Relaxed);
            self.hand_over(block, Side::owned(me.name), Side::held(handle.index, BODY_TAG))?;
        }
        init(handle.index, block)?;
        let (word, bit) = self.holder(handle.index, self.process_slot());
        locked(&self.local.held).insert(handle.index, 1);
        self.map.word(word)?.store(bit, Relaxed);
        let state = State {
            generation: handle.generation,
            slot: me.name.slot(),
            phase: Phase::Creating,
        };
        let live = State {
            slot: 0,
            phase: Phase::Live,
            ..state
        };
        // SYNC: publishes the object to whoever reads the phase.
        self.map
            .word(at + STATE)?
            .cas(state.pack(), live.pack())
            .map_err(|_| Error::Corrupt("an object changed while it was made"))?;
        Ok(())
    }

    /// Zeroes `len` bytes at `at`, word by word.
    ///
    /// # Errors
    /// `Corrupt` when they lie outside.
    pub fn zero(&self, at: Offset, len: u64) -> Result<()> {
        const ZEROES: [u8; 4096] = [0; 4096];
        let mut done = 0;
        while done < len {
            let step = (len - done).min(4096);
            self.map.copy_in(at + done, &ZEROES[..step as usize])?;
            done += step;
        }
        Ok(())
    }

    fn holder(&self, index: u64, process: u64) -> (Offset, u64) {
        let word = self.layout.object(index) + HOLDERS + process / 64 % HOLDERS_LEN * 8;
        (word, 1 << (process % 64))
    }

    fn section_of(&self, index: u64) -> Offset {
        self.layout.object(index) + SECTION
    }

    /// Takes one more hold of the object for this process.
    ///
    /// # Errors
    /// `Stale` when it is gone.
    pub fn open(&self, me: &Member, handle: Handle) -> Result<()> {
        let mut held = locked(&self.local.held);
        if let Some(count) = held.get_mut(&handle.index) {
            // Held by this process, so the header cannot have changed its use.
            if self.object_state(handle.index)?.generation != handle.generation {
                return Err(Error::Stale);
            }
            *count += 1;
            return Ok(());
        }
        if self.object_state(handle.index).is_err() {
            return Err(Error::Stale);
        }
        let guard = self.enter(me, self.section_of(handle.index))?;
        let state = self.object_state(handle.index)?;
        if state.phase != Phase::Live || state.generation != handle.generation {
            return Err(Error::Stale);
        }
        let (word, bit) = self.holder(handle.index, self.process_slot());
        let bits = self.map.word(word)?.load(Relaxed);
        guard.commit(&[(word, bits | bit)])?;
        held.insert(handle.index, 1);
        Ok(())
    }

    /// Lets go of one hold of this process.
    ///
    /// # Errors
    /// `Stale` when this process does not hold it.
    pub fn close(&self, me: &Member, handle: Handle) -> Result<()> {
        let mut held = locked(&self.local.held);
        let Some(count) = held.get_mut(&handle.index) else {
            return Err(Error::Stale);
        };
        if *count > 1 {
            *count -= 1;
            return Ok(());
        }
        let last = self.drop_holder(me, handle, self.process_slot(), || true)?;
        held.remove(&handle.index);
        drop(held);
        if last { self.destroy(me, handle) } else { Ok(()) }
    }

    /// Clears a process's bit if `valid` still says so inside the section. True when that was the last
    /// thing that kept the object: it is dying in `me`'s name then.
    fn drop_holder(
        &self,
        me: &Member,
        handle: Handle,
        process: u64,
        valid: impl Fn() -> bool,
    ) -> Result<bool> {
        let guard = self.enter(me, self.section_of(handle.index))?;
        let state = self.object_state(handle.index)?;
        if state.phase != Phase::Live || state.generation != handle.generation || !valid() {
            return Ok(false);
        }
        let (word, bit) = self.holder(handle.index, process);
        let bits = self.map.word(word)?.load(Relaxed) & !bit;
        let at = self.layout.object(handle.index);
        if bits == 0
            && self.map.word(at + IN_FLIGHT)?.load(Relaxed) == 0
            && self.others_hold_none(handle.index, word)?
        {
            let dying = State {
                slot: me.name.slot(),
                phase: Phase::Dying,
                ..state
            };
            guard.commit(&[(word, bits), (at + STATE, dying.pack())])?;
            return Ok(true);
        }
        guard.commit(&[(word, bits)])?;
        Ok(false)
    }

    /// True when another process holds the object, or a message or another object carries it.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn is_held_elsewhere(&self, index: u64) -> Result<bool> {
        let (word, bit) = self.holder(index, self.process_slot());
        let copies = self.layout.object(index) + IN_FLIGHT;
        Ok(self.map.word(word)?.load(Acquire) & !bit != 0
            || self.map.word(copies)?.load(Acquire) != 0
            || !self.others_hold_none(index, word)?)
    }

    fn others_hold_none(&self, index: u64, but: Offset) -> Result<bool> {
        let at = self.layout.object(index) + HOLDERS;
        for word in (0..HOLDERS_LEN).map(|k| at + k * 8) {
            if word != but && self.map.word(word)?.load(Relaxed) != 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn become_dying(&self, me: &Member, handle: Handle, from: Phase) -> Result<()> {
        let word = self.map.word(self.layout.object(handle.index) + STATE)?;
        let state = State {
            generation: handle.generation,
            slot: me.name.slot(),
            phase: from,
        };
        let _ = word.cas(
            state.pack(),
            State {
                phase: Phase::Dying,
                ..state
            }
            .pack(),
        );
        Ok(())
    }

    /// Destroys an object that is dying in `me`'s name.
    fn destroy(&self, me: &Member, handle: Handle) -> Result<()> {
        let at = self.layout.object(handle.index);
        let state = self.object_state(handle.index)?;
        if state.phase != Phase::Dying
            || state.generation != handle.generation
            || state.slot != me.name.slot()
        {
            return Ok(());
        }
        if let Some(Some(kind)) = self.kinds.get(self.object_kind(handle.index)?) {
            kind.destroy(self, me, handle.index)?;
        }
        if self.map.word(at + NAME)?.load(Relaxed) != 0 {
            names::unlink(self, me, handle.index)?;
        }
        for offset in [BODY, NAME] {
            let block = self.map.word(at + offset)?.load(Relaxed);
            if block != 0 {
                let held = Side::held(handle.index, BODY_TAG);
                // Whoever died destroying it may have freed the block already: then it is not ours.
                if self.hand_over(block, held, Side::owned(me.name)).unwrap_or(false) {
                    self.free(me, block)?;
                }
                self.map.word(at + offset)?.store(0, Release);
            }
        }
        // SYNC: releases the header to whoever claims it next.
        let free = State {
            generation: handle.generation,
            slot: 0,
            phase: Phase::Free,
        };
        self.map.word(at + STATE)?.store(free.pack(), Release);
        let mut headers = locked(&self.local.headers);
        if headers.len() < 1024 {
            headers.push(handle.index);
        }
        Ok(())
    }

    /// Makes room for `count` handles at the beginning of a block that `me` owns.
    ///
    /// # Errors
    /// `Corrupt` when `me` does not own it, `State` when they do not fit.
    pub fn begin_pins(&self, me: &Member, block: Offset, count: u64) -> Result<()> {
        if pins_size(count) > self.place(block)?.size {
            return Err(Error::State(
                "a message's handles do not fit into its block".into(),
            ));
        }
        self.zero(block, pins_size(count))?;
        self.map.word(block)?.store(count, Relaxed);
        let owned = Side::owned(me.name);
        if self.hand_over(block, owned, owned.with_pins(true))? {
            Ok(())
        } else {
            Err(Error::Corrupt("a block is not its sender's"))
        }
    }

    /// Counts a copy of `handle` into the handle table of a message block that `me` owns.
    ///
    /// # Errors
    /// `Stale` when the object is gone.
    pub fn pin(&self, me: &Member, block: Offset, entry: u64, handle: Handle) -> Result<()> {
        self.object_state(handle.index)?;
        let guard = self.enter(me, self.section_of(handle.index))?;
        let state = self.object_state(handle.index)?;
        if state.phase != Phase::Live || state.generation != handle.generation {
            return Err(Error::Stale);
        }
        let count = self.layout.object(handle.index) + IN_FLIGHT;
        let copies = self.map.word(count)?.load(Relaxed);
        let more = copies
            .checked_add(1)
            .ok_or(Error::Corrupt("an object has more copies than can be"))?;
        guard.commit(&[(count, more), (pin_entry(block, entry), handle.word() | PINNED)])
    }

    /// Takes a copy out of a message block's handle table.
    fn unpin(&self, me: &Member, block: Offset, entry: u64) -> Result<()> {
        let at = pin_entry(block, entry);
        let word = self.map.word(at)?.load(Acquire);
        if word & PINNED == 0 {
            return Ok(());
        }
        let Some(handle) = Handle::from_word(word & !PINNED) else {
            return Err(Error::Corrupt("a message carries a handle of nothing"));
        };
        self.object_state(handle.index)?;
        let guard = self.enter(me, self.section_of(handle.index))?;
        let state = self.object_state(handle.index)?;
        let base = self.layout.object(handle.index);
        let copies = self.map.word(base + IN_FLIGHT)?.load(Relaxed);
        if state.phase != Phase::Live || state.generation != handle.generation || copies == 0 {
            return Err(Error::Corrupt("a message carries a handle that is not counted"));
        }
        if copies == 1 && self.others_hold_none(handle.index, 0)? {
            let dying = State {
                slot: me.name.slot(),
                phase: Phase::Dying,
                ..state
            };
            guard.commit(&[(base + IN_FLIGHT, 0), (at, 0), (base + STATE, dying.pack())])?;
            drop(guard);
            return self.destroy(me, handle);
        }
        guard.commit(&[(base + IN_FLIGHT, copies - 1), (at, 0)])
    }

    /// The handles in a message block.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn pinned(&self, block: Offset) -> Result<Vec<Handle>> {
        let count = self
            .map
            .word(block)?
            .load(Acquire)
            .min(self.place(block)?.size / 8 - 1);
        let mut handles = Vec::with_capacity(count as usize);
        for entry in 0..count {
            let word = self.map.word(pin_entry(block, entry))?.load(Acquire);
            handles.push(
                Handle::from_word(word & !PINNED)
                    .ok_or(Error::Corrupt("a message carries a handle of nothing"))?,
            );
        }
        Ok(handles)
    }

    /// Takes back what the ended members `dead` had of any object.
    ///
    /// # Errors
    /// `Busy` when a section could not be entered in time.
    pub(crate) fn forsake_objects(&self, me: &Member, dead: &[crate::Name]) -> Result<()> {
        let high = self.mark(header::OBJECTS_HIGH, self.layout.objects_len);
        let mut outcome = Ok(());
        for (is_first, index) in [true, false]
            .into_iter()
            .flat_map(|is_first| (1..high).map(move |index| (is_first, index)))
        {
            if self.object_state(index)?.phase != Phase::Live {
                continue;
            }
            let Some(Some(kind)) = self.kinds.get(self.object_kind(index)?) else {
                continue;
            };
            if kind.is_forsaken_first() != is_first {
                continue;
            }
            for name in dead {
                let changed = kind.forsake(self, me, *name, index).unwrap_or_else(|error| {
                    outcome = Err(error);
                    // It may have come half-way.
                    true
                });
                if changed {
                    self.rouse(me, self.section_of(index))?;
                }
            }
        }
        outcome
    }

    /// Clears the bit of a dead process on every object, and goes on with what the member slot `slots`
    /// was making or destroying. `valid` is asked inside each section.
    ///
    /// # Errors
    /// `Busy` when a section could not be entered in time.
    pub(crate) fn recover_objects(
        &self,
        me: &Member,
        process: Option<u64>,
        slots: &[u64],
        valid: &dyn Fn() -> bool,
    ) -> Result<()> {
        let high = self.mark(header::OBJECTS_HIGH, self.layout.objects_len);
        let mut outcome = Ok(());
        for index in 1..high {
            if let Err(error) = self.recover_object(me, index, process, slots, valid) {
                outcome = Err(error);
            }
        }
        outcome
    }

    fn recover_object(
        &self,
        me: &Member,
        index: u64,
        process: Option<u64>,
        slots: &[u64],
        valid: &dyn Fn() -> bool,
    ) -> Result<()> {
        let state = self.object_state(index)?;
        let handle = Handle {
            index,
            generation: state.generation,
        };
        match state.phase {
            Phase::Free => Ok(()),
            Phase::Live => {
                let Some(process) = process else { return Ok(()) };
                let (word, bit) = self.holder(index, process);
                if self.map.word(word)?.load(Acquire) & bit == 0 {
                    return Ok(());
                }
                if self.drop_holder(me, handle, process, valid)? {
                    self.destroy(me, handle)?;
                }
                Ok(())
            }
            Phase::Creating | Phase::Dying => {
                if state.slot == me.name.slot() && state.phase == Phase::Dying {
                    return self.destroy(me, handle);
                }
                if !slots.contains(&state.slot) || !valid() {
                    return Ok(());
                }
                let mine = State {
                    slot: me.name.slot(),
                    phase: Phase::Dying,
                    ..state
                };
                let word = self.map.word(self.layout.object(index) + STATE)?;
                // From the state that names the dead: a late rescuer changes nothing.
                if word.cas(state.pack(), mine.pack()).is_ok() {
                    return self.destroy(me, handle);
                }
                Ok(())
            }
        }
    }
}

/// Bytes that a table of `count` handles takes at the beginning of a block; what follows is aligned to 16.
#[must_use]
pub fn pins_size(count: u64) -> u64 {
    (8 + count * 8).next_multiple_of(16)
}

fn pin_entry(block: Offset, entry: u64) -> Offset {
    block + 8 + entry * 8
}

/// Lets go of every copy in a message block that `me` owns.
pub(crate) fn unpin_all(arena: &Arena, me: &Member, block: Offset, size: u64) -> Result<()> {
    let count = arena.map.word(block)?.load(Acquire).min(size / 8 - 1);
    for entry in 0..count {
        arena.unpin(me, block, entry)?;
    }
    Ok(())
}
