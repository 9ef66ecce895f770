//! What a start costs its caller, with a small heap and a large one.

mod common;

use common::{PATIENCE, program};
use polyproc_process::spawn;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// The middle of 30 starts, each let end before the next.
fn median() -> Duration {
    let mut times: Vec<Duration> = (0..30)
        .map(|_| {
            let (send, receive) = channel();
            let request = program("/bin/true", &["true"]);
            let start = Instant::now();
            spawn(request, move |exit| {
                let _ = send.send(exit);
            })
            .expect("starts");
            let took = start.elapsed();
            receive.recv_timeout(PATIENCE).expect("ends");
            took
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// On a main thread, which makes its children itself.
#[test]
fn nor_on_the_main_thread() {
    let output = Command::new(env!("CARGO_BIN_EXE_process-helper"))
        .arg("cost")
        .output()
        .expect("runs");
    assert!(output.status.success(), "{}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let micros: Vec<u64> = text.lines().map(|line| line.parse().expect("a number")).collect();
    println!("start on the main thread: {micros:?} µs with a small heap and with 1 GiB");
    assert_eq!(micros.len(), 2);
    assert!(micros.iter().all(|micros| *micros < 1000), "{micros:?}");
}

#[test]
fn a_start_does_not_grow_with_the_heap() {
    median();
    let small = median();
    let mut heap = vec![0_u8; 1 << 30];
    for page in heap.chunks_mut(4096) {
        page[0] = 1;
    }
    let large = median();
    std::hint::black_box(&heap);
    drop(heap);
    println!("start: {small:?} with a small heap, {large:?} with 1 GiB");
    // Handed over to the native thread, a start waits for two wake-ups, and with that for whatever else runs on
    // the machine.
    for took in [small, large] {
        assert!(took < Duration::from_millis(5), "{small:?} and {large:?}");
    }
}
