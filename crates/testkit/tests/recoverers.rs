//! Recovery itself: whoever recovers is killed or stopped at each of its points, twice in a row.
//!
//! The two survivors are stopped meanwhile, so that exactly the chosen recoverer finds the dead; then
//! they go on and have to finish what it left.
#![allow(clippy::print_stdout, reason = "what was counted and measured is shown")]

use polyproc_testkit::harness::{Stage, chaos, choose};
use polyproc_testkit::operations;
use polyproc_testkit::points_run::{KILL, STOP, Spot};
use std::time::{Duration, Instant};

const ACTOR: &str = env!("CARGO_BIN_EXE_polyproc-actor");
const CONTINUE: i32 = 18;

/// What the first one was doing when it was killed: an operation, and the file and the share of its points.
const DEATHS: &[(&str, &str, f64)] = &[
    // With a block on its way into the queue, in the slot, and after it.
    ("put-handle", "slot.rs", 0.1),
    ("put-handle", "slot.rs", 0.9),
    ("get-handle", "slot.rs", 0.1),
    ("get-handle", "slot.rs", 0.6),
    // In a section, its log half applied.
    ("grow", "section.rs", 0.6),
    ("unname", "section.rs", 0.8),
    ("close", "object.rs", 0.7),
    ("create", "queue.rs", 0.9),
    ("free-large", "units.rs", 0.6),
    ("wait", "section.rs", 0.5),
    ("wake-all", "wait.rs", 0.9),
    ("spawn", "boot.rs", 0.9),
    // With items in hand: two that go back, one that is buried; two that are lost.
    ("hold-block", "slot.rs", 0.9),
    ("hold", "slot.rs", 0.9),
    ("lose-block", "slot.rs", 0.9),
    ("bury", "joinable.rs", 0.5),
];

struct Death {
    operation: &'static operations::Operation,
    spot: String,
}

/// Records an operation of each kind once and picks where it dies.
fn deaths(stage: &mut Stage) -> Vec<Death> {
    let mut chosen = Vec::new();
    for (name, file, share) in DEATHS {
        let operation = operations::by_name(name).expect("an operation");
        let recorded = stage.run(operation, "main", "-");
        assert_eq!(recorded.fault, None, "{name}");
        let there: Vec<&Spot> = recorded
            .ended
            .points
            .iter()
            .filter(|spot| spot.file.ends_with(file))
            .collect();
        assert!(!there.is_empty(), "{name} passes no point in {file}");
        let at = (there.len() as f64 * share) as usize;
        chosen.push(Death {
            operation,
            spot: there[at.min(there.len() - 1)].to_string(),
        });
    }
    chosen
}

/// The survivors stop, the first one dies. Returns how it ended.
fn die(stage: &mut Stage, death: &Death) -> polyproc_testkit::harness::Ended {
    stage.begin(death.operation);
    stage.beside(death.operation);
    for survivor in &stage.survivors {
        survivor.signal(STOP);
        survivor.until_state("T");
    }
    stage.victim(death.operation, "main", &death.spot, KILL).finish()
}

fn go_on(stage: &mut Stage) {
    for survivor in &stage.survivors {
        survivor.signal(CONTINUE);
    }
}

