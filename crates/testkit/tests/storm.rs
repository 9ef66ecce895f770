//! Producers and consumers in processes of their own, some that block and some with event loops, one of them killed every 20 ms
//! and replaced.
//!
//! Every put that has returned is delivered exactly once, unless the consumer that took it was killed
//! before it could note it; nobody sleeps while there is work; in the end the books balance.
#![allow(clippy::print_stdout, reason = "what was counted and measured is shown")]

use polyproc_testkit::harness::{Actor, Ground, PATIENCE, books_in, chaos};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ACTOR: &str = env!("CARGO_BIN_EXE_polyproc-actor");
const PRODUCERS: usize = 6;
const CONSUMERS: usize = 4;
const EVERY: Duration = Duration::from_millis(20);
/// A process of the storm that gets nothing of two busy cores for this long is not asleep, only late.
const LATE: usize = 3;

struct Storm {
    ground: Ground,
    folder: PathBuf,
    started: usize,
    /// Producers, then consumers.
    actors: Vec<Actor>,
    killed_consumers: usize,
}

impl Storm {
    fn start(&mut self, role: &str) -> Actor {
        self.started += 1;
        let log = self.folder.join(format!("{role}-{}", self.started));
        self.ground.start(&[role, "storm", &log.to_string_lossy()])
    }

    fn role(place: usize) -> &'static str {
        if place < PRODUCERS { "produce" } else { "consume" }
    }

    fn kill(&mut self, place: usize) {
        self.actors[place].kill();
        self.killed_consumers += usize::from(place >= PRODUCERS);
        self.actors[place] = self.start(Self::role(place));
    }

    fn written(&self) -> u64 {
        std::fs::read_dir(&self.folder)
            .expect("a folder")
            .filter_map(|entry| entry.ok()?.metadata().ok())
            .map(|metadata| metadata.len())
            .sum()
    }
}

/// What the logs say of each message: begun, returned, delivered how many times.
#[derive(Default)]
struct Account {
    begun: bool,
    returned: bool,
    delivered: u64,
}

fn read(folder: &Path) -> (HashMap<String, Account>, Vec<String>) {
    let mut accounts: HashMap<String, Account> = HashMap::new();
    let mut asleep = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a log");
        for line in text.lines() {
            let (sign, value) = line.split_at(1);
            if sign == "!" {
                asleep.push(line.to_owned());
                continue;
            }
            let account = accounts.entry(value.to_owned()).or_default();
            match sign {
                "?" => account.begun = true,
                "+" => account.returned = true,
                _ => account.delivered += 1,
            }
        }
    }
    (accounts, asleep)
}

fn storm(seconds: u64) {
    let folder = std::env::temp_dir().join(format!("polyproc-storm-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    let ground = Ground::new(ACTOR);
    let mut watcher = ground.survivor();
    let clean = watcher.ask("settled 1 4000");
    let mut storm = Storm {
        ground,
        folder,
        started: 0,
        actors: Vec::new(),
        killed_consumers: 0,
    };
    for place in 0..PRODUCERS + CONSUMERS {
        let actor = storm.start(Storm::role(place));
        storm.actors.push(actor);
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut chance = u64::from(std::process::id()) | 1;
    let mut kills = 0;
    while Instant::now() < end {
        std::thread::sleep(EVERY);
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        storm.kill((chance >> 33) as usize % (PRODUCERS + CONSUMERS));
        kills += 1;
        for actor in &mut storm.actors {
            assert!(actor.runs(), "one ended by itself: {:?}", actor.hear(PATIENCE));
        }
    }
    for producer in &mut storm.actors[..PRODUCERS] {
        producer.kill();
    }
    // The consumers take what is left; they are done when they write no more.
    let mut before = storm.written();
    loop {
        std::thread::sleep(Duration::from_millis(300));
        let now = storm.written();
        if now == before {
            break;
        }
        before = now;
    }
    for consumer in &mut storm.actors[PRODUCERS..] {
        consumer.kill();
    }
    let settled = watcher.ask("settled 1 8000");
    let (accounts, asleep) = read(&storm.folder);
    let _ = std::fs::remove_dir_all(&storm.folder);
    let count = |test: &dyn Fn(&Account) -> bool| accounts.values().filter(|a| test(a)).count();
    let lost = count(&|a| a.returned && a.delivered == 0);
    let doubled = count(&|a| a.delivered > 1);
    let unknown = count(&|a| !a.begun);
    println!(
        "{kills} kills, {} puts, {} delivered, {lost} lost with {} killed consumers, {doubled} doubled, late {asleep:?}",
        count(&|a| a.returned),
        count(&|a| a.delivered == 1),
        storm.killed_consumers
    );
    assert_eq!(doubled, 0, "messages delivered twice");
    assert_eq!(unknown, 0, "messages that nobody sent");
    assert!(
        lost <= storm.killed_consumers,
        "{lost} messages lost by {} consumers",
        storm.killed_consumers
    );
    assert!(asleep.len() <= LATE, "slept with work to do: {asleep:?}");
    assert_eq!(books_in(&settled), books_in(&clean));
}

#[test]
fn one_is_killed_every_20_ms() {
    storm(if chaos() { 60 } else { 6 });
}
