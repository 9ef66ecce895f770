//! The native thread: hears of the ends of children, keeps deadlines, and starts what others cannot.
//!
//! It sleeps in one `epoll`, on an eventfd (there is mail), on a pidfd for each child, and until the
//! earliest deadline. It never ends before the process, has all signals blocked, and calls back only code
//! that was given to it for that. Nothing it does waits for a child: one that is slow to start delays
//! nobody.
//!
//! A child is made by the thread that asks for it, where that is possible: handing the request over takes
//! two wake-ups, and on a busy machine each of them may queue behind booting children (measured on two
//! cores, 30 starts of Node back to back: 0.05 ms at the median and 0.07 at the ninth decile made by the
//! caller, 0.09 and 10 handed over). But a child that is to die with its parent dies with the *thread* that
//! made it. So the main thread, which ends with the process, makes its own, and for other threads this one
//! does.
//!
//! Should this process die at any point in here, the kernel does the rest: children that are to die with it
//! get their SIGKILL, others go on, and no descriptor or name stays behind.

use crate::child::Child;
use crate::children::{Children, OnExit, Serial};
use crate::error::SpawnError;
use crate::timers::{Action, Timers};
use polyproc_sys::epoll::Epoll;
use polyproc_sys::eventfd::EventFd;
use polyproc_sys::launch::{self, Program, Way};
use polyproc_sys::pidfd::PidFd;
use polyproc_sys::{clock, proc_info, thread};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The eventfd among the serials, which begin at 1.
const MAIL: u64 = 0;
/// How often children are looked at of whose end nothing tells, in nanoseconds.
const POLL: u64 = 10_000_000;
/// Callbacks run on this stack too; pages that are not used take no memory.
const STACK: usize = 512 << 10;
/// The ways of making a process, the best first.
const WAYS: [Way; 3] = [Way::Clone, Way::Vfork, Way::Fork];

enum Mail {
    Spawn {
        program: Program,
        on_exit: OnExit,
        reply: SyncSender<Result<Child, SpawnError>>,
    },
    At {
        deadline: u64,
        action: Action,
    },
}

/// What the thread shares with those who ask it for something.
pub(crate) struct Spawner {
    epoll: Epoll,
    mail: EventFd,
    inbox: Mutex<Vec<Mail>>,
    pub(crate) children: Children,
    /// The thread, so that it does not wait for itself; 0 before it runs.
    tid: AtomicU32,
    ways: Ways,
}

static SPAWNER: OnceLock<&'static Spawner> = OnceLock::new();

/// The spawner of this process, started when first asked for.
///
/// # Errors
/// [`SpawnError::Thread`] when there is no room for a thread or its descriptors; the next call tries again.
pub(crate) fn spawner() -> Result<&'static Spawner, SpawnError> {
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(spawner) = started() {
        return Ok(spawner);
    }
    let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(spawner) = started() {
        return Ok(spawner);
    }
    let spawner = Spawner::start().map_err(SpawnError::Thread)?;
    Ok(SPAWNER.get_or_init(|| spawner))
}

/// The spawner, if one was ever needed: a process without children has nothing to signal, and no thread.
pub(crate) fn started() -> Option<&'static Spawner> {
    SPAWNER.get().copied()
}

