//! Who is alive: how soon an end is seen, who counts as ended, and what limits of the system lead to.
#![allow(clippy::print_stdout, reason = "what was counted and measured is shown")]

use polyproc_testkit::harness::{Actor, Ground, PATIENCE, books_in, chaos};
use polyproc_testkit::points_run::KILL;
use std::process::Command;
use std::time::Duration;

const ACTOR: &str = env!("CARGO_BIN_EXE_polyproc-actor");
/// Within this an end is seen by those who wait for it, in ns.
const SEEN: u64 = 20_000_000;
const MIB: u64 = 1 << 20;

/// Starts one that holds memory, lets a survivor wait for its end, ends it; the delay in ns.
fn delay(ground: &Ground, watcher: &mut Actor, how: &str, shared: u64, private: u64) -> u64 {
    let mut actor = ground.start(&["hold", &shared.to_string(), &private.to_string()]);
    assert_eq!(actor.hear(Duration::from_secs(60)).as_deref(), Some("ready"));
    let slot = watcher.ask(&format!("find {}", actor.pid()));
    watcher.tell(&format!("await {slot} 10000"));
    std::thread::sleep(Duration::from_millis(5));
    let start = polyproc_sys::clock::now();
    match how.parse::<i32>() {
        Ok(signal) => actor.signal(signal),
        Err(_) => actor.tell(how),
    }
    let seen = watcher.hear(PATIENCE).expect("an answer");
    let seen: u64 = seen.parse().unwrap_or_else(|_| panic!("{how}: {seen}"));
    if how == "exec" {
        actor.kill();
    }
    seen.saturating_sub(start)
}

fn seen_in_time(shared: u64, private: u64, times: usize) {
    let ground = Ground::new(ACTOR);
    let mut watcher = ground.survivor();
    for how in ["9", "15", "abort", "segv", "exit", "exec"] {
        let mut delays: Vec<u64> = (0..times)
            .map(|_| delay(&ground, &mut watcher, how, shared, private))
            .collect();
        delays.sort_unstable();
        println!(
            "{how:6} seen after {:?} µs",
            delays.iter().map(|d| d / 1000).collect::<Vec<_>>()
        );
        // Beside other tests a wait for a core is longer than the wait for the dead, so the quickest counts,
        // and more is borne; the long form is for a machine that does nothing else, and takes the median.
        let (counts, bar) = if chaos() { (times / 2, SEEN) } else { (0, 3 * SEEN) };
        assert!(delays[counts] < bar, "{how}: {delays:?} ns");
        assert!(delays[times - 1] < 50 * SEEN, "{how}: {delays:?} ns");
    }
    let settled = watcher.ask("settled 1 4000");
    assert!(settled.starts_with("usage"), "{settled}");
}

#[test]
fn an_end_is_seen_within_20_ms() {
    seen_in_time(0, 0, if chaos() { 21 } else { 5 });
}

#[test]
fn an_end_is_seen_whatever_memory_it_has() {
    let size = if chaos() { 4096 * MIB } else { 128 * MIB };
    // To touch so much takes far longer than to die with it: as many as a median needs.
    seen_in_time(size, size, if chaos() { 7 } else { 5 });
}

#[test]
fn a_zombie_is_dead() {
    let ground = Ground::new(ACTOR);
    let mut watcher = ground.survivor();
    let clean = books_in(&watcher.ask("settled 1 4000"));
    let actor = ground.start(&["hold", "1000000", "0"]);
    assert_eq!(actor.hear(PATIENCE).as_deref(), Some("ready"));
    actor.signal(KILL);
    // Nobody reaps it.
    actor.until_state("Z");
    assert_eq!(books_in(&watcher.ask("settled 1 4000")), clean);
    actor.until_state("Z");
}

#[test]
fn a_place_reserved_by_a_zombie_is_taken_back() {
    let ground = Ground::new(ACTOR);
    let mut watcher = ground.survivor();
    watcher.ask("begin 1");
    let recorded = ground.start(&["victim", "spawn", "main", "1", "-", "0"]).finish();
    let spots: Vec<_> = recorded
        .points
        .iter()
        .filter(|spot| spot.file.ends_with("boot.rs"))
        .collect();
    assert!(!spots.is_empty());
    let clean = books_in(&watcher.ask("settled 1 4000"));
    for spot in spots {
        // It dies with a place reserved for a child, and nobody reaps it.
        let actor = ground.start(&["victim", "spawn", "main", "1", &spot.to_string(), "9"]);
        actor.until_state("Z");
        assert_eq!(books_in(&watcher.ask("settled 1 4000")), clean, "{spot}");
    }
}

