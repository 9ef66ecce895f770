//! Many that wait for one thing, each in a process of its own, and one that lets all of them go: how often does each of
//! them sleep until the last has come through?
//!
//! ```text
//! herd condition|barrier N       waits with N - 1 others; then "through V", V the times that its thread has gone to sleep
//! shepherd condition|barrier N   says "all" once N wait, and lets them go at the next line of its input
//! ```

use polyproc_arena::error::{Error, Result};
use polyproc_arena::{Arena, Member};
use polyproc_sync::barrier::{Arrival, Fate};
use polyproc_sync::condition::Woken;
use polyproc_sync::lock::{Patience, Waited};
use polyproc_sync::rlock::THREAD;
use polyproc_sync::{Barrier, Condition};
use polyproc_sys::clock;
use std::io::{BufRead, Write};
use std::time::Duration;

const NAME: Option<&str> = Some("herd");
/// In ns.
const LONGEST: u64 = 60_000_000_000;

fn patience(stop: &mut dyn FnMut() -> bool) -> Patience<'_> {
    Patience {
        deadline: Some(clock::now() + LONGEST),
        slice: None,
        stop,
    }
}

/// What both wait for.
enum Gate {
    Condition(Condition),
    Barrier(Barrier),
}

impl Gate {
    fn open(arena: &Arena, me: &Member, kind: &str, most: u64) -> Result<Self> {
        Ok(match kind {
            "condition" => Self::Condition(Condition::create(arena, me, None, NAME)?),
            _ => Self::Barrier(Barrier::create(arena, me, most as u32 + 1, f64::INFINITY, None, NAME)?.0),
        })
    }

    fn waiting(&self, arena: &Arena, me: &Member) -> Result<u64> {
        match self {
            Self::Condition(condition) => condition.count(arena, me),
            Self::Barrier(barrier) => barrier.waiting(arena).map(u64::from),
        }
    }
}

/// How often the main thread of a process has gone to sleep so far.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn sleeps(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).expect("a count")
}

/// One of the herd.
///
/// # Errors
/// What the objects say; `State` when it does not come through.
pub fn stand(arena: &Arena, me: &Member, kind: &str, most: u64) -> Result<()> {
    let gate = Gate::open(arena, me, kind, most)?;
    let mut stop = || false;
    let through = match gate {
        Gate::Condition(condition) => {
            let held = condition.lock.acquire(arena, me, patience(&mut stop))?;
            let notified = matches!(held, Waited::Acquired(_))
                && condition.wait(arena, me, THREAD, patience(&mut stop))? == Woken::Notified;
            notified && condition.lock.release(arena, me)?
        }
        Gate::Barrier(barrier) => match barrier.arrive(arena, me)? {
            Arrival::Wait(round, _) => {
                barrier.wait(arena, me, round, patience(&mut stop))? == Some(Fate::Passed)
            }
            _ => false,
        },
    };
    let count = sleeps("self");
    if !through {
        return Err(Error::State("one of the herd was left behind".into()));
    }
    // And it ends, which is nothing to those who wait still.
    say(&format!("through {count}"))
}

/// The one that lets them go.
///
/// # Errors
/// What the objects say.
pub fn lead(arena: &Arena, me: &Member, kind: &str, most: u64) -> Result<()> {
    let gate = Gate::open(arena, me, kind, most)?;
    while gate.waiting(arena, me)? < most {
        std::thread::sleep(Duration::from_millis(1));
    }
    say("all")?;
    hear()?;
    match gate {
        Gate::Condition(condition) => {
            let mut stop = || false;
            condition.lock.acquire(arena, me, patience(&mut stop))?;
            condition.notify(arena, me, THREAD, u64::MAX)?;
            condition.lock.release(arena, me)?;
        }
        Gate::Barrier(barrier) => {
            barrier.arrive(arena, me)?;
        }
    }
    hear()
}

/// Waits for a line from whoever started this process, or for the end of its input.
fn hear() -> Result<()> {
    let read = std::io::stdin().lock().read_line(&mut String::new());
    read.map(drop).map_err(|error| Error::System("a pipe", error))
}

/// One line to whoever started this process.
fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|error| Error::System("a pipe", error))
}
