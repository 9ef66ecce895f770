//! Queues that are joined, on ordinary memory: marking done, what the dead had in hand, dead letters, books.

#![cfg(not(loom))]

use polyproc_arena::{Arena, Member};
use polyproc_channel::envelope;
use polyproc_channel::joinable::{Hand, Joined, Policy};
use polyproc_channel::queue::{Got, JOINABLE, Message, Options, Put, Queue};
use polyproc_channel::slot::INLINE;
use polyproc_testkit::family::Family;

const REDELIVER: Policy = Policy {
    redeliver: true,
    most_deliveries: 0,
};
const LOSE: Policy = Policy {
    redeliver: false,
    most_deliveries: 0,
};

fn make(f: &Family, p: usize, policy: Policy, letters: Option<&Queue>) -> Queue {
    let options = Options {
        policy: Some(policy),
        letters: letters.map(|queue| queue.handle),
        ..Options::default()
    };
    Queue::create_kind(&f.arenas[p], &f.members[p], JOINABLE, &options).unwrap()
}

fn put(f: &Family, p: usize, q: &Queue, value: u64) {
    let bytes = value.to_le_bytes();
    let message = Message::Inline {
        kind: 1,
        bytes: &bytes,
    };
    assert_eq!(
        q.try_put(&f.arenas[p], &f.members[p], message).unwrap(),
        Put::Done
    );
}

fn put_block(f: &Family, p: usize, q: &Queue, value: u64, handle: Option<&Queue>) {
    let (arena, me) = (&f.arenas[p], &f.members[p]);
    let mut bytes = [0; 200];
    bytes[..8].copy_from_slice(&value.to_le_bytes());
    let handles: Vec<_> = handle.iter().map(|queue| queue.handle).collect();
    let sealed = envelope::seal(arena, me, &bytes, &[], &handles).unwrap();
    let message = Message::Block {
        kind: 2,
        block: sealed.block,
        len: sealed.len,
        pins: handle.is_some(),
    };
    assert_eq!(q.try_put(arena, me, message).unwrap(), Put::Done);
}

/// Takes a message: its value and its hand.
fn receive(arena: &Arena, me: &Member, q: &Queue) -> Option<(u64, Hand)> {
    let mut buffer = [0; INLINE];
    match q.try_receive(arena, me, &mut buffer).unwrap() {
        Got::Message(received) => {
            let mut bytes = [0; 8];
            if received.block == 0 {
                bytes.copy_from_slice(&buffer[..8]);
            } else {
                let parts = envelope::open(arena, received.block, received.pins).unwrap();
                arena.map.copy_out(parts.message.0, &mut bytes).unwrap();
            }
            let hand = received.hand.unwrap();
            assert_eq!(hand.keeps, received.block != 0);
            Some((u64::from_le_bytes(bytes), hand))
        }
        Got::Empty | Got::ShutDown => None,
    }
}

fn got(f: &Family, p: usize, q: &Queue) -> Option<(u64, Hand)> {
    receive(&f.arenas[p], &f.members[p], q)
}

fn done(f: &Family, p: usize, q: &Queue, hand: &Hand) {
    assert!(q.done(&f.arenas[p], &f.members[p], hand).unwrap());
}

fn joined(f: &Family, q: &Queue) -> Joined {
    let since = q.tail(&f.arenas[0]).unwrap();
    q.joined(&f.arenas[0], &f.members[0], since).unwrap()
}

fn close(f: &Family, p: usize, q: &Queue) {
    f.arenas[p].close(&f.members[p], q.handle).unwrap();
}

#[test]
fn everything_is_done_when_the_last_item_is() {
    let f = Family::new(1);
    let q = make(&f, 0, LOSE, None);
    assert_eq!(joined(&f, &q), Joined::Finished);
    // Through several segments, marked in another order.
    for k in 0..500 {
        put(&f, 0, &q, k);
    }
    let mut hands: Vec<_> = (0..500).map(|_| got(&f, 0, &q).unwrap().1).collect();
    assert_eq!(q.len(&f.arenas[0]).unwrap(), 0);
    hands.reverse();
    for hand in &hands {
        assert_eq!(joined(&f, &q), Joined::Pending);
        done(&f, 0, &q, hand);
        assert!(!q.done(&f.arenas[0], &f.members[0], hand).unwrap(), "twice");
    }
    assert_eq!(joined(&f, &q), Joined::Finished);
    put(&f, 0, &q, 1);
    assert_eq!(joined(&f, &q), Joined::Pending);
    close(&f, 0, &q);
    f.expect_nothing_left();
}

