//! What happens to children when their parent is killed.

mod common;

use common::{ended, until};
use polyproc_sys::signal;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn daemons_go_with_a_killed_parent_and_others_stay() {
    let mut parent = Command::new(env!("CARGO_BIN_EXE_process-helper"))
        .arg("family")
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let lines = BufReader::new(parent.stdout.take().expect("piped")).lines();
    // The parent tells of three, and the daemon among them of one of its own, in some order.
    let pids: Vec<i64> = lines
        .take(4)
        .map(|line| line.expect("a line").parse().expect("a pid"))
        .collect();
    let (daemons, ordinary): (Vec<i64>, Vec<i64>) = pids.iter().partition(|pid| **pid > 0);
    let daemons: Vec<u32> = daemons.into_iter().map(|pid| pid as u32).collect();
    let ordinary = ordinary.first().expect("one that is no daemon").unsigned_abs() as u32;
    assert_eq!(
        daemons.len(),
        3,
        "one that never rests, one with a daemon of its own, and that one"
    );
    assert!(!ended(ordinary) && daemons.iter().all(|pid| !ended(*pid)));

    parent.kill().expect("killed");
    parent.wait().expect("reaped");
    let took = until("the daemons are gone", || daemons.iter().all(|pid| ended(*pid)));
    assert!(took < Duration::from_secs(1), "{took:?}");
    std::thread::sleep(Duration::from_millis(50));
    assert!(!ended(ordinary), "an ordinary child goes on by itself");
    signal::kill(ordinary, 9).expect("killed");
}

#[test]
fn a_daemon_outlives_the_thread_that_asked_for_it() {
    let mut parent = Command::new(env!("CARGO_BIN_EXE_process-helper"))
        .arg("thread")
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(parent.stdout.take().expect("piped")).lines();
    let daemon: u32 = lines
        .next()
        .expect("a line")
        .expect("text")
        .parse()
        .expect("a pid");
    // The second line comes when the thread has ended.
    assert_eq!(lines.next().expect("a line").expect("text"), "0");
    std::thread::sleep(Duration::from_millis(50));
    assert!(!ended(daemon));
    parent.kill().expect("killed");
    parent.wait().expect("reaped");
    let took = until("the daemon is gone", || ended(daemon));
    assert!(took < Duration::from_secs(1), "{took:?}");
}
