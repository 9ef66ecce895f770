//! What the tests of shared memory are made of.
//!
//! [`family`] makes several "processes" over one piece of ordinary memory; [`explore`] runs the shipping
//! protocols in them, one shared access at a time, in every order, with kill as a move.
//!
//! The rest is about real processes:
//! - [`points_run`]: in a victim, the hook that records points or raises a signal at one;
//! - [`operations`]: what a victim does, and what may be in the queue afterwards;
//! - [`hands`]: the same of queues that are joined;
//! - [`sync_rounds`]: the same of locks, semaphores, conditions, events and barriers;
//! - [`pool_rounds`]: the same of the tasks of a pool;
//! - [`bytes_rounds`]: the same of a queue that may hold so many bytes;
//! - [`survivor`]: a process that works on, and answers questions over its pipes;
//! - [`herd`]: many that wait for one thing;
//! - [`roles`]: what other actors do;
//! - [`harness`]: in the test, victims and survivors as they are started and asked;
//! - [`kill_points`]: in the test, a victim killed at every point of its operation.
//!
//! And [`scribble`] writes over a populated arena while its operations run ([`scribble_sync`]: those of locks and the like).

pub mod bytes_rounds;
pub mod event_loop;
pub mod explore;
pub mod family;
pub mod guarded;
pub mod hands;
pub mod harness;
pub mod herd;
pub mod kill_points;
pub mod operations;
pub mod points_run;
pub mod pool_rounds;
pub mod roles;
pub mod scribble;
pub mod scribble_sync;
pub mod survivor;
pub mod sync_rounds;
