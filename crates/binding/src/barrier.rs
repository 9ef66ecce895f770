//! Barriers, by the ids that this isolate gave them.

use crate::failure::{Result, fail, state};
use crate::isolate::{Isolate, isolate};
use crate::received::{self, Received};
use crate::shared::Shared;
use crate::waits::{deadline, slice, stop};
use napi::Env;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use polyproc_arena::object::Handle;
use polyproc_channel::envelope;
use polyproc_sync::Barrier;
use polyproc_sync::barrier::{Action, Arrival, Fate};
use polyproc_sync::lock::Patience;

/// What the last party runs, as a message: its first byte is its kind.
#[napi(object)]
pub struct ActionMessage {
    pub bytes: Uint8Array,
    pub blobs: Vec<Uint8Array>,
    pub handles: Vec<u32>,
}

/// Makes a barrier, or finds the one of that name; returns its id. `timeout` in ms, infinite for none.
#[napi]
pub fn barrier_create(
    env: &Env,
    parties: u32,
    timeout: f64,
    action: Option<ActionMessage>,
    name: Option<String>,
) -> Result<u32> {
    let isolate = isolate(env)?;
    let (arena, me) = (isolate.arena, &isolate.me);
    let action = match &action {
        None => None,
        Some(message) => {
            let blobs: Vec<&[u8]> = message.blobs.iter().map(AsRef::as_ref).collect();
            let handles: Vec<Handle> = message
                .handles
                .chunks_exact(2)
                .map(|pair| Handle {
                    index: u64::from(pair[0]),
                    generation: pair[1],
                })
                .collect();
            let sealed = envelope::seal(arena, me, &message.bytes, &blobs, &handles).map_err(fail)?;
            Some(Action {
                block: sealed.block,
                pins: !handles.is_empty(),
            })
        }
    };
    let made = Barrier::create(arena, me, parties, timeout, action, name.as_deref());
    if let Some(action) = action
        && !matches!(made, Ok((_, true)))
        && arena.side(action.block).ok()
            == Some(polyproc_arena::blocks::Side::owned(me.name).with_pins(action.pins))
    {
        arena.free(me, action.block).map_err(fail)?;
    }
    Ok(isolate.share(Shared::Barrier(made.map_err(fail)?.0)))
}

/// Opens the barrier of a handle; returns its id.
#[napi]
pub fn barrier_open(env: &Env, index: u32, generation: u32) -> Result<u32> {
    let isolate = isolate(env)?;
    let handle = Handle {
        index: u64::from(index),
        generation,
    };
    let barrier = Barrier::open(isolate.arena, &isolate.me, handle).map_err(fail)?;
    Ok(isolate.share(Shared::Barrier(barrier)))
}

/// A copy of the action's message, null when there is none. The barrier keeps alive what it refers to.
#[napi]
pub fn barrier_action<'a>(env: &'a Env, id: u32) -> Result<Option<Received<'a>>> {
    let isolate = isolate(env)?;
    match isolate.barrier(id)?.action(isolate.arena).map_err(fail)? {
        Some(action) => received::copied(env, &isolate, action.block, action.pins).map(Some),
        None => Ok(None),
    }
}

/// State of a barrier.
#[napi(object)]
pub struct BarrierState {
    pub parties: u32,
    /// Default timeout in ms, infinite for none.
    pub timeout: f64,
    /// Parties that wait.
    pub waiting: u32,
    pub broken: bool,
}

/// State of a barrier.
#[napi]
pub fn barrier_state(env: &Env, id: u32) -> Result<BarrierState> {
    let isolate = isolate(env)?;
    let (barrier, arena) = (isolate.barrier(id)?, isolate.arena);
    Ok(BarrierState {
        parties: barrier.parties(),
        timeout: barrier.timeout(arena).map_err(fail)?,
        waiting: barrier.waiting(arena).map_err(fail)?,
        broken: barrier.state(arena).map_err(fail)?.broken,
    })
}

