//! Process slots: who is alive.
//!
//! ```text
//! +0    state    generation << 32 | pid << 8 | phase
//! +8    start    start time of the pid, in clock ticks since boot; for people and for signals
//! +16   creator  name of the process that reserved the slot for a child, 0: it claimed its own
//! +24   boot     block that the child is to run, 0: none
//! +32   exit     bit 63: known, low 32 bits: exit code, negative for a signal
//! +40   ns       inode of its pid namespace
//! +64   life     two words, 8 bytes apart, that the kernel marks when the process ends
//! +80   bell     futex that wakes its watcher
//! +128  waiters  list of those who wait for its end
//! +256  section  guards the list
//! ```
//!
//! Phases: 0 free; 1 reserved (pid is the *reserver's*); 2 starting (pid is its own, no life word
//! yet); 3 live; 4 dead (confirmed; recovery is under way or about to be).
//!
//! # What a crash leaves
//! The pid stands in the claiming CAS, so whoever finds a slot reserved or starting can ask whether
//! that pid still lives; a live slot is marked by the kernel. Every later step goes by a CAS from the
//! state that names the dead generation.

use crate::arena::Arena;
use crate::error::{Error, Result};
use crate::layout::{self, header};
use crate::map::Offset;
use crate::primitive::Ordering::{Acquire, Relaxed};

/// State word.
pub const STATE: Offset = 0;
/// Start time of the pid.
pub const START: Offset = 8;
/// Creator's name.
pub const CREATOR: Offset = 16;
/// Block to run.
pub const BOOT: Offset = 24;
/// Exit status.
pub const EXIT: Offset = 32;
/// Pid namespace.
pub const NS: Offset = 40;
/// First life word.
pub const LIFE: Offset = 64;
/// Life words.
pub const LIFE_LEN: u64 = 2;
/// Distance between life words.
pub const LIFE_STRIDE: u64 = 8;
/// The watcher's futex.
pub const BELL: Offset = 80;
/// Waiter list.
pub const WAITERS: Offset = 128;
/// Section of the waiter list.
pub const SECTION: Offset = 256;

/// How long after the kernel's mark other threads of that process may still be on their way out, in
/// nanoseconds; asked of the pidfd first.
const GRACE: u64 = 10_000_000;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nobody's.
    Free,
    /// Taken for a child that does not exist yet.
    Reserved,
    /// The process exists but has not joined.
    Starting,
    /// It has joined; the kernel marks its end.
    Live,
    /// It has ended.
    Dead,
}

/// The state word, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Counts the uses of the slot.
    pub generation: u32,
    /// Process id in its own namespace.
    pub pid: u32,
    /// What it is doing.
    pub phase: Phase,
}

impl State {
    /// From the word in shared memory.
    #[must_use]
    pub fn unpack(word: u64) -> Self {
        Self {
            generation: (word >> 32) as u32,
            pid: (word >> 8) as u32 & 0xff_ffff,
            phase: match word & 0xff {
                1 => Phase::Reserved,
                2 => Phase::Starting,
                3 => Phase::Live,
                4 => Phase::Dead,
                _ => Phase::Free,
            },
        }
    }

    /// As the word in shared memory.
    #[must_use]
    pub fn pack(self) -> u64 {
        let phase = match self.phase {
            Phase::Free => 0,
            Phase::Reserved => 1,
            Phase::Starting => 2,
            Phase::Live => 3,
            Phase::Dead => 4,
        };
        u64::from(self.generation) << 32 | u64::from(self.pid & 0xff_ffff) << 8 | phase
    }
}

/// Name of a process: `generation << 32 | slot`.
#[must_use]
pub fn name(slot: u64, generation: u32) -> u64 {
    u64::from(generation) << 32 | slot
}

/// The state of a process slot.
///
/// # Errors
/// `Corrupt` when there is no such slot.
pub fn state(arena: &Arena, slot: u64) -> Result<State> {
    if slot >= arena.layout.processes_len {
        return Err(Error::Corrupt("no such process slot"));
    }
    // SYNC: Acquire pairs with the CAS that changed the phase.
    Ok(State::unpack(
        arena.map.word(arena.layout.process(slot) + STATE)?.load(Acquire),
    ))
}

/// Process slots in use, as (slot, state).
pub fn all(arena: &Arena) -> impl Iterator<Item = (u64, State)> + '_ {
    let high = arena.mark(header::PROCESSES_HIGH, arena.layout.processes_len);
    (0..high).filter_map(move |slot| {
        let state = state(arena, slot).ok()?;
        (state.phase != Phase::Free).then_some((slot, state))
    })
}

