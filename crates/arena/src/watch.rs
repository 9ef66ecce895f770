//! The native thread that every process of the family has, and what it watches.
//!
//! It never ends before the process, so the kernel marks the process's life words at its end. It waits
//! for the deaths of the next two living processes in the order of slots, each on a life word of its
//! own (the kernel wakes one waiter a word), and for its own bell. When it is woken it looks at *all*
//! processes, recovers what has ended, and picks whom to watch anew. So every death has two watchers,
//! a watcher that is stopped is covered by the other, and after any number of simultaneous deaths the
//! living find the dead one by one around the ring.
//!
//! The reaper of the parent, and whoever meets a dead owner in a word that it needs, recover too;
//! nothing here is needed for correctness, only for promptness.

use crate::arena::{Arena, Member};
use crate::error::{Error, Result};
use crate::primitive::Flag;
use crate::primitive::Ordering::{Acquire, Relaxed};
use crate::process::{self, Phase};
use crate::recovery;
use polyproc_sys::{clock, futex, robust, thread};
use std::sync::mpsc;

const STACK: usize = 256 << 10;
/// How soon to try again what a stopped process kept from being recovered, in ns.
const AGAIN: u64 = 50_000_000;

/// Starts the native thread of this process and makes the process live. Returns when the kernel knows
/// of it.
///
/// # Errors
/// `System` when the thread cannot be started; what joining returns.
pub fn start(arena: &'static Arena, process: u64) -> Result<()> {
    let (ready, started) = mpsc::channel();
    thread::spawn_immortal("polyproc-watch", STACK, move || {
        let joined = join(arena, process);
        let failed = joined.is_err();
        let native = joined
            .map(|native| (native, ready.send(Ok(()))).0)
            .map_err(|error| ready.send(Err(error)));
        if failed {
            return;
        }
        if let Ok(native) = native {
            loop {
                // Read before the look around: whoever rings meanwhile makes the wait return at once.
                let rung = rung(arena);
                // Damage in one object must not end the watch over the others.
                let told = crate::arena::locked(&arena.local.ended).clone();
                let complete = recovery::round(arena, &native).unwrap_or(false);
                arena.drop_dead_bells();
                crate::arena::locked(&arena.local.ended).drain(..told.len());
                for slot in told {
                    let _ = arena.wake_all(&native, recovery::waiters_of(arena, slot));
                }
                let freed = arena.free_orphans(&native);
                let _ = arena.relay_bells();
                let trim = arena.trim_when_idle(&native).unwrap_or(None);
                let chore = crate::arena::locked(&arena.local.chore).clone();
                let due = chore.and_then(|chore| chore(&native));
                let again = (!complete || !freed).then(|| clock::now() + AGAIN);
                let soonest = trim.into_iter().chain(again).chain(due).min();
                let _ = wait(arena, rung, soonest, complete);
            }
        }
    })
    .map_err(|error| Error::System("starting the native thread", error))?;
    started
        .recv()
        .map_err(|_| Error::State("the native thread ended while it started".into()))?
}

fn join(arena: &Arena, process: u64) -> Result<Member> {
    let slot = process & 0xffff_ffff;
    let life = arena.map.flag(arena.layout.process(slot) + process::LIFE)?;
    for k in 0..process::LIFE_LEN {
        arena
            .map
            .flag(arena.layout.process(slot) + process::LIFE + k * process::LIFE_STRIDE)?
            .store(0, Relaxed);
    }
    // SAFETY: the words stay mapped for the life of the process, and this thread lives as long.
    unsafe {
        robust::register(
            Flag::futex(life),
            process::LIFE_LEN as usize,
            process::LIFE_STRIDE as usize,
        )
    }
    .map_err(|error| Error::System("set_robust_list", error))?;
    process::advance(
        arena,
        process,
        Phase::Starting,
        Phase::Live,
        polyproc_sys::proc_info::pid(),
    )?;
    let native = arena.claim_member(slot)?;
    native.hurry();
    arena
        .local
        .native
        .store(native.name.word(), std::sync::atomic::Ordering::Release);
    // Those before us in the ring watch somebody behind us: let them look again.
    for watcher in neighbours(arena, slot, Direction::Before) {
        call(arena, watcher)?;
    }
    Ok(native)
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Before,
    After,
}

/// The two living processes nearest to `slot` in one direction around the ring, nearest first.
fn neighbours(arena: &Arena, slot: u64, direction: Direction) -> Vec<u64> {
    let mut live: Vec<u64> = process::all(arena)
        .filter(|(other, state)| *other != slot && state.phase == Phase::Live)
        .map(|(other, _)| other)
        .collect();
    live.sort_unstable();
    let from = live.partition_point(|other| *other < slot);
    live.rotate_left(from);
    if direction == Direction::Before {
        live.reverse();
    }
    live.truncate(2);
    live
}

/// Wakes the native thread of a process.
///
/// # Errors
/// `Corrupt`.
pub fn call(arena: &Arena, slot: u64) -> Result<()> {
    let bell = arena.map.flag(arena.layout.process(slot) + process::BELL)?;
    let seen = bell.load(Relaxed);
    let _ = bell.cas(seen, seen.wrapping_add(1));
    futex::wake(bell.futex(), 1);
    Ok(())
}

/// Says that the process in `slot` has been reaped: with the next call of the native thread it is
/// recovered, and those who wait for its end are woken.
pub fn announce(arena: &Arena, slot: u64) {
    crate::arena::locked(&arena.local.ended).push(slot);
}

/// True when the native thread has been through a round of recovery since `slot` was announced.
#[must_use]
pub fn is_settled(arena: &Arena, slot: u64) -> bool {
    !crate::arena::locked(&arena.local.ended).contains(&slot)
}

fn rung(arena: &Arena) -> u32 {
    arena
        .map
        .flag(arena.layout.process(arena.process_slot()) + process::BELL)
        .map_or(0, |bell| bell.load(Acquire))
}

/// Sleeps until there may be something to do. `complete` says that the last round left nothing undone.
fn wait(arena: &Arena, rung: u32, deadline: Option<u64>, complete: bool) -> Result<()> {
    let own = arena.process_slot();
    let bell = arena.map.flag(arena.layout.process(own) + process::BELL)?;
    let mut words = vec![(bell.futex(), rung)];
    for (k, slot) in neighbours(arena, own, Direction::After).into_iter().enumerate() {
        let life = arena.layout.process(slot) + process::LIFE + k as u64 * process::LIFE_STRIDE;
        let life = arena.map.flag(life)?;
        let seen = life.load(Acquire);
        if robust::is_marked(seen) {
            return Ok(());
        }
        words.push((life.futex(), seen));
    }
    // Marked between the round and the choice of whom to watch; or declared dead then, by one who met it
    // in a word that it needed, and who may have been killed before it came to recover it.
    if process::all(arena).any(|(slot, state)| match state.phase {
        Phase::Live => process::is_marked(arena, slot),
        Phase::Dead => complete,
        _ => false,
    }) {
        return Ok(());
    }
    match futex::wait_any(&words, deadline) {
        Ok(_) => Ok(()),
        // Before Linux 5.16: watch the nearest one, and look around now and then for the rest.
        Err(_) => {
            let (word, seen) = words.last().copied().unwrap_or((bell.futex(), rung));
            let soon = clock::now() + if words.len() > 1 { AGAIN } else { AGAIN * 20 };
            futex::wait(
                word,
                seen,
                Some(deadline.map_or(soon, |deadline| deadline.min(soon))),
            );
            Ok(())
        }
    }
}
