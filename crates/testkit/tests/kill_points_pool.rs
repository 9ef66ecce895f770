//! Every write to shared memory in every step of a task, and of those who submit and work: a real process is
//! killed right before it and right after it, and those that are left see every task come to its outcome.

use polyproc_testkit::kill_points::Theme;
use polyproc_testkit::pool_rounds::has_sleeper;
use std::time::Duration;

const ACTOR: &str = env!("CARGO_BIN_EXE_polyproc-actor");
const THEME: Theme = Theme {
    word: "pool",
    has_sleeper,
    until_asleep: |_, _| std::thread::sleep(Duration::from_millis(2)),
};

#[test]
fn workers() {
    THEME.kill_at_every_point(ACTOR, &["pool-work", "pool-enter"]);
}

#[test]
fn submitters() {
    THEME.kill_at_every_point(ACTOR, &["pool-submit", "pool-stop"]);
}

#[test]
fn boards() {
    THEME.kill_at_every_point(ACTOR, &["pool-create", "pool-break"]);
}
