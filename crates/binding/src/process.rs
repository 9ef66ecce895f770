//! Processes: starting children, what the child is to run, signals, how they ended.

use crate::failure::{Result, fail, state};
use crate::isolate::{Isolate, isolate};
use crate::received::{self, Received};
use napi::Env;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use polyproc_arena::object::Handle;
use polyproc_channel::envelope;
use polyproc_family::{Key, boot, children, compiled, environment};
use polyproc_process::{SpawnRequest, Stdio};
use std::ffi::CString;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::net::UnixStream;

/// What to start.
#[napi(object)]
pub struct StartOptions {
    pub exec: String,
    pub argv: Vec<String>,
    /// `NAME=value` each; null: this process's own environment, which is read here in a few microseconds, through
    /// `process.env` in over a hundred. Null in the main thread only, where `process.env` is that environment.
    pub env: Option<Vec<String>>,
    pub cwd: Option<String>,
    /// 0 inherit, 1 ignore, 2 pipe; for stdin, stdout, stderr.
    pub stdio: Vec<u8>,
    pub daemon: bool,
}

/// What was started.
#[napi(object)]
pub struct StartedProcess {
    /// Its name in the family.
    pub key: f64,
    pub pid: u32,
    /// Our ends of the pipes, -1 where there is none.
    pub fds: Vec<i32>,
}

fn c(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| {
        crate::failure::Fail::new(
            "ERR_POLYPROC_TYPE".to_owned(),
            format!("{text:?} contains a NUL character"),
        )
    })
}

fn list(texts: &[String]) -> Result<Vec<CString>> {
    texts.iter().map(|text| c(text)).collect()
}

/// What the child finds there, but for its place, which it is yet to be given.
fn environment(given: Option<&[String]>) -> Result<Vec<CString>> {
    let mut all = match given {
        Some(texts) => environment::without_own(list(texts)?),
        None => environment::inherited(),
    };
    all.push(environment::way(&crate::family::variable()?));
    Ok(all)
}

/// The program to start, with the streams of this process and no place of its own.
pub fn program(isolate: &Isolate, options: &StartOptions) -> Result<SpawnRequest> {
    Ok(SpawnRequest {
        exec: c(&options.exec)?,
        argv: list(&options.argv)?,
        env: environment(options.env.as_deref())?,
        cwd: options.cwd.as_deref().map(c).transpose()?,
        stdio: [Stdio::Inherit; 3],
        keep_fds: isolate
            .arena
            .descriptor()
            .into_iter()
            .chain(compiled::descriptor())
            .collect(),
        die_with_parent: options.daemon,
    })
}

/// Starts a child that finds what is said of it and the message as its boot message. Returns once the
/// process exists.
#[napi]
pub fn process_start(
    env: &Env,
    options: StartOptions,
    said: String,
    kind: u8,
    message: Uint8Array,
    blobs: Vec<Uint8Array>,
    handles: Vec<u32>,
) -> Result<StartedProcess> {
    let isolate = isolate(env)?;
    let code = compiled::descriptor();
    let mut request = program(&isolate, &options)?;
    let mut theirs = Vec::new();
    let mut ours = Vec::new();
    for (slot, wanted) in request.stdio.iter_mut().zip(&options.stdio) {
        match wanted {
            1 => *slot = Stdio::Null,
            2 => {
                let (our, their) = UnixStream::pair()
                    .map_err(|error| state(format!("a pipe for the process could not be made: {error}")))?;
                *slot = Stdio::Fd(their.as_raw_fd());
                theirs.push(their);
                ours.push(Some(our));
                continue;
            }
            _ => {}
        }
        ours.push(None);
    }
    let handles: Vec<Handle> = handles
        .chunks_exact(2)
        .map(|pair| Handle {
            index: u64::from(pair[0]),
            generation: pair[1],
        })
        .collect();
    let blobs: Vec<&[u8]> = blobs.iter().map(AsRef::as_ref).collect();
    // What is said of the child, after its length, and the message after its kind.
    let mut boot = Vec::with_capacity(5 + said.len() + message.len());
    boot.extend_from_slice(&(said.len() as u32).to_le_bytes());
    boot.extend_from_slice(said.as_bytes());
    boot.push(kind);
    boot.extend_from_slice(&message);
    let sealed = envelope::seal(isolate.arena, &isolate.me, &boot, &blobs, &handles).map_err(fail)?;
    let started = polyproc_family::start(
        isolate.arena,
        &isolate.me,
        sealed.block,
        !handles.is_empty(),
        |key| {
            request.env.push(environment::place(key.name(), code));
            request
        },
    )
    .map_err(fail)?;
    drop(theirs);
    let fds = ours
        .into_iter()
        .map(|our| our.map_or(-1, IntoRawFd::into_raw_fd))
        .collect();
    Ok(StartedProcess {
        key: started.key.0 as f64,
        pid: started.child.pid,
        fds,
    })
}

