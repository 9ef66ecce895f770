//! Every write to shared memory, in every operation: a real process is killed right before it and right
//! after it, in its main thread and in a worker thread, and those that are left go on.
#![allow(clippy::print_stdout, reason = "what was counted and measured is shown")]

use polyproc_testkit::harness::{Ground, Stage, chaos, choose};
use polyproc_testkit::operations;
use polyproc_testkit::points_run::KILL;
use std::collections::BTreeMap;

/// An operation does not pass the same points each time: another survivor may have been faster.
const RETRIES: u64 = 3;
const ACTOR: &str = env!("CARGO_BIN_EXE_polyproc-actor");

/// Kills at all points of the operations, and says for each how many there were.
#[expect(clippy::print_stdout, reason = "the table is what a person runs this for")]
fn kill_at_every_point(names: &[&str]) {
    let mut stage = Stage::new(ACTOR);
    let mut faults = Vec::new();
    for name in names {
        let operation = operations::by_name(name).expect("an operation");
        let recorded = stage.run(operation, "main", "-");
        assert_eq!(recorded.fault, None, "{name}, unharmed");
        assert!(recorded.ended.done, "{name} returns");
        assert!(!recorded.ended.points.is_empty(), "{name} passes points");
        let left = stage.run(operation, "leave", "-");
        assert_eq!(left.fault, None, "{name}, in a worker that leaves");
        let (passages, times) = if chaos() { (20, 10) } else { (3, 1) };
        let mut hits: BTreeMap<_, u64> = BTreeMap::new();
        let spots = choose(&recorded.ended.points, passages);
        let modes: &[&str] = if operation.joins {
            &["main"]
        } else {
            &["main", "worker"]
        };
        for spot in &spots {
            let place = (spot.file.clone(), spot.line, spot.column, spot.after);
            for mode in modes {
                let mut left = times;
                for _ in 0..times + RETRIES {
                    if left == 0 {
                        break;
                    }
                    let outcome = stage.run(operation, mode, &spot.to_string());
                    let hit = u64::from(outcome.ended.signal == Some(KILL));
                    *hits.entry(place.clone()).or_default() += hit;
                    left -= hit;
                    if let Some(fault) = outcome.fault {
                        faults.push(format!("{name} in {mode}, {spot}: {fault}"));
                        // The books no longer say anything.
                        stage = Stage::new(ACTOR);
                    }
                }
            }
        }
        let missed: Vec<_> = hits.iter().filter(|(_, hits)| **hits == 0).collect();
        println!(
            "{name:12} {:3} places, {:5} points, {:5} kills, {} never hit",
            hits.len() / 2,
            spots.len(),
            hits.values().sum::<u64>(),
            missed.len()
        );
        for ((file, line, column, after), _) in missed {
            println!("    never hit: {file}:{line}:{column} after: {after}");
        }
        assert!(faults.len() < 10, "{faults:#?}");
    }
    assert!(faults.is_empty(), "{faults:#?}");
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
    kill_at_every_point(&["put-inline", "put-block", "put-large", "put-handle", "grow"]);
}

#[test]
fn gets() {
    kill_at_every_point(&["get-inline", "get-block", "get-handle", "retire", "shut-down"]);
}

#[test]
fn waits() {
    kill_at_every_point(&["wait", "wake-getter", "wake-all", "wake-putter"]);
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
