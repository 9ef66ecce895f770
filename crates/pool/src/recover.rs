//! What is done about boards when a thread or process has ended, and when nobody needs a board any more.

use crate::board::{Board, Death};
use crate::seat::{PID, PROCESS, ROWS, ROWS_LEN, SUBMITTER, WORKER};
use polyproc_arena::blocks::{BODY_TAG, Side};
use polyproc_arena::error::Result;
use polyproc_arena::map::Offset;
use polyproc_arena::object::{self, Handle, Kind};
use polyproc_arena::primitive::Ordering::Release;
use polyproc_arena::{Arena, Member, Name};

/// How boards are recovered.
#[derive(Debug, Clone, Copy)]
pub struct BoardKind;

/// Frees the block that a word of the object leads to.
fn drop_block(arena: &Arena, me: &Member, index: u64, word: Offset, pins: bool) -> Result<()> {
    let block = arena.link(word)?;
    if block != 0 {
        let its = Side::held(index, BODY_TAG).with_pins(pins);
        let mine = Side::owned(me.name).with_pins(pins);
        // Whoever died destroying it may have freed it already: then it is not ours.
        if arena.hand_over(block, its, mine).unwrap_or(false) {
            arena.free(me, block)?;
        }
        arena.map.word(word)?.store(0, Release);
    }
    Ok(())
}

impl Kind for BoardKind {
    fn destroy(&self, arena: &Arena, me: &Member, object: u64) -> Result<()> {
        let handle = Handle {
            index: object,
            generation: arena.object_state(object)?.generation,
        };
        if arena.link(arena.layout.object(object) + object::BODY)? == 0 {
            return Ok(());
        }
        // Once it has its body no more, there is nothing left that it could lead to.
        let Ok(board) = Board::at_header(arena, handle) else {
            return Ok(());
        };
        for (_, seat) in board.seats(arena) {
            for k in 0..ROWS_LEN {
                drop_block(arena, me, object, seat.at + ROWS + k * 8, false)?;
            }
        }
        for word in board.tables() {
            drop_block(arena, me, object, word, false)?;
        }
        drop_block(arena, me, object, board.kept(), true)
    }

    fn recover(&self, _: &Arena, _: &Member, _: Name, _: u64, _: u64) -> Result<()> {
        // What was noted was noted so that those who wait are roused.
        Ok(())
    }

    fn is_forsaken_first(&self) -> bool {
        // A loss is counted before anybody else takes the task that the dead had in hand, and finishes another.
        true
    }

    fn forsake(&self, arena: &Arena, me: &Member, dead: Name, object: u64) -> Result<bool> {
        let handle = Handle {
            index: object,
            generation: arena.object_state(object)?.generation,
        };
        let Ok(board) = Board::at_header(arena, handle) else {
            // It is being destroyed.
            return Ok(false);
        };
        let Some(seat) = board.seat(arena, dead.slot())? else {
            return Ok(false);
        };
        if seat.name(WORKER)? != Some(dead) && seat.name(SUBMITTER)? != Some(dead) {
            return Ok(false);
        }
        let guard = arena.enter(me, board.section())?;
        // Seats of a board that was destroyed meanwhile are somebody else's memory.
        let state = arena.object_state(object)?;
        if state.phase != object::Phase::Live || state.generation != handle.generation {
            return Ok(false);
        }
        let mut writes = Vec::new();
        if seat.name(SUBMITTER)? == Some(dead) {
            writes.push((seat.at + SUBMITTER, 0));
        }
        let worked = seat.name(WORKER)? == Some(dead);
        if worked {
            let death = Death {
                process: seat.word(PROCESS)?,
                pid: seat.word(PID)? as u32,
                exit: None,
            };
            writes.push((seat.at + WORKER, 0));
            writes.extend(board.log(arena, dead, death)?);
        }
        if worked {
            board.tell(arena, me, guard, &mut writes)?;
        } else if !writes.is_empty() {
            guard.commit(&writes)?;
        }
        Ok(worked)
    }
}
