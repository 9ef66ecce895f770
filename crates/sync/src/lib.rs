//! Locks and what is built like them, between processes and threads any of which may be killed.
//!
//! [`owned`] is the word of a lock, [`permits`] that of a semaphore and [`pulse`] that of an event: the protocols, each apart from
//! where its word lies. The others are the objects that users see. `docs/synchronize.md` tells how they work
//! together.

pub mod owned;
pub mod permits;
pub mod pulse;

#[cfg(not(loom))]
pub mod barrier;
#[cfg(not(loom))]
pub mod condition;
#[cfg(not(loom))]
pub mod event;
#[cfg(not(loom))]
pub mod lock;
#[cfg(not(loom))]
pub mod rlock;
#[cfg(not(loom))]
pub mod semaphore;

#[cfg(not(loom))]
pub use barrier::Barrier;
#[cfg(not(loom))]
pub use condition::Condition;
#[cfg(not(loom))]
pub use event::Event;
#[cfg(not(loom))]
pub use lock::Lock;
pub use owned::Acquired;
#[cfg(not(loom))]
pub use rlock::RLock;
#[cfg(not(loom))]
pub use semaphore::Semaphore;

/// All kinds of object of this crate, for [`polyproc_arena::Arena::over`] and `Family::join`.
#[cfg(not(loom))]
pub const KINDS: [(usize, &dyn polyproc_arena::object::Kind); 7] = [
    (lock::KIND, &lock::LockKind),
    (lock::REENTRANT, &lock::LockKind),
    (semaphore::KIND, &semaphore::SemaphoreKind),
    (semaphore::BOUNDED, &semaphore::SemaphoreKind),
    (condition::KIND, &condition::ConditionKind),
    (event::KIND, &event::EventKind),
    (barrier::KIND, &barrier::BarrierKind),
];
