//! Every write to shared memory in every operation of locks, semaphores, conditions, events and barriers: a
//! real process is killed right before it and right after it, and those that are left go on.

use polyproc_testkit::kill_points::Theme;
use polyproc_testkit::sync_rounds::has_sleeper;
use std::time::Duration;

const ACTOR: &str = env!("CARGO_BIN_EXE_polyproc-actor");
const THEME: Theme = Theme {
    word: "sync",
    has_sleeper,
    until_asleep: |stage, name| {
        assert_eq!(stage.survivors[0].ask(&format!("sync asleep {name}")), "asleep");
        if name.ends_with("hand-over") {
            // What is handed over goes to who has waited for 10 ms.
            std::thread::sleep(Duration::from_millis(15));
        }
    },
};

#[test]
fn locks() {
    THEME.kill_at_every_point(
        ACTOR,
        &[
            "sync-acquire",
            "sync-release",
            "sync-hand-over",
            "sync-wait",
            "sync-rlock",
        ],
    );
}

#[test]
fn semaphores() {
    THEME.kill_at_every_point(
        ACTOR,
        &[
            "sync-semaphore",
            "sync-semaphore-wake",
            "sync-bounded",
            "sync-bounded-wake",
            "sync-bounded-hand-over",
        ],
    );
}

#[test]
fn conditions_and_events() {
    THEME.kill_at_every_point(ACTOR, &["sync-condition-wait", "sync-notify", "sync-event"]);
}

#[test]
fn barriers_and_all() {
    THEME.kill_at_every_point(ACTOR, &["sync-barrier-last", "sync-barrier-first", "sync-create"]);
}
