//! The explorer's scenarios, one file a subject. `npm test -- explorer` runs them; with
//! `POLYPROC_EXPLORE=deep` every bounded one goes a preemption further.

mod explorer;
mod joinable;
mod numbers;
mod objects;
mod pool;
mod queue;
mod recovery;
mod section;
mod sync;
mod wait;
