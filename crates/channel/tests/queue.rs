//! The queue on ordinary memory: order, bounds, growth, returned messages, recovery, books.

#![cfg(not(loom))]

use polyproc_arena::check;
use polyproc_channel::queue::{Got, Message, Put, Queue};
use polyproc_channel::slot::INLINE;
use polyproc_testkit::family::Family;

fn put(f: &Family, p: usize, q: &Queue, value: u64) -> Put {
    let bytes = value.to_le_bytes();
    q.try_put(
        &f.arenas[p],
        &f.members[p],
        Message::Inline {
            kind: 1,
            bytes: &bytes,
        },
    )
    .unwrap()
}

fn get(f: &Family, p: usize, q: &Queue) -> Option<u64> {
    let mut buffer = [0; INLINE];
    match q.try_get(&f.arenas[p], &f.members[p], &mut buffer).unwrap() {
        Got::Message(received) => {
            assert_eq!(received.len, 8);
            Some(u64::from_le_bytes(buffer[..8].try_into().unwrap()))
        }
        Got::Empty => None,
        Got::ShutDown => panic!("shut down"),
    }
}

#[test]
fn items_come_out_in_order_through_many_segments() {
    let f = Family::new(2);
    let q = Queue::create(&f.arenas[0], &f.members[0], 0, None).unwrap();
    let other = Queue::open(&f.arenas[1], &f.members[1], q.handle).unwrap();
    for round in 0..20 {
        for k in 0..500 {
            assert_eq!(put(&f, 0, &q, round * 1000 + k), Put::Done);
        }
        assert_eq!(other.len(&f.arenas[1]).unwrap(), 500);
        for k in 0..500 {
            assert_eq!(get(&f, 1, &other), Some(round * 1000 + k));
        }
        assert_eq!(get(&f, 1, &other), None);
        assert_eq!(q.len(&f.arenas[0]).unwrap(), 0);
    }
    q_close(&f, 0, &q);
    q_close(&f, 1, &other);
    f.expect_nothing_left();
}

fn q_close(f: &Family, p: usize, q: &Queue) {
    f.arenas[p].close(&f.members[p], q.handle).unwrap();
}

#[test]
fn a_bound_is_exact() {
    let f = Family::new(1);
    let q = Queue::create(&f.arenas[0], &f.members[0], 6, None).unwrap();
    for k in 0..6 {
        assert_eq!(put(&f, 0, &q, k), Put::Done);
    }
    assert_eq!(put(&f, 0, &q, 6), Put::Full);
    assert_eq!(get(&f, 0, &q), Some(0));
    assert_eq!(put(&f, 0, &q, 6), Put::Done);
    assert_eq!(put(&f, 0, &q, 7), Put::Full);
    q_close(&f, 0, &q);
    f.expect_nothing_left();
}

#[test]
fn tickets_pass_the_wraps_of_32_bit_counters() {
    for start in [(1_u64 << 31) - 40, (1 << 32) - 40, (1 << 37) - 40, (1 << 47) - 40] {
        let f = Family::new(1);
        let q = Queue::create_at(&f.arenas[0], &f.members[0], 3, None, start).unwrap();
        for k in 0..200 {
            assert_eq!(put(&f, 0, &q, k), Put::Done);
            assert_eq!(put(&f, 0, &q, k + 1000), Put::Done);
            assert_eq!(get(&f, 0, &q), Some(k));
            assert_eq!(get(&f, 0, &q), Some(k + 1000));
        }
        q_close(&f, 0, &q);
        f.expect_nothing_left();
    }
}

#[test]
fn large_messages_are_freed_with_the_queue() {
    let f = Family::new(1);
    let (arena, me) = (&f.arenas[0], &f.members[0]);
    let q = Queue::create(arena, me, 0, None).unwrap();
    for size in [200, 5000, 40_000, 300_000] {
        let block = arena.alloc(me, size).unwrap();
        arena.map.copy_in(block, &vec![7; size as usize]).unwrap();
        let message = Message::Block {
            kind: 2,
            block,
            len: size as u32,
            pins: false,
        };
        assert_eq!(q.try_put(arena, me, message).unwrap(), Put::Done);
    }
    let mut buffer = [0; INLINE];
    let Got::Message(first) = q.try_get(arena, me, &mut buffer).unwrap() else {
        panic!()
    };
    assert_eq!((first.kind, first.len), (2, 200));
    arena.free(me, first.block).unwrap();
    q_close(&f, 0, &q);
    f.expect_nothing_left();
}

