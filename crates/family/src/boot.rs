//! What a child is to run: a block in its process slot, put there before the child exists and taken by
//! the child when it has joined. It belongs to the slot, so it goes with the child and not with the
//! parent, which may end first.

use polyproc_arena::blocks::{BOOT_TAG, Side};
use polyproc_arena::error::{Error, Result};
use polyproc_arena::map::Offset;
use polyproc_arena::primitive::Ordering::{Acquire, Release};
use polyproc_arena::process;
use polyproc_arena::{Arena, Member};

/// Gives a block of `me`'s to a process slot.
///
/// # Errors
/// `Corrupt` when it is not `me`'s.
pub fn deposit(arena: &Arena, me: &Member, slot: u64, block: Offset, pins: bool) -> Result<()> {
    let mine = Side::owned(me.name).with_pins(pins);
    // Named by the slot first: a crash in between leaves a block of ours, which the sweep frees, and a
    // slot that names a block that it does not hold, which recovery leaves alone.
    arena
        .map
        .word(arena.layout.process(slot) + process::BOOT)?
        .store(block, Release);
    if arena.hand_over(block, mine, Side::held(slot, BOOT_TAG).with_pins(pins))? {
        Ok(())
    } else {
        Err(Error::Corrupt("a boot block is not its parent's"))
    }
}

/// Takes the block that the parent left for this process: the block and whether it begins with handles.
///
/// # Errors
/// `Corrupt`.
pub fn collect(arena: &Arena, me: &Member) -> Result<Option<(Offset, bool)>> {
    let slot = arena.process_slot();
    let word = arena.map.word(arena.layout.process(slot) + process::BOOT)?;
    let block = word.load(Acquire);
    if block == 0 {
        return Ok(None);
    }
    let side = arena.side(block)?;
    if !matches!(side, Side::Held { object, tag: BOOT_TAG, .. } if object == slot) {
        return Ok(None);
    }
    if !arena.hand_over(block, side, Side::owned(me.name).with_pins(side.pins()))? {
        return Ok(None);
    }
    word.store(0, Release);
    Ok(Some((block, side.pins())))
}
