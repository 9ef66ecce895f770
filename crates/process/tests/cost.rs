//! What a start costs its caller, with a small heap and a large one.

mod common;

use common::{PATIENCE, program};
use polyproc_process::spawn;
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
    for took in [small, large] {
        assert!(took < Duration::from_millis(1), "{small:?} and {large:?}");
    }
}
