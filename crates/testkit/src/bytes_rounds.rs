//! Rounds of a queue that may hold so many bytes: what a victim does with one that is nearly full, and what two survivors find.
//!
//! The first survivor fills the queue, the second waits for room where that is part of it; the victim is killed in its step; then
//! the first takes all there is, and fills the queue again: as many must fit as before, whatever the dead had added up.
//!
//! ```text
//! bytes begin R    opens the queue of a round
//! bytes hold OP    fills it, as the first survivor
//! bytes beside OP  waits for room, as the second: "woken" in the end
//! bytes after OP   as the first: does what the victim may have left undone
//! bytes judge OP   takes all, fills it again, and says "right", or what is wrong
//! bytes end        lets go of the queue
//! ```

use crate::operations::{self, OWN, Operation, PLAIN, Shape, Step};
use polyproc_arena::block_on::{Outcome, block_on};
use polyproc_arena::error::Result;
use polyproc_arena::{Arena, Error, Member};
use polyproc_channel::queue::{KIND, Options, Put, Queue};
use polyproc_sys::clock;
use std::cell::RefCell;
use std::time::Duration;

const fn named(name: &'static str) -> Operation {
    Operation { name, ..PLAIN }
}

/// All of them.
pub const ALL: &[Operation] = &[named("bytes-put"), named("bytes-refused"), named("bytes-get")];

/// What may wait in the queue: some ten messages.
const BYTES: u64 = 4096;
/// Longer than the time between two counts of what waits.
const UNTIL_COUNTED: Duration = Duration::from_millis(110);

/// Whether the second survivor waits.
#[must_use]
pub fn has_sleeper(operation: &str) -> bool {
    operation == "bytes-get"
}

fn open(arena: &Arena, me: &Member, round: u64) -> Result<Queue> {
    let name = format!("bytes{round}");
    let options = Options {
        bytes: BYTES,
        name: Some(&name),
        ..Options::default()
    };
    Queue::create_kind(arena, me, KIND, &options)
}

/// Puts `first`, `first + 1` … until there is no room; how many those are.
fn fill(arena: &Arena, me: &Member, queue: &Queue, first: u64) -> Result<u64> {
    let mut count = 0;
    while operations::put(arena, me, queue, first + count, Shape::Block)? == Put::Done {
        count += 1;
    }
    Ok(count)
}

fn drain(arena: &Arena, me: &Member, queue: &Queue) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    while let Some(value) = operations::get(arena, me, queue)? {
        found.push(value);
    }
    Ok(found)
}

/// The step of a victim.
///
/// # Errors
/// What the preparation says.
pub fn prepare<'a>(name: &str, arena: &'static Arena, me: &'a Member, round: u64) -> Result<Step<'a>> {
    let queue = open(arena, me, round)?;
    let put = move || operations::put(arena, me, &queue, OWN, Shape::Block).map(drop);
    Ok(match name {
        "bytes-put" => Box::new(put),
        "bytes-refused" => {
            // Now it counts what waits before it is refused.
            std::thread::sleep(UNTIL_COUNTED);
            Box::new(put)
        }
        "bytes-get" => Box::new(move || operations::get(arena, me, &queue).map(drop)),
        other => return Err(Error::State(format!("there is no operation {other}"))),
    })
}

struct Round {
    queue: Queue,
    /// How many fit.
    most: u64,
    /// What the first survivor has taken of 1 … `most`.
    taken: Vec<u64>,
}

thread_local! {
    /// The round that a survivor is in.
    static ROUND: RefCell<Option<Round>> = const { RefCell::new(None) };
}

const MS: u64 = 1_000_000;

/// What a survivor answers.
///
/// # Errors
/// What the queue says.
pub fn obey(arena: &Arena, me: &Member, words: &[&str]) -> Result<String> {
    ROUND.with(|slot| {
        let mut slot = slot.borrow_mut();
        if let ["begin", round] = words {
            *slot = Some(Round {
                queue: open(arena, me, round.parse().unwrap_or_default())?,
                most: 0,
                taken: Vec::new(),
            });
            return Ok("begun".into());
        }
        let round = slot
            .as_mut()
            .ok_or_else(|| Error::State("no round has begun".into()))?;
        let queue = round.queue;
        match words {
            ["hold", operation] => {
                round.most = fill(arena, me, &queue, 1)?;
                if *operation == "bytes-put" {
                    round.taken.extend(operations::get(arena, me, &queue)?);
                }
                Ok("held".into())
            }
            ["beside", _] => {
                let end = clock::now() + 10_000 * MS;
                let ready = || queue.is_writable(arena, me);
                let outcome = block_on(arena, me, queue.putters(arena), Some(end), None, ready, || false)?;
                Ok(if outcome == Outcome::Ready {
                    "woken"
                } else {
                    "sleeps on"
                }
                .into())
            }
            // The victim may not have come to it.
            ["after", operation] if has_sleeper(operation) => {
                round.taken.extend(operations::get(arena, me, &queue)?);
                Ok("done".into())
            }
            ["after", _] => Ok("done".into()),
            ["judge", operation] => {
                Ok(judge(arena, me, round, operation)?.unwrap_or_else(|| "right".to_owned()))
            }
            ["end"] => {
                *slot = None;
                arena.close(me, queue.handle).map(|()| "ended".into())
            }
            _ => Err(Error::State(format!("there is no command {words:?}"))),
        }
    })
}

/// Takes what is left, fills the queue again, and says what is wrong with either.
fn judge(arena: &Arena, me: &Member, round: &Round, operation: &str) -> Result<Option<String>> {
    let (queue, most) = (round.queue, round.most);
    let all = (1..=most).collect::<Vec<_>>();
    let mut found = drain(arena, me, &queue)?;
    found.extend(&round.taken);
    // What the victim had begun is shown, or taken back, once it has been recovered: until then there is less room.
    let end = clock::now() + 1000 * MS;
    loop {
        let again = fill(arena, me, &queue, 1)?;
        let mut filled = drain(arena, me, &queue)?;
        if again == most && filled == all {
            break;
        }
        if clock::now() > end {
            return Ok(Some(format!(
                "there was room for {most}, and there is for {again}: {filled:?}"
            )));
        }
        // The victim's, or one that it had taken and not kept, has come back.
        for value in 1..=again {
            if let Some(k) = filled.iter().rposition(|other| *other == value) {
                filled.remove(k);
            }
        }
        found.append(&mut filled);
        std::thread::sleep(Duration::from_millis(1));
    }
    found.sort_unstable();
    let own = found.iter().filter(|value| **value == OWN).count();
    found.retain(|value| *value != OWN);
    // The victim has taken one if it came so far: the first, or the second where the other survivor was faster.
    let is_less = |k: usize| {
        let mut less = all.clone();
        less.remove(k);
        less == found
    };
    let is_right = found == all || operation == "bytes-get" && (is_less(0) || is_less(1));
    if !is_right || own > usize::from(operation == "bytes-put") {
        return Ok(Some(format!(
            "1 … {most} have become {found:?}, and {own} of the victim's"
        )));
    }
    Ok(None)
}
