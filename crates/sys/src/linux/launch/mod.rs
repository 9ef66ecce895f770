//! Starting a program in a process of its own, at a cost that grows neither with the heap nor with the load.
//!
//! `fork` copies the page tables of the whole heap. `vfork` and `posix_spawn` copy nothing, but the caller
//! sleeps until the child has reached its program, and on a busy machine the child queues behind all
//! others: milliseconds. Here the child is made with `clone(CLONE_VM)`: it runs in this process's memory,
//! on a stack of its own, *beside* the caller, who goes on at once.
//!
//! What the child needs (strings, stack, control words) must then stay where it is until the child has left
//! this memory, by exec or by its end. The kernel tells: it clears a control word at that moment
//! (`CLONE_CHILD_CLEARTID`). A parent that dies in between leaves the child its memory.
//!
//! The child counts as the calling *thread's* for the parent-death signal: call from a thread that lives as
//! long as the process.

mod child;
mod raw;
mod region;

use super::{errno, signal};
use region::{Control, Region};
use std::ffi::{CString, c_char, c_void};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What one of the standard streams of the new process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdio {
    /// What this process has there.
    Inherit,
    /// `/dev/null`, for reading and writing.
    Null,
    /// A copy of this descriptor, which must be open until [`start`] returns.
    Fd(RawFd),
}

/// A program and the surroundings it is to find.
#[derive(Debug, Clone)]
pub struct Program {
    /// The file to run; not searched for in `PATH`.
    pub exec: CString,
    /// The arguments, the first being the name it is called by.
    pub argv: Vec<CString>,
    /// The whole environment, `NAME=value` each.
    pub env: Vec<CString>,
    /// The directory to start in; `None`: this process's.
    pub cwd: Option<CString>,
    /// Standard input, output and error.
    pub stdio: [Stdio; 3],
    /// Descriptors from 3 on that the program finds open at the same number. All others are closed.
    pub keep_fds: Vec<RawFd>,
    /// SIGKILL when this process ends, in whatever way.
    pub die_with_parent: bool,
}

/// How the process is made. The later ones are for sandboxes that refuse the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// In this process's memory, beside it.
    Clone,
    /// In this process's memory, the caller sleeping until the program runs.
    Vfork,
    /// In a copy of this process's memory.
    Fork,
}

/// Where a child was when it failed, before its program ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Step {
    /// Asking for the parent-death signal.
    ParentDeath = 1,
    /// Changing into the directory.
    Directory,
    /// Placing the standard streams.
    Stdio,
    /// Marking which descriptors to close.
    Descriptors,
    /// Running the program.
    Exec,
}

/// Why the program never ran. The process then ended with code 127.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecError {
    /// The step that failed.
    pub step: Step,
    /// The system's error number (`ENOENT`: 2).
    pub errno: i32,
}

/// A process that was started. Holds what the child reads until it runs its program.
#[derive(Debug)]
pub struct Launch {
    pid: u32,
    plan: ManuallyDrop<Box<Plan>>,
}

/// Starts the program, and returns once there is a process, which may not run the program yet.
///
/// # Errors
/// `EAGAIN` past RLIMIT_NPROC or a limit of the control group, `ENOMEM`; `Unsupported` when this way is
/// refused here, so that the next one can be tried; `InvalidInput` for a descriptor in `stdio` or
/// `keep_fds` that is not open, or one to be kept that is not over 2.
pub fn start(program: &Arc<Program>, way: Way) -> io::Result<Launch> {
    for fd in program
        .keep_fds
        .iter()
        .copied()
        .chain(program.stdio.iter().filter_map(Stdio::fd))
    {
        if !is_open(fd) {
            return Err(errno::invalid("a descriptor for the child is not open"));
        }
    }
    if program.keep_fds.iter().any(|fd| *fd <= 2) {
        return Err(errno::invalid("only descriptors from 3 on can be kept"));
    }
    let plan = Box::new(Plan::new(Arc::clone(program))?);
    // Until the child has set its own dispositions, no handler of this process may run in it.
    let _blocked = signal::block_all();
    let pid = match way {
        Way::Clone => clone_beside(&plan, 0),
        Way::Vfork => clone_beside(&plan, libc::CLONE_VFORK),
        Way::Fork => fork(&plan),
    };
    let pid = pid.map_err(|error| match error.raw_os_error() {
        // Sandboxes that do not know a set of flags answer with EINVAL as well.
        Some(libc::EINVAL) => io::Error::new(io::ErrorKind::Unsupported, error),
        _ => errno::absent_is_unsupported(error),
    })?;
    Ok(Launch {
        pid,
        plan: ManuallyDrop::new(plan),
    })
}

