//! Starting a child, and its end.
//!
//! # What a crash of the parent leaves
//! | killed | left | put right by |
//! |---|---|---|
//! | after reserving the slot | phase reserved with the parent's pid | recovery frees slot and boot block |
//! | after the process exists, before its pid stands in the slot | the same; the child finds its place taken back and says so | as above |
//! | later | nothing: the child is a member like any other, or a daemon that the kernel kills | – |
//!
//! A child that dies before it has joined is told of by the reaper here; if the parent is gone too, by
//! the next round of recovery that finds its pid gone. (When it began is written by the child as it joins: to
//! look it up here would take a tenth of a start. So a place whose child *and* parent died before that, and
//! whose pid is a stranger's by then, is kept until that one ends.)

use crate::boot;
use polyproc_arena::error::{Error, Result};
use polyproc_arena::map::Offset;
use polyproc_arena::primitive::Ordering::{Acquire, Release};
use polyproc_arena::process::{self, Phase};
use polyproc_arena::wait::List;
use polyproc_arena::{Arena, Member, recovery, watch};
use polyproc_process::{Child, Exit, SpawnRequest};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Names a process of the family: slot and generation in one number below 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(pub u64);

impl Key {
    /// Of a process that the arena names so.
    #[must_use]
    pub fn of(name: u64) -> Self {
        Self((name >> 32) << 12 | name & 0xfff)
    }

    /// As the arena names it.
    #[must_use]
    pub fn name(self) -> u64 {
        process::name(self.0 & 0xfff, (self.0 >> 12) as u32)
    }

    /// The process slot.
    #[must_use]
    pub fn slot(self) -> u64 {
        self.0 & 0xfff
    }

    /// Of this process itself.
    #[must_use]
    pub fn own(arena: &Arena) -> Self {
        Self::of(arena.process_name())
    }
}

/// A child that has just been started.
#[derive(Debug, Clone, Copy)]
pub struct Started {
    /// Its name in the family.
    pub key: Key,
    /// The process.
    pub child: Child,
}

enum Entry {
    Running(Child),
    /// It has ended; its place may still have to be recovered.
    Reaped(Exit),
}

/// Children of this process that have not been forgotten.
static CHILDREN: Mutex<Option<HashMap<Key, Entry>>> = Mutex::new(None);

fn children() -> MutexGuard<'static, Option<HashMap<Key, Entry>>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a child. `boot` is a block of `me`'s with what it is to run (0: none), `pins` whether handles
/// stand at its beginning; `request` is asked for the program once the child's place has a name. On
/// failure the block is freed.
///
/// # Errors
/// `TableFull` at the limit on processes; `System` when the process cannot be made.
pub fn start(
    arena: &'static Arena,
    me: &Member,
    boot: Offset,
    pins: bool,
    request: impl FnOnce(Key) -> SpawnRequest,
) -> Result<Started> {
    let pid = polyproc_sys::proc_info::pid();
    let reserved = process::claim(arena, Phase::Reserved, pid, arena.process_name());
    let name = match reserved {
        Ok(name) => name,
        Err(error) => {
            if boot != 0 {
                arena.free(me, boot)?;
            }
            return Err(error);
        }
    };
    let key = Key::of(name);
    if boot != 0 {
        boot::deposit(arena, me, key.slot(), boot, pins)?;
    }
    // Not under the lock of the table: another thread may have to make the process, which now waits for the lock.
    let spawned = polyproc_process::spawn(request(key), move |exit| ended(arena, key, exit));
    if let Ok(child) = &spawned {
        // The end of a child may be told before its start has returned.
        let mut children = children();
        let entry = children.get_or_insert_default().entry(key);
        entry.or_insert(Entry::Running(*child));
    }
    match spawned {
        Ok(child) => {
            // Fails only if the child has ended already and its place was taken back.
            let _ = process::advance(arena, name, Phase::Reserved, Phase::Starting, child.pid);
            Ok(Started { key, child })
        }
        Err(error) => {
            process::advance(arena, name, Phase::Reserved, Phase::Dead, pid)?;
            recovery::recover_process(arena, me, key.slot())?;
            Err(Error::State(format!("the process could not be started: {error}")))
        }
    }
}

