//! The arena as one process sees it, and the member that acts on it.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering as Std};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::layout::{Layout, header};
use crate::map::{Map, Offset};
use crate::member::{self, Name, Phase, State};
use crate::object::Kind;
use crate::primitive::Ordering::{Acquire, Relaxed};
use crate::process;
use crate::section::{self, Entered, Liveness};

/// How many kinds of object there can be.
pub const KINDS: usize = 32;

/// The shared memory, mapped into this process, with what only this process knows about it.
pub struct Arena {
    /// The mapped range.
    pub map: Map,
    /// Where things are in it.
    pub layout: Layout,
    /// Random number of the family.
    pub nonce: u64,
    /// Descriptor of the memfd; `None` for models and tests on ordinary memory.
    pub(crate) fd: Option<i32>,
    /// Slot and generation of this process; 0 until it has joined.
    process: AtomicU64,
    pub(crate) local: Local,
    pub(crate) kinds: [Option<&'static dyn Kind>; KINDS],
}

/// What a process remembers for itself: hints and counts, never the truth about shared memory.
#[derive(Default)]
pub(crate) struct Local {
    /// Per size class, blocks that this process freed last.
    pub magazines: [Mutex<Vec<Offset>>; crate::blocks::CLASSES],
    /// Large runs that this process freed last: (unit, units).
    pub runs: Mutex<Vec<(u64, u64)>>,
    /// Object headers that this process freed last.
    pub headers: Mutex<Vec<u64>>,
    /// How many handles this process has on each object that it holds.
    pub held: Mutex<HashMap<u64, u64>>,
    /// Table units known to be committed.
    pub committed: Vec<AtomicU64>,
    pub pages: Mutex<crate::pages::Pages>,
    /// Unit at which the last search ended, per size class.
    pub cursors: [AtomicU64; crate::blocks::CLASSES],
    /// Name of the native thread.
    pub native: AtomicU64,
    /// When a large block was freed here last, in ns of the clock.
    pub freed_at: AtomicU64,
    /// The native thread is to give free pages back once all is quiet.
    pub trim_wanted: std::sync::atomic::AtomicBool,
    /// Slots of reaped children whose waiters are to be woken.
    pub ended: Mutex<Vec<u64>>,
    /// Lent blocks for the native thread to free.
    pub orphans: Mutex<Vec<Offset>>,
    /// Holds of objects for the native thread to let go of.
    pub abandoned: Mutex<Vec<crate::object::Handle>>,
    pub bells: Mutex<crate::bells::Bells>,
    /// What else the native thread does whenever it is awake.
    pub chore: Mutex<Option<Chore>>,
}

/// Something that the native thread does whenever it is awake, after all that has ended was recovered; returns
/// when it is to be woken for it at the latest, in ns of the clock.
pub type Chore = std::sync::Arc<dyn Fn(&Member) -> Option<u64> + Send + Sync>;

/// A member of this process: the right to act under a name. One a thread.
#[derive(Debug)]
pub struct Member {
    /// Slot and generation.
    pub name: Name,
    /// Offset of the slot.
    pub slot: Offset,
    depth: Cell<u64>,
    /// Turns to wait for a section; recovery gives up where others wait for ever.
    patience: Cell<u32>,
    pub(crate) records: std::cell::RefCell<Vec<Offset>>,
}

/// About 20 ms: see `Arena::relax`.
const RECOVERY_PATIENCE: u32 = 1024 + 40;

impl Member {
    /// The member of a name that this thread owns.
    #[must_use]
    pub fn of(layout: &Layout, name: Name) -> Self {
        Self {
            name,
            slot: layout.member(name.slot()),
            depth: Cell::new(0),
            patience: Cell::new(u32::MAX),
            records: Default::default(),
        }
    }

    /// From now on this member gives up on a section after about 20 ms with `Busy`: for recovery, which
    /// must not stand still because somebody is stopped.
    pub fn hurry(&self) {
        self.patience.set(RECOVERY_PATIENCE);
    }
}

/// A section that is left when this is dropped.
pub struct Guard<'a> {
    entered: Option<Entered<'a>>,
    depth: &'a Cell<u64>,
}

impl<'a> std::ops::Deref for Guard<'a> {
    type Target = Entered<'a>;
    fn deref(&self) -> &Entered<'a> {
        match &self.entered {
            Some(entered) => entered,
            None => unreachable!("a guard is emptied only by drop"),
        }
    }
}

