//! The children of this process that were started here and have not been reaped.
//!
//! A pid in this table means the child it was given to: only the reaper frees a pid, and it takes the
//! table's lock for that. So a signal sent under the lock cannot reach a stranger, unless something else in
//! the process reaps children that are not its own; against that the pidfd helps, where there is one.

use crate::status::{Exit, ExitStatus};
use polyproc_sys::launch::Launch;
use polyproc_sys::pidfd::PidFd;
use polyproc_sys::{reap, signal};
use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Hears of the end of a child, on the native thread.
pub(crate) type OnExit = Box<dyn FnOnce(Exit) + Send>;

/// A child by a number that is never given twice, as a pid is.
pub(crate) type Serial = u64;

/// The table, shared by the native thread and those who send signals.
#[derive(Default)]
pub(crate) struct Children {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<Serial, Entry>,
    by_pid: HashMap<u32, Serial>,
    /// Those that may still be on their way to their program.
    starting: Vec<Serial>,
    last: Serial,
}

struct Entry {
    pid: u32,
    watch: Watch,
    /// What the child reads until it runs its program; `None` from then on.
    launch: Option<Launch>,
    on_exit: OnExit,
}

/// How the native thread hears of the end.
enum Watch {
    /// By a descriptor in its epoll.
    By(PidFd),
    /// By looking now and then: old kernels, sandboxes, no descriptors left.
    Polled,
}

impl Children {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing panics under the lock; and if it did, each change is one call that holds by itself.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a new child and has it watched by `watch`; false where that is refused, and the native thread
    /// has to be told to look at it now and then. Nobody reaps what is not in the table, so the pid is the
    /// child's, ended or not; and whoever hears of its end at once waits here for the lock.
    pub(crate) fn add(
        &self,
        launch: Launch,
        on_exit: OnExit,
        watch: impl FnOnce(Serial, &PidFd) -> bool,
    ) -> (Serial, bool) {
        let mut table = self.lock();
        table.last += 1;
        let (serial, pid) = (table.last, launch.pid());
        let pidfd = PidFd::open(pid).ok().filter(|pidfd| watch(serial, pidfd));
        let is_watched = pidfd.is_some();
        table.by_pid.insert(pid, serial);
        table.starting.push(serial);
        table.entries.insert(
            serial,
            Entry {
                pid,
                watch: pidfd.map_or(Watch::Polled, Watch::By),
                launch: Some(launch),
                on_exit,
            },
        );
        (serial, is_watched)
    }

    /// Takes the status of a child that has ended, and takes it off the table. `None` while it runs.
    pub(crate) fn reap(&self, serial: Serial) -> Option<(OnExit, Exit)> {
        let mut table = self.lock();
        let entry = table.entries.get_mut(&serial)?;
        let pid = entry.pid;
        let Some(status) = reap::try_reap(pid).ok().and_then(ExitStatus::of) else {
            // Called because the pidfd is ready, and yet not to be reaped: a debugger takes the status first.
            // The pidfd stays ready all that time, so from here on the child is polled.
            entry.watch = Watch::Polled;
            return None;
        };
        let entry = table.entries.remove(&serial)?;
        table.by_pid.remove(&pid);
        drop(table);
        // SAFETY: the process has ended.
        let exec_error = entry.launch.and_then(|launch| unsafe { launch.finish() });
        Some((
            entry.on_exit,
            Exit {
                pid,
                status,
                exec_error,
            },
        ))
    }

    /// The children that have to be looked at because nothing tells of their end.
    pub(crate) fn polled(&self) -> Vec<Serial> {
        let table = self.lock();
        let polled = table
            .entries
            .iter()
            .filter(|(_, entry)| matches!(entry.watch, Watch::Polled));
        polled.map(|(serial, _)| *serial).collect()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Serial> {
        self.lock().entries.keys().copied().collect()
    }

    /// Frees what children needed on their way to their programs.
    pub(crate) fn sweep(&self) {
        let mut done = Vec::new();
        let mut table = self.lock();
        let Table {
            entries, starting, ..
        } = &mut *table;
        starting.retain(|serial| {
            let Some(entry) = entries.get_mut(serial) else {
                return false;
            };
            // One that failed ends presently, and its end needs to know why.
            let arrived = |launch: &mut Launch| launch.is_done() && launch.exec_error().is_none();
            done.extend(entry.launch.take_if(arrived));
            entry.launch.is_some()
        });
        // Unmapping stacks takes longer than anybody should wait for the table.
        drop(table);
        drop(done);
    }

    /// The child that has this pid now.
    pub(crate) fn serial(&self, pid: u32) -> Option<Serial> {
        self.lock().by_pid.get(&pid).copied()
    }

    /// Sends a signal to a child that has not been reaped.
    ///
    /// # Errors
    /// `ESRCH` (`NotFound` in kind) when it has.
    pub(crate) fn signal(&self, serial: Serial, sig: i32) -> io::Result<()> {
        let table = self.lock();
        let entry = table.entries.get(&serial).ok_or_else(gone)?;
        match &entry.watch {
            // A sandbox may have the one call and not the other.
            Watch::By(pidfd) => match pidfd.send_signal(sig) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => signal::kill(entry.pid, sig),
                result => result,
            },
            Watch::Polled => signal::kill(entry.pid, sig),
        }
    }
}

/// There is no such child any more.
pub(crate) fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the process has ended")
}
