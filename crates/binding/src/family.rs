//! The family of this process: finding its shared memory, joining it, its limits and figures.

use crate::failure::{Result, fail, state};
use crate::isolate::isolate;
use napi::Env;
use napi_derive::napi;
use polyproc_arena::attach::{Family, Limits, VARIABLE};
use polyproc_arena::object::Kind;
use polyproc_arena::{Arena, Member, check, process};
use polyproc_channel::connection::{EndKind, KIND as END};
use polyproc_channel::memory::{KIND as MEMORY, MemoryKind};
use polyproc_channel::queue::{JOINABLE, KIND as QUEUE, QueueKind, SIMPLE};
use polyproc_family::compiled;
use polyproc_pool::BoardKind;
use polyproc_pool::board::KIND as BOARD;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What an object of the family can be.
fn kinds() -> Vec<(usize, &'static dyn Kind)> {
    let channels: [(usize, &dyn Kind); 5] = [
        (QUEUE, &QueueKind),
        (SIMPLE, &QueueKind),
        (END, &EndKind),
        (JOINABLE, &QueueKind),
        (MEMORY, &MemoryKind),
    ];
    let pools: [(usize, &dyn Kind); 1] = [(BOARD, &BoardKind)];
    let sync = polyproc_sync::KINDS;
    channels.into_iter().chain(sync).chain(pools).collect()
}

enum State {
    Unknown,
    Found(Family),
    Joined(&'static Arena),
    /// Why the family's memory cannot be reached; said at each use.
    Failed(String),
}

struct Joining {
    state: State,
    /// What leads descendants to the family's memory; empty before it is found.
    variable: String,
    limits: Limits,
    child: Option<u64>,
}

static FAMILY: Mutex<Joining> = Mutex::new(Joining {
    state: State::Unknown,
    variable: String::new(),
    limits: Limits {
        max_bytes: 0,
        max_processes: 0,
        max_members: 0,
    },
    child: None,
});

fn lock() -> MutexGuard<'static, Joining> {
    FAMILY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a process has to set in its environment for its descendants.
#[napi(object)]
pub struct Variable {
    pub name: String,
    pub value: String,
    /// This process founded the family.
    pub founded: bool,
}

/// Finds the family's shared memory by the variable that an ancestor set, or makes a new one. Maps
/// nothing. `name` is that of a named arena. Returns what descendants need; null where the memory
/// cannot be reached, in which case the first use throws.
#[napi]
pub fn find_family(variable: Option<String>, name: Option<String>) -> Option<Variable> {
    let mut joining = lock();
    if matches!(joining.state, State::Unknown) {
        let found = match name {
            Some(name) => Family::named(&name),
            None => Family::find(variable.as_deref()),
        };
        joining.state = match found {
            Ok(family) => {
                joining.variable = family.variable();
                State::Found(family)
            }
            Err(error) => State::Failed(error.to_string()),
        };
    }
    match &joining.state {
        State::Found(family) => Some(Variable {
            name: VARIABLE.to_owned(),
            value: joining.variable.clone(),
            founded: family.created,
        }),
        _ => None,
    }
}

/// Sets limits, or moves to a named arena, before the first use.
#[napi]
pub fn configure_family(
    arena: Option<String>,
    max_bytes: Option<f64>,
    max_processes: Option<f64>,
    max_members: Option<f64>,
) -> Result<Option<Variable>> {
    let mut joining = lock();
    if matches!(joining.state, State::Joined(_)) {
        return Err(state(
            "configure() must be called before the first shared object is made",
        ));
    }
    let whole = |value: Option<f64>| value.map_or(0, |value| value as u64);
    joining.limits = Limits {
        max_bytes: whole(max_bytes).max(joining.limits.max_bytes * u64::from(max_bytes.is_none())),
        max_processes: whole(max_processes)
            .max(joining.limits.max_processes * u64::from(max_processes.is_none())),
        max_members: whole(max_members).max(joining.limits.max_members * u64::from(max_members.is_none())),
    };
    if let Some(name) = arena {
        let family = Family::named(&name).map_err(fail)?;
        let value = family.variable();
        joining.variable.clone_from(&value);
        joining.state = State::Found(family);
        return Ok(Some(Variable {
            name: VARIABLE.to_owned(),
            value,
            founded: false,
        }));
    }
    Ok(None)
}

/// In a child of ours: the place that the parent reserved for it, and the descriptor of the file of compiled
/// code, -1 for none.
#[napi]
pub fn join_as(generation: u32, slot: u32, code: i32) {
    lock().child = Some(process::name(u64::from(slot), generation));
    if code >= 0 {
        // SAFETY: the parent left it for us, and this is the first that this process does with it.
        unsafe { compiled::adopt(code) };
    }
}

/// The arena and a new member of it for the calling thread.
pub fn member() -> Result<(&'static Arena, Member)> {
    let mut joining = lock();
    match std::mem::replace(&mut joining.state, State::Unknown) {
        State::Joined(arena) => {
            joining.state = State::Joined(arena);
            Ok((arena, arena.join_member().map_err(fail)?))
        }
        State::Found(family) => match family.join(joining.limits, joining.child, &kinds()) {
            Ok((arena, member)) => {
                joining.state = State::Joined(arena);
                Ok((arena, member))
            }
            Err(error) => {
                joining.state = State::Failed(error.to_string());
                Err(fail(error))
            }
        },
        State::Failed(why) => {
            joining.state = State::Failed(why.clone());
            Err(state(why))
        }
        State::Unknown => Err(state("the family has not been looked for")),
    }
}

/// What leads descendants to the family's memory.
pub fn variable() -> Result<String> {
    let joining = lock();
    if joining.variable.is_empty() {
        return Err(state("the family’s shared memory cannot be reached"));
    }
    Ok(joining.variable.clone())
}

/// The arena, if this process has joined.
pub fn joined() -> Option<&'static Arena> {
    match lock().state {
        State::Joined(arena) => Some(arena),
        _ => None,
    }
}

