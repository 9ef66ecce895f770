//! A synchronous wait: look, spin, enter the list, look again, sleep, and so on until the deadline.
//!
//! # What a crash leaves
//! A record in the list, which recovery takes out; what it may have been woken for goes to the next.

use crate::arena::{Arena, Member};
use crate::error::Result;
use crate::primitive::now;
use crate::spin;
use crate::wait::{List, Sleeper};

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

/// Waits until `ready`, at most until `deadline` (ns of the monotonic clock). Every `slice` ns, and
/// after every interruption, `stop` is asked whether to give up.
///
/// # Errors
/// What `ready` returns; `OutOfMemory` when there is no room for a record.
pub fn block_on(
    arena: &Arena,
    me: &Member,
    list: List,
    deadline: Option<u64>,
    slice: Option<u64>,
    mut ready: impl FnMut() -> Result<bool>,
    mut stop: impl FnMut() -> bool,
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
    let record = arena.enter_list(me, list, Sleeper::Thread, 0)?;
    let outcome = (|| {
        loop {
            arena.acknowledge(record)?;
            if ready()? {
                return Ok(Outcome::Ready);
            }
            let now = now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Ok(Outcome::TimedOut);
            }
            let next = now + slice.unwrap_or(LONGEST_SLEEP);
            let called = arena.sleep(record, Some(deadline.map_or(next, |deadline| deadline.min(next))))?;
            if called != polyproc_sys::futex::Wait::Woken && stop() {
                return Ok(Outcome::Stopped);
            }
        }
    })();
    let called = arena.leave_list(me, record)?;
    if called && !matches!(outcome, Ok(Outcome::Ready)) {
        // Chosen and not going to look: the next one must.
        arena.wake_one(me, list)?;
    }
    outcome
}