impl Guard<'_> {
    /// See [`Entered::unlock`].
    pub fn unlock(&mut self) {
        if let Some(entered) = &mut self.entered {
            entered.unlock();
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.entered = None;
        self.depth.set(self.depth.get() - 1);
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Arena {
    /// An arena over a mapped range. `fd` commits pages; without it the range is ordinary memory.
    #[must_use]
    pub fn over(
        map: Map,
        layout: Layout,
        nonce: u64,
        fd: Option<i32>,
        kinds: &[(usize, &'static dyn Kind)],
    ) -> Self {
        let mut table: [Option<&'static dyn Kind>; KINDS] = [None; KINDS];
        for (index, kind) in kinds {
            table[*index] = Some(*kind);
        }
        let bits = (layout.data / crate::layout::UNIT).div_ceil(64) as usize;
        let local = Local {
            committed: (0..bits).map(|_| AtomicU64::new(0)).collect(),
            ..Local::default()
        };
        Self {
            map,
            layout,
            nonce,
            fd,
            process: AtomicU64::new(0),
            local,
            kinds: table,
        }
    }

    /// The slot of this process and its generation (`generation << 32 | slot`).
    #[must_use]
    pub fn process_name(&self) -> u64 {
        self.process.load(Std::Relaxed)
    }

    /// The slot number of this process.
    #[must_use]
    pub fn process_slot(&self) -> u64 {
        self.process_name() & 0xffff_ffff
    }

    /// Called once, when this process has its slot.
    pub fn set_process(&self, name: u64) {
        self.process.store(name, Std::Relaxed);
    }

    /// Enters the section at `at`.
    ///
    /// # Errors
    /// `Corrupt` when it is damaged.
    pub fn enter<'a>(&'a self, me: &'a Member, at: Offset) -> Result<Guard<'a>> {
        let depth = me.depth.get();
        if depth >= member::NOTES_LEN {
            return Err(Error::Corrupt("sections nest too deep"));
        }
        let note = me.slot + member::NOTES + depth * 8;
        let entered = section::enter(&self.map, self, at, me.name, note, me.patience.get())?;
        me.depth.set(depth + 1);
        Ok(Guard {
            entered: Some(entered),
            depth: &me.depth,
        })
    }

    /// Claims a member slot for a thread of this process.
    ///
    /// # Errors
    /// `TableFull` at the limit on members.
    pub fn join_member(&self) -> Result<Member> {
        self.claim_member(self.process_slot())
    }

    /// Claims a member slot under a process slot.
    ///
    /// # Errors
    /// `TableFull` at the limit on members.
    pub fn claim_member(&self, process: u64) -> Result<Member> {
        let most = match self.map.word(header::MAX_MEMBERS)?.load(Relaxed) {
            0 => self.layout.members_len,
            limit => limit.min(self.layout.members_len),
        };
        for slot in 1..most {
            let at = self.layout.member(slot);
            self.ensure_table(at, crate::layout::MEMBER)?;
            let word = self.map.word(at + member::STATE)?;
            let seen = word.load(Acquire);
            let state = State::unpack(seen);
            if state.phase != Phase::Free {
                continue;
            }
            self.raise(header::MEMBERS_HIGH, slot + 1)?;
            let generation = state.generation.wrapping_add(1).max(1);
            let taken = State {
                generation,
                process,
                phase: Phase::Live,
            };
            // SYNC: SeqCst CAS acquires what recovery released when it freed the slot.
            if word.cas(seen, taken.pack()).is_ok() {
                // What the last member left there has been settled; this one begins with nothing.
                for offset in (member::NOTES..member::HAZARDS + member::HAZARDS_LEN * 8).step_by(8) {
                    self.map.word(at + offset)?.store(0, Relaxed);
                }
                return Ok(Member::of(&self.layout, Name::new(slot, generation)));
            }
        }
        Err(Error::TableFull("members (isolates and native threads)", most))
    }

    /// Ends a member whose thread ends while its process lives on. The native thread takes back what
    /// stands under its name.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn leave(&self, me: &Member) -> Result<()> {
        self.forget_bell(me);
        let word = self.map.word(me.slot + member::STATE)?;
        let seen = word.load(Acquire);
        let state = State::unpack(seen);
        if state.generation == me.name.generation() && state.phase == Phase::Live {
            // SYNC: releases all that this member wrote to whoever recovers it.
            let _ = word.cas(
                seen,
                State {
                    phase: Phase::Left,
                    ..state
                }
                .pack(),
            );
        }
        crate::watch::call(self, state.process)
    }

    /// The descriptor of the memory.
    #[must_use]
    pub fn descriptor(&self) -> Option<i32> {
        self.fd
    }

    /// The native thread's name in this process, `None` until it has joined.
    #[must_use]
    pub fn native(&self) -> Option<Name> {
        Name::from_word(self.local.native.load(Std::Acquire))
    }

    /// Hands a block that `me` owns to the process as a whole, for as long as JavaScript sees it: it
    /// outlives the thread. False without a native thread.
    ///
    /// # Errors
    /// `Corrupt` when it is not `me`'s.
    pub fn lend(&self, me: &Member, block: Offset, pins: bool) -> Result<bool> {
        let Some(native) = self.native() else {
            return Ok(false);
        };
        let to = crate::blocks::Side::owned(native).with_pins(pins);
        self.hand_over(block, crate::blocks::Side::owned(me.name).with_pins(pins), to)
    }

    /// Frees a block that was lent. Any thread may call it, also one that has no member any more: then
    /// the native thread does it.
    pub fn reclaim(&self, me: Option<&Member>, block: Offset) {
        let Some(native) = self.native() else { return };
        if let Some(me) = me
            && let Ok(side) = self.side(block)
            && matches!(side, crate::blocks::Side::Owned { name, .. } if name == native)
        {
            let mine = crate::blocks::Side::owned(me.name).with_pins(side.pins());
            if self.hand_over(block, side, mine).unwrap_or(false) {
                let _ = self.free(me, block);
                return;
            }
        }
        locked(&self.local.orphans).push(block);
        let _ = crate::watch::call(self, self.process_slot());
    }

    /// Lets go of a hold of this process on an object. Any thread may call it, also one that has no member any
    /// more: then the native thread does it.
    pub fn let_go(&self, me: Option<&Member>, handle: crate::object::Handle) {
        if let Some(me) = me {
            let _ = self.close(me, handle);
            return;
        }
        locked(&self.local.abandoned).push(handle);
        let _ = crate::watch::call(self, self.process_slot());
    }

    /// Frees what [`Arena::reclaim`], [`Arena::let_go`] and [`Arena::free`] left to the native thread. False when something
    /// has to be tried again.
    pub(crate) fn free_orphans(&self, native: &Member) -> bool {
        let blocks = std::mem::take(&mut *locked(&self.local.orphans));
        for block in blocks {
            let _ = self.free(native, block);
        }
        let handles = std::mem::take(&mut *locked(&self.local.abandoned));
        for handle in handles {
            let _ = self.close(native, handle);
        }
        locked(&self.local.orphans).is_empty()
    }

    /// From now on the native thread does that as well, whenever it is awake. There is one chore a process; it
    /// gives up with `Busy` where others would wait for ever, and must not block. [`crate::watch::call`] wakes
    /// the thread.
    pub fn set_chore(&self, chore: Chore) {
        *locked(&self.local.chore) = Some(chore);
    }

    /// Reads a word that holds an offset: 0, or a place in the arena. So adding to it cannot overflow.
    ///
    /// # Errors
    /// `Corrupt` when it points elsewhere.
    #[cfg_attr(feature = "points", track_caller)]
    #[inline]
    pub fn link(&self, at: Offset) -> Result<Offset> {
        // SYNC: Acquire pairs with whatever published what the offset leads to.
        let link = self.map.word(at)?.load(Acquire);
        if link < self.map.len() {
            Ok(link)
        } else {
            Err(Error::Corrupt("an offset points outside the arena"))
        }
    }

    /// Raises a high-water mark to at least `value`.
    pub(crate) fn raise(&self, mark: Offset, value: u64) -> Result<()> {
        let word = self.map.word(mark)?;
        let mut seen = word.load(Relaxed);
        while seen < value {
            match word.cas(seen, value) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        Ok(())
    }

    /// A high-water mark, never above what the table holds.
    pub(crate) fn mark(&self, mark: Offset, len: u64) -> u64 {
        self.map.word(mark).map_or(0, |word| word.load(Acquire)).min(len)
    }

    /// The state of a member slot.
    ///
    /// # Errors
    /// `Corrupt` when there is no such slot.
    pub fn member_state(&self, slot: u64) -> Result<State> {
        if slot == 0 || slot >= self.layout.members_len {
            return Err(Error::Corrupt("no such member slot"));
        }
        // SYNC: Acquire pairs with the CAS that claims or frees the slot.
        Ok(State::unpack(
            self.map
                .word(self.layout.member(slot) + member::STATE)?
                .load(Acquire),
        ))
    }

    /// Members, as (slot, state), that are in use.
    pub fn members(&self) -> impl Iterator<Item = (u64, State)> + '_ {
        let high = self.mark(header::MEMBERS_HIGH, self.layout.members_len);
        (1..high).filter_map(|slot| {
            let state = self.member_state(slot).ok()?;
            (state.phase != Phase::Free).then_some((slot, state))
        })
    }
}

impl Liveness for Arena {
    fn is_dead(&self, name: Name) -> bool {
        let Ok(state) = self.member_state(name.slot()) else {
            return true;
        };
        // A slot that was freed or re-issued is one whose old holder has been recovered.
        state.generation != name.generation()
            || state.phase != Phase::Live
            || process::is_dead(self, state.process)
    }

    fn relax(&self, turn: u32) {
        #[cfg(feature = "points")]
        if crate::points::machine().is_some_and(|machine| (machine.relax)(turn)) {
            return;
        }
        if turn < 64 {
            polyproc_sys::clock::cpu_relax();
        } else if turn < 1024 {
            polyproc_sys::clock::yield_now();
        } else {
            // The holder is stopped, or starved for a long time: stop burning its cores.
            std::thread::sleep(std::time::Duration::from_micros(500));
        }
    }
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arena")
            .field("nonce", &self.nonce)
            .field("size", &self.layout.size)
            .field("process", &self.process_slot())
            .finish_non_exhaustive()
    }
}
