//! A synchronous wait: look, spin, enter the list, look again, sleep, and so on until the deadline.
//!
//! # What a crash leaves
//! A record in the list, which recovery takes out; what it may have been woken for goes to the next.

use crate::arena::{Arena, Member};
use crate::error::Result;
use crate::primitive::now;
use crate::spin;
use crate::wait::{ASLEEP, List, Record, Sleeper};
use polyproc_sys::futex::{self, Wait};

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The thing was ready when looked at last.
    Ready,
    /// The deadline passed.
    TimedOut,
    /// `stop` said so.
    Stopped,
}

/// Longest sleep without a look around, in ns. Also what makes a handled signal return the futex call:
/// without any deadline SA_RESTART would hide it.
const LONGEST_SLEEP: u64 = 3_600_000_000_000;
/// Longest sleep where several things cannot be waited for at once, in ns.
const LOOK_AROUND: u64 = 10_000_000;

/// Waits until `ready`, at most until `deadline` (ns of the monotonic clock). Every `slice()` ns, and
/// after every interruption, `stop` is asked whether to give up.
///
/// # Errors
/// What `ready` returns; `OutOfMemory` when there is no room for a record.
pub fn block_on(
    arena: &Arena,
    me: &Member,
    list: List,
    deadline: Option<u64>,
    slice: Option<&dyn Fn() -> u64>,
    ready: impl FnMut() -> Result<bool>,
    stop: impl FnMut() -> bool,
) -> Result<Outcome> {
    block_on_any(arena, me, &[list], deadline, slice, ready, stop)
}

/// As [`block_on`] for whichever of several things becomes ready first.
///
/// # Errors
/// As [`block_on`].
pub fn block_on_any(
    arena: &Arena,
    me: &Member,
    lists: &[List],
    deadline: Option<u64>,
    slice: Option<&dyn Fn() -> u64>,
    mut ready: impl FnMut() -> Result<bool>,
    stop: impl FnMut() -> bool,
) -> Result<Outcome> {
    if ready()? {
        return Ok(Outcome::Ready);
    }
    let left = deadline.map_or(u64::MAX, |deadline| deadline.saturating_sub(now()));
    if left == 0 {
        return Ok(Outcome::TimedOut);
    }
    if spin::until(arena, me, left, &mut ready)? {
        return Ok(Outcome::Ready);
    }
    sleep_on(arena, me, lists, deadline, slice, ready, stop)
}

/// As [`block_on_any`] without spinning: where those that are waited for need the core.
///
/// # Errors
/// As [`block_on`].
pub fn sleep_on(
    arena: &Arena,
    me: &Member,
    lists: &[List],
    deadline: Option<u64>,
    slice: Option<&dyn Fn() -> u64>,
    mut ready: impl FnMut() -> Result<bool>,
    mut stop: impl FnMut() -> bool,
) -> Result<Outcome> {
    let mut records = Vec::with_capacity(lists.len());
    let outcome = (|| {
        for list in lists {
            // The key is the time: what is handed over goes to those who have waited for long.
            records.push((arena.enter_list(me, *list, Sleeper::Thread, now())?, *list));
        }
        loop {
            for (record, _) in &records {
                arena.acknowledge(*record)?;
            }
            if ready()? {
                return Ok(Outcome::Ready);
            }
            let at = now();
            if deadline.is_some_and(|deadline| at >= deadline) {
                return Ok(Outcome::TimedOut);
            }
            let next = at + slice.map_or(LONGEST_SLEEP, |slice| slice());
            let until = deadline.map_or(next, |deadline| deadline.min(next));
            if !sleep(arena, &records, until)? && stop() {
                return Ok(Outcome::Stopped);
            }
        }
    })();
    let used = matches!(outcome, Ok(Outcome::Ready));
    for (record, list) in records {
        // Chosen and not going to look: the next one must. With several things it is not known here
        // which of them the caller will look at first, so all are passed on.
        if arena.leave_list(me, record)? && (!used || lists.len() > 1) {
            arena.wake_one(me, list)?;
        }
    }
    outcome
}

/// Sleeps until one of the records is called; false after a signal or when time is up.
fn sleep(arena: &Arena, records: &[(Record, List)], until: u64) -> Result<bool> {
    let called = match records {
        [(record, _)] => arena.sleep(*record, Some(until))?,
        _ => {
            let mut words = Vec::with_capacity(records.len());
            for (record, _) in records {
                if !arena.falls_asleep(*record)? {
                    return Ok(true);
                }
                words.push((arena.state_of(*record)?.futex(), ASLEEP));
            }
            // Where the system cannot wait for so many at once, look around now and then.
            futex::wait_any(&words, Some(until)).unwrap_or_else(|_| {
                let soon = until.min(now() + LOOK_AROUND);
                words.first().map_or(Wait::TimedOut, |(word, seen)| {
                    futex::wait(word, *seen, Some(soon))
                })
            })
        }
    };
    Ok(called == Wait::Woken || called == Wait::Changed)
}
