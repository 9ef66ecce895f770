//! The bounded form of the fuzz target in `fuzz/`: its corpus, and inputs from a seeded generator.
//!
//! `POLYPROC_SCRIBBLES` sets how many, `POLYPROC_SEED` where the generator begins.
#![allow(clippy::print_stdout, reason = "what was counted and measured is shown")]

use polyproc_testkit::scribble::Ground;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An execution that takes longer has got into a loop.
const LONGEST: Duration = Duration::from_secs(20);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// Ends the test program, saying which input it was, when an execution takes too long.
struct Watchdog {
    runs: Arc<AtomicU64>,
    input: Arc<Mutex<Vec<u8>>>,
}

impl Watchdog {
    fn start() -> Self {
        let runs = Arc::new(AtomicU64::new(0));
        let input = Arc::new(Mutex::new(Vec::new()));
        let (seen, shown) = (Arc::clone(&runs), Arc::clone(&input));
        std::thread::spawn(move || {
            let mut last = (0, Instant::now());
            loop {
                std::thread::sleep(Duration::from_millis(500));
                let now = seen.load(Ordering::Relaxed);
                if now == u64::MAX {
                    return;
                }
                if now != last.0 {
                    last = (now, Instant::now());
                } else if last.1.elapsed() > LONGEST {
                    let input = shown.lock().unwrap_or_else(PoisonError::into_inner);
                    println!("an endless loop: {}", hex(&input));
                    std::process::abort();
                }
            }
        });
        Self { runs, input }
    }

    /// False when it panicked.
    fn run(&self, ground: &Ground, input: &[u8]) -> bool {
        *self.input.lock().unwrap_or_else(PoisonError::into_inner) = input.to_vec();
        self.runs.fetch_add(1, Ordering::Relaxed);
        catch_unwind(AssertUnwindSafe(|| ground.run(input))).is_ok()
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.runs.store(u64::MAX, Ordering::Relaxed);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_corpus_does_no_harm() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/arena");
    let ground = Ground::new();
    let watchdog = Watchdog::start();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus") {
        let path = entry.expect("an entry").path();
        let input = std::fs::read(&path).expect("an input");
        let start = Instant::now();
        assert!(watchdog.run(&ground, &input), "panics at {}", hex(&input));
        if start.elapsed() > Duration::from_secs(1) {
            println!("{} takes {:?}", path.display(), start.elapsed());
        }
        count += 1;
    }
    assert!(count > 0, "{folder} is empty");
}

#[test]
fn no_scribble_makes_an_operation_panic_or_go_on_for_ever() {
    let ground = Ground::new();
    let watchdog = Watchdog::start();
    let count = setting(
        "POLYPROC_SCRIBBLES",
        if polyproc_testkit::harness::chaos() {
            1_000_000
        } else {
            20_000
        },
    );
    let mut panics = Vec::new();
    let mut state = setting("POLYPROC_SEED", 1) | 1;
    for _ in 0..count {
        let mut input = [0; 96];
        for chunk in input.chunks_exact_mut(8) {
            // xorshift64*
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            chunk.copy_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
        }
        if !watchdog.run(&ground, &input) {
            panics.push(hex(&input));
            assert!(panics.len() < 20, "panics at {panics:#?}");
        }
    }
    assert!(panics.is_empty(), "panics at {panics:#?}");
}