/// In a child: what its parent left for it: bytes (LE u32) of what is said of it, that, the message's kind, the
/// message.
#[napi]
pub fn process_boot(env: &Env) -> Result<Option<Received<'_>>> {
    let isolate = isolate(env)?;
    match boot::collect(isolate.arena, &isolate.me).map_err(fail)? {
        Some((block, pins)) => received::unpack(env, &isolate, 0, block, pins).map(Some),
        None => Ok(None),
    }
}

/// In a child: keeps what was compiled of the program for the children to come; false when there is some.
#[napi]
pub fn keep_code(code: Uint8Array) -> bool {
    compiled::keep(&code)
}

/// The name of this process in the family.
#[napi]
pub fn process_key(env: &Env) -> Result<f64> {
    Ok(Key::own(isolate(env)?.arena).0 as f64)
}

/// How a child of this process ended: its code, or -N for signal N; null while it runs. For a program
/// that could not be run: 127, with the reason.
#[napi(object)]
pub struct Ended {
    pub code: i32,
    pub reason: Option<String>,
}

/// See [`Ended`].
#[napi]
pub fn process_exit(env: &Env, key: f64) -> Result<Option<Ended>> {
    let isolate = isolate(env)?;
    let key = Key(key as u64);
    let exit = children::exit_of(isolate.arena, key).map_err(fail)?;
    if let Some(exit) = exit {
        polyproc_pool::keeper::ended(&isolate.me, key, exit.status.code());
    }
    Ok(exit.map(|exit| Ended {
        code: exit.status.code(),
        reason: exit
            .exec_error
            .map(|error| std::io::Error::from_raw_os_error(error.errno).to_string()),
    }))
}

/// Forgets how a child ended.
#[napi]
pub fn process_forget(key: f64) {
    children::forget(Key(key as u64));
}

/// True while a process of the family is alive, whoever started it.
#[napi]
pub fn process_is_alive(env: &Env, key: f64) -> Result<bool> {
    let isolate = isolate(env)?;
    Ok(!children::has_ended(isolate.arena, Key(key as u64)).map_err(fail)?)
}

/// Sends a signal to a child; false when it has ended. `tree`: also to every descendant.
#[napi]
pub fn process_signal(key: f64, signal: i32, tree: bool) -> Result<bool> {
    let Some(child) = children::running(Key(key as u64)) else {
        return Ok(false);
    };
    let sent = if tree {
        child.signal_tree(signal).map(|_| ())
    } else {
        child.signal(signal)
    };
    match sent {
        Ok(()) => Ok(true),
        Err(_) if !child.is_running() => Ok(false),
        Err(error) => Err(state(format!("the process cannot be signalled: {error}"))),
    }
}

/// SIGKILL to a child after so many ms, whatever this process does meanwhile.
#[napi]
pub fn process_kill_after(key: f64, ms: u32) {
    if let Some(child) = children::running(Key(key as u64)) {
        child.kill_after(u64::from(ms));
    }
}

/// CPUs that this process may use.
#[napi]
pub fn cpu_count() -> u32 {
    polyproc_sys::cpu::count()
}

/// The number of a signal's name, or null.
#[napi]
pub fn signal_number(name: String) -> Option<i32> {
    polyproc_sys::signal::number(&name)
}

/// The name of a signal's number, or null.
#[napi]
pub fn signal_name(number: i32) -> Option<String> {
    polyproc_sys::signal::name(number).map(str::to_owned)
}
