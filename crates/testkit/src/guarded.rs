//! One of many that count in a file, which only who holds a lock may do: `guard KIND FOLDER LOG`, with KIND one of `lock`,
//! `rlock` (twice deep), `semaphore` (of one permit, with books) and `condition`, where they also wait for each other.
//!
//! Each reads the count, notes `+n` with one more in its own log once that is written, and `!ms` when it waited for long.

use polyproc_arena::error::{Error, Result};
use polyproc_arena::{Arena, Member};
use polyproc_sync::lock::{self, Patience, Waited};
use polyproc_sync::rlock::{Released, THREAD};
use polyproc_sync::{Condition, Lock, RLock, Semaphore, semaphore};
use polyproc_sys::clock;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Whoever waits so long, in ns, has been forgotten.
const FORGOTTEN: u64 = 20_000_000_000;
/// Whoever waits so long, in ns, says so.
const LONG: u64 = 1_000_000_000;
/// How long one waits for others to notify it, in ns.
const TURN: u64 = 2_000_000;

fn within(deadline: u64, stop: &mut dyn FnMut() -> bool) -> Patience<'_> {
    Patience {
        deadline: Some(clock::now() + deadline),
        slice: None,
        stop,
    }
}

enum Guard {
    Lock(Lock),
    RLock(RLock),
    Semaphore(Semaphore),
    Condition(Condition),
}

impl Guard {
    fn open(arena: &Arena, me: &Member, kind: &str) -> Result<Self> {
        let name = Some("guard");
        Ok(match kind {
            "lock" => Self::Lock(Lock::create(arena, me, lock::KIND, name)?),
            "rlock" => Self::RLock(RLock::create(arena, me, name)?),
            "semaphore" => Self::Semaphore(Semaphore::create(arena, me, 1, true, true, name)?),
            _ => Self::Condition(Condition::create(arena, me, None, name)?),
        })
    }

    fn acquire(&self, arena: &Arena, me: &Member) -> Result<()> {
        let mut stop = || false;
        let acquired = |waited| matches!(waited, Waited::Acquired(_));
        let held = match self {
            Self::Lock(lock) => acquired(lock.acquire(arena, me, within(FORGOTTEN, &mut stop))?),
            Self::RLock(rlock) => {
                acquired(rlock.acquire(arena, me, THREAD, within(FORGOTTEN, &mut stop))?)
                    && acquired(rlock.acquire(arena, me, THREAD, within(FORGOTTEN, &mut stop))?)
            }
            Self::Semaphore(semaphore) => {
                let waited = semaphore.acquire(arena, me, within(FORGOTTEN, &mut stop))?;
                waited == semaphore::Waited::Acquired
            }
            Self::Condition(condition) => {
                let lock = condition.lock;
                let held = acquired(lock.acquire(arena, me, within(FORGOTTEN, &mut stop))?);
                if held {
                    condition.notify(arena, me, THREAD, 1)?;
                    condition.wait(arena, me, THREAD, within(TURN, &mut stop))?;
                }
                held
            }
        };
        if held {
            Ok(())
        } else {
            Err(Error::State("one that waits was forgotten".into()))
        }
    }

    fn release(&self, arena: &Arena, me: &Member) -> Result<()> {
        let released = match self {
            Self::Lock(lock) => lock.release(arena, me)?,
            Self::RLock(rlock) => {
                let inner = rlock.release(arena, me, THREAD)? == Released::Done;
                inner && rlock.release(arena, me, THREAD)? == Released::Done
            }
            Self::Semaphore(semaphore) => semaphore.release(arena, me, true)?,
            Self::Condition(condition) => condition.lock.release(arena, me)?,
        };
        if released {
            Ok(())
        } else {
            Err(Error::State("what was held is not".into()))
        }
    }
}

/// The count in a folder; 0 when nobody has counted yet.
///
/// # Errors
/// `System`.
pub fn count(folder: &Path) -> Result<u64> {
    read(&open(folder)?)
}

fn open(folder: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(folder.join("count"))
        .map_err(system)
}

fn read(file: &File) -> Result<u64> {
    let mut bytes = [0; 8];
    let len = file.read_at(&mut bytes, 0).map_err(system)?;
    Ok(if len == 8 { u64::from_le_bytes(bytes) } else { 0 })
}

fn system(error: std::io::Error) -> Error {
    Error::System("a file", error)
}

/// Counts until it is killed.
///
/// # Errors
/// What the lock says; `State` when it was forgotten.
pub fn guard(arena: &Arena, me: &Member, kind: &str, folder: &Path, log: &str) -> Result<()> {
    let guard = Guard::open(arena, me, kind)?;
    let file = open(folder)?;
    let mut log = OpenOptions::new()
        .append(true)
        .create(true)
        .open(folder.join(log))
        .map_err(system)?;
    loop {
        let begun = clock::now();
        guard.acquire(arena, me)?;
        let waited = clock::now() - begun;
        let next = read(&file)? + 1;
        file.write_all_at(&next.to_le_bytes(), 0).map_err(system)?;
        log.write_all(format!("+{next}\n").as_bytes()).map_err(system)?;
        guard.release(arena, me)?;
        if waited > LONG {
            log.write_all(format!("!{}\n", waited / 1_000_000).as_bytes())
                .map_err(system)?;
        }
    }
}
