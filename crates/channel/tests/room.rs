//! The bound on bytes, on ordinary memory.

#![cfg(not(loom))]

use polyproc_channel::queue::{Got, KIND, Message, Options, Put, Queue};
use polyproc_channel::slot::INLINE;
use polyproc_testkit::family::Family;

fn make(f: &Family, bytes: u64) -> Queue {
    let options = Options {
        bytes,
        ..Options::default()
    };
    Queue::create_kind(&f.arenas[0], &f.members[0], KIND, &options).unwrap()
}

/// Puts a message of `bytes` bytes, in a block if they do not fit into a slot.
fn put(f: &Family, p: usize, q: &Queue, bytes: u64) -> Put {
    let (arena, me) = (&f.arenas[p], &f.members[p]);
    if bytes <= INLINE as u64 {
        let payload = [7; INLINE];
        let bytes = &payload[..bytes as usize];
        return q.try_put(arena, me, Message::Inline { kind: 1, bytes }).unwrap();
    }
    let block = arena.alloc(me, bytes).unwrap();
    let message = Message::Block {
        kind: 2,
        block,
        len: bytes as u32,
        pins: false,
    };
    let put = q.try_put(arena, me, message).unwrap();
    if put != Put::Done {
        arena.free(me, block).unwrap();
    }
    put
}

fn get(f: &Family, p: usize, q: &Queue) -> bool {
    let (arena, me) = (&f.arenas[p], &f.members[p]);
    match q.try_get(arena, me, &mut [0; INLINE]).unwrap() {
        Got::Message(received) => {
            if received.block != 0 {
                arena.free(me, received.block).unwrap();
            }
            true
        }
        Got::Empty | Got::ShutDown => false,
    }
}

#[test]
fn small_messages_count_with_their_slots() {
    let f = Family::new(1);
    let q = make(&f, 10 * 128);
    for _ in 0..3 {
        for _ in 0..10 {
            assert!(q.is_writable(&f.arenas[0], &f.members[0]).unwrap());
            assert_eq!(put(&f, 0, &q, 8), Put::Done);
        }
        assert_eq!(put(&f, 0, &q, 8), Put::Full);
        assert!(!q.is_writable(&f.arenas[0], &f.members[0]).unwrap());
        assert!(q.is_crowded(&f.arenas[0]).unwrap());
        for _ in 0..10 {
            assert!(get(&f, 0, &q));
        }
    }
    f.arenas[0].close(&f.members[0], q.handle).unwrap();
    f.expect_nothing_left();
}

#[test]
fn large_messages_count_with_their_blocks() {
    for bound in [1 << 20, 10 << 20] {
        let f = Family::new(1);
        let q = make(&f, bound);
        for _ in 0..20 {
            let mut count = 0;
            while put(&f, 0, &q, 128 << 10) == Put::Done {
                count += 1;
            }
            // The one that reaches the bound still fits.
            assert_eq!(count, bound / (128 << 10));
            assert!(get(&f, 0, &q));
            assert_eq!(put(&f, 0, &q, 128 << 10), Put::Done);
            assert_eq!(put(&f, 0, &q, 128 << 10), Put::Full);
            while get(&f, 0, &q) {}
        }
        // Larger than the bound, it passes when nothing waits.
        assert_eq!(put(&f, 0, &q, 12 << 20), Put::Done);
        assert_eq!(put(&f, 0, &q, 8 << 10), Put::Full);
        f.arenas[0].close(&f.members[0], q.handle).unwrap();
        f.expect_nothing_left();
    }
}

#[test]
fn a_large_bound_holds_for_small_messages_to_within_a_segment() {
    let f = Family::new(1);
    let q = make(&f, 9 << 20);
    let mut count = 0;
    while put(&f, 0, &q, 8) == Put::Done {
        count += 1;
    }
    let least = (9 << 20) / 128;
    assert!((least..=least + 1024).contains(&count), "{count} messages");
    assert!(get(&f, 0, &q));
    f.arenas[0].close(&f.members[0], q.handle).unwrap();
    f.expect_nothing_left();
}

#[test]
fn what_the_dead_added_does_not_stay() {
    let f = Family::new(2);
    let q = make(&f, 1 << 20);
    let there = Queue::open(&f.arenas[1], &f.members[1], q.handle).unwrap();
    for _ in 0..3 {
        assert_eq!(put(&f, 1, &there, 200 << 10), Put::Done);
    }
    // As if somebody had died between adding the bytes and showing the message, twice.
    let held = f.arenas[0].layout.object(q.handle.index) + polyproc_arena::object::BODY;
    let held = f.arenas[0]
        .map
        .word(held)
        .unwrap()
        .load(std::sync::atomic::Ordering::Relaxed)
        + 320;
    let word = f.arenas[0].map.word(held).unwrap();
    let right = word.load(std::sync::atomic::Ordering::Relaxed);
    word.store(right + (600 << 10), std::sync::atomic::Ordering::Relaxed);
    assert_eq!(put(&f, 0, &q, 8 << 10), Put::Done);
    let counted = word.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(counted, right + (8 << 10));
    while get(&f, 0, &q) {}
    assert_eq!(word.load(std::sync::atomic::Ordering::Relaxed), 0);
    for (arena, me) in f.arenas.iter().zip(&f.members) {
        arena.close(me, q.handle).unwrap();
    }
    f.expect_nothing_left();
}

#[test]
fn bounds_of_a_name_must_agree() {
    let f = Family::new(1);
    let (arena, me) = (&f.arenas[0], &f.members[0]);
    let options = Options {
        bytes: 1000,
        name: Some("jobs"),
        ..Options::default()
    };
    let q = Queue::create_kind(arena, me, KIND, &options).unwrap();
    let error = Queue::create_kind(
        arena,
        me,
        KIND,
        &Options {
            bytes: 2000,
            ..options
        },
    )
    .unwrap_err();
    assert!(error.to_string().contains("maxBytes 1000, not 2000"), "{error}");
    arena.close(me, q.handle).unwrap();
    f.expect_nothing_left();
}
