//! The slot under loom: one producer wins a claim, one consumer a message, and the payload comes with it.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use polyproc_arena::handshake;
use polyproc_arena::map::Map;
use polyproc_arena::model::{expect_failure, run};
use polyproc_arena::primitive::Ordering;
use polyproc_channel::slot::{Look, Slot};

const SOURCE: (&str, &str) = ("src/slot.rs", include_str!("../src/slot.rs"));
const TICKET: u64 = 5;

fn slot(map: &Map) -> Slot<'_> {
    Slot {
        map,
        at: 0,
        ticket: TICKET,
    }
}

/// Claims, writes and shows a message; false when another had the claim.
fn produce(map: &Map, me: u64) -> bool {
    let slot = slot(map);
    let Look::Empty(seen) = slot.look().unwrap() else {
        return false;
    };
    if !slot.claim(seen, me).unwrap() {
        return false;
    }
    slot.set_meta(me, me * 10).unwrap();
    assert!(
        slot.publish(me).unwrap(),
        "what was claimed was shown by somebody else"
    );
    true
}

/// Takes the message if one is there.
fn consume(map: &Map, me: u64) -> Option<u64> {
    let slot = slot(map);
    if slot.look().unwrap() != Look::Full || !slot.take(me).unwrap() {
        return None;
    }
    let (meta, block) = slot.meta().unwrap();
    assert!(
        meta != 0 && block == meta * 10,
        "half a message: {meta} and {block}"
    );
    assert!(slot.release(me).unwrap());
    Some(meta)
}

fn one_producer_two_consumers() {
    run(0, || {
        let map = Arc::new(Map::model(128));
        let (first, second) = (map.clone(), map.clone());
        let producer = thread::spawn(move || produce(&first, 1));
        let consumer = thread::spawn(move || consume(&second, 2));
        let mine = consume(&map, 3);
        let theirs = consumer.join().unwrap();
        assert!(producer.join().unwrap());
        assert!(mine.is_none() || theirs.is_none(), "a message came twice");
        let left = slot(&map).look().unwrap();
        let taken = mine.is_some() || theirs.is_some();
        assert_eq!(left, if taken { Look::Over } else { Look::Full });
    });
}

fn two_producers() {
    run(3, || {
        let map = Arc::new(Map::model(128));
        let (first, second) = (map.clone(), map.clone());
        let one = thread::spawn(move || produce(&first, 1));
        let two = thread::spawn(move || produce(&second, 2));
        let got = consume(&map, 3);
        let wins = [one.join().unwrap(), two.join().unwrap()];
        assert!(wins[0] != wins[1], "a ticket was claimed {wins:?}");
        if let Some(value) = got {
            assert!(wins[value as usize - 1], "a message of one who did not win");
        }
    });
}

/// A producer that is taken for dead, and a recoverer that makes a tombstone of what it had claimed:
/// only one of the two has its way.
fn publish_against_recovery() {
    run(0, || {
        let map = Arc::new(Map::model(128));
        let Look::Empty(seen) = slot(&map).look().unwrap() else {
            panic!("a new slot is empty")
        };
        assert!(slot(&map).claim(seen, 1).unwrap());
        let other = map.clone();
        let recoverer = thread::spawn(move || slot(&other).abandon(1).unwrap());
        let shown = slot(&map).publish(1).unwrap();
        let buried = recoverer.join().unwrap();
        assert!(shown != buried);
        assert_eq!(
            slot(&map).look().unwrap(),
            if shown { Look::Full } else { Look::Over }
        );
    });
}

const SLOTS: [(u64, u64); 2] = [(0, 1), (128, 2)];
/// The head of the list of those who join.
const HEAD: u64 = 256;

fn item(map: &Map, at: u64) -> Slot<'_> {
    Slot {
        map,
        at,
        ticket: TICKET,
    }
}

/// Two slots, the one in the hand of 1, the other in that of 2.
fn two_in_hand() -> Arc<Map> {
    let map = Arc::new(Map::model(264));
    for (at, owner) in SLOTS {
        let slot = item(&map, at);
        let Look::Empty(seen) = slot.look().unwrap() else {
            panic!("a new slot is empty")
        };
        assert!(slot.claim(seen, 9).unwrap() && slot.publish(9).unwrap() && slot.take(owner).unwrap());
    }
    map
}

fn all_over(map: &Map) -> bool {
    SLOTS
        .iter()
        .all(|(at, _)| item(map, *at).look().unwrap() == Look::Over)
}

/// Of two who mark the last two items done at least one sees that all is done.
fn the_last_one_sees_it() {
    run(0, || {
        let map = two_in_hand();
        let done = |map: &Map, (at, owner): (u64, u64)| {
            assert!(item(map, at).finish(owner).unwrap());
            all_over(map)
        };
        let first = map.clone();
        let one = thread::spawn(move || done(&first, SLOTS[0]));
        let two = done(&map, SLOTS[1]);
        assert!(one.join().unwrap() || two, "neither sees that everything is done");
    });
}

/// The same while somebody joins, who finds everything done or is seen by the one that does.
fn who_joins_is_told() {
    run(0, || {
        let map = two_in_hand();
        let done = |map: &Map, (at, owner): (u64, u64)| {
            assert!(item(map, at).finish(owner).unwrap());
            handshake::anybody(map.word(HEAD).unwrap()) && all_over(map)
        };
        let (first, second) = (map.clone(), map.clone());
        let one = thread::spawn(move || done(&first, SLOTS[0]));
        let two = thread::spawn(move || done(&second, SLOTS[1]));
        map.word(HEAD).unwrap().store(1, Ordering::Release);
        handshake::entered();
        let found = all_over(&map);
        let told = [one.join().unwrap(), two.join().unwrap()];
        assert!(
            found || told.contains(&true),
            "everything is done and nobody is told"
        );
    });
}

#[test]
fn a_message_is_taken_once_and_whole() {
    one_producer_two_consumers();
}

#[test]
fn a_ticket_is_claimed_once() {
    two_producers();
}

#[test]
fn recovery_and_its_victim_do_not_both_win() {
    publish_against_recovery();
}

#[test]
fn whoever_joins_is_told() {
    the_last_one_sees_it();
    who_joins_is_told();
}

#[test]
fn mutant_marking_done_does_not_fence() {
    expect_failure(SOURCE, ("fn finish", "fence("), the_last_one_sees_it);
}

#[test]
fn mutant_publishing_does_not_release() {
    expect_failure(SOURCE, ("fn change", ".cas("), one_producer_two_consumers);
}
