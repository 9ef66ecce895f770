//! The Node-API surface: one file a noun, and no logic. Everything below knows nothing of JavaScript;
//! everything above is TypeScript.

mod bare;
mod barrier;
mod batch;
mod board;
mod condition;
mod connection;
mod event;
mod event_loop;
mod failure;
mod family;
mod isolate;
mod joinable_queue;
mod lock;
mod memory;
mod pool;
mod process;
mod queue;
mod received;
mod semaphore;
mod shared;
mod waits;

use napi_derive::napi;

/// The version of the native part, equal to the package's.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
