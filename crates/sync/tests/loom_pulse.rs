//! The word of an event under loom: a setting publishes what was done before it, is counted once, and is known to whoever remembers
//! the count from before, whatever is cleared.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use polyproc_arena::map::Map;
use polyproc_arena::model::{expect_failure, run};
use polyproc_sync::pulse::Pulse;

const SOURCE: (&str, &str) = ("src/pulse.rs", include_str!("../src/pulse.rs"));

struct World {
    map: Map,
    /// Written before the event is set, and read after it was seen set.
    news: UnsafeCell<u32>,
}

// SAFETY: `news` is written before and read after a setting, which is what the model checks.
unsafe impl Sync for World {}
// SAFETY: nothing in it belongs to a thread.
unsafe impl Send for World {}

fn world(word: u64) -> Arc<World> {
    let world = Arc::new(World {
        map: Map::model(64),
        news: UnsafeCell::new(0),
    });
    world.map.word(0).unwrap().cas(0, word).unwrap();
    world
}

fn pulse(world: &World) -> Pulse<'_> {
    Pulse {
        map: &world.map,
        at: 0,
    }
}

/// What was done before it was set is seen by whoever sees it set.
fn publishes() {
    run(0, || {
        let world = world(0);
        let other = world.clone();
        let setter = thread::spawn(move || {
            // SAFETY: loom fails if another thread touches it without having synchronized.
            other.news.with_mut(|news| unsafe { *news = 7 });
            assert!(pulse(&other).set().unwrap());
        });
        let other = world.clone();
        let looker = thread::spawn(move || {
            if pulse(&other).look().unwrap().set {
                // SAFETY: as above.
                assert_eq!(other.news.with(|news| unsafe { *news }), 7);
            }
        });
        setter.join().unwrap();
        looker.join().unwrap();
    });
}

/// Two set it, and one of them clears it: each setting is counted once, and known to whoever remembers the count from before.
fn counts(before: u64) {
    run(0, move || {
        let world = world(before << 1);
        let (one, two) = (world.clone(), world.clone());
        let one = thread::spawn(move || {
            let has_set = pulse(&one).set().unwrap();
            pulse(&one).clear().unwrap();
            has_set
        });
        let two = thread::spawn(move || pulse(&two).set().unwrap());
        let times = u64::from(one.join().unwrap()) + u64::from(two.join().unwrap());
        let after = pulse(&world).look().unwrap();
        assert!((1..=2).contains(&times));
        assert_eq!(after.count, (before + times) % (1 << 52));
        assert_ne!(after.count, before, "a setting is not known any more");
    });
}

#[test]
fn who_sees_it_set_sees_what_was_done_before() {
    publishes();
}

#[test]
fn each_setting_is_counted_once() {
    counts(0);
}

#[test]
fn the_count_wraps() {
    counts((1 << 52) - 1);
}

#[test]
fn mutant_looking_does_not_acquire() {
    expect_failure(SOURCE, ("pub fn look", ".load(Acquire)"), publishes);
}

#[test]
fn mutant_setting_does_not_release() {
    expect_failure(SOURCE, ("pub fn set", "word.cas("), publishes);
}
