//! A process and everything that descends from it.
//!
//! A tree that goes on forking cannot be listed: what is found is out of date. So [`signal_tree`] stops each
//! process before it lists its children, and looks again until nothing new turns up and all stand still;
//! then each gets the signal, and is continued. A stopped parent reaps nobody, so the pids found stay the
//! children's.
//!
//! What escapes: a process whose parent has ended before, since the kernel has given it another parent (a
//! daemon in the classic sense), and one of another user. Should this process end between stopping and
//! continuing, the tree stays stopped.

use crate::children::gone;
use polyproc_sys::pidfd::PidFd;
use polyproc_sys::proc_info::{self, State};
use polyproc_sys::{clock, signal};
use std::collections::HashSet;
use std::io;
use std::time::Duration;

const KILL: i32 = 9;
const CONTINUE: i32 = 18;
const STOP: i32 = 19;
/// How long a stop may take, in nanoseconds: a process inside a slow system call (a dead network drive) makes
/// no child there, but does not stop either.
const PATIENCE: u64 = 100_000_000;

/// The process and its descendants at this moment, parents before their children; empty when there is no such
/// process. Those that are made meanwhile may be missed.
pub fn tree(pid: u32) -> Vec<u32> {
    if proc_info::state(pid) == State::Ended {
        return Vec::new();
    }
    let mut found = vec![pid];
    let mut seen = HashSet::from([pid]);
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        next += 1;
        found.extend(
            proc_info::children_of(parent)
                .into_iter()
                .filter(|child| seen.insert(*child)),
        );
    }
    found
}

/// Sends a signal to the process and every descendant alive now, also those that it starts while this runs,
/// and says whom it was sent to. Blocks for at most some 100 ms. If this process is one of them, it gets
/// the signal last.
///
/// # Errors
/// `NotFound` when there is no such process, or it has ended; `EPERM` when it is another user's; `InvalidInput` for what
/// is no signal. Descendants that cannot be reached are left out.
pub fn signal_tree(pid: u32, sig: i32) -> io::Result<Vec<u32>> {
    signal_from(Member::root(pid)?, sig)
}

pub(crate) fn signal_from(root: Member, sig: i32) -> io::Result<Vec<u32>> {
    // Asked before anybody is stopped: whether it may be done at all, and whether that is a signal.
    root.send(0)?;
    if !(0..=signal::MAX).contains(&sig) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let me = proc_info::pid();
    let mut members = vec![root];
    stop_all(&mut members, me);

    members.sort_by_key(|member| member.pid == me);
    let mut reached = Vec::new();
    for member in &members {
        if member.pid != me && member.send(sig).is_ok() {
            reached.push(member.pid);
        }
        if member.pid != me && sig != STOP && sig != KILL {
            let _ = member.send(CONTINUE);
        }
    }
    if members.iter().any(|member| member.pid == me) {
        reached.push(me);
        signal::kill(me, sig)?;
    }
    Ok(reached)
}

/// Stops the members and their descendants, who become members, until a look finds nobody new and everybody
/// stopped.
fn stop_all(members: &mut Vec<Member>, me: u32) {
    let mut seen: HashSet<u32> = members.iter().map(|member| member.pid).collect();
    let end = clock::now() + PATIENCE;
    for member in members.iter().filter(|member| member.pid != me) {
        let _ = member.send(STOP);
    }
    loop {
        let quiet = members
            .iter()
            .all(|member| member.pid == me || member.state() != State::Alive);
        let mut next = 0;
        let before = members.len();
        while let Some(parent) = members.get(next).map(|member| member.pid) {
            next += 1;
            for child in proc_info::children_of(parent) {
                if !seen.contains(&child)
                    && let Some(member) = Member::child(child, parent)
                {
                    seen.insert(child);
                    if child != me {
                        let _ = member.send(STOP);
                    }
                    members.push(member);
                }
            }
        }
        // The look that finds nobody must have begun when all stood still.
        let complete = quiet && members.len() == before;
        if complete || clock::now() > end {
            return;
        }
        if members.len() == before {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

/// A process of the tree, held so that its pid cannot come to mean another, where the kernel offers that.
pub(crate) struct Member {
    pid: u32,
    held: Option<PidFd>,
}

impl Member {
    pub(crate) fn root(pid: u32) -> io::Result<Self> {
        let member = Self::hold(pid).ok_or_else(gone)?;
        // Held first, looked at then: a zombie whose end is about to be told is nobody to signal.
        if member.state() == State::Ended {
            Err(gone())
        } else {
            Ok(member)
        }
    }

    /// `None` when it has ended meanwhile, or its pid is a stranger's by now.
    fn child(pid: u32, parent: u32) -> Option<Self> {
        let member = Self::hold(pid)?;
        (proc_info::parent_of(pid) == Some(parent)).then_some(member)
    }

    fn hold(pid: u32) -> Option<Self> {
        match PidFd::open(pid) {
            Ok(held) => Some(Self {
                pid,
                held: Some(held),
            }),
            // Without: old kernels, sandboxes, no descriptors left.
            Err(_) => (proc_info::state(pid) != State::Ended).then_some(Self { pid, held: None }),
        }
    }

    fn send(&self, sig: i32) -> io::Result<()> {
        match &self.held {
            Some(held) => held.send_signal(sig),
            None => signal::kill(self.pid, sig),
        }
    }

    fn state(&self) -> State {
        proc_info::state(self.pid)
    }
}
