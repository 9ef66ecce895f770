//! A pipe by which peers wake an event loop.
//!
//! The owner keeps both ends and has the read end in its loop's epoll. A peer opens the same pipe for
//! writing through `/proc/<pid>/fd`, which needs no connection, no name and no help from the owner.

use super::{errno, reopen};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// A new pipe, `(read, write)`, both ends non-blocking and close-on-exec. The owner keeps the write end
/// open too, so that the pipe never reads as ended when peers go.
///
/// # Errors
/// `EMFILE` or `ENFILE` when there are too many descriptors.
///
/// # Examples
/// ```
/// use std::os::fd::AsRawFd;
/// let (read, _write) = polyproc_sys::doorbell::pipe()?;
/// let peer = polyproc_sys::doorbell::open_peer(std::process::id(), read.as_raw_fd())?;
/// polyproc_sys::doorbell::ring(peer.as_raw_fd())?;
/// polyproc_sys::doorbell::clear(read.as_raw_fd());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: room for two numbers.
    errno::check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) })?;
    // SAFETY: just opened, so nobody else owns it.
    let read = unsafe { OwnedFd::from_raw_fd(fds[0]) };
    // SAFETY: as above.
    let write = unsafe { OwnedFd::from_raw_fd(fds[1]) };
    Ok((read, write))
}

/// Opens the pipe that process `pid` has at number `fd` (either end) for writing; non-blocking and
/// close-on-exec.
///
/// # Errors
/// `NotFound` when process, descriptor or `/proc` is gone; `PermissionDenied` when the process is another
/// user's or has changed its user; `InvalidData` when the number is something else by now; `ENXIO` when
/// nobody reads from the pipe any more.
pub fn open_peer(pid: u32, fd: RawFd) -> io::Result<OwnedFd> {
    reopen::descriptor(&format!("/proc/{pid}/fd/{fd}"), libc::S_IFIFO, libc::O_WRONLY)
}

/// Writes one byte. A pipe that is full has been rung already, so that is no error. Relies on SIGPIPE
/// being ignored, as it is in Node and in every Rust program.
///
/// # Errors
/// `BrokenPipe` when the owner is gone.
pub fn ring(fd: RawFd) -> io::Result<()> {
    // SAFETY: one byte from a constant.
    let written = errno::retry(|| unsafe { libc::write(fd, c"!".as_ptr().cast(), 1) } as libc::c_long);
    match written {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}

/// Reads until the pipe is empty. What is rung while this runs is either read here or left for the next
/// time, so look at what the bell announces *after* this.
pub fn clear(fd: RawFd) {
    let mut bytes = [0_u8; 512];
    loop {
        // SAFETY: the buffer is as long as is said.
        let read = errno::retry(
            || unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len()) } as libc::c_long,
        );
        match read {
            Ok(n) if n as usize == bytes.len() => {}
            _ => return,
        }
    }
}
