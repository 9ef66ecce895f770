//! Waiting as an isolate does: its record stays in the list while its event loop sleeps in `epoll`, with a pipe for a doorbell.

use polyproc_arena::wait::{List, Sleeper};
use polyproc_arena::{Arena, Error, Member, Result};
use polyproc_sys::{clock, doorbell, epoll::Epoll};
use std::os::fd::{AsRawFd, OwnedFd};

/// The event loop of a process with one member.
#[derive(Debug)]
pub struct EventLoop {
    epoll: Epoll,
    bell: (OwnedFd, OwnedFd),
}

impl EventLoop {
    /// Makes the loop and hangs up its bell.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(arena: &Arena, me: &Member) -> Result<Self> {
        let system = |error| Error::System("an event loop", error);
        let bell = doorbell::pipe().map_err(system)?;
        let epoll = Epoll::new().map_err(system)?;
        epoll.add(bell.0.as_raw_fd(), 0).map_err(system)?;
        arena.hang_bell(me, bell.1.as_raw_fd())?;
        Ok(Self { epoll, bell })
    }

    /// Waits until `ready`, or until `deadline` (ns of the monotonic clock).
    ///
    /// # Errors
    /// What `ready` says; `OutOfMemory`.
    pub fn wait(
        &self,
        arena: &Arena,
        me: &Member,
        list: List,
        deadline: u64,
        mut ready: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let record = arena.enter_list(me, list, Sleeper::Isolate, clock::now())?;
        let mut rung = Vec::new();
        let outcome = loop {
            match ready() {
                Ok(false) if clock::now() < deadline => {}
                Ok(is_ready) => break Ok(is_ready),
                Err(error) => break Err(error),
            }
            arena.watch_out(me)?;
            if !arena.is_dirty(me)? && arena.park(me)? {
                let slept = self.epoll.wait(&mut rung, Some(deadline));
                slept.map_err(|error| Error::System("an event loop", error))?;
                doorbell::clear(self.bell.0.as_raw_fd());
            }
            arena.unpark(me)?;
            arena.take_dirty(me)?;
            arena.acknowledge(record)?;
        };
        if arena.leave_list(me, record)? && !matches!(outcome, Ok(true)) {
            arena.wake_one(me, list)?;
        }
        outcome.map(drop)
    }
}
