//! Points: the places where a process can die.
//!
//! Every access to a shared word goes through [`crate::primitive`], and in a build with the feature
//! `points` each access calls the hook below, before and after it. A test installs a hook that kills
//! the process at a chosen point, or one that hands control to an explorer. A point is named by the
//! source line of the access, so none can be forgotten and none has to be numbered.
//!
//! Without the feature this module is empty and the accesses are bare atomics.

use std::panic::Location;
use std::sync::OnceLock;

/// What the access does to shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads one word.
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

#[inline]
pub(crate) fn hit(place: &'static Location<'static>, access: Access, edge: Edge, address: usize) {
    if let Some(hook) = HOOK.get() {
        hook(&Point {
            place,
            access,
            edge,
            address,
        });
    }
}
