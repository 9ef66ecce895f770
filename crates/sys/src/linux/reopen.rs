//! Opening what another process has open, through `/proc/<pid>/fd`.

use super::errno;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Opens `path` if it is of `kind` (`S_IFREG`, `S_IFIFO`), with `access` plus NONBLOCK and CLOEXEC.
///
/// A pid or a number may have changed hands since the caller learnt it, and opening a stranger's file can
/// do things (a watchdog starts, a tape rewinds). So the place is pinned first without opening it.
pub(super) fn descriptor(path: &str, kind: libc::mode_t, access: libc::c_int) -> io::Result<OwnedFd> {
    let pinned = open(path, libc::O_PATH | libc::O_CLOEXEC)?;
    if mode(pinned.as_raw_fd())? & libc::S_IFMT != kind {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the descriptor there is of another kind",
        ));
    }
    let again = format!("/proc/self/fd/{}", pinned.as_raw_fd());
    let flags = access | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
    open(&again, flags)
}

fn open(path: &str, flags: libc::c_int) -> io::Result<OwnedFd> {
    let path = CString::new(path).map_err(|_| errno::invalid("the path has a NUL in it"))?;
    // SAFETY: the path is a C string that outlives the call.
    let fd = errno::retry(|| unsafe { libc::open(path.as_ptr(), flags) }.into())?;
    // SAFETY: just opened, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn mode(fd: RawFd) -> io::Result<libc::mode_t> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `stat` is a valid place for the answer.
    errno::check(unsafe { libc::fstat(fd, stat.as_mut_ptr()) })?;
    // SAFETY: filled, since the call succeeded.
    Ok(unsafe { stat.assume_init() }.st_mode)
}