/// Claims a slot; `pid` is the caller's own, whatever the phase.
///
/// # Errors
/// `TableFull` at the limit on processes.
pub fn claim(arena: &Arena, phase: Phase, pid: u32, creator: u64) -> Result<u64> {
    let most = match arena.map.word(header::MAX_PROCESSES)?.load(Relaxed) {
        0 => arena.layout.processes_len,
        limit => limit.min(arena.layout.processes_len),
    };
    for slot in 0..most {
        let at = arena.layout.process(slot);
        arena.ensure_table(at, layout::PROCESS)?;
        let word = arena.map.word(at + STATE)?;
        let seen = word.load(Acquire);
        let old = State::unpack(seen);
        if old.phase != Phase::Free {
            continue;
        }
        arena.raise(header::PROCESSES_HIGH, slot + 1)?;
        // The last holder's time must not stand beside our pid, not for a moment: who saw it would take
        // the pid for recycled. If another claims the slot meanwhile, its own time is left alone.
        let start = arena.map.word(at + START)?;
        let before = start.load(Relaxed);
        if before != 0 {
            let _ = start.cas(before, 0);
        }
        let generation = old.generation.wrapping_add(1).max(1);
        // SYNC: SeqCst CAS acquires what recovery released when it freed the slot.
        if word
            .cas(
                seen,
                State {
                    generation,
                    pid,
                    phase,
                }
                .pack(),
            )
            .is_ok()
        {
            for (offset, value) in [(CREATOR, creator), (BOOT, 0), (EXIT, 0), (START, 0)] {
                arena.map.word(at + offset)?.store(value, Relaxed);
            }
            return Ok(name(slot, generation));
        }
    }
    Err(Error::TableFull("processes", most))
}

/// Moves a slot from one phase to another, giving it a pid.
///
/// # Errors
/// `State` when the slot is no longer that process's in that phase.
pub fn advance(arena: &Arena, process: u64, from: Phase, to: Phase, pid: u32) -> Result<()> {
    let slot = process & 0xffff_ffff;
    let seen = state(arena, slot)?;
    if u64::from(seen.generation) != process >> 32 || seen.phase != from {
        return Err(Error::State(
            "this process's place in the family has been taken back".into(),
        ));
    }
    let word = arena.map.word(arena.layout.process(slot) + STATE)?;
    // SYNC: publishes pid, start time and life words to whoever reads the phase.
    word.cas(
        seen.pack(),
        State {
            pid,
            phase: to,
            ..seen
        }
        .pack(),
    )
    .map(|_| ())
    .map_err(|_| Error::State("this process's place in the family has been taken back".into()))
}

/// True when no thread of the process in `slot` can write to shared memory any more. Waits up to 10 ms
/// between the kernel's mark and that certainty.
#[must_use]
pub fn is_dead(arena: &Arena, slot: u64) -> bool {
    let Ok(seen) = state(arena, slot) else {
        return true;
    };
    match seen.phase {
        Phase::Free | Phase::Dead => true,
        Phase::Reserved | Phase::Starting => false,
        Phase::Live => is_marked(arena, slot) && confirm(arena, slot, seen),
    }
}

/// True when the kernel has marked the process of a live slot.
#[must_use]
pub fn is_marked(arena: &Arena, slot: u64) -> bool {
    (0..LIFE_LEN).any(|k| {
        arena
            .map
            .flag(arena.layout.process(slot) + LIFE + k * LIFE_STRIDE)
            // SYNC: Acquire orders the reads of what the dead left after its mark.
            .is_ok_and(|life| polyproc_sys::robust::is_marked(life.load(Acquire)))
    })
}

/// Waits until all threads of a marked process are gone, then declares it dead.
fn confirm(arena: &Arena, slot: u64, seen: State) -> bool {
    #[cfg(feature = "points")]
    if crate::points::is_simulated() {
        return declare_dead(arena, slot, seen);
    }
    let end = polyproc_sys::clock::now() + GRACE;
    let same_ns = arena
        .map
        .word(arena.layout.process(slot) + NS)
        .is_ok_and(|ns| ns.load(Relaxed) == polyproc_sys::proc_info::pid_namespace());
    let mut gone = false;
    if same_ns && let Ok(pidfd) = polyproc_sys::pidfd::PidFd::open(seen.pid) {
        gone = pidfd.wait_exit(10).unwrap_or(false);
    }
    while !gone && polyproc_sys::clock::now() < end {
        std::thread::sleep(std::time::Duration::from_micros(500));
    }
    declare_dead(arena, slot, seen)
}

/// Marks a slot dead whose process is known to have ended. False when the slot is not that process's.
pub fn declare_dead(arena: &Arena, slot: u64, seen: State) -> bool {
    let Ok(word) = arena.map.word(arena.layout.process(slot) + STATE) else {
        return true;
    };
    match word.cas(
        seen.pack(),
        State {
            phase: Phase::Dead,
            ..seen
        }
        .pack(),
    ) {
        Ok(_) => true,
        Err(now) => {
            let now = State::unpack(now);
            now.generation != seen.generation || matches!(now.phase, Phase::Dead | Phase::Free)
        }
    }
}

/// True when a reserved or starting slot belongs to a pid that is gone.
#[must_use]
pub fn is_abandoned(arena: &Arena, slot: u64, seen: State) -> bool {
    if !matches!(seen.phase, Phase::Reserved | Phase::Starting) {
        return false;
    }
    let started = arena
        .map
        .word(arena.layout.process(slot) + START)
        .map_or(0, |w| w.load(Relaxed));
    match polyproc_sys::proc_info::start_time(seen.pid) {
        None => true,
        Some(now) => {
            (seen.phase == Phase::Starting && started != 0 && started != now)
                || polyproc_sys::proc_info::is_zombie(seen.pid)
        }
    }
}
