//! The checker: walks every block, object, holder bit and waiter, and says what does not add up.
//!
//! For a family at rest. Tests run it after each storm; it is also what an honest "is my shared memory
//! damaged?" amounts to.

use crate::arena::Arena;
use crate::blocks::{BODY_TAG, BOOT_TAG, Side};
use crate::error::Result;
use crate::layout::{UNIT, header};
use crate::member::{self, Name};
use crate::object::{self, Phase};
use crate::primitive::Ordering::Relaxed;
use crate::section::Liveness;
use crate::{process, units};

/// What is in use, and what is wrong.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Living processes.
    pub processes: u64,
    /// Living members.
    pub members: u64,
    /// Objects that are not free.
    pub objects: u64,
    /// Blocks owned by members.
    pub owned_blocks: u64,
    /// Blocks held by objects and process slots.
    pub held_blocks: u64,
    /// Bytes in blocks in use.
    pub block_bytes: u64,
    /// Bytes committed.
    pub committed_bytes: u64,
    /// One line each.
    pub faults: Vec<String>,
}

/// Counts what is in use.
///
/// # Errors
/// `Corrupt` when it cannot be walked.
pub fn usage(arena: &Arena) -> Result<Report> {
    let mut report = Report {
        committed_bytes: arena.committed_bytes(),
        ..Report::default()
    };
    report.processes = process::all(arena)
        .filter(|(_, s)| s.phase == process::Phase::Live)
        .count() as u64;
    report.members = arena.members().count() as u64;
    let high = arena.mark(header::OBJECTS_HIGH, arena.layout.objects_len);
    for index in 1..high {
        report.objects += u64::from(arena.object_state(index)?.phase == Phase::Live);
    }
    arena.each_block(|_, size, side| {
        match side {
            Side::Owned { .. } => report.owned_blocks += 1,
            Side::Held { .. } => report.held_blocks += 1,
            Side::Free | Side::Retired => return Ok(()),
        }
        report.block_bytes += size;
        Ok(())
    })?;
    Ok(report)
}

/// Walks the whole arena.
///
/// # Errors
/// `Corrupt` when it cannot even be walked.
pub fn check(arena: &Arena) -> Result<Report> {
    let mut report = usage(arena)?;
    check_members(arena, &mut report)?;
    check_objects(arena, &mut report)?;
    check_blocks(arena, &mut report)?;
    check_units(arena, &mut report)?;
    check_section(arena, header::UNITS_SECTION, "units", &mut report)?;
    check_section(arena, header::NAMES_SECTION, "names", &mut report)?;
    Ok(report)
}

fn check_section(arena: &Arena, at: u64, what: &str, report: &mut Report) -> Result<()> {
    let lock = arena.map.word(at)?.load(Relaxed);
    if let Some(name) = Name::from_word(lock) {
        if arena.is_dead(name) {
            // Allowed at rest: the next one to enter takes it over. Its log must be whole.
            let count = arena.map.word(at + 8)?.load(Relaxed);
            if count > crate::section::MOST_WRITES as u64 {
                report
                    .faults
                    .push(format!("the section of {what} has a log of {count} entries"));
            }
        }
    } else if lock != 0 {
        report
            .faults
            .push(format!("the section of {what} names nobody: {lock:#x}"));
    }
    Ok(())
}

fn check_members(arena: &Arena, report: &mut Report) -> Result<()> {
    for (slot, state) in arena.members() {
        if state.phase == member::Phase::Live && process::is_dead(arena, state.process) {
            report.faults.push(format!(
                "member {slot} is alive in dead process slot {}",
                state.process
            ));
        }
    }
    Ok(())
}

