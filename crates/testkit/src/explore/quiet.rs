//! Panics that are expected: they are looked at by who catches them and need not be printed. Where an
//! execution is found to be wrong, [`Explorer::run`](super::Explorer::run) panics aloud, with the moves
//! that lead there.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Catches what `f` panics with and prints nothing about it; the panics of other threads are printed as
/// before.
///
/// # Errors
/// What `f` panicked with.
pub fn caught<R>(f: impl FnOnce() -> R) -> std::thread::Result<R> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let aloud = take_hook();
        set_hook(Box::new(move |panic| {
            if !EXPECTED.get() {
                aloud(panic);
            }
        }));
    });
    let before = EXPECTED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(f));
    EXPECTED.set(before);
    outcome
}
