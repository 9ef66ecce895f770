//! Recovery: two recoverers of one death, either of them killed or stopped at any step, and meanwhile
//! somebody who goes on using what the dead had in hand.

use crate::numbers::{block, close, get, put, put_block, send, settle};
use polyproc_arena::recovery;
use polyproc_channel::queue::Queue;
use polyproc_testkit::explore::{Actor, End, Explorer, Scenario};
use polyproc_testkit::family::Family;

/// What a process does.
#[derive(Clone, Copy)]
enum Part {
    Put,
    PutBlock,
    Get,
    /// One round of recovery, as a native thread makes it.
    Recover,
}

struct Deaths {
    parts: &'static [Part],
    full: &'static [(u64, bool)],
}

impl Scenario for Deaths {
    /// The queue, and a block with a message for each process.
    type Shared = (Queue, Vec<u64>);

    fn setup(&self, family: &Family) -> Self::Shared {
        let (arena, me) = (&family.arenas[0], &family.members[0]);
        let queue = Queue::create(arena, me, 0, None).unwrap();
        for p in 1..family.arenas.len() {
            Queue::open(&family.arenas[p], &family.members[p], queue.handle).unwrap();
        }
        for (value, block) in self.full {
            if *block {
                put_block(arena, me, &queue, *value);
            } else {
                put(arena, me, &queue, *value);
            }
        }
        // Allocation has a scenario of its own.
        let blocks = (self.parts.iter().enumerate())
            .map(|(p, part)| match part {
                Part::PutBlock => block(&family.arenas[p], &family.members[p], p as u64),
                _ => 0,
            })
            .collect();
        (queue, blocks)
    }

    fn run(&self, actor: &Actor<'_>, (queue, blocks): &Self::Shared) {
        let value = actor.p as u64;
        match self.parts[actor.p] {
            Part::Put => actor.note(put(actor.arena, actor.me, queue, value)),
            Part::PutBlock => actor.note(send(actor.arena, actor.me, queue, blocks[actor.p], value)),
            Part::Get => actor.note(get(actor.arena, actor.me, queue)),
            Part::Recover => {
                recovery::round(actor.arena, actor.me).unwrap();
            }
        }
    }

    fn at_rest(&self, family: &Family, (queue, _): &Self::Shared, end: &End) -> Result<(), String> {
        let before: Vec<u64> = self.full.iter().map(|(value, _)| *value).collect();
        settle(family, queue, end, &before)?;
        close(family, queue, end)
    }
}

use Part::{Get, Put, PutBlock, Recover};

#[test]
fn a_message_given_back_while_others_get() {
    let deaths = Deaths {
        parts: &[Get, Recover, Get],
        full: &[(50, false)],
    };
    Explorer::new("recovery, a message given back", 3)
        .kills(2)
        .only(&[0, 1])
        .hurried(&[1])
        .preemptions(2)
        .run(&deaths);
}

#[test]
fn a_block_given_back_while_others_get() {
    let deaths = Deaths {
        parts: &[Get, Recover, Get],
        full: &[(50, true)],
    };
    Explorer::new("recovery, a block given back", 3)
        .kills(2)
        .only(&[0, 1])
        .hurried(&[1])
        .preemptions(2)
        .run(&deaths);
}

#[test]
fn two_recoverers_of_a_getter() {
    let deaths = Deaths {
        parts: &[Get, Recover, Recover],
        full: &[(50, true)],
    };
    Explorer::new("recovery, a getter twice", 3)
        .kills(2)
        .only(&[0, 1])
        .hurried(&[1, 2])
        .tires(1)
        .preemptions(1)
        .run(&deaths);
}

#[test]
fn two_recoverers_of_a_putter() {
    let deaths = Deaths {
        parts: &[PutBlock, Recover, Recover],
        full: &[],
    };
    Explorer::new("recovery, a putter twice", 3)
        .kills(2)
        .only(&[0, 1])
        .hurried(&[1, 2])
        .tires(1)
        .preemptions(1)
        .run(&deaths);
}

#[test]
fn a_tombstone_while_others_put() {
    let deaths = Deaths {
        parts: &[PutBlock, Recover, Put],
        full: &[],
    };
    Explorer::new("recovery, a tombstone", 3)
        .kills(2)
        .only(&[0, 1])
        .hurried(&[1])
        .preemptions(2)
        .run(&deaths);
}