fn check_objects(arena: &Arena, report: &mut Report) -> Result<()> {
    let high = arena.mark(header::OBJECTS_HIGH, arena.layout.objects_len);
    for index in 1..high {
        let state = arena.object_state(index)?;
        if state.phase == Phase::Free {
            continue;
        }
        let at = arena.layout.object(index);
        if state.phase != Phase::Live {
            report.faults.push(format!(
                "object {index} is {:?} by member slot {}",
                state.phase, state.slot
            ));
            continue;
        }
        let mut holders = 0;
        for k in 0..object::HOLDERS_LEN {
            let mut bits = arena.map.word(at + object::HOLDERS + k * 8)?.load(Relaxed);
            while bits != 0 {
                let slot = k * 64 + u64::from(bits.trailing_zeros());
                bits &= bits - 1;
                holders += 1;
                let phase = process::state(arena, slot)?.phase;
                if matches!(phase, process::Phase::Free | process::Phase::Dead) {
                    report.faults.push(format!(
                        "object {index} is held by process slot {slot}, which is {phase:?}"
                    ));
                }
            }
        }
        let copies = arena.map.word(at + object::IN_FLIGHT)?.load(Relaxed);
        if holders == 0 && copies == 0 {
            report
                .faults
                .push(format!("object {index} lives though nobody holds it"));
        }
        for (offset, what) in [(object::BODY, "body"), (object::NAME, "name")] {
            let block = arena.map.word(at + offset)?.load(Relaxed);
            if block != 0 && arena.side(block)? != Side::held(index, BODY_TAG) {
                report
                    .faults
                    .push(format!("the {what} of object {index} is not its own"));
            }
        }
        check_section(arena, at + object::SECTION, &format!("object {index}"), report)?;
        for list in object::LISTS {
            check_list(arena, index, at + list, report)?;
        }
    }
    Ok(())
}

fn check_list(arena: &Arena, index: u64, list: u64, report: &mut Report) -> Result<()> {
    let mut previous = 0;
    let mut at = arena.link(list)?;
    for _ in 0..1 << 20 {
        if at == 0 {
            break;
        }
        let owner = Name::from_word(arena.map.word(at)?.load(Relaxed));
        if owner.is_none_or(|owner| arena.is_dead(owner)) {
            report
                .faults
                .push(format!("a waiter of object {index} is dead: {owner:?}"));
        }
        if arena.map.word(at + 24)?.load(Relaxed) != previous {
            report
                .faults
                .push(format!("the waiters of object {index} are linked wrongly"));
            // What follows is no list, and may go round.
            return Ok(());
        }
        previous = at;
        at = arena.link(at + 16)?;
    }
    if arena.map.word(list + 8)?.load(Relaxed) != previous {
        report
            .faults
            .push(format!("the last waiter of object {index} is not the last"));
    }
    Ok(())
}

fn check_blocks(arena: &Arena, report: &mut Report) -> Result<()> {
    let mut faults = Vec::new();
    arena.each_block(|block, _, side| {
        match side {
            Side::Free => {}
            Side::Owned { name, .. } => {
                if arena.is_dead(name) {
                    faults.push(format!("block {block:#x} is owned by {name:?}, which is dead"));
                }
            }
            Side::Held { object, tag, .. } => {
                let live = if tag == BOOT_TAG {
                    process::state(arena, object)?.phase != process::Phase::Free
                } else {
                    arena.object_state(object)?.phase == Phase::Live
                };
                if !live {
                    faults.push(format!(
                        "block {block:#x} is held by {object} (tag {tag:#x}), which is gone"
                    ));
                }
            }
            Side::Retired => faults.push(format!("block {block:#x} is retired in a unit that is in use")),
        }
        Ok(())
    })?;
    report.faults.append(&mut faults);
    Ok(())
}

fn check_units(arena: &Arena, report: &mut Report) -> Result<()> {
    let high = arena.mark(header::UNITS_HIGH, arena.layout.units_len);
    let mut unit = arena.layout.data / UNIT;
    while unit < high {
        let (used, committed) = arena.unit(unit)?;
        match used {
            units::Use::Run(len) => {
                for inside in unit..(unit + len).min(high) {
                    if !arena.unit(inside)?.1 {
                        report
                            .faults
                            .push(format!("unit {inside} of a run is not committed"));
                    }
                }
                unit += len;
            }
            units::Use::Class { .. } => {
                if !committed {
                    report
                        .faults
                        .push(format!("unit {unit} holds blocks and is not committed"));
                }
                unit += 1;
            }
            units::Use::Table => {
                report.faults.push(format!("data unit {unit} says it is a table"));
                unit += 1;
            }
            units::Use::Free => unit += 1,
        }
    }
    Ok(())
}