#[test]
fn what_the_dead_had_in_hand_comes_back_in_order() {
    for held in [1, 8, 100] {
        for blocks in [false, true] {
            let f = Family::new(2);
            let q = make(&f, 0, REDELIVER, None);
            Queue::open(&f.arenas[1], &f.members[1], q.handle).unwrap();
            for k in 0..300 {
                if blocks {
                    put_block(&f, 0, &q, k, Some(&q));
                } else {
                    put(&f, 0, &q, k);
                }
            }
            // Every second one is taken here and marked, the others are the dead's.
            let mut expected = Vec::new();
            for _ in 0..held {
                let (value, hand) = got(&f, 0, &q).unwrap();
                assert_eq!(hand.attempt, 1);
                done(&f, 0, &q, &hand);
                assert_eq!(value % 2, 0);
                expected.push(got(&f, 1, &q).unwrap().0);
            }
            // It had marked one itself.
            if held > 1 {
                let (_, hand) = got(&f, 1, &q).unwrap();
                done(&f, 1, &q, &hand);
            }
            f.kill(1);
            f.recover(0);
            let left = q.len(&f.arenas[0]).unwrap();
            assert_eq!(left, 300 - held - u64::from(held > 1), "{held}");
            for value in &expected {
                let (found, hand) = got(&f, 0, &q).unwrap();
                assert_eq!((found, hand.attempt), (*value, 2));
                done(&f, 0, &q, &hand);
            }
            while let Some((_, hand)) = got(&f, 0, &q) {
                assert_eq!(hand.attempt, 1);
                done(&f, 0, &q, &hand);
            }
            assert_eq!(joined(&f, &q), Joined::Finished);
            close(&f, 0, &q);
            f.expect_nothing_left();
        }
    }
}

#[test]
fn without_redelivery_they_are_counted_as_lost() {
    let f = Family::new(2);
    let q = make(&f, 0, LOSE, None);
    Queue::open(&f.arenas[1], &f.members[1], q.handle).unwrap();
    for k in 0..20 {
        if k % 2 == 0 {
            put_block(&f, 0, &q, k, None);
        } else {
            put(&f, 0, &q, k);
        }
    }
    for _ in 0..8 {
        got(&f, 1, &q).unwrap();
    }
    let slot = f.arenas[1].process_name();
    f.kill(1);
    f.recover(0);
    let Joined::Lost(lost) = joined(&f, &q) else {
        panic!("not lost")
    };
    assert_eq!((lost.count, lost.process, lost.attempt), (8, slot, 1));
    assert_eq!(lost.pid, std::process::id());
    // The others can still be had.
    let mut buffer = [0; INLINE];
    for _ in 0..12 {
        let Got::Message(received) = q.try_get(&f.arenas[0], &f.members[0], &mut buffer).unwrap() else {
            panic!("empty")
        };
        // Nobody is going to have it again: the block is the taker's.
        if received.block != 0 {
            f.arenas[0].free(&f.members[0], received.block).unwrap();
        }
        done(&f, 0, &q, &received.hand.unwrap());
    }
    assert!(matches!(joined(&f, &q), Joined::Lost(_)));
    close(&f, 0, &q);
    f.expect_nothing_left();
}

