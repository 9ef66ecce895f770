//! The explorer itself: it finds what is wrong with protocols that are.

use polyproc_testkit::explore::{Actor, End, Explorer, Scenario, caught};
use polyproc_testkit::family::Family;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// A word that nothing else uses: a bucket of the name table.
fn word(family: &Family) -> u64 {
    family.arenas[0].layout.names
}

fn panics(f: impl FnOnce()) -> String {
    let panic = caught(f).expect_err("it found nothing");
    *panic.downcast::<String>().unwrap()
}

/// Two add one, by a load and a store.
struct Lost;

impl Scenario for Lost {
    type Shared = u64;

    fn setup(&self, family: &Family) -> u64 {
        word(family)
    }

    fn run(&self, actor: &Actor<'_>, at: &u64) {
        let word = actor.arena.map.word(*at).unwrap();
        let value = word.load(Relaxed);
        word.store(value + 1, Relaxed);
    }

    fn at_rest(&self, family: &Family, at: &u64, _: &End) -> Result<(), String> {
        let word = family.arenas[0].map.word(*at).unwrap();
        match word.swap(0, Relaxed) {
            2 => Ok(()),
            value => Err(format!("the sum is {value}")),
        }
    }
}

#[test]
fn an_update_is_lost() {
    let trace = panics(|| {
        Explorer::new("two that add", 2).run(&Lost);
    });
    assert!(
        trace.contains("the sum is 1") && trace.contains("explorer.rs"),
        "{trace}"
    );
}

/// Two that never meet: with one preemption less than it takes, it is not found.
#[test]
fn the_bound_on_preemptions_is_one() {
    Explorer::new("two that add, one after the other", 2)
        .preemptions(0)
        .run(&Lost);
}

/// A lock that does not say who has it: one dies inside and the other waits for ever.
struct Nameless;

impl Scenario for Nameless {
    type Shared = u64;

    fn setup(&self, family: &Family) -> u64 {
        word(family)
    }

    fn run(&self, actor: &Actor<'_>, at: &u64) {
        let word = actor.arena.map.word(*at).unwrap();
        for turn in 0..10 {
            if word.cas(0, 1).is_ok() {
                word.store(0, SeqCst);
                return;
            }
            assert!(turn < 9, "the lock is never free");
        }
    }

    fn at_rest(&self, family: &Family, at: &u64, _: &End) -> Result<(), String> {
        family.arenas[0].map.word(*at).unwrap().store(0, Relaxed);
        Ok(())
    }
}

#[test]
fn a_death_in_a_lock_without_a_name() {
    let trace = panics(|| {
        Explorer::new("a nameless lock", 2)
            .kills(1)
            .only(&[0])
            .preemptions(1)
            .run(&Nameless);
    });
    assert!(
        trace.contains("never free") && trace.contains("Kill(0)"),
        "{trace}"
    );
}
