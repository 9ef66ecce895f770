//! What others ask of the native thread: start a process, signal it, do something at a time.

use crate::children::{Serial, gone};
use crate::error::SpawnError;
use crate::spawner::{spawner, started};
use crate::status::Exit;
use crate::tree;
use polyproc_sys::launch::Program;
use polyproc_sys::pidfd::PidFd;
use polyproc_sys::{clock, proc_info};
use std::io;

/// A process that was started here. A copy is the same process; it holds nothing open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Child {
    /// Its pid. It may mean another process once the end of this one has been told.
    pub pid: u32,
    pub(crate) serial: Serial,
}

impl Child {
    /// Sends a signal (0: only asks whether one could be sent), to this process and never to a later one with
    /// the same pid.
    ///
    /// # Errors
    /// `NotFound` (or `ESRCH`) once it has ended and been reaped; `EPERM` when it has become another user's;
    /// `EINVAL` for what is no signal.
    pub fn signal(&self, sig: i32) -> io::Result<()> {
        started().ok_or_else(gone)?.children.signal(self.serial, sig)
    }

    /// SIGKILL after `ms` milliseconds, if it has not been reaped by then. The native thread sends it, whatever
    /// the caller is doing at that time.
    pub fn kill_after(&self, ms: u64) {
        let child = *self;
        if let Some(spawner) = started() {
            // That it ended meanwhile is what was wanted.
            spawner.at(after(ms), Box::new(move || drop(child.signal(KILL))));
        }
    }

    /// [`tree::signal_tree`] for this process, and never for a later one with the same pid.
    ///
    /// # Errors
    /// As [`tree::signal_tree`].
    pub fn signal_tree(&self, sig: i32) -> io::Result<Vec<u32>> {
        let root = tree::Member::root(self.pid)?;
        // Not reaped after it was taken hold of, so it was this one.
        if self.is_running() {
            tree::signal_from(root, sig)
        } else {
            Err(gone())
        }
    }

    /// Whether its end has not been told yet.
    pub fn is_running(&self) -> bool {
        started().is_some_and(|spawner| spawner.children.serial(self.pid) == Some(self.serial))
    }
}

const KILL: i32 = 9;

/// Starts a program in a process of its own and returns once the kernel has made the process: 50 to 100 µs,
/// whatever the size of this one's heap and however busy the machine is. Whether its program can be run
/// shows later, in [`Exit::exec_error`]. Descriptors in the request may be closed after the return.
///
/// `on_exit` is called once, when the process has ended and been reaped, on the native thread: it must
/// not block. It may start other processes. A process that ends at once may be told of before this
/// function has returned.
///
/// # Errors
/// [`SpawnError`]; then `on_exit` is never called.
pub fn spawn(request: Program, on_exit: impl FnOnce(Exit) + Send + 'static) -> Result<Child, SpawnError> {
    spawner()?.spawn(request, Box::new(on_exit))
}

/// Sends a signal to the process that was started here and has this pid now.
///
/// # Errors
/// `NotFound` when there is none, or its end has been told; never a signal to somebody else. The rest as
/// [`Child::signal`].
pub fn signal(pid: u32, sig: i32) -> io::Result<()> {
    by_pid(pid).ok_or_else(gone)?.signal(sig)
}

/// Sends a signal to a process that somebody else started, if it is still the one that began at `start_time`
/// (clock ticks since boot, [`proc_info::start_time`]).
///
/// # Errors
/// `NotFound` when it has ended, or another has its pid; `EPERM` when it is another user's; `EINVAL` for what
/// is no signal.
pub fn signal_other(pid: u32, start_time: u64, sig: i32) -> io::Result<()> {
    // Held first, looked at then: after that the pid may change hands, the descriptor does not.
    let held = match PidFd::open(pid) {
        Ok(held) => Some(held),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => None,
        Err(_) => return Err(gone()),
    };
    if proc_info::start_time(pid) != Some(start_time) {
        return Err(gone());
    }
    match held {
        Some(held) => held.send_signal(sig),
        None => polyproc_sys::signal::kill(pid, sig),
    }
}

/// [`Child::kill_after`] for the process that was started here and has this pid now; nothing if there is none.
pub fn kill_after(pid: u32, ms: u64) {
    if let Some(child) = by_pid(pid) {
        child.kill_after(ms);
    }
}

/// Runs `action` on the native thread once `deadline` (absolute nanoseconds, [`clock::now`]) has passed, at
/// most a millisecond or so later. It must not block.
///
/// # Errors
/// [`SpawnError::Thread`] when the thread cannot be started.
pub fn at(deadline: u64, action: impl FnOnce() + Send + 'static) -> Result<(), SpawnError> {
    spawner()?.at(deadline, Box::new(action));
    Ok(())
}

fn by_pid(pid: u32) -> Option<Child> {
    let serial = started()?.children.serial(pid)?;
    Some(Child { pid, serial })
}

fn after(ms: u64) -> u64 {
    clock::now().saturating_add(ms.saturating_mul(1_000_000))
}