#[test]
fn retried_items_go_to_the_head_and_then_to_the_dead_letters() {
    let f = Family::new(1);
    let (arena, me) = (&f.arenas[0], &f.members[0]);
    let letters = Queue::create(arena, me, 1, None).unwrap();
    let policy = Policy {
        redeliver: true,
        most_deliveries: 3,
    };
    let q = make(&f, 0, policy, Some(&letters));
    close(&f, 0, &letters);
    put(&f, 0, &q, 1);
    put_block(&f, 0, &q, 2, Some(&q));
    put(&f, 0, &q, 3);
    for attempt in 1..3 {
        let (first, second) = (got(&f, 0, &q).unwrap(), got(&f, 0, &q).unwrap());
        assert_eq!((first.0, first.1.attempt), (1, attempt));
        assert_eq!((second.0, second.1.attempt), (2, attempt));
        // They come back in their order, whatever the order in which they are given back.
        for (_, hand) in [second, first] {
            assert!(q.retry(arena, me, &hand).unwrap());
            assert!(!q.retry(arena, me, &hand).unwrap(), "twice");
        }
    }
    let letters = Queue::open(arena, me, letters.handle).unwrap();
    let (value, hand) = got(&f, 0, &q).unwrap();
    assert_eq!((value, hand.attempt), (1, 3));
    assert!(q.retry(arena, me, &hand).unwrap());
    let (value, kept) = got(&f, 0, &q).unwrap();
    assert_eq!(value, 2);
    let (value, hand) = got(&f, 0, &q).unwrap();
    assert_eq!((value, hand.attempt), (3, 1));
    done(&f, 0, &q, &hand);
    let mut buffer = [0; INLINE];
    let Got::Message(letter) = letters.try_get(arena, me, &mut buffer).unwrap() else {
        panic!("no dead letter")
    };
    let parts = envelope::open(arena, letter.block, letter.pins).unwrap();
    let mut bytes = [0; 8];
    arena.map.copy_out(parts.message.0, &mut bytes).unwrap();
    assert_eq!(
        (u64::from_le_bytes(bytes), letter.kind, parts.message.1),
        (1, 1, 8)
    );
    arena.free(me, letter.block).unwrap();
    assert_eq!(joined(&f, &q), Joined::Pending, "one is in hand");
    // It carries the queue's own handle, and would keep it alive.
    done(&f, 0, &q, &kept);
    close(&f, 0, &letters);
    close(&f, 0, &q);
    f.expect_nothing_left();
}

#[test]
fn dead_letters_of_the_dead() {
    let f = Family::new(2);
    let (arena, me) = (&f.arenas[0], &f.members[0]);
    let letters = Queue::create(arena, me, 1, None).unwrap();
    let policy = Policy {
        redeliver: true,
        most_deliveries: 1,
    };
    let q = make(&f, 0, policy, Some(&letters));
    let dropping = make(&f, 0, policy, None);
    for queue in [&q, &dropping] {
        Queue::open(&f.arenas[1], &f.members[1], queue.handle).unwrap();
        for k in 0..20 {
            if k % 2 == 0 {
                put_block(&f, 0, queue, k, Some(&q));
            } else {
                put(&f, 0, queue, k);
            }
        }
        for _ in 0..20 {
            got(&f, 1, queue).unwrap();
        }
    }
    f.kill(1);
    f.recover(0);
    assert_eq!(joined(&f, &q), Joined::Finished);
    assert_eq!(joined(&f, &dropping), Joined::Finished);
    // Whatever their bound is.
    assert_eq!(letters.len(arena).unwrap(), 20);
    letters.drain(arena, me).unwrap();
    for queue in [&q, &dropping, &letters] {
        close(&f, 0, queue);
    }
    f.expect_nothing_left();
}

#[test]
fn one_item_in_hand_for_long_keeps_no_more_than_its_segment() {
    let f = Family::new(1);
    let q = make(&f, 0, REDELIVER, None);
    put(&f, 0, &q, 0);
    let (_, kept) = got(&f, 0, &q).unwrap();
    let committed = |f: &Family| polyproc_arena::check::usage(&f.arenas[0]).unwrap().block_bytes;
    let mut most = 0;
    for k in 0..50_000 {
        put(&f, 0, &q, k);
        let (value, hand) = got(&f, 0, &q).unwrap();
        assert_eq!(value, k);
        done(&f, 0, &q, &hand);
        if k == 10_000 {
            most = committed(&f);
        }
    }
    assert!(committed(&f) <= most, "{most} bytes became {}", committed(&f));
    assert_eq!(joined(&f, &q), Joined::Pending);
    assert!(q.retry(&f.arenas[0], &f.members[0], &kept).unwrap());
    assert_eq!(got(&f, 0, &q).unwrap().1.attempt, 2);
    close(&f, 0, &q);
    f.expect_nothing_left();
}

