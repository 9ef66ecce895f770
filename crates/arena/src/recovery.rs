//! Recovery: taking back what stands under the name of the dead.
//!
//! Several may recover one death at the same time; nobody is elected and nobody is waited for. That is
//! safe because every step either happens in a section whose validity check (`is this generation still
//! the dead one?`) is made inside it, or is a CAS from a value that names the dead with its generation;
//! and because each recoverer passes through every section that the dead had noted before it goes on.
//! So a slot is freed only after every step has been done by somebody, and a recoverer that was stopped
//! in a section keeps the slot from being re-issued: it then wakes up in the world that it left.
//!
//! The order matters: sections first (a committed log may still have to be applied), then the operation
//! under way, then waiter records, then what the dead had of objects ([`object::Kind::forsake`]), then the
//! objects, and owned blocks last (whatever still refers to one has been settled by then). A section that cannot be entered within 20 ms is left for another round, and
//! everything after it that depends on it too.
//!
//! # What a crash leaves
//! A recoverer that dies leaves the dead as it was, less what had been done, and itself to be recovered.

use crate::arena::{Arena, Member};
use crate::blocks::{BOOT_TAG, Side};
use crate::error::Result;
use crate::layout::header;
use crate::map::Offset;
use crate::member::{self, Name, Phase};
use crate::object::{self, Handle};
use crate::primitive::Ordering::{Acquire, Relaxed};
use crate::process;
use crate::section;
use crate::wait::List;

/// Looks at all processes and recovers those that have ended. `me` must be a member that
/// [`Member::hurry`]s. True when nothing was left undone.
///
/// # Errors
/// `Corrupt`.
pub fn round(arena: &Arena, me: &Member) -> Result<bool> {
    let mut complete = true;
    let dead: Vec<_> = process::all(arena)
        .filter(|(slot, seen)| {
            process::is_dead(arena, *slot)
                || process::is_abandoned(arena, *slot, *seen) && process::declare_dead(arena, *slot, *seen)
        })
        .collect();
    for (slot, _) in dead {
        if recover_process(arena, me, slot).is_err() {
            complete = false;
        }
    }
    for (slot, state) in arena.members() {
        if state.phase == Phase::Left && !process::is_dead(arena, state.process) {
            let name = Name::new(slot, state.generation);
            if recover_member(arena, me, name).is_err() {
                complete = false;
            }
        }
    }
    Ok(complete)
}

/// Recovers the process in `slot`, which must be in phase dead.
///
/// # Errors
/// `Busy` when something has to be tried again.
pub fn recover_process(arena: &Arena, me: &Member, slot: u64) -> Result<()> {
    let seen = process::state(arena, slot)?;
    if seen.phase != process::Phase::Dead {
        return Ok(());
    }
    let valid = || process::state(arena, slot).is_ok_and(|now| now == seen);
    let members: Vec<_> = arena
        .members()
        .filter(|(_, state)| state.process == slot)
        .map(|(member, state)| Name::new(member, state.generation))
        .collect();
    let mut outcome = Ok(());
    let mut note = |step: Result<()>| {
        if let Err(error) = step {
            outcome = Err(error);
        }
    };
    for name in &members {
        note(settle(arena, me, *name));
    }
    note(arena.forsake_objects(me, &members));
    let slots: Vec<u64> = members.iter().map(|name| name.slot()).collect();
    note(arena.recover_objects(me, Some(slot), &slots, &valid));
    note(free_boot(arena, me, slot, &valid));
    note(wake_waiters(arena, me, slot));
    outcome?;
    for name in &members {
        arena.sweep(me, *name)?;
        free_member(arena, *name)?;
    }
    let word = arena.map.word(arena.layout.process(slot) + process::STATE)?;
    let free = process::State {
        pid: 0,
        phase: process::Phase::Free,
        ..seen
    };
    // SYNC: releases the slot to whoever claims it next; from the generation that died.
    if word.cas(seen.pack(), free.pack()).is_ok() {
        let deaths = arena.map.word(header::DEATHS)?;
        let _ = deaths.cas(deaths.load(Relaxed), deaths.load(Relaxed).wrapping_add(1));
    }
    Ok(())
}

