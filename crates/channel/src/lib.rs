//! Queues between processes.
//!
//! [`slot`] is the protocol of one message's place, [`segment`] a row of such places, [`queue`] the
//! object that users see, with [`put`], [`get`], [`take`], [`chain`], [`room`], [`returned`], [`recover`] and [`joinable`] for its parts. [`connection`] is a
//! pair of them, [`memory`] what they hand over without a copy, [`number`] the shortest of messages.
//! `docs/queue.md` tells how they work together.

#[cfg(not(loom))]
pub mod chain;
#[cfg(not(loom))]
pub mod connection;
#[cfg(not(loom))]
pub mod envelope;
#[cfg(not(loom))]
pub mod get;
pub mod inside;
#[cfg(not(loom))]
pub mod joinable;
#[cfg(not(loom))]
pub mod memory;
pub mod number;
#[cfg(not(loom))]
pub mod put;
#[cfg(not(loom))]
pub mod queue;
#[cfg(not(loom))]
pub mod recover;
#[cfg(not(loom))]
pub mod returned;
#[cfg(not(loom))]
pub mod room;
#[cfg(not(loom))]
pub mod segment;
pub mod slot;
#[cfg(not(loom))]
pub mod take;

#[cfg(not(loom))]
pub use queue::{Gets, Got, Message, Next, Put, Puts, Queue, Received};
