//! Guarded sections: two writers of two words that must always be equal, any two of three killed.
//! Exhaustive.

use polyproc_arena::layout::header;
use polyproc_testkit::explore::{Actor, End, Explorer, Scenario};
use polyproc_testkit::family::Family;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

/// Two words that only the names section changes here: buckets of the name table.
fn pair(family: &Family) -> [u64; 2] {
    let names = family.arenas[0].layout.names;
    [names, names + 8]
}

struct Counter {
    turns: usize,
}

impl Scenario for Counter {
    type Shared = [u64; 2];

    fn setup(&self, family: &Family) -> Self::Shared {
        pair(family)
    }

    fn run(&self, actor: &Actor<'_>, words: &Self::Shared) {
        for _ in 0..self.turns {
            let guard = actor.arena.enter(actor.me, header::NAMES_SECTION).unwrap();
            let a = actor.arena.map.word(words[0]).unwrap().load(Relaxed);
            let b = actor.arena.map.word(words[1]).unwrap().load(Relaxed);
            assert_eq!(a, b, "a change was seen half done inside the section");
            guard.commit(&[(words[0], a + 1), (words[1], b + 1)]).unwrap();
            drop(guard);
            actor.note(a);
        }
    }

    fn at_rest(&self, family: &Family, words: &Self::Shared, end: &End) -> Result<(), String> {
        // As the next one to come would see it: the section is entered, a log redone.
        let warden = end.killed.len();
        drop(family.arenas[warden].enter(&family.members[warden], header::NAMES_SECTION));
        let [a, b] = words.map(|word| family.arenas[0].map.word(word).unwrap().load(Acquire));
        for word in words {
            family.arenas[0].map.word(*word).unwrap().store(0, Relaxed);
        }
        let done: usize = end.outcomes.iter().map(Vec::len).sum();
        let begun = done + end.killed.iter().filter(|killed| **killed).count();
        let mut seen: Vec<u64> = end.outcomes.iter().flatten().copied().collect();
        seen.sort_unstable();
        seen.dedup();
        if a != b {
            Err(format!("half a change is left: {a} and {b}"))
        } else if seen.len() != done {
            Err("two saw the same value".into())
        } else if (a as usize) < done || a as usize > begun {
            Err(format!("{a} changes of {done} to {begun}"))
        } else {
            Ok(())
        }
    }
}

#[test]
fn two_writers_and_two_deaths() {
    Explorer::new("section, two writers", 2)
        .kills(2)
        .run(&Counter { turns: 1 });
}

#[test]
fn three_writers_and_two_deaths() {
    Explorer::new("section, three writers", 3)
        .kills(2)
        .preemptions(2)
        .run(&Counter { turns: 1 });
}