#[test]
fn a_handle_in_a_message_keeps_its_object_alive() {
    let f = Family::new(2);
    let (arena, me) = (&f.arenas[0], &f.members[0]);
    let carrier = Queue::create(arena, me, 0, None).unwrap();
    let inner = Queue::create(arena, me, 0, None).unwrap();
    assert_eq!(put(&f, 0, &inner, 42), Put::Done);
    let block = arena.alloc(me, 128).unwrap();
    arena
        .map
        .word(block)
        .unwrap()
        .store(0, std::sync::atomic::Ordering::Relaxed);
    arena.begin_pins(me, block, 1).unwrap();
    arena.pin(me, block, 0, inner.handle).unwrap();
    carrier
        .try_put(
            arena,
            me,
            Message::Block {
                kind: 3,
                block,
                len: 16,
                pins: true,
            },
        )
        .unwrap();
    q_close(&f, 0, &inner);
    let (arena, me) = (&f.arenas[1], &f.members[1]);
    let there = Queue::open(arena, me, carrier.handle).unwrap();
    let mut buffer = [0; INLINE];
    let Got::Message(message) = there.try_get(arena, me, &mut buffer).unwrap() else {
        panic!()
    };
    let handles = arena.pinned(message.block).unwrap();
    let received = Queue::open(arena, me, handles[0]).unwrap();
    arena.free(me, message.block).unwrap();
    assert_eq!(get(&f, 1, &received), Some(42));
    q_close(&f, 1, &received);
    q_close(&f, 1, &there);
    q_close(&f, 0, &carrier);
    f.expect_nothing_left();
}

#[test]
fn names_find_the_same_queue() {
    let f = Family::new(2);
    let a = Queue::create(&f.arenas[0], &f.members[0], 0, Some("jobs")).unwrap();
    let b = Queue::create(&f.arenas[1], &f.members[1], 0, Some("jobs")).unwrap();
    assert_eq!(a.handle, b.handle);
    assert!(Queue::create(&f.arenas[1], &f.members[1], 5, Some("jobs")).is_err());
    q_close(&f, 0, &a);
    q_close(&f, 1, &b);
    f.expect_nothing_left();
    let c = Queue::create(&f.arenas[1], &f.members[1], 5, Some("jobs")).unwrap();
    q_close(&f, 1, &c);
    f.expect_nothing_left();
}

#[test]
fn what_a_dead_process_held_is_taken_back() {
    let f = Family::new(2);
    let q = Queue::create(&f.arenas[0], &f.members[0], 0, None).unwrap();
    let only_its = Queue::create(&f.arenas[1], &f.members[1], 0, Some("gone")).unwrap();
    assert_eq!(put(&f, 1, &only_its, 1), Put::Done);
    let there = Queue::open(&f.arenas[1], &f.members[1], q.handle).unwrap();
    assert_eq!(put(&f, 1, &there, 5), Put::Done);
    f.arenas[1].alloc(&f.members[1], 100_000).unwrap();
    f.kill(1);
    assert!(polyproc_arena::recovery::round(&f.arenas[0], &f.members[0]).unwrap());
    assert_eq!(get(&f, 0, &q), Some(5));
    q_close(&f, 0, &q);
    f.expect_nothing_left();
    let report = check::check(&f.arenas[0]).unwrap();
    assert_eq!((report.processes, report.members), (1, 1));
}

#[test]
fn what_a_burst_took_is_given_back() {
    let f = Family::new(2);
    let q = Queue::create(&f.arenas[0], &f.members[0], 0, None).unwrap();
    let there = Queue::open(&f.arenas[1], &f.members[1], q.handle).unwrap();
    let bytes = |f: &Family| check::usage(&f.arenas[0]).unwrap().block_bytes;
    for _ in 0..3 {
        for k in 0..50_000 {
            assert_eq!(put(&f, 0, &q, k), Put::Done);
        }
        assert!(bytes(&f) > 50_000 * 128);
        for k in 0..50_000 {
            assert_eq!(get(&f, 1, &there), Some(k));
        }
        // A few segments stay: the newest, and some to use again.
        assert!(bytes(&f) <= 7 * (128 << 10), "{} bytes", bytes(&f));
    }
    q_close(&f, 0, &q);
    q_close(&f, 1, &there);
    f.expect_nothing_left();
}
