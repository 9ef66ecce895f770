//! Many wait and all may go: each sleeps once, is woken once, and finds what it has been woken for.
#![allow(clippy::print_stdout, reason = "what was counted is shown")]

use polyproc_testkit::harness::{Actor, Ground, PATIENCE};
use polyproc_testkit::herd::sleeps;

const ACTOR: &str = env!("CARGO_BIN_EXE_polyproc-actor");
const MANY: usize = 64;
/// Context switches of each from when it may go until it has gone.
const MOST: u64 = 2;

/// How often each of 64 goes to sleep again after it may go.
fn let_go(kind: &str) {
    let ground = Ground::new(ACTOR);
    let many = MANY.to_string();
    let mut shepherd = ground.start(&["shepherd", kind, &many]);
    let herd: Vec<Actor> = (0..MANY).map(|_| ground.start(&["herd", kind, &many])).collect();
    assert_eq!(shepherd.hear(PATIENCE).as_deref(), Some("all"));
    for one in &herd {
        one.until_state("S");
    }
    let before: Vec<u64> = herd.iter().map(|one| sleeps(&one.pid().to_string())).collect();
    shepherd.tell("go");
    let mut all = Vec::new();
    for (one, before) in herd.iter().zip(before) {
        let said = one.hear(PATIENCE).expect("it comes through");
        let after: u64 = said
            .strip_prefix("through ")
            .and_then(|count| count.parse().ok())
            .expect(&said);
        all.push(after - before);
    }
    println!(
        "{kind}: {MANY} of them slept {} times more, one {} times",
        all.iter().sum::<u64>(),
        all.iter().max().expect("some")
    );
    assert!(all.iter().all(|sleeps| *sleeps <= MOST), "{all:?}");
}

#[test]
fn all_who_are_notified() {
    let_go("condition");
}

#[test]
fn all_who_meet_at_a_barrier() {
    let_go("barrier");
}
