//! Queues whose items are marked done, by the ids that this isolate gave them. An item in hand is named by
//! its ticket and the place of its slot.

use crate::failure::{Result, fail};
use crate::isolate::{Isolate, isolate};
use crate::queue::{ENDED, NOTHING, Taken, bytes_of, inline_part, pairs};
use crate::waits::{Target, wait_for};
use napi::Env;
use napi_derive::napi;
use polyproc_channel::Got;
use polyproc_channel::joinable::{Hand, Joined, Policy};
use polyproc_channel::queue::{JOINABLE, Options, Queue};
use polyproc_family::{Key, children};
use std::cell::Cell;

/// What a join returns.
const PENDING: u8 = 0;
const FINISHED: u8 = 1;
const LOST: u8 = 2;

thread_local! {
    /// The item that was taken last.
    static TAKEN: Cell<(f64, f64, f64)> = const { Cell::new((0.0, 0.0, 0.0)) };
}

/// Makes a queue whose items are marked done, or finds the one of that name; returns its id. Bounds are those
/// of `queue_create`, 0 deliveries are no limit, and `letters` is the handle of the queue for dead letters, or empty.
#[napi]
pub fn joinable_create(
    env: &Env,
    max_size: f64,
    max_bytes: f64,
    redeliver: bool,
    max_deliveries: f64,
    letters: Vec<u32>,
    name: Option<String>,
) -> Result<u32> {
    let isolate = isolate(env)?;
    let options = Options {
        most: max_size as u64,
        bytes: bytes_of(&isolate, max_bytes),
        name: name.as_deref(),
        policy: Some(Policy {
            redeliver,
            most_deliveries: max_deliveries as u64,
        }),
        letters: pairs(&letters).first().copied(),
        ..Options::default()
    };
    let queue = Queue::create_kind(isolate.arena, &isolate.me, JOINABLE, &options);
    Ok(isolate.keep(queue.map_err(fail)?))
}

/// Takes the next item into this thread's hand; `receives`: it may be given back. [`taken`] tells about the item.
pub fn get(isolate: &Isolate, id: u32, area: u32, receives: bool) -> Result<Taken> {
    let queue = isolate.queue(id)?;
    let area = isolate.receiving(area)?;
    let buffer = inline_part(area, 0)?;
    let got = if receives {
        queue.try_receive(isolate.arena, &isolate.me, buffer)
    } else {
        queue.try_get(isolate.arena, &isolate.me, buffer)
    };
    let message = match got.map_err(fail)? {
        Got::Empty => return Ok(Taken::none(NOTHING)),
        Got::ShutDown => return Ok(Taken::none(ENDED)),
        Got::Message(message) => message,
    };
    if let Some(hand) = message.hand {
        remember(&hand);
    }
    Taken::of(isolate, &message, area)
}

/// What [`taken`] tells from now on.
pub fn remember(hand: &Hand) {
    TAKEN.set((hand.ticket as f64, hand.slot as f64, hand.attempt as f64));
}

/// Ticket and place of the slot of the item that this thread took last.
pub fn taken_last() -> (f64, u64) {
    let (ticket, slot, _) = TAKEN.get();
    (ticket, slot as u64)
}

/// About the item that this thread took last: 0 its ticket, 1 the place of its slot, 2 which delivery it is.
#[napi]
pub fn taken(what: u8) -> f64 {
    let (ticket, slot, attempt) = TAKEN.get();
    match what {
        0 => ticket,
        1 => slot,
        _ => attempt,
    }
}

fn hand(ticket: f64, slot: f64) -> Hand {
    Hand {
        ticket: ticket as u64,
        slot: slot as u64,
        attempt: 0,
        keeps: false,
    }
}

/// Marks an item done. False when it is not in this thread's hand.
#[napi]
pub fn delivery_done(env: &Env, id: u32, ticket: f64, slot: f64) -> Result<bool> {
    done(&*isolate(env)?, id, ticket, slot)
}

