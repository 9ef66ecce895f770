//! Children as members of the family.
//!
//! `polyproc-process` starts and reaps, `polyproc-arena` knows who is alive; here the two meet: a child
//! has a place in the arena before it exists, finds there what it is to run, and everybody in the family
//! can wait for its end.

pub mod boot;
pub mod children;
pub mod compiled;
pub mod environment;

pub use children::{Key, Started, start};
