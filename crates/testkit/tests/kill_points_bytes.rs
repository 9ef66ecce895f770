//! Every write to shared memory in a put and a get of a queue that may hold so many bytes: a real process is killed right before
//! it and right after it, and those that are left find every message, and room for as many as before.

use polyproc_testkit::bytes_rounds::has_sleeper;
use polyproc_testkit::kill_points::Theme;
use std::time::Duration;

const ACTOR: &str = env!("CARGO_BIN_EXE_polyproc-actor");
const THEME: Theme = Theme {
    word: "bytes",
    has_sleeper,
    until_asleep: |_, _| std::thread::sleep(Duration::from_millis(2)),
};

#[test]
fn bytes_that_wait() {
    THEME.kill_at_every_point(ACTOR, &["bytes-put", "bytes-refused", "bytes-get"]);
}
