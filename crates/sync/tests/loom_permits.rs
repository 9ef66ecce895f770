//! The word of a semaphore under loom: never more holders than permits, a permit that is set aside goes to
//! its heir or back, and what was done with one comes with it.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use polyproc_arena::map::Map;
use polyproc_arena::member::Name;
use polyproc_arena::model::{die_after, expect_failure, run};
use polyproc_arena::section::Liveness;
use polyproc_sync::permits::{MOST, Permits};

const SOURCE: (&str, &str) = ("src/permits.rs", include_str!("../src/permits.rs"));

struct Nobody;

impl Liveness for Nobody {
    fn is_dead(&self, _: Name) -> bool {
        false
    }

    fn relax(&self, _: u32) {}
}

struct World {
    map: Map,
    /// What a semaphore of one permit guards.
    count: UnsafeCell<u32>,
}

// SAFETY: `count` is touched only by whoever has the permit, which is what the model checks.
unsafe impl Sync for World {}
// SAFETY: nothing in it belongs to a thread.
unsafe impl Send for World {}

fn world(value: u32) -> Arc<World> {
    let world = Arc::new(World {
        map: Map::model(64),
        count: UnsafeCell::new(0),
    });
    if value > 0 {
        permits(&world).change(|state| state.given(value, MOST)).unwrap();
    }
    world
}

fn name(slot: u64) -> Name {
    Name::new(slot, 1)
}

fn permits(world: &World) -> Permits<'_> {
    Permits {
        map: &world.map,
        at: 0,
    }
}

fn take(world: &World, me: u64) -> bool {
    let taken = permits(world).change(|state| state.taken(name(me), None::<&Nobody>));
    taken.unwrap().is_some()
}

fn give(world: &World) {
    let given = permits(world).change(|state| state.given(1, 1)).unwrap();
    assert!(given.is_some(), "a permit too many");
}

fn count_once(world: &World, me: u64) -> bool {
    if !take(world, me) {
        return false;
    }
    // SAFETY: loom fails if another thread touches it at the same time, or without having synchronized.
    world.count.with_mut(|count| unsafe { *count += 1 });
    give(world);
    true
}

fn two_count() {
    run(0, || {
        let world = world(1);
        let other = world.clone();
        let first = thread::spawn(move || count_once(&other, 1));
        let mine = count_once(&world, 2);
        let wins = u32::from(first.join().unwrap()) + u32::from(mine);
        // SAFETY: the other thread has ended.
        assert_eq!(world.count.with(|count| unsafe { *count }), wins);
        assert_eq!(permits(&world).look().unwrap().value(), 1);
    });
}

/// One permit of two that is set aside, an heir that takes or gives it up, and another who takes what it finds.
fn set_aside() {
    run(0, || {
        let world = world(0);
        let (heir, other) = (world.clone(), world.clone());
        let heir = thread::spawn(move || {
            if take(&heir, 1) {
                return true;
            }
            permits(&heir).change(|state| state.unset(name(1))).unwrap();
            false
        });
        let other = thread::spawn(move || take(&other, 2));
        let handed = permits(&world).change(|state| state.handed(name(1), 2)).unwrap();
        assert!(handed.is_some());
        permits(&world).change(|state| state.given(1, 2)).unwrap();
        let taken = u32::from(heir.join().unwrap()) + u32::from(other.join().unwrap());
        let state = permits(&world).look().unwrap();
        assert_eq!(state.value() + taken, 2);
    });
}

/// The heir dies anywhere; two recoverers give back what was set aside, once.
fn an_heir_dies() {
    for accesses in 0..4 {
        run(2, move || {
            let world = world(0);
            permits(&world).change(|state| state.handed(name(1), 1)).unwrap();
            let heir = world.clone();
            let heir = thread::spawn(move || {
                die_after(accesses);
                take(&heir, 1);
            });
            heir.join().unwrap();
            let other = world.clone();
            let unset = |world: &World| {
                permits(world)
                    .change(|state| state.unset(name(1)))
                    .unwrap()
                    .is_some()
            };
            let recoverer = thread::spawn(move || unset(&other));
            let mine = unset(&world);
            let theirs = recoverer.join().unwrap();
            assert!(!(mine && theirs), "a permit came back twice");
            let state = permits(&world).look().unwrap();
            assert_eq!(state.value(), u32::from(mine || theirs));
            assert_eq!(state.heir, None);
        });
    }
}

#[test]
fn one_has_the_permit_at_a_time() {
    two_count();
}

#[test]
fn what_is_set_aside_is_neither_lost_nor_doubled() {
    set_aside();
}

#[test]
fn the_permit_of_a_dead_heir_comes_back_once() {
    an_heir_dies();
}

#[test]
fn mutant_releasing_does_not_release() {
    expect_failure(SOURCE, ("pub fn change", ".cas("), two_count);
}
