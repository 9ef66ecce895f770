//! A process held by descriptor: its number cannot come to mean another process.

use super::{clock, errno};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A process, ours or not, alive or ended. Close-on-exec.
#[derive(Debug)]
pub struct PidFd {
    fd: OwnedFd,
}

impl PidFd {
    /// Opens the process that has this pid now.
    ///
    /// # Errors
    /// `Unsupported` on kernels before 5.3 and in sandboxes that refuse the call; `ESRCH` when there is no
    /// such process (a zombie still counts as one); `InvalidInput` for pid 0 and what is no pid.
    ///
    /// # Examples
    /// ```
    /// match polyproc_sys::pidfd::PidFd::open(std::process::id()) {
    ///     Ok(me) => assert!(!me.wait_exit(0)?),
    ///     Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::Unsupported),
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn open(pid: u32) -> io::Result<Self> {
        let pid = libc::pid_t::try_from(pid)
            .ok()
            .filter(|pid| *pid > 0)
            .ok_or_else(|| errno::invalid("not a pid"))?;
        // SAFETY: plain numbers; the kernel sets close-on-exec by itself.
        let fd = errno::check_long(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
            .map_err(errno::absent_is_unsupported)?;
        // SAFETY: just opened, so nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
        Ok(Self { fd })
    }

    /// Takes over a descriptor that the kernel gave with a new child.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Waits at most `timeout_ms` milliseconds (0: looks once; negative: for ever) for the process to end,
    /// and says whether it has. Ready only once its memory is torn down, which takes tens of milliseconds
    /// a GiB; a robust word says it earlier.
    ///
    /// # Errors
    /// Those of `poll`: `ENOMEM`.
    pub fn wait_exit(&self, timeout_ms: i32) -> io::Result<bool> {
        let end = u64::try_from(timeout_ms)
            .ok()
            .map(|ms| clock::now() + ms * 1_000_000);
        loop {
            let left = match end {
                None => -1,
                // Rounded up, so that the last slice does not spin through its last millisecond.
                Some(end) => end.saturating_sub(clock::now()).div_ceil(1_000_000) as i32,
            };
            let mut poll = libc::pollfd {
                fd: self.raw(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one valid pollfd.
            match errno::check(unsafe { libc::poll(&raw mut poll, 1, left) }) {
                Ok(ready) => return Ok(ready > 0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a signal (0: only asks whether one could be sent).
    ///
    /// # Errors
    /// `ESRCH` when the process has been reaped; `EPERM` when it is another user's; `EINVAL` for what is no
    /// signal.
    pub fn send_signal(&self, sig: i32) -> io::Result<()> {
        // SAFETY: a descriptor that is open, a number, no siginfo and no flags.
        errno::check_long(unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.raw(),
                sig,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        })
        .map(drop)
    }

    /// The descriptor's number, for `epoll` and `poll`; readable once the process has ended.
    pub fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