impl Launch {
    /// The new process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the child has left this memory: its program runs, or it has ended. Of a process made by
    /// [`Way::Fork`] this is known only once it has been reaped.
    pub fn is_done(&self) -> bool {
        // SYNC: Acquire, with the kernel's store at the child's exec or exit.
        self.plan.control().in_use.load(Ordering::Acquire) == 0
    }

    /// Why the program did not run. `None` also while that is not decided, before [`Launch::is_done`].
    pub fn exec_error(&self) -> Option<ExecError> {
        // SYNC: Acquire, with the Release in the child.
        let word = self.plan.control().error.load(Ordering::Acquire);
        let step = match word >> 16 {
            1 => Step::ParentDeath,
            2 => Step::Directory,
            3 => Step::Stdio,
            4 => Step::Descriptors,
            5 => Step::Exec,
            _ => return None,
        };
        Some(ExecError {
            step,
            errno: (word & 0xffff) as i32,
        })
    }

    /// Frees what the child read, and says why its program did not run, if so.
    ///
    /// # Safety
    /// The process must have ended, as [`super::reap::try_reap`] tells.
    pub unsafe fn finish(self) -> Option<ExecError> {
        self.plan.control().in_use.store(0, Ordering::Relaxed);
        self.exec_error()
    }
}

impl Drop for Launch {
    fn drop(&mut self) {
        // A child that is still on its way reads the plan: better leaked than freed.
        if self.is_done() {
            // SAFETY: taken here only, and never used after.
            let plan = unsafe { ManuallyDrop::take(&mut self.plan) };
            plan.region.give_back();
        }
    }
}

/// Everything that the child reads, and the words that it and the kernel write.
#[derive(Debug)]
struct Plan {
    program: Arc<Program>,
    /// The addresses of the program's strings, ended by a null.
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    parent: u32,
    region: Region,
}

// SAFETY: the pointers are to strings that the plan owns, and nothing changes them.
unsafe impl Send for Plan {}

impl Plan {
    fn new(program: Arc<Program>) -> io::Result<Self> {
        let addresses = |strings: &[CString]| {
            strings
                .iter()
                .map(|string| string.as_ptr())
                .chain([ptr::null()])
                .collect()
        };
        Ok(Self {
            argv: addresses(&program.argv),
            env: addresses(&program.env),
            parent: super::proc_info::pid(),
            region: Region::get()?,
            program,
        })
    }

    fn control(&self) -> &Control {
        // SAFETY: the region holds one at its end, zeroed or written, as long as the plan lives.
        unsafe { self.region.control().as_ref() }
    }
}

impl Stdio {
    fn fd(&self) -> Option<RawFd> {
        match self {
            Self::Fd(fd) => Some(*fd),
            Self::Inherit | Self::Null => None,
        }
    }
}

/// Makes the child in this memory, on the region's stack.
fn clone_beside(plan: &Plan, more: libc::c_int) -> io::Result<u32> {
    let control = plan.control();
    control.in_use.store(1, Ordering::Relaxed);
    let flags = libc::CLONE_VM | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD | more;
    let argument = ptr::from_ref(plan).cast_mut().cast::<c_void>();
    let (none, word) = (ptr::null_mut::<c_void>(), control.in_use.as_ptr());
    let top = plan.region.control().as_ptr().cast();
    // SAFETY: the stack is the child's alone, and `enter` touches nothing but it, the plan and the control
    // words; all of them stay until `in_use` is cleared.
    let pid = unsafe { libc::clone(child::enter, top, flags, argument, none, none, word) };
    errno::check(pid).map(|pid| pid as u32)
}

/// Makes the child in a copy of this memory. By number: the C library's function would run the handlers that
/// others have registered for a fork, and take locks.
fn fork(plan: &Plan) -> io::Result<u32> {
    plan.control().in_use.store(1, Ordering::Relaxed);
    // SAFETY: the child runs on its copy of this stack and does what `enter` does.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    if pid == 0 {
        child::enter(ptr::from_ref(plan).cast_mut().cast());
    }
    errno::check_long(pid).map(|pid| pid as u32)
}

fn is_open(fd: RawFd) -> bool {
    // SAFETY: asks for flags only.
    unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
}
