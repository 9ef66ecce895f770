//! Turning the return values of system calls into `io::Result`.

use std::io;

/// The system's error number of the last failed call on this thread.
pub(super) fn last() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// `-1` becomes the error of the last call, anything else is handed through.
pub(super) fn check(result: i32) -> io::Result<i32> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// [`check`] for calls made by number, which return a long.
pub(super) fn check_long(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// [`check_long`], repeated for as long as a signal cuts the call short.
pub(super) fn retry(mut call: impl FnMut() -> libc::c_long) -> io::Result<libc::c_long> {
    loop {
        match check_long(call()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Old kernels answer `ENOSYS`, old container sandboxes `EPERM`: both mean that the call is not to be
/// had here, which callers recognise by one error kind.
pub(super) fn absent_is_unsupported(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM) => io::Error::new(io::ErrorKind::Unsupported, error),
        _ => error,
    }
}

/// An `InvalidInput` error with a sentence in it.
pub(super) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}
