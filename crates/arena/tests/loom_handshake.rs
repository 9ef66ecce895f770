//! The handshakes under loom: a wake-up is never lost.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use polyproc_arena::handshake;
use polyproc_arena::model::{expect_failure, run};
use polyproc_arena::primitive::Ordering::{Acquire, Relaxed, SeqCst};
use polyproc_arena::primitive::{Flag, Word};

const SOURCE: (&str, &str) = ("src/handshake.rs", include_str!("../src/handshake.rs"));

/// The waker changes the thing and looks for waiters; the waiter enters and looks at the thing.
fn entering() {
    run(0, || {
        let thing = Arc::new((Word::new(0), Word::new(0)));
        let other = thing.clone();
        let waker = thread::spawn(move || {
            let (changed, head) = &*other;
            changed.cas(0, 1).unwrap();
            handshake::anybody(head)
        });
        let (changed, head) = &*thing;
        head.store(1, Relaxed);
        handshake::entered();
        let saw = changed.load(Acquire) == 1;
        let called = waker.join().unwrap();
        assert!(saw || called, "the waiter sleeps and nobody calls it");
    });
}

/// The waker changes the thing and leaves it to one who has been woken; that one notes it and looks at the thing.
fn leaving() {
    const RECORD: u64 = 64;
    run(0, || {
        let thing = Arc::new((Word::new(0), Word::new(RECORD)));
        let other = thing.clone();
        let waker = thread::spawn(move || {
            let (changed, woken) = &*other;
            changed.cas(0, 1).unwrap();
            handshake::left_to(woken)
        });
        let (changed, woken) = &*thing;
        handshake::looks(woken, RECORD);
        let saw = changed.load(Acquire) == 1;
        let left = waker.join().unwrap();
        assert!(saw || !left, "the waiter sleeps again and nobody calls it");
    });
}

/// The waker makes the isolate dirty and rings if it is parked; the isolate parks unless it is dirty.
fn parking(call: fn(&Flag, &Flag) -> bool) {
    run(0, move || {
        let flags = Arc::new((Flag::new(0), Flag::new(0)));
        let other = flags.clone();
        let waker = thread::spawn(move || call(&other.0, &other.1));
        let (dirty, parked) = &*flags;
        let sleeps = handshake::may_sleep(dirty, parked);
        let rings = waker.join().unwrap();
        assert!(!sleeps || rings, "the loop sleeps and nobody rings");
        assert_eq!(dirty.load(SeqCst), 1, "it finds out when it wakes");
    });
}

/// The waker makes the isolate dirty, and leaves it at that if it watches; the isolate stops watching and looks.
fn watching() {
    run(0, move || {
        let flags = Arc::new((Flag::new(0), Flag::new(handshake::WATCHING)));
        let other = flags.clone();
        let waker = thread::spawn(move || handshake::disturb(&other.0, &other.1));
        let (dirty, parked) = &*flags;
        handshake::attends(parked);
        let looks = dirty.load(Relaxed) == 1;
        let relied_on = waker.join().unwrap();
        assert!(
            looks || !relied_on,
            "the loop does not look, and nobody else is called"
        );
    });
}

/// It stops watching because it goes to sleep.
fn watched_in_vain() {
    run(0, move || {
        let flags = Arc::new((Flag::new(0), Flag::new(0)));
        let other = flags.clone();
        let waker = thread::spawn(move || {
            let told = handshake::disturb(&other.0, &other.1);
            (told, told && handshake::summon(&other.0, &other.1))
        });
        let (dirty, parked) = &*flags;
        handshake::watches(parked);
        let sleeps = handshake::may_sleep(dirty, parked);
        let (told, rings) = waker.join().unwrap();
        assert!(!sleeps || rings, "the loop sleeps and nobody rings");
        assert!(told || dirty.load(SeqCst) == 1);
    });
}

#[test]
fn a_loop_that_watches_looks() {
    watching();
    watched_in_vain();
}

#[test]
fn mutant_a_loop_that_watched_attends_out_of_order() {
    expect_failure(SOURCE, ("pub fn attends", "fence(SeqCst)"), watching);
}

#[test]
fn mutant_a_loop_that_watches_is_made_dirty_out_of_order() {
    expect_failure(SOURCE, ("pub fn disturb", "dirty.store("), watching);
}

#[test]
fn who_waits_is_called_or_sees_the_change() {
    entering();
}

#[test]
fn what_is_left_to_the_woken_is_seen() {
    leaving();
}

#[test]
fn mutant_the_woken_looks_too_early() {
    expect_failure(SOURCE, ("pub fn looks", "fence(SeqCst)"), leaving);
}

#[test]
fn mutant_what_is_left_is_not_asked_in_order() {
    expect_failure(SOURCE, ("pub fn left_to", "woken.load("), leaving);
}

#[test]
fn a_loop_that_sleeps_is_rung() {
    parking(handshake::disturb);
    parking(handshake::summon);
}

#[test]
fn mutant_the_waiter_has_no_barrier() {
    expect_failure(SOURCE, ("pub fn entered", "fence(SeqCst)"), entering);
}

#[test]
fn mutant_the_waker_does_not_look_in_order() {
    expect_failure(SOURCE, ("pub fn anybody", "head.load("), entering);
}

#[test]
fn mutant_dirty_is_not_set_in_order() {
    expect_failure(SOURCE, ("pub fn disturb", "dirty.store("), || {
        parking(handshake::disturb)
    });
}

#[test]
fn mutant_parked_is_not_read_in_order() {
    expect_failure(SOURCE, ("pub fn disturb", "parked.load("), || {
        parking(handshake::disturb)
    });
}

#[test]
fn mutant_parked_is_not_set_in_order() {
    expect_failure(SOURCE, ("pub fn may_sleep", "parked.swap(PARKED"), || {
        parking(handshake::disturb)
    });
}

#[test]
fn mutant_dirty_is_not_read_in_order() {
    expect_failure(SOURCE, ("pub fn may_sleep", "dirty.load("), || {
        parking(handshake::disturb)
    });
}