/// As [`delivery_done`], for the bare call.
pub fn done(isolate: &Isolate, id: u32, ticket: f64, slot: f64) -> Result<bool> {
    isolate
        .queue(id)?
        .done(isolate.arena, &isolate.me, &hand(ticket, slot))
        .map_err(fail)
}

/// Gives an item back that was received. False when it is not in this thread's hand.
#[napi]
pub fn delivery_retry(env: &Env, id: u32, ticket: f64, slot: f64) -> Result<bool> {
    let isolate = isolate(env)?;
    isolate
        .queue(id)?
        .retry(isolate.arena, &isolate.me, &hand(ticket, slot))
        .map_err(fail)
}

/// The item cannot be read here: it is given back where deliveries are counted, else it is done.
#[napi]
pub fn delivery_refuse(env: &Env, id: u32, ticket: f64, slot: f64) -> Result<bool> {
    let counted = isolate(env)?
        .queue(id)?
        .policy()
        .is_some_and(|policy| policy.most_deliveries > 0);
    if counted {
        delivery_retry(env, id, ticket, slot)
    } else {
        delivery_done(env, id, ticket, slot)
    }
}

/// The ticket of the next put: what a join begins with.
#[napi]
pub fn queue_tail(env: &Env, id: u32) -> Result<f64> {
    let isolate = isolate(env)?;
    Ok(isolate.queue(id)?.tail(isolate.arena).map_err(fail)? as f64)
}

/// For a join that began at the tail `since`: 0 something is not done, 1 everything was done at some moment
/// since, 2 items were lost.
#[napi]
pub fn queue_joined(env: &Env, id: u32, since: f64) -> Result<u8> {
    let isolate = isolate(env)?;
    let joined = isolate
        .queue(id)?
        .joined(isolate.arena, &isolate.me, since as u64);
    Ok(match joined.map_err(fail)? {
        Joined::Pending => PENDING,
        Joined::Finished => FINISHED,
        Joined::Lost(_) => LOST,
    })
}

/// Blocks until there is an outcome for a join that began at the tail `since`; returns what `wait_sync` does.
#[napi]
pub fn queue_join_sync(env: &Env, id: u32, since: f64, timeout: f64, interruptible: bool) -> Result<u8> {
    let isolate = isolate(env)?;
    let target = Target::Joiner(isolate.queue(id)?, since as u64);
    wait_for(&isolate, &[target], timeout, interruptible)
}

/// Items that were lost with those who had taken them.
#[napi(object)]
pub struct LostItems {
    /// How many.
    pub count: f64,
    /// The process that had the last of them.
    pub pid: u32,
    /// Which delivery of that item it was.
    pub attempt: u32,
    /// The exit code of the process, once its parent has seen it.
    pub exit_code: Option<i32>,
    /// Its parent may still say.
    pub may_be_known: bool,
}

/// What was lost, if anything.
#[napi]
pub fn queue_lost(env: &Env, id: u32) -> Result<Option<LostItems>> {
    let isolate = isolate(env)?;
    let arena = isolate.arena;
    let Joined::Lost(lost) = isolate.queue(id)?.joined(arena, &isolate.me, 0).map_err(fail)? else {
        return Ok(None);
    };
    let key = Key::of(lost.process);
    Ok(Some(LostItems {
        count: lost.count as f64,
        pid: lost.pid,
        attempt: lost.attempt,
        exit_code: children::recorded_exit(arena, key).map_err(fail)?,
        may_be_known: children::has_ended(arena, key).map_err(fail)?
            && children::may_be_recorded(arena, key).map_err(fail)?,
    }))
}

/// Drops all that is in a queue; after a shutdown also what comes back later.
#[napi]
pub fn queue_drain(env: &Env, id: u32) -> Result<()> {
    let isolate = isolate(env)?;
    isolate.queue(id)?.drain(isolate.arena, &isolate.me).map_err(fail)
}
