//! Waiting for any of many descriptors to become readable.

use super::{clock, errno};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A set of descriptors, each with a number of the caller's by which it is told. Close-on-exec.
#[derive(Debug)]
pub struct Epoll {
    fd: OwnedFd,
}

impl Epoll {
    /// An empty set.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when there are too many descriptors.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::{epoll::Epoll, eventfd::EventFd};
    /// let (set, event) = (Epoll::new()?, EventFd::new()?);
    /// set.add(event.raw(), 7)?;
    /// event.signal();
    /// let mut ready = Vec::new();
    /// set.wait(&mut ready, None)?;
    /// assert_eq!(ready, [7]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes a flag only.
        let fd = errno::check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: just opened, so nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd })
    }

    /// Adds a descriptor, told as `token` for as long as it is readable. It leaves the set by itself when it
    /// is closed.
    ///
    /// # Errors
    /// `EEXIST` when it is in the set already; `ENOSPC` when the user has too many; `EPERM` for what cannot
    /// be waited for, a regular file.
    pub fn add(&self, fd: RawFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: token,
        };
        let set = self.fd.as_raw_fd();
        // SAFETY: a valid event, which the kernel copies.
        errno::check(unsafe { libc::epoll_ctl(set, libc::EPOLL_CTL_ADD, fd, &raw mut event) }).map(drop)
    }

    /// Waits until a descriptor is readable, the deadline (absolute, [`clock::now`]; `None`: for ever) has
    /// passed, or a signal came, and replaces what `ready` holds by the tokens of the readable ones, at most
    /// 64 at a time.
    ///
    /// # Errors
    /// None on a sound set.
    pub fn wait(&self, ready: &mut Vec<u64>, deadline: Option<u64>) -> io::Result<()> {
        ready.clear();
        let timeout = match deadline {
            None => -1,
            // Rounded up: a wait that ends before its deadline would be repeated at once, over and over.
            Some(deadline) => {
                let left = deadline.saturating_sub(clock::now()).div_ceil(1_000_000);
                i32::try_from(left).unwrap_or(i32::MAX)
            }
        };
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        let room = events.len() as libc::c_int;
        // SAFETY: room for that many events.
        let count = unsafe { libc::epoll_wait(self.fd.as_raw_fd(), events.as_mut_ptr(), room, timeout) };
        match errno::check(count) {
            Ok(count) => ready.extend(events.iter().take(count as usize).map(|event| event.u64)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
