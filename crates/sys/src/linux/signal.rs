//! Signals: sending, names and masks.

use super::errno;
use std::io;
use std::mem::MaybeUninit;

/// The signals that have a name in Node, with the numbers of this architecture.
const NAMES: [(&str, i32); 33] = [
    ("SIGHUP", libc::SIGHUP),
    ("SIGINT", libc::SIGINT),
    ("SIGQUIT", libc::SIGQUIT),
    ("SIGILL", libc::SIGILL),
    ("SIGTRAP", libc::SIGTRAP),
    ("SIGABRT", libc::SIGABRT),
    ("SIGIOT", libc::SIGIOT),
    ("SIGBUS", libc::SIGBUS),
    ("SIGFPE", libc::SIGFPE),
    ("SIGKILL", libc::SIGKILL),
    ("SIGUSR1", libc::SIGUSR1),
    ("SIGSEGV", libc::SIGSEGV),
    ("SIGUSR2", libc::SIGUSR2),
    ("SIGPIPE", libc::SIGPIPE),
    ("SIGALRM", libc::SIGALRM),
    ("SIGTERM", libc::SIGTERM),
    ("SIGCHLD", libc::SIGCHLD),
    ("SIGSTKFLT", libc::SIGSTKFLT),
    ("SIGCONT", libc::SIGCONT),
    ("SIGSTOP", libc::SIGSTOP),
    ("SIGTSTP", libc::SIGTSTP),
    ("SIGTTIN", libc::SIGTTIN),
    ("SIGTTOU", libc::SIGTTOU),
    ("SIGURG", libc::SIGURG),
    ("SIGXCPU", libc::SIGXCPU),
    ("SIGXFSZ", libc::SIGXFSZ),
    ("SIGVTALRM", libc::SIGVTALRM),
    ("SIGPROF", libc::SIGPROF),
    ("SIGWINCH", libc::SIGWINCH),
    ("SIGIO", libc::SIGIO),
    ("SIGPOLL", libc::SIGPOLL),
    ("SIGPWR", libc::SIGPWR),
    ("SIGSYS", libc::SIGSYS),
];

/// The highest signal number.
pub const MAX: i32 = 64;

/// The number of a signal by its full name (`"SIGTERM"`); `None` for a name that does not exist.
///
/// # Examples
/// ```
/// assert_eq!(polyproc_sys::signal::number("SIGTERM"), Some(15));
/// assert_eq!(polyproc_sys::signal::name(15), Some("SIGTERM"));
/// ```
pub fn number(name: &str) -> Option<i32> {
    NAMES.iter().find(|(n, _)| *n == name).map(|(_, number)| *number)
}

/// The name of a signal by its number; the usual one of two (`SIGABRT`, not `SIGIOT`).
pub fn name(number: i32) -> Option<&'static str> {
    NAMES.iter().find(|(_, n)| *n == number).map(|(name, _)| *name)
}

/// Sends a signal to one process (0: only asks whether one could be sent). The pid must be known not to
/// have been reaped, or the signal may reach a stranger.
///
/// # Errors
/// `ESRCH` when there is no such process; `EPERM` when it is another user's; `InvalidInput` for pid 0 and
/// what is no pid (never a group, never everybody); `EINVAL` for what is no signal.
pub fn kill(pid: u32, sig: i32) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid)
        .ok()
        .filter(|pid| *pid > 0)
        .ok_or_else(|| errno::invalid("not a pid"))?;
    // SAFETY: plain numbers.
    errno::check(unsafe { libc::kill(pid, sig) }).map(drop)
}

/// The signals for which this process has a handler now: bit n-1 for signal n, as `SigCgt` of
/// `/proc/self/status`. Node itself has some from the start (SIGINT, SIGTERM, SIGUSR1), so compare with an
/// earlier answer.
pub fn handled_set() -> u64 {
    (1..=MAX).fold(0, |set, sig| {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: only asks; `action` is a valid place for the answer.
        let result = unsafe { libc::sigaction(sig, std::ptr::null(), action.as_mut_ptr()) };
        // SAFETY: zeroed at least, which is a valid value.
        let handler = unsafe { action.assume_init() }.sa_sigaction;
        // The C library refuses to tell of the two that it uses itself, which are nobody's handlers.
        let handled = result == 0 && handler != libc::SIG_DFL && handler != libc::SIG_IGN;
        set | u64::from(handled) << (sig - 1)
    })
}

/// Every signal blocked in the calling thread until this is dropped, which restores the mask from before.
#[derive(Debug)]
pub struct Blocked {
    before: libc::sigset_t,
    /// The mask is the thread's: it must be restored on the thread that it was taken from.
    _thread: std::marker::PhantomData<*const ()>,
}

/// Blocks every signal that can be blocked in the calling thread.
#[must_use = "the signals are unblocked again when the value is dropped"]
pub fn block_all() -> Blocked {
    let mut all = MaybeUninit::<libc::sigset_t>::zeroed();
    let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: a valid place for a set.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: one valid set to read, one place to write.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    Blocked {
        // SAFETY: filled by the call, and zeros would be a valid (empty) set.
        before: unsafe { before.assume_init() },
        _thread: std::marker::PhantomData,
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: a set that the kernel gave, and no place for the old one.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}