#[test]
fn a_shutdown_that_drops_leaves_only_what_is_in_hand() {
    let f = Family::new(2);
    let (arena, me) = (&f.arenas[0], &f.members[0]);
    let q = make(&f, 0, REDELIVER, None);
    Queue::open(&f.arenas[1], &f.members[1], q.handle).unwrap();
    for k in 0..100 {
        put_block(&f, 0, &q, k, None);
    }
    let mine = got(&f, 0, &q).unwrap().1;
    got(&f, 1, &q).unwrap();
    q.shut_down(arena, me).unwrap();
    q.drain(arena, me).unwrap();
    assert_eq!(q.len(arena).unwrap(), 0);
    assert_eq!(joined(&f, &q), Joined::Pending);
    done(&f, 0, &q, &mine);
    assert_eq!(joined(&f, &q), Joined::Pending);
    // What comes back is dropped as well.
    f.kill(1);
    f.recover(0);
    assert_eq!(joined(&f, &q), Joined::Finished);
    close(&f, 0, &q);
    f.expect_nothing_left();
}

#[test]
fn options_of_a_name_must_agree() {
    let f = Family::new(1);
    let (arena, me) = (&f.arenas[0], &f.members[0]);
    let letters = Queue::create(arena, me, 0, None).unwrap();
    let options = Options {
        name: Some("jobs"),
        policy: Some(REDELIVER),
        letters: Some(letters.handle),
        ..Options::default()
    };
    let first = Queue::create_kind(arena, me, JOINABLE, &options).unwrap();
    assert_eq!(Queue::create_kind(arena, me, JOINABLE, &options).unwrap(), first);
    for (options, what) in [
        (Options { most: 4, ..options }, "maxSize"),
        (
            Options {
                policy: Some(LOSE),
                ..options
            },
            "redeliver",
        ),
        (
            Options {
                policy: Some(Policy {
                    redeliver: true,
                    most_deliveries: 2,
                }),
                ..options
            },
            "maxDeliveries",
        ),
        (
            Options {
                letters: None,
                ..options
            },
            "dead letters",
        ),
    ] {
        let error = Queue::create_kind(arena, me, JOINABLE, &options).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
    close(&f, 0, &first);
    close(&f, 0, &first);
    close(&f, 0, &letters);
    f.expect_nothing_left();
}

#[test]
fn a_joiner_is_told_of_a_moment_that_is_over() {
    let f = Family::new(1);
    let (arena, me) = (&f.arenas[0], &f.members[0]);
    let q = make(&f, 0, LOSE, None);
    put(&f, 0, &q, 1);
    let hand = got(&f, 0, &q).unwrap().1;
    let since = q.tail(arena).unwrap();
    let record = arena
        .enter_list(me, q.joiners(arena), polyproc_arena::wait::Sleeper::Thread, 0)
        .unwrap();
    assert_eq!(q.joined(arena, me, since).unwrap(), Joined::Pending);
    done(&f, 0, &q, &hand);
    // More is put before it wakes up.
    put(&f, 0, &q, 2);
    assert!(arena.is_called(record).unwrap());
    assert_eq!(q.joined(arena, me, since).unwrap(), Joined::Finished);
    assert_eq!(joined(&f, &q), Joined::Pending);
    arena.leave_list(me, record).unwrap();
    close(&f, 0, &q);
    // The first wait of a thread takes memory that stays with it.
    let report = polyproc_arena::check::check(arena).unwrap();
    assert_eq!(
        (report.faults.len(), report.objects, report.held_blocks),
        (0, 0, 0)
    );
}

#[test]
fn items_in_hand_pass_the_wraps_of_counters() {
    for ticket in [(1_u64 << 32) - 40, (1 << 37) - 40, (1 << 47) - 40] {
        let f = Family::new(2);
        let options = Options {
            policy: Some(REDELIVER),
            ticket,
            ..Options::default()
        };
        let q = Queue::create_kind(&f.arenas[0], &f.members[0], JOINABLE, &options).unwrap();
        Queue::open(&f.arenas[1], &f.members[1], q.handle).unwrap();
        for k in 0..100 {
            put_block(&f, 0, &q, k, None);
            assert_eq!(got(&f, 1, &q).unwrap().0, k);
        }
        f.kill(1);
        f.recover(0);
        for k in 0..100 {
            let (value, hand) = got(&f, 0, &q).unwrap();
            assert_eq!((value, hand.attempt), (k, 2));
            done(&f, 0, &q, &hand);
        }
        assert_eq!(joined(&f, &q), Joined::Finished);
        close(&f, 0, &q);
        f.expect_nothing_left();
    }
}
