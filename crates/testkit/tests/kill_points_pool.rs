//! Every write to shared memory in every step of a task, and of those who submit and work: a real process is
//! killed right before it and right after it, and those that are left see every task come to its outcome.
#![allow(clippy::print_stdout, reason = "what was counted and measured is shown")]

use polyproc_testkit::harness::{Outcome, PATIENCE, PROMPT, Stage, chaos, choose};
use polyproc_testkit::operations;
use polyproc_testkit::points_run::KILL;
use polyproc_testkit::pool_rounds::has_sleeper;
use std::collections::BTreeMap;
use std::time::Duration;

const ACTOR: &str = env!("CARGO_BIN_EXE_polyproc-actor");
/// An operation does not pass the same points each time: another survivor may have been faster.
const RETRIES: u64 = 2;

/// One round: the victim runs and is killed at `spot` (`-`: it records), the survivors take stock.
fn run(stage: &mut Stage, name: &str, round: u64, mode: &str, spot: &str) -> Outcome {
    for survivor in &mut stage.survivors {
        assert_eq!(survivor.ask(&format!("pool begin {round}")), "begun");
    }
    assert_eq!(stage.survivors[0].ask(&format!("pool hold {name}")), "held");
    if has_sleeper(name) {
        stage.survivors[1].tell(&format!("pool beside {name}"));
        // Past its spinning.
        std::thread::sleep(Duration::from_millis(2));
    }
    let words = ["victim", name, mode, &round.to_string(), spot, &KILL.to_string()];
    let ended = stage.ground.start(&words).finish();
    let fault = ended
        .said
        .first()
        .map(|said| format!("the victim said {said:?}"))
        .or_else(|| take_stock(stage, name));
    Outcome { ended, fault }
}

fn take_stock(stage: &mut Stage, name: &str) -> Option<String> {
    // What was killed is recovered before anybody helps.
    let mut woken = None;
    if has_sleeper(name) {
        woken = stage.survivors[1].hear(Duration::from_millis(20));
    }
    if woken.is_none() {
        let done = stage.survivors[0].ask(&format!("pool after {name}"));
        if done != "done" {
            return Some(done);
        }
        if has_sleeper(name) {
            woken = stage.survivors[1].hear(PROMPT);
        }
    } else {
        stage.survivors[0].tell(&format!("pool after {name}"));
        stage.survivors[0].hear(PATIENCE)?;
    }
    if has_sleeper(name) && woken.as_deref() != Some("woken") {
        return Some(format!("the sleeper: {woken:?}"));
    }
    let judged = stage.survivors[0].ask(&format!("pool judge {name}"));
    if judged != "right" {
        return Some(judged);
    }
    for survivor in &mut stage.survivors {
        let ended = survivor.ask("pool end");
        if ended != "ended" {
            return Some(ended);
        }
    }
    match stage.settle() {
        Err(faults) => Some(faults),
        Ok(books) => (books != stage.books())
            .then(|| format!("objects and blocks were {} and are {books}", stage.books())),
    }
}

/// Kills at all points of the operations, and says for each how many there were.
fn kill_at_every_point(names: &[&str]) {
    let mut stage = Stage::new(ACTOR);
    let mut round = 0;
    let mut faults = Vec::new();
    for name in names {
        assert!(operations::by_name(name).is_some(), "{name}");
        let mut once = |stage: &mut Stage, mode: &str, spot: &str| {
            round += 1;
            run(stage, name, round, mode, spot)
        };
        let recorded = once(&mut stage, "main", "-");
        assert_eq!(recorded.fault, None, "{name}, unharmed");
        assert!(recorded.ended.done && !recorded.ended.points.is_empty(), "{name}");
        let left = once(&mut stage, "leave", "-");
        assert_eq!(left.fault, None, "{name}, in a worker that leaves");
        let (passages, times) = if chaos() { (20, 5) } else { (2, 1) };
        let mut hits: BTreeMap<_, u64> = BTreeMap::new();
        let spots = choose(&recorded.ended.points, passages);
        for (k, spot) in spots.iter().enumerate() {
            // In the main thread and in a worker thread, turn and turn about.
            let mode = if k % 2 == 0 { "main" } else { "worker" };
            let place = (spot.file.clone(), spot.line, spot.column, spot.after);
            let mut left = times;
            for _ in 0..times + RETRIES {
                if left == 0 {
                    break;
                }
                let outcome = once(&mut stage, mode, &spot.to_string());
                let hit = u64::from(outcome.ended.signal == Some(KILL));
                *hits.entry(place.clone()).or_default() += hit;
                left -= hit.min(left);
                if let Some(fault) = outcome.fault {
                    faults.push(format!("{name} in {mode}, {spot}: {fault}"));
                    // The books no longer say anything.
                    stage = Stage::new(ACTOR);
                }
            }
        }
        let missed: Vec<_> = hits.iter().filter(|(_, hits)| **hits == 0).collect();
        println!(
            "{name:24} {:3} places, {:4} points, {:4} kills, {} never hit",
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

#[test]
fn workers() {
    kill_at_every_point(&["pool-work", "pool-enter"]);
}

#[test]
fn submitters() {
    kill_at_every_point(&["pool-submit", "pool-stop"]);
}

#[test]
fn boards() {
    kill_at_every_point(&["pool-create", "pool-break"]);
}