/// Figures of the shared memory.
#[napi(object)]
pub struct MemoryUsage {
    pub max_bytes: f64,
    pub used_bytes: f64,
    pub objects: u32,
    pub processes: u32,
    pub members: u32,
}

/// Figures of the shared memory, as `memoryUsage()` gives them.
#[napi]
pub fn family_memory(env: &Env) -> Result<MemoryUsage> {
    let isolate = isolate(env)?;
    let usage = check::usage(isolate.arena).map_err(fail)?;
    Ok(MemoryUsage {
        max_bytes: isolate.arena.max_bytes() as f64,
        used_bytes: usage.block_bytes as f64,
        objects: usage.objects as u32,
        processes: usage.processes as u32,
        members: usage.members as u32,
    })
}

/// Walks the whole arena and returns what does not add up, one line each: for tests and diagnosis.
#[napi]
pub fn check_family(env: &Env) -> Result<Vec<String>> {
    let isolate = isolate(env)?;
    Ok(check::check(isolate.arena).map_err(fail)?.faults)
}

/// Whether this is the program's main thread, and not a worker thread. (`node:worker_threads` says it too, but loading
/// that takes a tenth of what Node takes to start.)
#[napi]
pub fn is_main_thread() -> bool {
    polyproc_sys::thread::is_main()
}

/// Tells that this thread is a worker thread, whose environment ends before the process.
#[napi]
pub fn set_worker(env: &Env) -> Result<()> {
    isolate(env)?.is_worker.set(true);
    Ok(())
}

/// The random number of the family, in hexadecimal: part of every token.
#[napi]
pub fn family_nonce(env: &Env) -> Result<String> {
    Ok(format!("{:x}", isolate(env)?.arena.nonce))
}
