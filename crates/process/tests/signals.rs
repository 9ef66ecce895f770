//! Signals, deadlines and whole trees.

mod common;

use common::{Started, ended, program, shell, sleeper, until};
use polyproc_process::{ExitStatus, at, kill_after, signal, signal_other, signal_tree, tree};
use polyproc_sys::clock;
use polyproc_sys::proc_info::{self, State};
use std::io::ErrorKind;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

#[test]
fn after_the_end_a_signal_is_an_error() {
    let started = Started::new(sleeper());
    signal(started.child.pid, 0).expect("there");
    started.child.signal(15).expect("sent");
    assert_eq!(started.status(), ExitStatus::Signal(15));
    assert_eq!(
        started.child.signal(9).expect_err("gone").kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        signal(started.child.pid, 9).expect_err("gone").kind(),
        ErrorKind::NotFound
    );
    assert!(started.child.signal_tree(9).is_err());
    // A process that was not started here is nobody to this function.
    assert_eq!(
        signal(proc_info::pid(), 0).expect_err("not a child").kind(),
        ErrorKind::NotFound
    );
    assert_eq!(signal(1, 0).expect_err("not a child").kind(), ErrorKind::NotFound);
}

#[test]
fn others_are_known_by_pid_and_start_time() {
    let started = Started::new(sleeper());
    let pid = started.child.pid;
    let born = proc_info::start_time(pid).expect("alive");
    assert_eq!(
        signal_other(pid, born + 1, 9).expect_err("another").kind(),
        ErrorKind::NotFound
    );
    assert!(started.child.is_running());
    signal_other(pid, born, 9).expect("sent");
    assert_eq!(started.status(), ExitStatus::Signal(9));
    assert_eq!(
        signal_other(pid, born, 9).expect_err("gone").kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn a_grace_ends_in_a_kill() {
    let stubborn = Started::new(shell("trap '' TERM; while :; do sleep 1; done"));
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    stubborn.child.signal(15).expect("sent");
    kill_after(stubborn.child.pid, 150);
    assert_eq!(stubborn.status(), ExitStatus::Signal(9));
    assert!(start.elapsed() >= Duration::from_millis(150));
    // One that obeys is not hit, and neither is whoever comes after it.
    let obeys = Started::new(sleeper());
    obeys.child.kill_after(100);
    obeys.child.signal(15).expect("sent");
    assert_eq!(obeys.status(), ExitStatus::Signal(15));
    let next = Started::new(sleeper());
    std::thread::sleep(Duration::from_millis(200));
    assert!(next.child.is_running());
    next.child.signal(9).expect("sent");
    next.wait();
}

#[test]
fn deadlines_are_kept_in_order() {
    let (send, receive) = channel();
    let start = clock::now();
    for ms in [60, 20, 40] {
        let send = send.clone();
        at(start + ms * 1_000_000, move || {
            let _ = send.send((ms, clock::now()));
        })
        .expect("taken");
    }
    for expected in [20, 40, 60] {
        let (ms, when) = receive.recv_timeout(common::PATIENCE).expect("runs");
        assert_eq!(ms, expected);
        assert!(when >= start + ms * 1_000_000, "never early");
    }
}

/// A shell with two children, one of which has one of its own.
fn family() -> Started {
    let started = Started::new(shell("sh -c 'sleep 60; :' & sleep 60 & wait"));
    until("a family of four", || tree(started.child.pid).len() == 4);
    started
}

#[test]
fn a_tree_is_listed_from_the_top() {
    let started = family();
    let all = tree(started.child.pid);
    assert_eq!(all[0], started.child.pid);
    let own = tree(proc_info::pid());
    assert!(all.iter().all(|pid| own.contains(pid)));
    started.child.signal_tree(9).expect("sent");
    started.wait();
    until("all gone", || all.iter().all(|pid| ended(*pid)));
    assert!(tree(started.child.pid).is_empty());
}

#[test]
fn a_whole_tree_gets_the_signal() {
    for sig in [15, 9] {
        let started = family();
        let all = tree(started.child.pid);
        let mut reached = signal_tree(started.child.pid, sig).expect("sent");
        reached.sort_unstable();
        let mut sorted = all.clone();
        sorted.sort_unstable();
        assert_eq!(reached, sorted);
        assert_eq!(started.status(), ExitStatus::Signal(sig));
        until("all gone", || all.iter().all(|pid| ended(*pid)));
    }
}

#[test]
fn a_tree_that_keeps_growing_does_not_outrun_it() {
    // Each shell starts the next and stays as its parent.
    let grow = "n=$1; [ $n -gt 400 ] && exec sleep 60; sh -c \"$0\" \"$0\" $((n + 1)); :";
    let started = Started::new(program("/bin/sh", &["sh", "-c", grow, grow, "0"]));
    until("it grows", || tree(started.child.pid).len() > 5);
    let reached = started.child.signal_tree(9).expect("sent");
    assert!(reached.len() > 5);
    assert_eq!(started.status(), ExitStatus::Signal(9));
    until("all gone", || reached.iter().all(|pid| ended(*pid)));
    std::thread::sleep(Duration::from_millis(50));
    let left: Vec<_> = std::fs::read_dir("/proc")
        .expect("a list")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| !ended(*pid))
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("-gt 400")
        })
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn other_signals_leave_a_tree_running() {
    let started = family();
    let all = tree(started.child.pid);
    // SIGWINCH is ignored by whoever does not ask for it.
    assert_eq!(started.child.signal_tree(28).expect("sent").len(), 4);
    until("all run again", || {
        all.iter().all(|pid| proc_info::state(*pid) == State::Alive)
    });
    assert_eq!(
        started.child.signal_tree(999).expect_err("no signal").kind(),
        ErrorKind::InvalidInput
    );
    assert!(all.iter().all(|pid| proc_info::state(*pid) == State::Alive));
    started.child.signal_tree(9).expect("sent");
    started.wait();
}
