//! The word of a lock under loom: one holder at a time, what it wrote comes with the lock, and a death
//! neither loses the lock nor is told twice.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use polyproc_arena::map::Map;
use polyproc_arena::member::Name;
use polyproc_arena::model::{die_after, expect_failure, run};
use polyproc_arena::section::Liveness;
use polyproc_sync::owned::Owned;

const SOURCE: (&str, &str) = ("src/owned.rs", include_str!("../src/owned.rs"));

struct Lives {
    /// The member in slot 1 is dead: set when it can make no access any more.
    first_died: AtomicBool,
}

impl Liveness for Lives {
    fn is_dead(&self, name: Name) -> bool {
        name.slot() == 1 && self.first_died.load(Ordering::Acquire)
    }

    fn relax(&self, _: u32) {
        thread::yield_now();
    }
}

struct World {
    map: Map,
    lives: Lives,
    /// What the lock guards.
    count: UnsafeCell<u32>,
}

// SAFETY: `count` is touched only by whoever holds the lock, which is what the model checks.
unsafe impl Sync for World {}
// SAFETY: nothing in it belongs to a thread.
unsafe impl Send for World {}

fn world() -> Arc<World> {
    Arc::new(World {
        map: Map::model(64),
        lives: Lives {
            first_died: AtomicBool::new(false),
        },
        count: UnsafeCell::new(0),
    })
}

fn name(slot: u64) -> Name {
    Name::new(slot, 1)
}

fn word(world: &World) -> Owned<'_> {
    Owned {
        map: &world.map,
        at: 0,
    }
}

/// Tries once; counts if it holds the lock.
fn count_once(world: &World, me: u64) -> bool {
    let Some(_) = word(world).acquire(name(me), None::<&Lives>).unwrap() else {
        return false;
    };
    world.count.with_mut(|count| {
        // SAFETY: loom fails if another thread touches it at the same time, or without having synchronized.
        unsafe { *count += 1 }
    });
    let seen = word(world).look().unwrap();
    assert!(seen.is_held_by(name(me)));
    assert!(
        word(world).release(seen, name(me)).unwrap(),
        "another released what I held"
    );
    true
}

fn two_count() {
    run(0, || {
        let world = world();
        let other = world.clone();
        let first = thread::spawn(move || count_once(&other, 1));
        let mine = count_once(&world, 2);
        let theirs = first.join().unwrap();
        let wins = u32::from(mine) + u32::from(theirs);
        // SAFETY: the other thread has ended.
        let count = world.count.with(|count| unsafe { *count });
        assert_eq!(count, wins);
        assert!(wins > 0, "a free lock was refused to everybody");
    });
}

/// A holder hands over to a second, while a third tries: nobody comes between.
fn handed_to_one() {
    run(0, || {
        let world = world();
        word(&world).acquire(name(1), None::<&Lives>).unwrap().unwrap();
        let (heir, third) = (world.clone(), world.clone());
        let heir = thread::spawn(move || {
            let got = word(&heir).acquire(name(2), None::<&Lives>).unwrap();
            if got.is_some() {
                // SAFETY: loom checks it.
                heir.count.with_mut(|count| unsafe { *count += 1 });
            }
            got.is_some()
        });
        let third = thread::spawn(move || word(&third).acquire(name(3), None::<&Lives>).unwrap().is_some());
        // SAFETY: loom checks it.
        world.count.with_mut(|count| unsafe { *count += 1 });
        let seen = word(&world).look().unwrap();
        assert!(word(&world).hand(seen, name(2)).unwrap());
        assert!(!third.join().unwrap(), "another came between");
        let got = heir.join().unwrap();
        assert_eq!(!word(&world).look().unwrap().handed, got);
    });
}

/// A holder dies anywhere between acquiring and having released; two acquire after it, one of them by way
/// of recovery. The lock is never lost, and if it was held at the death exactly one is told.
fn a_death_is_told_once() {
    for accesses in 0..6 {
        run(2, move || {
            let world = world();
            let victim = world.clone();
            let victim = thread::spawn(move || {
                die_after(accesses);
                if word(&victim).acquire(name(1), None::<&Lives>).unwrap().is_some() {
                    let seen = word(&victim).look().unwrap();
                    if seen.is_held_by(name(1)) {
                        let _ = word(&victim).release(seen, name(1));
                    }
                }
                victim.lives.first_died.store(true, Ordering::Release);
            });
            let heir = world.clone();
            let heir = thread::spawn(move || {
                let got = word(&heir).acquire(name(2), Some(&heir.lives)).unwrap();
                if got.is_some() {
                    let seen = word(&heir).look().unwrap();
                    assert!(word(&heir).release(seen, name(2)).unwrap());
                }
                got.is_some_and(|got| got.owner_died)
            });
            victim.join().unwrap();
            let held = word(&world).look().unwrap().owner == Some(name(1));
            let buried = word(&world).bury(name(1)).unwrap();
            let told = heir.join().unwrap();
            let last = word(&world)
                .acquire(name(3), Some(&world.lives))
                .unwrap()
                .expect("nobody holds it");
            assert!(!(told && last.owner_died), "a death was told twice");
            assert!(!buried || held);
            assert!(!held || told || last.owner_died, "a death was told to nobody");
        });
    }
}

#[test]
fn one_holds_it_at_a_time() {
    two_count();
}

#[test]
fn what_is_handed_over_goes_to_the_heir() {
    handed_to_one();
}

#[test]
fn a_death_frees_it_and_is_told_once() {
    a_death_is_told_once();
}

#[test]
fn mutant_releasing_does_not_release() {
    expect_failure(SOURCE, ("fn change", ".cas("), two_count);
}
