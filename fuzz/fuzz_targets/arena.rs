//! Scribbles over a populated arena and runs its operations, steered by coverage.
#![no_main]

use libfuzzer_sys::fuzz_target;
use polyproc_testkit::scribble::Ground;
use std::cell::OnceCell;

thread_local! {
    static GROUND: OnceCell<Ground> = const { OnceCell::new() };
}

fuzz_target!(|input: &[u8]| GROUND.with(|ground| ground.get_or_init(Ground::new).run(input)));
