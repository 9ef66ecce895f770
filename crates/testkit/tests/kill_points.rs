//! Every write to shared memory, in every operation: a real process is killed right before it and right
//! after it, in its main thread and in a worker thread, and those that are left go on.
#![allow(clippy::print_stdout, reason = "what was counted and measured is shown")]

use polyproc_testkit::harness::{Ground, Stage, chaos, choose};
use polyproc_testkit::kill_points;
use polyproc_testkit::points_run::KILL;

const ACTOR: &str = env!("CARGO_BIN_EXE_polyproc-actor");

fn kill_at_every_point(names: &[&str]) {
    kill_points::kill_at_every_point(ACTOR, names, 3, |stage, operation, mode, spot| {
        stage.run(operation, mode, spot)
    });
}

/// The first process of a family is killed while nothing is there yet; others come later.
#[test]
fn the_first_of_a_family() {
    let ground = Ground::new(ACTOR);
    let recorded = ground.start(&["victim", "found", "main", "0", "-", "0"]).finish();
    assert!(recorded.done, "{:?}", recorded.said);
    let books = Stage::on(ground).books().to_owned();
    let (passages, times) = if chaos() { (20, 20) } else { (2, 1) };
    let spots = choose(&recorded.points, passages);
    let mut kills = 0;
    for spot in &spots {
        for _ in 0..times {
            let ground = Ground::new(ACTOR);
            let words = [
                "victim",
                "found",
                "main",
                "0",
                &spot.to_string(),
                &KILL.to_string(),
            ];
            kills += u64::from(ground.start(&words).finish().signal == Some(KILL));
            assert_eq!(Stage::on(ground).books(), books, "{spot}");
        }
    }
    println!("found        {:3} points, {kills} kills", spots.len());
    // Two threads join at the same time, so a passage more or less may be seen.
    assert!(kills * 10 >= spots.len() as u64 * times * 9, "{kills} kills");
}

#[test]
fn joining_and_members() {
    kill_at_every_point(&["join", "member", "spawn", "collect"]);
}

#[test]
fn memory() {
    kill_at_every_point(&[
        "alloc-small",
        "free-small",
        "alloc-class",
        "alloc-large",
        "free-large",
        "trim",
    ]);
}

#[test]
fn objects() {
    kill_at_every_point(&["create", "close", "open", "release", "name", "unname"]);
}

#[test]
fn puts() {
    kill_at_every_point(&[
        "put-inline",
        "put-block",
        "put-large",
        "put-handle",
        "put-two",
        "grow",
    ]);
}

#[test]
fn gets() {
    kill_at_every_point(&[
        "get-inline",
        "get-block",
        "get-handle",
        "get-two",
        "retire",
        "shut-down",
    ]);
}

#[test]
fn waits() {
    kill_at_every_point(&[
        "wait",
        "wake-getter",
        "wake-getter-two",
        "wake-all",
        "wake-putter",
    ]);
}

#[test]
fn hands() {
    kill_at_every_point(&["receive", "receive-block", "done", "done-block", "last-done"]);
}

#[test]
fn hands_of_the_dead() {
    kill_at_every_point(&["hold", "hold-block", "lose", "lose-block"]);
}

#[test]
fn retries_and_dead_letters() {
    kill_at_every_point(&["retry", "retry-block", "bury", "bury-block"]);
}
