//! Every write to shared memory in every step of a task, and of those who submit and work: a real process is
//! killed right before it and right after it, and those that are left see every task come to its outcome.

use polyproc_testkit::kill_points::{self, Theme};
use polyproc_testkit::pool_rounds::has_sleeper;
use std::time::Duration;

const ACTOR: &str = env!("CARGO_BIN_EXE_polyproc-actor");
const THEME: Theme = Theme {
    word: "pool",
    has_sleeper,
    until_asleep: |_, _| std::thread::sleep(Duration::from_millis(2)),
};

fn kill_at_every_point(names: &[&str]) {
    let mut round = 0;
    kill_points::kill_at_every_point(ACTOR, names, 2, |stage, operation, mode, spot| {
        round += 1;
        THEME.run(stage, operation.name, round, mode, spot)
    });
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
