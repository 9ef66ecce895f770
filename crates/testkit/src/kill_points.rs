//! In the test: a victim of an operation is killed at every point that it passes, in its main thread and in a worker
//! thread, and those that are left take stock. What the tests of all primitives have in common; what a round is, each says
//! for itself, or by a [`Theme`] where it is about objects of a round.
#![expect(clippy::print_stdout, reason = "the table is what a person runs this for")]

use crate::harness::{Outcome, PATIENCE, PROMPT, Stage, chaos, choose};
use crate::operations::{self, Operation};
use crate::points_run::KILL;
use std::collections::BTreeMap;
use std::time::Duration;

/// Attempts for each hit: an operation does not pass the same points each time, for another survivor may have been faster.
const ATTEMPTS: u64 = 4;
/// The long form: kills at each place, in each kind of thread, and the most passages among which they are spread.
const LONG: usize = 20;

/// Kills at all points of the operations, each in the main thread and in a worker thread, and prints for each how many there were.
/// At most `passages` of each place are chosen, each once; in the long form 20, and each place is hit 20 times in each kind of
/// thread. `once` is a round: the operation's victim in that mode, killed at that spot (`-`: it records).
///
/// # Panics
/// When a survivor finds fault with what a victim has left.
pub fn kill_at_every_point(
    actor: &'static str,
    names: &[&str],
    passages: usize,
    mut once: impl FnMut(&mut Stage, &'static Operation, &str, &str) -> Outcome,
) {
    let mut stage = Stage::new(actor);
    let mut faults = Vec::new();
    for name in names {
        let operation = operations::by_name(name).expect("an operation");
        let recorded = once(&mut stage, operation, "main", "-");
        assert_eq!(recorded.fault, None, "{name}, unharmed");
        assert!(recorded.ended.done, "{name} returns");
        assert!(!recorded.ended.points.is_empty(), "{name} passes points");
        let left = once(&mut stage, operation, "leave", "-");
        assert_eq!(left.fault, None, "{name}, in a worker that leaves");
        let modes: &[&str] = if operation.joins {
            &["main"]
        } else {
            &["main", "worker"]
        };
        let spots = choose(&recorded.ended.points, if chaos() { LONG } else { passages });
        let mut chosen: BTreeMap<_, u64> = BTreeMap::new();
        for spot in &spots {
            *chosen.entry(spot.place()).or_default() += 1;
        }
        let mut hits: BTreeMap<_, u64> = BTreeMap::new();
        for spot in &spots {
            let times = if chaos() {
                (LONG as u64).div_ceil(chosen[&spot.place()])
            } else {
                1
            };
            for mode in modes {
                let mut left = times;
                for _ in 0..times * ATTEMPTS {
                    if left == 0 {
                        break;
                    }
                    let outcome = once(&mut stage, operation, mode, &spot.to_string());
                    let hit = u64::from(outcome.ended.signal == Some(KILL));
                    *hits.entry((spot.place(), *mode)).or_default() += hit;
                    left -= hit;
                    if let Some(fault) = outcome.fault {
                        faults.push(format!("{name} in {mode}, {spot}: {fault}"));
                        // The books no longer say anything.
                        stage = Stage::new(actor);
                    }
                }
            }
        }
        let missed: Vec<_> = hits.iter().filter(|(_, hits)| **hits == 0).collect();
        println!(
            "{name:24} {:3} places, {:4} points, {:5} kills, at least {} of each that was hit, {} never hit",
            chosen.len() / 2,
            spots.len(),
            hits.values().sum::<u64>(),
            hits.values().filter(|hits| **hits > 0).min().unwrap_or(&0),
            missed.len()
        );
        for (((file, line, column, after), mode), _) in missed {
            println!("    never hit in {mode}: {file}:{line}:{column} after: {after}");
        }
        assert!(faults.len() < 10, "{faults:#?}");
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Rounds of objects with names of their own, which survivors answer for under one word: `<word> begin R`, `hold OP`,
/// `beside OP`, `after OP`, `judge OP` and `end`.
#[derive(Debug, Clone, Copy)]
pub struct Theme {
    /// The word.
    pub word: &'static str,
    /// Whether the second survivor waits for what the victim is to do.
    pub has_sleeper: fn(&str) -> bool,
    /// Waits until it does, past its spinning, or for as long as it takes until it is owed something.
    pub until_asleep: fn(&mut Stage, &str),
}

impl Theme {
    /// Kills at all points of the operations, at two passages of each place at most: see [`kill_at_every_point`].
    ///
    /// # Panics
    /// When a survivor finds fault with what a victim has left.
    pub fn kill_at_every_point(&self, actor: &'static str, names: &[&str]) {
        let mut round = 0;
        kill_at_every_point(actor, names, 2, |stage, operation, mode, spot| {
            round += 1;
            self.run(stage, operation.name, round, mode, spot)
        });
    }

    /// One round: the victim runs and is killed at `spot` (`-`: it records), the survivors take stock.
    ///
    /// # Panics
    /// When an actor does not answer.
    fn run(&self, stage: &mut Stage, name: &str, round: u64, mode: &str, spot: &str) -> Outcome {
        let word = self.word;
        for survivor in &mut stage.survivors {
            assert_eq!(survivor.ask(&format!("{word} begin {round}")), "begun");
        }
        assert_eq!(stage.survivors[0].ask(&format!("{word} hold {name}")), "held");
        if (self.has_sleeper)(name) {
            stage.survivors[1].tell(&format!("{word} beside {name}"));
            (self.until_asleep)(stage, name);
        }
        let words = ["victim", name, mode, &round.to_string(), spot, &KILL.to_string()];
        let ended = stage.ground.start(&words).finish();
        let fault = ended
            .said
            .first()
            .map(|said| format!("the victim said {said:?}"))
            .or_else(|| self.take_stock(stage, name));
        Outcome { ended, fault }
    }

    fn take_stock(&self, stage: &mut Stage, name: &str) -> Option<String> {
        let (word, has_sleeper) = (self.word, (self.has_sleeper)(name));
        // What was killed is recovered before anybody helps.
        let mut woken = None;
        if has_sleeper {
            woken = stage.survivors[1].hear(Duration::from_millis(20));
        }
        if woken.is_none() {
            let done = stage.survivors[0].ask(&format!("{word} after {name}"));
            if done != "done" {
                return Some(done);
            }
            if has_sleeper {
                woken = stage.survivors[1].hear(PROMPT);
            }
        } else {
            stage.survivors[0].tell(&format!("{word} after {name}"));
            stage.survivors[0].hear(PATIENCE)?;
        }
        if has_sleeper && woken.as_deref() != Some("woken") {
            return Some(format!("the sleeper: {woken:?}"));
        }
        let judged = stage.survivors[0].ask(&format!("{word} judge {name}"));
        if judged != "right" {
            return Some(judged);
        }
        for survivor in &mut stage.survivors {
            let ended = survivor.ask(&format!("{word} end"));
            if ended != "ended" {
                return Some(ended);
            }
        }
        stage.balance()
    }
}