#[test]
fn a_recycled_pid_is_another_process() {
    let ground = Ground::new(ACTOR);
    let mut watcher = ground.survivor();
    let clean = books_in(&watcher.ask("settled 1 4000"));
    let pid = std::process::id();
    // The pid lives, but began at another time: whoever had the place has ended.
    let slot = watcher.ask(&format!("forge {pid} 1"));
    assert!(slot.parse::<u64>().is_ok(), "{slot}");
    assert_eq!(watcher.ask("call"), "called");
    assert_eq!(books_in(&watcher.ask("settled 1 4000")), clean);
    // The same with the right time is believed to live, and stays.
    let slot = watcher.ask(&format!("forge {pid} 0"));
    assert!(slot.parse::<u64>().is_ok(), "{slot}");
    assert_eq!(watcher.ask("call"), "called");
    let settled = watcher.ask("settled 1 300");
    assert!(settled.starts_with("faults"), "{settled}");
}

#[test]
fn the_arena_is_in_no_core_dump() {
    let ground = Ground::new(ACTOR);
    let folder = std::env::temp_dir().join(format!("polyproc-core-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut command = Command::new("/bin/sh");
    command
        .args([
            "-c",
            "ulimit -c unlimited; exec \"$0\" hold 134217728 8388608",
            ACTOR,
        ])
        .current_dir(&folder)
        .env("POLYPROC_ARENA_V1", ground.variable());
    let mut actor = Actor::of(&mut command);
    assert_eq!(actor.hear(PATIENCE).as_deref(), Some("ready"));
    let smaps = std::fs::read_to_string(format!("/proc/{}/smaps", actor.pid())).expect("smaps");
    let flags = smaps
        .split("memfd:polyproc")
        .nth(1)
        .and_then(|rest| rest.split("VmFlags:").nth(1))
        .and_then(|rest| rest.lines().next())
        .expect("the flags of the mapping");
    assert!(flags.split_whitespace().any(|flag| flag == "dd"), "{flags}");
    actor.tell("abort");
    let ended = actor.finish();
    assert_eq!(ended.signal, Some(6));
    // Where core files go to the working directory: what it holds of its own, and no more.
    for entry in std::fs::read_dir(&folder).expect("the folder") {
        let size = entry.expect("an entry").metadata().expect("its size").len();
        assert!(size < 64 * MIB, "a core file of {size} bytes");
    }
    let _ = std::fs::remove_dir_all(&folder);
}

/// Runs one alone under limits set by the shell; what it says, and the signal if one killed it.
fn limited(limits: &str) -> (Vec<String>, Option<i32>) {
    let mut command = Command::new("/bin/sh");
    command
        .args([
            "-c",
            &format!("{limits}; exec \"$0\" alone {}", 1024 * MIB),
            ACTOR,
        ])
        .env_remove("POLYPROC_ARENA_V1");
    let ended = Actor::of(&mut command).finish();
    (ended.said, ended.signal)
}

#[test]
fn limits_of_the_system_are_errors_and_never_signals() {
    // Shells count in blocks of 512 or 1024 bytes, so these are half or all of what is said.
    for (limits, works) in [
        ("ulimit -v 4000000", true),
        ("ulimit -v 1500000", true),
        ("ulimit -v 200000", false),
        ("ulimit -f 1048576", true),
        ("ulimit -f 20000", false),
        ("ulimit -v 3000000; ulimit -f 1048576", true),
    ] {
        let (said, signal) = limited(limits);
        println!("{limits}: {said:?}");
        assert_eq!(signal, None, "{limits}: {said:?}");
        assert_eq!(said.len(), 1, "{limits}: {said:?}");
        let error = said[0].starts_with("error: ");
        assert_eq!(!error, works, "{limits}: {said:?}");
        if works {
            let taken: u64 = said[0]
                .split(' ')
                .next()
                .and_then(|n| n.parse().ok())
                .unwrap_or(0);
            assert!(taken >= 32 * MIB, "{limits}: {said:?}");
            let complete = said[0] == format!("{} bytes", 1024 * MIB);
            assert!(
                complete || said[0].contains("ERR_POLYPROC_OUT_OF_MEMORY"),
                "{limits}: {said:?}"
            );
        }
    }
}

/// Sets a value under `/proc/sys` back when it is dropped.
struct Restored(&'static str, String);

impl Drop for Restored {
    fn drop(&mut self) {
        let _ = std::fs::write(self.0, &self.1);
    }
}

/// Every program of the machine is under this limit meanwhile, so it is tried only in the long form.
#[test]
fn strict_overcommit_is_an_error_and_never_a_signal() {
    const SETTING: &str = "/proc/sys/vm/overcommit_memory";
    if !chaos() {
        return;
    }
    let Ok(before) = std::fs::read_to_string(SETTING) else {
        return;
    };
    if std::fs::write(SETTING, "2").is_err() {
        return;
    }
    let restored = Restored(SETTING, before);
    let (said, signal) = limited("true");
    drop(restored);
    println!("{said:?}");
    assert_eq!(signal, None, "{said:?}");
    assert_eq!(said.len(), 1, "{said:?}");
}
