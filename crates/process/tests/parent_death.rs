//! What happens to children when their parent is killed.

mod common;

use common::{ended, until};
use polyproc_sys::proc_info;
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
    let pids: Vec<u32> = lines
        .take(4)
        .map(|line| line.expect("a line").parse().expect("a pid"))
        .collect();
    let ordinary: Vec<u32> = proc_info::children_of(parent.id())
        .into_iter()
        .filter(|pid| name(*pid) == "sleep")
        .collect();
    assert_eq!(ordinary.len(), 1);
    let daemons: Vec<u32> = pids
        .iter()
        .copied()
        .filter(|pid| !ordinary.contains(pid))
        .collect();
    assert_eq!(
        daemons.len(),
        3,
        "one that never rests, one with a daemon of its own, and that one"
    );
    assert!(pids.iter().all(|pid| !ended(*pid)));

    parent.kill().expect("killed");
    parent.wait().expect("reaped");
    let took = until("the daemons are gone", || daemons.iter().all(|pid| ended(*pid)));
    assert!(took < Duration::from_secs(1), "{took:?}");
    std::thread::sleep(Duration::from_millis(50));
    assert!(!ended(ordinary[0]), "an ordinary child goes on by itself");
    signal::kill(ordinary[0], 9).expect("killed");
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

fn name(pid: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim().to_owned()
}