impl Spawner {
    fn start() -> io::Result<&'static Self> {
        let spawner = Self {
            epoll: Epoll::new()?,
            mail: EventFd::new()?,
            inbox: Mutex::default(),
            children: Children::default(),
            tid: AtomicU32::new(0),
            ways: Ways::default(),
        };
        spawner.epoll.add(spawner.mail.raw(), MAIL)?;
        // Never freed: the thread uses it until the process ends.
        let spawner: &'static Self = Box::leak(Box::new(spawner));
        thread::spawn_immortal("polyproc-spawn", STACK, move || spawner.run())?;
        Ok(spawner)
    }

    /// Starts a program and returns its process, once the kernel has made it.
    pub(crate) fn spawn(&self, program: Program, on_exit: OnExit) -> Result<Child, SpawnError> {
        let here = proc_info::tid();
        // The thread itself too: a callback that starts the next process must not wait for it.
        let lasting = here == proc_info::pid() || here == self.tid.load(Ordering::Relaxed);
        if lasting || !program.die_with_parent {
            return self.launch(program, on_exit);
        }
        let (reply, answer) = sync_channel(1);
        self.send(Mail::Spawn {
            program,
            on_exit,
            reply,
        });
        let lost = || SpawnError::Thread(io::Error::other("the thread gave no answer"));
        answer.recv().map_err(|_| lost())?
    }

    /// Runs `action` on the thread once `deadline` has passed.
    pub(crate) fn at(&self, deadline: u64, action: Action) {
        self.send(Mail::At { deadline, action });
    }

    fn send(&self, mail: Mail) {
        self.inbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(mail);
        self.mail.signal();
    }

    fn run(&self) {
        self.tid.store(proc_info::tid(), Ordering::Relaxed);
        let mut timers = Timers::default();
        let mut ready = Vec::new();
        loop {
            let polled = self.children.polled();
            let poll = (!polled.is_empty()).then(|| clock::now() + POLL);
            let deadline = [timers.next(), poll].into_iter().flatten().min();
            if self.epoll.wait(&mut ready, deadline).is_err() {
                // Somebody closed descriptors that are not theirs: without the set, by looking.
                std::thread::sleep(std::time::Duration::from_nanos(POLL));
                ready = self.children.all();
                ready.push(MAIL);
            }
            for token in ready.iter().chain(&polled) {
                match *token {
                    MAIL => self.mail.clear(),
                    serial => self.reap(serial),
                }
            }
            // After the flag is down: what comes now raises it again.
            self.read_mail(&mut timers);
            while let Some(action) = timers.due(clock::now()) {
                guarded(action);
            }
            self.children.sweep();
        }
    }

    fn read_mail(&self, timers: &mut Timers) {
        let inbox = std::mem::take(&mut *self.inbox.lock().unwrap_or_else(PoisonError::into_inner));
        for mail in inbox {
            match mail {
                Mail::At { deadline, action } => timers.add(deadline, action),
                // Who asked may be gone, if its thread was ended; the process is there all the same.
                Mail::Spawn {
                    program,
                    on_exit,
                    reply,
                } => drop(reply.send(self.launch(program, on_exit))),
            }
        }
    }

    /// The child is the calling thread's, as far as its parent's death goes.
    fn launch(&self, program: Program, on_exit: OnExit) -> Result<Child, SpawnError> {
        // What earlier children needed serves the next one.
        self.children.sweep();
        let program = Arc::new(program);
        let launch = self
            .ways
            .start(|way| launch::start(&program, way))
            .map_err(|error| match error.kind() {
                io::ErrorKind::InvalidInput => SpawnError::Request(error),
                _ => SpawnError::System(error),
            })?;
        let pid = launch.pid();
        // Watched from here: to wake the thread for it would cost the caller its CPU, now and then for long.
        let watch = |serial, pidfd: &PidFd| self.epoll.add(pidfd.raw(), serial).is_ok();
        let (serial, is_watched) = self.children.add(launch, on_exit, watch);
        if !is_watched {
            self.mail.signal();
        }
        Ok(Child { pid, serial })
    }

    fn reap(&self, serial: Serial) {
        // Outside the table's lock: what is called may start the next process.
        if let Some((on_exit, exit)) = self.children.reap(serial) {
            guarded(Box::new(move || on_exit(exit)));
        }
    }
}

/// A panic in a callback is that callback's end, not the thread's.
fn guarded(action: Action) {
    let _ = catch_unwind(AssertUnwindSafe(action));
}

/// Which way of making a process works here: an index into [`WAYS`].
#[derive(Default)]
struct Ways {
    works: AtomicUsize,
}

impl Ways {
    /// Starts the program, if need be in the next way, and remembers which one it was.
    fn start<T>(&self, start: impl Fn(Way) -> io::Result<T>) -> io::Result<T> {
        let first = self.works.load(Ordering::Relaxed);
        let mut refused = io::Error::from(io::ErrorKind::Unsupported);
        for (index, way) in WAYS.into_iter().enumerate().skip(first) {
            match start(way) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => refused = error,
                result => {
                    self.works.store(index, Ordering::Relaxed);
                    return result;
                }
            }
        }
        Err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_that_is_refused_is_not_tried_again() {
        let ways = Ways::default();
        let tried = Mutex::new(Vec::new());
        let start = |way| {
            tried.lock().expect("whole").push(way);
            match way {
                Way::Clone => Err(io::ErrorKind::Unsupported.into()),
                _ => Ok(()),
            }
        };
        ways.start(start).expect("the second works");
        ways.start(start).expect("and again");
        assert_eq!(
            *tried.lock().expect("whole"),
            [Way::Clone, Way::Vfork, Way::Vfork]
        );

        let nothing = Ways::default().start(|_| io::Result::<()>::Err(io::ErrorKind::Unsupported.into()));
        assert_eq!(nothing.expect_err("refused").kind(), io::ErrorKind::Unsupported);
        let full = Ways::default().start(|_| io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
        assert_eq!(full.expect_err("no room").kind(), io::ErrorKind::WouldBlock);
    }
}
