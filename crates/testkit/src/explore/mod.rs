//! The explorer: shipping protocols, in every order, with kill as a move.
//!
//! Each process of a [`Scenario`] runs as a coroutine that is suspended before every access to a word
//! that others access too. The explorer tries what can happen next, one after the other, depth first,
//! by running again from the start; it turns back where it has been before. A *state* is the memory and,
//! for each process, all that it has read so far, which stands for its local variables.
//!
//! Moves:
//! - **step**: a process makes its next shared access, and goes on to the one after;
//! - **kill**: it makes none any more, and its slot says that it is dead;
//! - **tire**: what it waits for takes too long: its deadline passes, or the patience of a recoverer runs
//!   out. Being *stopped* (SIGSTOP) is being given no step for a long time, which depth-first search does
//!   at every access; what only a stopped process brings about is that others tire of it;
//! - **rest**: nobody can make a step; a process that takes no other part recovers the dead, as the
//!   watchers of a real family would.
//!
//! At the end the survivors' outcomes, the checker's books and the scenario's own invariants must agree,
//! and nobody may sleep or wait who has something to do. Words that only one process accesses (its
//! recoverer counts as another) need no suspension: which they are is learnt on the way, and the
//! exploration begins anew when one more turns out to be shared.

mod machine;
mod process;
mod quiet;
mod run;
mod search;
mod world;

use crate::family::Family;
use polyproc_arena::layout::Layout;
use polyproc_arena::{Arena, Member};
use world::World;

pub use quiet::caught;
pub use search::Explorer;

/// A small arena: 512 KiB of data is enough for any scenario.
pub(crate) const BYTES: usize = 1 << 20;

pub(crate) fn layout() -> Layout {
    Layout::with(BYTES as u64, 8, 32, 8, 64)
}

/// Protocols in concert, and what must be true of them at the end.
pub trait Scenario {
    /// What the processes are given: handles, mostly.
    type Shared;

    /// Makes what the processes meet. Process `processes()` of the family, the warden, takes no other
    /// part and is never killed.
    fn setup(&self, family: &Family) -> Self::Shared;

    /// What process `me.p` does.
    fn run(&self, me: &Actor<'_>, shared: &Self::Shared);

    /// Called at rest, with the dead recovered: what is wrong, if anything is. It may let go of what
    /// survivors hold, in their name. The checker has found no fault before, and looks again after.
    ///
    /// # Errors
    /// What is wrong.
    fn at_rest(&self, family: &Family, shared: &Self::Shared, end: &End) -> Result<(), String>;

    /// Whether process `p` may sleep when all others are at rest. No, unless said otherwise.
    fn may_sleep(&self, _family: &Family, _shared: &Self::Shared, _p: usize) -> bool {
        false
    }
}

/// A process, as its own code sees it.
#[derive(Debug)]
pub struct Actor<'a> {
    /// Its number in the family.
    pub p: usize,
    /// Its arena.
    pub arena: &'a Arena,
    /// Its member.
    pub me: &'a Member,
    /// Itself and the others.
    pub family: &'a Family,
    world: &'a World,
}

impl Actor<'_> {
    /// Notes what an operation returned, for [`Scenario::at_rest`].
    pub fn note(&self, outcome: u64) {
        self.world.processes[self.p].outcomes.borrow_mut().push(outcome);
    }

    /// Sleeps until this isolate's doorbell is rung, as its event loop would.
    pub fn hear_bell(&self) {
        machine::hear(self.world, self.p);
    }
}

/// How an execution ended.
#[derive(Debug, Clone)]
pub struct End {
    /// For each process, what it noted.
    pub outcomes: Vec<Vec<u64>>,
    /// For each process, whether it was killed.
    pub killed: Vec<bool>,
    /// For each process, whether it still sleeps.
    pub asleep: Vec<bool>,
}

/// What was explored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Different states.
    pub states: usize,
    /// Runs from the start.
    pub executions: usize,
    /// Most moves in one run.
    pub depth: usize,
}