/// Called by the native thread when a child has been reaped.
fn ended(arena: &'static Arena, key: Key, exit: Exit) {
    let slot = key.slot();
    if let Ok(state) = process::state(arena, slot)
        && u64::from(state.generation) == key.name() >> 32
    {
        if let Ok(word) = arena.map.word(arena.layout.process(slot) + process::EXIT) {
            word.store(1 << 63 | u64::from(exit.status.code() as u32), Release);
        }
        if !matches!(state.phase, Phase::Free | Phase::Dead) {
            process::declare_dead(arena, slot, state);
        }
    }
    {
        // One step for who asks: the native watcher may be on a round, and wake those who wait for this end before
        // the next line is reached. They must find it then, for nobody wakes them again.
        let mut children = children();
        watch::announce(arena, slot);
        children.get_or_insert_default().insert(key, Entry::Reaped(exit));
    }
    // The native watcher recovers what it held and wakes those who wait for its end.
    let _ = watch::call(arena, arena.process_slot());
}

/// How a child of this process ended, once what it held has been taken back; `None` while it runs.
///
/// # Errors
/// `State` for a process that is no child of this one.
pub fn exit_of(arena: &Arena, key: Key) -> Result<Option<Exit>> {
    match children().as_ref().and_then(|children| children.get(&key)) {
        Some(Entry::Running(_)) => Ok(None),
        Some(Entry::Reaped(exit)) => Ok(watch::is_settled(arena, key.slot()).then_some(*exit)),
        None => Err(Error::State(
            "only the process that started a process can ask how it ended".into(),
        )),
    }
}

/// Forgets an ended child.
pub fn forget(key: Key) {
    if let Some(children) = children().as_mut()
        && matches!(children.get(&key), Some(Entry::Reaped(_)))
    {
        children.remove(&key);
    }
}

/// The running child of a key.
#[must_use]
pub fn running(key: Key) -> Option<Child> {
    match children().as_ref().and_then(|children| children.get(&key)) {
        Some(Entry::Running(child)) => Some(*child),
        _ => None,
    }
}

/// True when no process of that name is alive and nothing of it is left to settle.
///
/// # Errors
/// `Corrupt`.
pub fn is_gone(arena: &Arena, key: Key) -> Result<bool> {
    let state = process::state(arena, key.slot())?;
    Ok(u64::from(state.generation) != key.name() >> 32 || state.phase == Phase::Free)
}

/// True when the process of that name has ended, settled or not.
///
/// # Errors
/// `Corrupt`.
pub fn has_ended(arena: &Arena, key: Key) -> Result<bool> {
    Ok(is_gone(arena, key)? || process::is_dead(arena, key.slot()))
}

/// The exit status in the member table, as its parent wrote it; `None` while it is not known.
///
/// # Errors
/// `Corrupt`.
pub fn recorded_exit(arena: &Arena, key: Key) -> Result<Option<i32>> {
    let state = process::state(arena, key.slot())?;
    let word = arena
        .map
        .word(arena.layout.process(key.slot()) + process::EXIT)?
        .load(Acquire);
    let known = u64::from(state.generation) == key.name() >> 32 && word >> 63 == 1;
    Ok(known.then_some(word as u32 as i32))
}

/// True when the exit status is not in the member table and its parent may still write it there.
///
/// # Errors
/// `Corrupt`.
pub fn may_be_recorded(arena: &Arena, key: Key) -> Result<bool> {
    let state = process::state(arena, key.slot())?;
    let at = arena.layout.process(key.slot());
    Ok(u64::from(state.generation) == key.name() >> 32
        && arena.map.word(at + process::CREATOR)?.load(Acquire) != 0
        && arena.map.word(at + process::EXIT)?.load(Acquire) >> 63 == 0)
}

/// Those who wait for the end of a process.
#[must_use]
pub fn waiters(arena: &Arena, key: Key) -> List {
    recovery::waiters_of(arena, key.slot())
}