/// Recovers a member whose thread has ended while its process lives on.
///
/// # Errors
/// `Busy` when something has to be tried again.
pub fn recover_member(arena: &Arena, me: &Member, dead: Name) -> Result<()> {
    settle(arena, me, dead)?;
    arena.forsake_objects(me, &[dead])?;
    arena.recover_objects(me, None, &[dead.slot()], &|| is_ended(arena, dead))?;
    arena.sweep(me, dead)?;
    free_member(arena, dead)
}

/// True while `dead` still names an ended member whose slot has not been re-issued.
#[must_use]
pub fn is_ended(arena: &Arena, dead: Name) -> bool {
    arena.member_state(dead.slot()).is_ok_and(|state| {
        state.generation == dead.generation()
            && (state.phase == Phase::Left
                || state.phase == Phase::Live && process::is_dead(arena, state.process))
    })
}

/// Sections, the operation under way, records, spinning: all that others may be waiting for.
fn settle(arena: &Arena, me: &Member, dead: Name) -> Result<()> {
    let slot = arena.layout.member(dead.slot());
    let valid = || is_ended(arena, dead);
    for k in 0..member::NOTES_LEN {
        let note = arena.map.word(slot + member::NOTES + k * 8)?.load(Acquire);
        let section = note & !section::COMING;
        if section != 0 && is_section(arena, section) {
            // Entering takes over and applies the log; if another rescuer is at it, it waits for it.
            drop(if section == header::UNITS_SECTION {
                // Its changes have no log; entering it looks at the unit that was being changed.
                arena.enter_units(me)?
            } else {
                arena.enter(me, section)?
            });
            if note == section {
                // It may have died between choosing whom to wake and waking.
                arena.rouse(me, section)?;
            }
        }
    }
    let object = arena.map.word(slot + member::OP_OBJECT)?.load(Acquire);
    if let Some(handle) = Handle::from_word(object) {
        let ticket = arena.map.word(slot + member::OP_TICKET)?.load(Acquire);
        if arena
            .object_state(handle.index)
            .is_ok_and(|state| state.generation == handle.generation)
            && let Some(Some(kind)) = arena.kinds.get(arena.object_kind(handle.index)?)
        {
            kind.recover(arena, me, dead, handle.index, ticket)?;
            // It may have died between changing the object and looking for those who wait for that.
            arena.rouse(me, arena.layout.object(handle.index) + object::SECTION)?;
        }
    }
    arena.recover_records(me, dead, &valid)?;
    for k in 0..header::SPINNERS_LEN {
        let _ = arena.map.word(header::SPINNERS + k * 8)?.cas(dead.word(), 0);
    }
    Ok(())
}

fn is_section(arena: &Arena, at: Offset) -> bool {
    at == header::UNITS_SECTION
        || at == header::NAMES_SECTION
        || at.is_multiple_of(256) && at >= arena.layout.processes && at < arena.layout.sides
}

fn free_boot(arena: &Arena, me: &Member, slot: u64, valid: &dyn Fn() -> bool) -> Result<()> {
    let block = arena
        .map
        .word(arena.layout.process(slot) + process::BOOT)?
        .load(Acquire);
    if block == 0 || !valid() {
        return Ok(());
    }
    let side = arena.side(block)?;
    if matches!(side, Side::Held { object, tag: BOOT_TAG, .. } if object == slot)
        && arena.hand_over(block, side, Side::owned(me.name).with_pins(side.pins()))?
    {
        arena.free(me, block)?;
    }
    Ok(())
}

fn wake_waiters(arena: &Arena, me: &Member, slot: u64) -> Result<()> {
    arena.wake_all(me, waiters_of(arena, slot))
}

/// The list of those who wait for the end of the process in `slot`.
#[must_use]
pub fn waiters_of(arena: &Arena, slot: u64) -> List {
    let at = arena.layout.process(slot);
    List {
        at: at + process::WAITERS,
        section: at + process::SECTION,
    }
}

fn free_member(arena: &Arena, dead: Name) -> Result<()> {
    let at = arena.layout.member(dead.slot());
    let word = arena.map.word(at + member::STATE)?;
    let seen = word.load(Acquire);
    let state = member::State::unpack(seen);
    if state.generation != dead.generation() || state.phase == Phase::Free {
        return Ok(());
    }
    let free = member::State {
        phase: Phase::Free,
        ..state
    };
    // SYNC: releases the slot to whoever claims it next; from the generation that died.
    let _ = word.cas(seen, free.pack());
    Ok(())
}
