//! Being inside under loom: nobody looks at what has been given back.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use polyproc_arena::map::Map;
use polyproc_arena::model::{expect_failure, run};
use polyproc_arena::primitive::Ordering::{Acquire, Relaxed, Release};
use polyproc_channel::inside;

const SOURCE: (&str, &str) = ("src/inside.rs", include_str!("../src/inside.rs"));
const QUEUE: u64 = 7;
/// The chain: 1 leads to the segment, 0 nowhere.
const CHAIN: u64 = 0;
/// The segment: 1 while it is one, 0 once it has been given back.
const SEGMENT: u64 = 64;
/// The word of the one who is inside.
const WORD: u64 = 128;

fn one_looks_and_one_gives_back() {
    run(0, || {
        let map = Arc::new(Map::model(192));
        map.word(CHAIN).unwrap().store(1, Relaxed);
        map.word(SEGMENT).unwrap().store(1, Relaxed);
        let other = map.clone();
        let looker = thread::spawn(move || {
            for _ in 0..2 {
                let inside = inside::enter(other.word(WORD).unwrap(), QUEUE);
                if other.word(CHAIN).unwrap().load(Acquire) == 1 {
                    let segment = other.word(SEGMENT).unwrap().load(Relaxed);
                    assert_eq!(segment, 1, "what was given back is looked at");
                }
                drop(inside);
            }
        });
        map.word(CHAIN).unwrap().store(0, Release);
        inside::taken_out();
        if inside::is_inside(map.word(WORD).unwrap(), QUEUE).is_none() {
            map.word(SEGMENT).unwrap().store(0, Relaxed);
        }
        looker.join().unwrap();
    });
}

#[test]
fn nobody_looks_at_what_was_given_back() {
    one_looks_and_one_gives_back();
}

#[test]
fn mutant_entering_does_not_fence() {
    expect_failure(SOURCE, ("pub fn enter", "fence("), one_looks_and_one_gives_back);
}

#[test]
fn mutant_taking_out_does_not_fence() {
    expect_failure(
        SOURCE,
        ("pub fn taken_out", "fence("),
        one_looks_and_one_gives_back,
    );
}
