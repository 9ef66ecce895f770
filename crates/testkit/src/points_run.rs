//! The hook of a victim: it records the points that an operation passes, or raises a signal at one.
//!
//! A point is a source position, the side of the access, and which of its passages in the operation is
//! meant: the same line of a loop or of a section's log is passed many times. Only writes count; a
//! process that dies at a read leaves what it left at the write before.

use polyproc_arena::points::{self, Access, Edge, Point};
use polyproc_sys::{proc_info, signal};
use std::cell::Cell;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// SIGKILL.
pub const KILL: i32 = 9;
/// SIGSTOP.
pub const STOP: i32 = 19;

/// One point of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spot {
    /// Source file.
    pub file: String,
    /// Line in it.
    pub line: u32,
    /// Column in it.
    pub column: u32,
    /// True: when the access has happened.
    pub after: bool,
    /// Which passage, from 1.
    pub passage: u64,
}

/// Where a spot is, whatever its passage: file, line, column, side.
pub type Place = (String, u32, u32, bool);

impl Spot {
    /// Where it is.
    #[must_use]
    pub fn place(&self) -> Place {
        (self.file.clone(), self.line, self.column, self.after)
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.after { "after" } else { "before" };
        write!(
            f,
            "{}:{}:{}:{side}:{}",
            self.file, self.line, self.column, self.passage
        )
    }
}

impl FromStr for Spot {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let [file, line, column, side, passage] = parts[..] else {
            return Err(format!("{text} is no point"));
        };
        let number = |part: &str| part.parse::<u64>().map_err(|error| format!("{text}: {error}"));
        Ok(Self {
            file: file.to_owned(),
            line: number(line)? as u32,
            column: number(column)? as u32,
            after: side == "after",
            passage: number(passage)?,
        })
    }
}

static RECORD: AtomicBool = AtomicBool::new(false);
static ALL_THREADS: AtomicBool = AtomicBool::new(false);
static TARGET: OnceLock<(Spot, i32)> = OnceLock::new();
static PASSED: AtomicU64 = AtomicU64::new(0);
static SEEN: Mutex<Vec<(&'static std::panic::Location<'static>, bool)>> = Mutex::new(Vec::new());

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
}

/// Installs the hook: with a target it raises `signal` there, without one it records.
///
/// # Errors
/// When a hook is installed already.
pub fn prepare(target: Option<(Spot, i32)>) -> Result<(), String> {
    match target {
        Some(target) => TARGET
            .set(target)
            .map_err(|_| "a target is set already".to_owned())?,
        None => RECORD.store(true, Ordering::Relaxed),
    }
    points::install(hook).map_err(|_| "a hook is installed already".to_owned())
}

/// From now on points of this thread count.
pub fn arm() {
    ARMED.set(true);
}

/// From now on points of every thread count, or none but those of threads that armed themselves.
pub fn arm_all(on: bool) {
    ALL_THREADS.store(on, Ordering::Relaxed);
}

/// Points of this thread no longer count.
pub fn disarm() {
    ARMED.set(false);
}

/// What was recorded, in order, each with its passage.
#[must_use]
pub fn recorded() -> Vec<Spot> {
    let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut counts = std::collections::HashMap::new();
    seen.iter()
        .map(|(place, after)| {
            let passage = counts.entry((*place, *after)).or_insert(0);
            *passage += 1;
            Spot {
                file: place.file().to_owned(),
                line: place.line(),
                column: place.column(),
                after: *after,
                passage: *passage,
            }
        })
        .collect()
}

fn hook(point: &Point) {
    if point.access == Access::Load || !(ARMED.get() || ALL_THREADS.load(Ordering::Relaxed)) {
        return;
    }
    let after = point.edge == Edge::After;
    if RECORD.load(Ordering::Relaxed) {
        let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < 1 << 20 {
            seen.push((point.place, after));
        }
        return;
    }
    if let Some((spot, signal)) = TARGET.get()
        && point.place.line() == spot.line
        && point.place.column() == spot.column
        && after == spot.after
        && point.place.file() == spot.file
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == spot.passage
    {
        let _ = signal::kill(proc_info::pid(), *signal);
        // A signal to the own process may reach another thread first: nothing may happen meanwhile.
        if *signal == KILL {
            loop {
                std::hint::spin_loop();
            }
        }
    }
}
