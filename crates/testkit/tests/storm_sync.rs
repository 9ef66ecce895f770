//! Six processes that count in a file, each while it holds one lock; one of them is killed every 20 ms and replaced.
//!
//! No two are ever inside at once: no number is counted twice, and what is missing are the updates that the killed were at.
//! Nobody who waits is left behind, and in the end the books balance.
#![allow(clippy::print_stdout, reason = "what was counted and measured is shown")]

use polyproc_testkit::guarded;
use polyproc_testkit::harness::{Actor, Ground, PATIENCE, books_in, chaos};
use std::collections::HashSet;
use std::time::{Duration, Instant};

const ACTOR: &str = env!("CARGO_BIN_EXE_polyproc-actor");
const ACTORS: usize = 6;
const EVERY: Duration = Duration::from_millis(20);
/// A process of the storm that gets nothing of two busy cores for a second is not forgotten, only late.
const LATE: usize = 3;

fn storm(kind: &str) {
    let folder = std::env::temp_dir().join(format!("polyproc-{kind}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.to_string_lossy().into_owned();
    let ground = Ground::new(ACTOR);
    let mut watcher = ground.survivor();
    let clean = watcher.ask("settled 1 4000");
    let start = |k: usize| ground.start(&["guard", kind, &path, &format!("log{k}")]);
    let mut actors: Vec<Actor> = (0..ACTORS).map(start).collect();
    let end = Instant::now() + Duration::from_secs(if chaos() { 30 } else { 3 });
    let mut chance = u64::from(std::process::id()) | 1;
    let mut kills = 0;
    while Instant::now() < end {
        std::thread::sleep(EVERY);
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let place = (chance >> 33) as usize % ACTORS;
        actors[place].kill();
        kills += 1;
        actors[place] = start(ACTORS + kills);
        for actor in &mut actors {
            assert!(actor.runs(), "one ended by itself: {:?}", actor.hear(PATIENCE));
        }
    }
    let before = guarded::count(&folder).expect("a count");
    let asked = Instant::now();
    let count = loop {
        let count = guarded::count(&folder).expect("a count");
        if count > before {
            break count;
        }
        assert!(asked.elapsed() < PATIENCE, "nobody gets the lock any more");
        std::thread::sleep(EVERY);
    };
    for actor in &mut actors {
        actor.kill();
    }
    let settled = watcher.ask("settled 1 8000");
    let count = guarded::count(&folder).expect("a count").max(count);
    let mut counted = HashSet::new();
    let mut late = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.ends_with("count") {
            continue;
        }
        for line in std::fs::read_to_string(path).expect("a log").lines() {
            let (sign, number) = line.split_at(1);
            let number: u64 = number.parse().expect("a number");
            if sign == "!" {
                late.push(number);
            } else {
                assert!(
                    counted.insert(number),
                    "{number} was counted twice: two were inside at once"
                );
                assert!(number <= count, "{number} of {count}");
            }
        }
    }
    let _ = std::fs::remove_dir_all(&folder);
    let missing = count - counted.len() as u64;
    println!(
        "{kind}: {kills} kills, {count} counted, {missing} by those killed before they noted it; late {late:?} ms"
    );
    assert!(missing <= (kills + ACTORS) as u64, "{missing} updates were lost");
    assert!(late.len() <= LATE, "some waited for long: {late:?} ms");
    assert_eq!(books_in(&settled), books_in(&clean));
}

/// One after the other: they need the cores.
#[test]
fn owners_are_killed_every_20_ms() {
    for kind in ["lock", "rlock", "semaphore", "condition"] {
        storm(kind);
    }
}
