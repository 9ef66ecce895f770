//! Guarded sections under loom: two threads change two words that must always be equal, and one of them
//! may die after any of its accesses.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use polyproc_arena::map::Map;
use polyproc_arena::member::Name;
use polyproc_arena::model::{die_after, expect_failure, run};
use polyproc_arena::primitive::Ordering::Relaxed;
use polyproc_arena::section::{self, Liveness};

const SOURCE: (&str, &str) = ("src/section.rs", include_str!("../src/section.rs"));
const SECTION: u64 = 0;
const A: u64 = 256;
const B: u64 = 264;
const NOTES: u64 = 272;

struct World {
    map: Map,
    /// Member 1 is dead, as the kernel marks it: after all its stores.
    dead: AtomicBool,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            map: Map::model(NOTES + 24),
            dead: AtomicBool::new(false),
        })
    }

    fn value(&self, word: u64) -> u64 {
        self.map.word(word).unwrap().load(Relaxed)
    }

    /// One more on both words; what they were, for who is alive.
    fn change(&self, me: u64) -> (u64, u64) {
        let note = NOTES + me * 8;
        let entered = section::enter(&self.map, self, SECTION, Name::new(me, 1), note, u32::MAX).unwrap();
        let (a, b) = (self.value(A), self.value(B));
        entered.commit(&[(A, a + 1), (B, b + 1)]).unwrap();
        (a, b)
    }
}

impl Liveness for World {
    fn is_dead(&self, name: Name) -> bool {
        name.slot() == 1 && self.dead.load(Ordering::Acquire)
    }

    fn relax(&self, _turn: u32) {
        thread::yield_now();
    }
}

fn two_writers() {
    run(3, || {
        let world = World::new();
        let other = world.clone();
        let thread = thread::spawn(move || {
            let (a, b) = other.change(2);
            assert_eq!(a, b);
        });
        let (a, b) = world.change(1);
        assert_eq!(a, b);
        thread.join().unwrap();
        assert_eq!((world.value(A), world.value(B)), (2, 2));
    });
}

fn a_death(accesses: u64) {
    run(2, move || {
        let world = World::new();
        let other = world.clone();
        let thread = thread::spawn(move || {
            die_after(accesses);
            other.change(1);
            other.dead.store(true, Ordering::Release);
        });
        let (a, b) = world.change(2);
        assert_eq!(a, b, "half a change was seen inside the section");
        thread.join().unwrap();
        // Whoever comes next finishes what the dead committed.
        let (a, b) = world.change(3 - 1);
        assert_eq!(a, b);
        assert!((1..=2).contains(&a), "{a} changes of two");
    });
}

#[test]
fn two_writers_keep_the_words_equal() {
    two_writers();
}

#[test]
fn a_death_after_any_access_leaves_all_or_nothing() {
    // Note, lock, note, two loads, four entries, count, six to apply, count, unlock, note.
    for accesses in 0..=21 {
        a_death(accesses);
    }
}

#[test]
fn mutant_the_lock_does_not_acquire() {
    expect_failure(SOURCE, ("loop {", "lock.cas(0, me.word())"), two_writers);
}

#[test]
fn mutant_leaving_does_not_release() {
    expect_failure(
        SOURCE,
        ("pub fn unlock", "lock.cas(self.me.word(), 0)"),
        two_writers,
    );
}
