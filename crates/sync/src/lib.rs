//! Locks and what is built like them, between processes and threads any of which may be killed.
//!
//! [`owned`] is the word of a lock and [`permits`] that of a semaphore: the protocols, each apart from where
//! its word lies. The others are the objects that users see. `docs/synchronize.md` tells how they work
//! together.

pub mod owned;
pub mod permits;

#[cfg(not(loom))]
pub mod lock;
#[cfg(not(loom))]
pub mod rlock;
#[cfg(not(loom))]
pub mod semaphore;

#[cfg(not(loom))]
pub use lock::Lock;
pub use owned::Acquired;
#[cfg(not(loom))]
pub use rlock::RLock;
#[cfg(not(loom))]
pub use semaphore::Semaphore;