/// Kills recoverers of some of the deaths at all their points.
fn kill_the_recoverers(part: usize, parts: usize) {
    let mut stage = Stage::new(ACTOR);
    let all = deaths(&mut stage);
    let mut faults = Vec::new();
    for death in all.iter().skip(part).step_by(parts) {
        let name = death.operation.name;
        let ended = die(&mut stage, death);
        assert_eq!(ended.signal, Some(KILL), "{name} dies at {}", death.spot);
        let recorded = stage.ground.start(&["recoverer", "-", "0"]).finish();
        go_on(&mut stage);
        assert!(recorded.done, "{name}: {:?}", recorded.said);
        assert_eq!(
            stage.take_stock(death.operation, &ended),
            None,
            "{name}, undisturbed"
        );
        let spots = choose(&recorded.points, if chaos() { 20 } else { 2 });
        let times = if chaos() { 3 } else { 1 };
        let mut kills = 0;
        for (k, spot) in spots.iter().enumerate() {
            for turn in 0..times {
                let ended = die(&mut stage, death);
                // The second recoverer dies too, somewhere else.
                let other = &spots[(k * 7 + 3 + turn) % spots.len()];
                for spot in [spot, other] {
                    let words = ["recoverer", &spot.to_string(), &KILL.to_string()];
                    kills += u64::from(stage.ground.start(&words).finish().signal == Some(KILL));
                }
                go_on(&mut stage);
                if let Some(fault) = stage.take_stock(death.operation, &ended) {
                    faults.push(format!(
                        "{name} at {}, recoverers at {spot} and {other}: {fault}",
                        death.spot
                    ));
                    stage = Stage::new(ACTOR);
                }
            }
        }
        println!(
            "{name:12} killed at {}: {} points of recovery, {kills} kills",
            death.spot,
            spots.len()
        );
        assert!(faults.len() < 6, "{faults:#?}");
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn killed_one() {
    kill_the_recoverers(0, 2);
}

#[test]
fn killed_two() {
    kill_the_recoverers(1, 2);
}

/// A recoverer is stopped at a point; the others take over, work, and it is continued at last.
fn stop_the_recoverers(part: usize, parts: usize) {
    let mut stage = Stage::new(ACTOR);
    let all = deaths(&mut stage);
    let mut faults = Vec::new();
    for death in all.iter().skip(part).step_by(parts) {
        let name = death.operation.name;
        let ended = die(&mut stage, death);
        let recorded = stage.ground.start(&["recoverer", "-", "0"]).finish();
        go_on(&mut stage);
        assert_eq!(
            stage.take_stock(death.operation, &ended),
            None,
            "{name}, undisturbed"
        );
        let spots = choose(&recorded.points, if chaos() { 6 } else { 1 });
        let mut stops = 0;
        for spot in &spots {
            let ended = die(&mut stage, death);
            let words = ["recoverer", &spot.to_string(), &STOP.to_string()];
            let recoverer = stage.ground.start(&words);
            // It stops, or it passes the point no more and ends.
            let stopped = stopped(&recoverer);
            stops += u64::from(stopped);
            go_on(&mut stage);
            // Meanwhile everybody works, but for the very section that it may be in.
            let start = Instant::now();
            let private = stage.survivors[0].ask("private");
            if private != "done" || start.elapsed() > Duration::from_secs(2) {
                faults.push(format!(
                    "{name} at {}, stopped at {spot}: others: {private} after {:?}",
                    death.spot,
                    start.elapsed()
                ));
            }
            if stopped {
                recoverer.signal(CONTINUE);
            }
            let other = recoverer.finish();
            if !other.said.is_empty() {
                faults.push(format!("{name}, continued at {spot}: it said {:?}", other.said));
            }
            if let Some(fault) = stage.take_stock(death.operation, &ended) {
                faults.push(format!("{name} at {}, stopped at {spot}: {fault}", death.spot));
                stage = Stage::new(ACTOR);
            }
        }
        println!("{name:12} {} points of recovery, {stops} stops", spots.len());
        assert!(faults.len() < 6, "{faults:#?}");
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// True once the process has stopped, false when it ends.
fn stopped(actor: &polyproc_testkit::harness::Actor) -> bool {
    let start = Instant::now();
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", actor.pid())).unwrap_or_default();
        match stat.rsplit(") ").next().and_then(|rest| rest.chars().next()) {
            Some('T') => return true,
            Some('Z') | None => return false,
            _ => {}
        }
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "neither stopped nor ended"
        );
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[test]
fn stopped_one() {
    stop_the_recoverers(0, 2);
}

#[test]
fn stopped_two() {
    stop_the_recoverers(1, 2);
}
