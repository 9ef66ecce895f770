//! The shared memory of a family of processes.
//!
//! One sparse memfd holds everything: who is alive ([`member`], [`process`]), blocks of memory
//! ([`units`], [`blocks`]), shared objects ([`object`], [`names`]), and who waits for what ([`wait`]).
//! Whatever takes more than one word is a guarded section ([`section`]); whatever the dead left is put
//! right by [`recovery`]. `docs/arena.md` tells the whole story.

pub mod error;
pub mod handshake;
pub mod layout;
pub mod map;
pub mod member;
#[cfg(loom)]
pub mod model;
#[cfg(feature = "points")]
pub mod points;
pub mod primitive;
pub mod section;
pub mod side;

#[cfg(not(loom))]
mod arena;
#[cfg(not(loom))]
pub mod attach;
#[cfg(not(loom))]
mod bells;
#[cfg(not(loom))]
pub mod block_on;
#[cfg(not(loom))]
pub mod blocks;
#[cfg(not(loom))]
pub mod check;
#[cfg(not(loom))]
pub mod names;
#[cfg(not(loom))]
pub mod object;
#[cfg(not(loom))]
mod pages;
#[cfg(not(loom))]
pub mod process;
#[cfg(not(loom))]
pub mod recovery;
#[cfg(not(loom))]
pub mod spin;
#[cfg(not(loom))]
pub mod units;
#[cfg(not(loom))]
pub mod wait;
#[cfg(not(loom))]
pub mod watch;

#[cfg(not(loom))]
pub use arena::{Arena, Chore, Guard, Member};
pub use error::{Error, Result};
pub use map::{Map, Offset};
pub use member::Name;