/// An arrival: `how` 0 passed, 1 run the action and `barrierPass`, 2 wait, 3 try again later, 4 broken.
#[napi(object)]
pub struct ArrivalResult {
    pub how: u8,
    pub round: u32,
    pub place: u32,
}

/// What an arrival came to that is no place.
mod met {
    pub const BROKEN: i32 = -1;
    pub const STOPPED: i32 = -2;
    /// The round before is not over.
    pub const LATER: i32 = -3;
    /// The action is to be run; then `barrierPass`.
    pub const ACT: i32 = -4;
}

/// Arrives and blocks until the round is over, which is broken after `timeout` ms (negative: never): what came of it, and
/// round and place where the action is to be run.
pub fn meet(isolate: &Isolate, id: u32, timeout: f64, interruptible: bool) -> Result<(i32, u32, u32)> {
    let (barrier, arena, me) = (isolate.barrier(id)?, isolate.arena, &isolate.me);
    let (round, place) = match barrier.arrive(arena, me).map_err(fail)? {
        Arrival::Passed(place) => return Ok((place as i32, 0, 0)),
        Arrival::Act(round, place) => return Ok((met::ACT, round, place)),
        Arrival::Later => return Ok((met::LATER, 0, 0)),
        Arrival::Broken => return Ok((met::BROKEN, 0, 0)),
        Arrival::Wait(round, place) => (round, place),
    };
    let patience = Patience {
        deadline: deadline(timeout),
        slice: slice(isolate),
        stop: &mut stop(isolate, interruptible),
    };
    Ok(match barrier.wait(arena, me, round, patience).map_err(fail)? {
        Some(Fate::Passed) => (place as i32, 0, 0),
        Some(_) => (met::BROKEN, 0, 0),
        None => (met::STOPPED, 0, 0),
    })
}

/// Takes the next place of the round.
#[napi]
pub fn barrier_arrive(env: &Env, id: u32) -> Result<ArrivalResult> {
    let isolate = isolate(env)?;
    let arrival = isolate.barrier(id)?.arrive(isolate.arena, &isolate.me);
    let (how, round, place) = match arrival.map_err(fail)? {
        Arrival::Passed(place) => (0, 0, place),
        Arrival::Act(round, place) => (1, round, place),
        Arrival::Wait(round, place) => (2, round, place),
        Arrival::Later => (3, 0, 0),
        Arrival::Broken => (4, 0, 0),
    };
    Ok(ArrivalResult { how, round, place })
}

/// The action has been run: everybody goes on. False when the round was broken meanwhile.
#[napi]
pub fn barrier_pass(env: &Env, id: u32, round: u32) -> Result<bool> {
    let isolate = isolate(env)?;
    isolate
        .barrier(id)?
        .pass(isolate.arena, &isolate.me, round)
        .map_err(fail)
}

fn number(fate: Fate) -> u8 {
    match fate {
        Fate::Open => 0,
        Fate::Passed => 1,
        Fate::Broken => 2,
    }
}

/// What has become of a round: 0 it is open, 1 passed, 2 broken.
#[napi]
pub fn barrier_fate(env: &Env, id: u32, round: u32) -> Result<u8> {
    let isolate = isolate(env)?;
    let fate = isolate.barrier(id)?.fate(isolate.arena, round);
    fate.map(number).map_err(fail)
}

/// Breaks a round, negative: whichever is open; what has become of it, as `barrierFate`.
#[napi]
pub fn barrier_abort(env: &Env, id: u32, round: f64) -> Result<u8> {
    let isolate = isolate(env)?;
    let round = (round >= 0.0).then_some(round as u32);
    let fate = isolate.barrier(id)?.abort(isolate.arena, &isolate.me, round);
    fate.map(number).map_err(fail)
}

/// Begins anew; those who wait find their round broken.
#[napi]
pub fn barrier_reset(env: &Env, id: u32) -> Result<()> {
    let isolate = isolate(env)?;
    isolate
        .barrier(id)?
        .reset(isolate.arena, &isolate.me)
        .map_err(|error| state(error.to_string()))
}
