//! The board of a pool: what has become of each task, told by one word a task.
//!
//! [`row`] is that word and how it changes: the protocol, apart from where the words lie. [`board`] is the
//! shared object, [`seat`] what stands on it about each thread that submits or works, [`lane`] the rows of one
//! submitter, [`keeper`] who starts, replaces and ends the workers. `docs/pool.md` tells how they work together.

pub mod row;

#[cfg(not(loom))]
pub mod board;
#[cfg(not(loom))]
pub mod hired;
#[cfg(not(loom))]
pub mod keeper;
#[cfg(not(loom))]
pub mod lane;
#[cfg(not(loom))]
mod recover;
#[cfg(not(loom))]
pub mod seat;

#[cfg(not(loom))]
pub use board::Board;
#[cfg(not(loom))]
pub use lane::{Lane, Ticket};
#[cfg(not(loom))]
pub use recover::BoardKind;
pub use row::{Claim, Stop, Worker};
