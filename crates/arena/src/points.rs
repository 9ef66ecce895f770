//! Points: the places where a process can die.
//!
//! Every access to a shared word goes through [`crate::primitive`], and in a build with the feature
//! `points` each access calls the hook below, before and after it. A test installs a hook that kills
//! the process at a chosen point, or one that hands control to an explorer. A point is named by the
//! source line of the access, so none can be forgotten and none has to be numbered.
//!
//! A test that runs several processes of a family as coroutines of one thread also answers what the
//! machine would: see [`Machine`].
//!
//! Without the feature this module is empty and the accesses are bare atomics.

use std::panic::Location;
use std::sync::OnceLock;

/// What the access does to shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads one word, or copies payload bytes out.
    Load,
    /// Changes one word (store, swap, compare-and-swap).
    Write,
    /// Copies payload bytes in; counts as one store.
    Bytes,
}

/// On which side of the access the hook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Edge {
    /// The access has not happened.
    Before,
    /// The access has happened.
    After,
}

/// One call of the hook.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// Source position of the protocol step.
    pub place: &'static Location<'static>,
    /// Read or write.
    pub access: Access,
    /// Before or after.
    pub edge: Edge,
    /// Address of the word in this process.
    pub address: usize,
    /// Bytes that the access covers: 8 for a word, 4 for a flag, any number for payload.
    pub len: usize,
}

/// A hook; called on the thread that makes the access.
pub type Hook = fn(&Point);

static HOOK: OnceLock<Hook> = OnceLock::new();

/// Installs the hook of this process, once.
///
/// # Errors
/// Returns the hook back when another one is installed already.
pub fn install(hook: Hook) -> Result<(), Hook> {
    HOOK.set(hook)
}

/// What an explorer does in place of the machine for the processes that it runs itself. Each function
/// says whether it did; on threads where no simulated process runs it answers no, and the machine acts.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// Time in ns, if it is simulated.
    pub now: fn() -> Option<u64>,
    /// The process looks again and again at a word that another one has to change; which turn this is.
    pub relax: fn(u32) -> bool,
    /// Sleeps on the futex at an address while it holds a value.
    pub sleep: fn(usize, u32) -> Option<polyproc_sys::futex::Wait>,
    /// Wakes those who sleep on the futex at an address.
    pub wake: fn(usize) -> bool,
    /// Rings the doorbell of the isolate with that name.
    pub bell: fn(u64) -> bool,
}

static MACHINE: OnceLock<Machine> = OnceLock::new();

/// Installs the machine of this process, once.
///
/// # Errors
/// Returns it when another one is installed already.
pub fn simulate(machine: Machine) -> Result<(), Machine> {
    MACHINE.set(machine)
}

#[inline]
pub(crate) fn machine() -> Option<&'static Machine> {
    MACHINE.get()
}

/// True on a thread where a simulated process runs: nothing may depend on the real time there.
#[must_use]
pub fn is_simulated() -> bool {
    machine().is_some_and(|machine| (machine.now)().is_some())
}

#[inline]
pub(crate) fn hit(place: &'static Location<'static>, access: Access, edge: Edge, address: usize, len: usize) {
    if let Some(hook) = HOOK.get() {
        hook(&Point {
            place,
            access,
            edge,
            address,
            len,
        });
    }
}
