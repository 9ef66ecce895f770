//! Taking the exit status of a child, of that child only: others in this process (libuv) have theirs.

use super::errno;
use std::io;

/// What became of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaped {
    /// It has not ended.
    Running,
    /// It ended with this exit code, 0 to 255.
    Exited(i32),
    /// This signal ended it.
    Killed(i32),
    /// It is not, or no longer, a child whose status can be had: somebody else took it, or SIGCHLD is
    /// ignored.
    Gone,
}

/// Takes the status of the child `pid` if it has ended, without waiting. After `Exited` or `Killed` the pid
/// may come to mean another process.
///
/// # Errors
/// `InvalidInput` for pid 0 and what is no pid: never a group, never any child.
///
/// # Examples
/// ```
/// use polyproc_sys::reap::{Reaped, try_reap};
/// assert_eq!(try_reap(std::process::id())?, Reaped::Gone);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn try_reap(pid: u32) -> io::Result<Reaped> {
    let pid = libc::pid_t::try_from(pid)
        .ok()
        .filter(|pid| *pid > 0)
        .ok_or_else(|| errno::invalid("not a pid"))?;
    let mut status = 0;
    // SAFETY: `status` is a valid place for the answer.
    let result = errno::retry(|| unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) }.into());
    Ok(match result {
        Ok(0) => Reaped::Running,
        Ok(_) if libc::WIFEXITED(status) => Reaped::Exited(libc::WEXITSTATUS(status)),
        Ok(_) if libc::WIFSIGNALED(status) => Reaped::Killed(libc::WTERMSIG(status)),
        // A stop seen by a tracer: the child goes on.
        Ok(_) => Reaped::Running,
        Err(_) => Reaped::Gone,
    })
}
