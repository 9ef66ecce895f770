//! A descriptor by which one thread wakes another that sleeps in `epoll`.

use super::errno;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A flag that can be waited for. Non-blocking, close-on-exec.
#[derive(Debug)]
pub struct EventFd {
    fd: OwnedFd,
}

impl EventFd {
    /// A flag that is not set.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when there are too many descriptors.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes a number and flags only.
        let fd = errno::check(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })?;
        // SAFETY: just opened, so nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd })
    }

    /// Sets the flag: the descriptor is readable until [`EventFd::clear`]. Safe in any thread.
    pub fn signal(&self) {
        let one = 1_u64;
        // SAFETY: the eight bytes that an eventfd takes. It fails only when the counter is full, and then the
        // flag is set.
        unsafe { libc::write(self.raw(), (&raw const one).cast(), size_of::<u64>()) };
    }

    /// Takes the flag down, set or not. Look at what it announces after this, not before.
    pub fn clear(&self) {
        let mut count = 0_u64;
        // SAFETY: room for the eight bytes that an eventfd gives. It fails when the flag is not set.
        unsafe { libc::read(self.raw(), (&raw mut count).cast(), size_of::<u64>()) };
    }

    /// The descriptor's number.
    pub fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
