//! The queue: puts and gets in all orders that the bounds allow, with kills.

use crate::numbers::{EMPTY, close, get, put, put_block, settle};
use polyproc_channel::queue::Queue;
use polyproc_testkit::explore::{Actor, End, Explorer, Scenario};
use polyproc_testkit::family::Family;

/// What one process does, once.
#[derive(Clone, Copy)]
enum Task {
    Put,
    PutBlock,
    Get,
    /// Takes a block of the size of a queue's second segment and clears it, as another queue would.
    Reuse,
}

struct Concert {
    tasks: &'static [&'static [Task]],
    /// Bound of the queue.
    most: u64,
    /// Tickets that were used before.
    used: u64,
    /// Messages in the queue at the beginning.
    full: u64,
}

impl Scenario for Concert {
    type Shared = Queue;

    fn setup(&self, family: &Family) -> Queue {
        let (arena, me) = (&family.arenas[0], &family.members[0]);
        let queue = Queue::create(arena, me, self.most, None).unwrap();
        for p in 1..family.arenas.len() {
            Queue::open(&family.arenas[p], &family.members[p], queue.handle).unwrap();
        }
        for _ in 0..self.used {
            put(arena, me, &queue, 0);
            get(arena, me, &queue);
        }
        for k in 0..self.full {
            put(arena, me, &queue, 50 + k);
        }
        queue
    }

    fn run(&self, actor: &Actor<'_>, queue: &Queue) {
        for (k, task) in self.tasks[actor.p].iter().enumerate() {
            let value = (actor.p * 10 + k) as u64;
            actor.note(match task {
                Task::Put => put(actor.arena, actor.me, queue, value),
                Task::PutBlock => put_block(actor.arena, actor.me, queue, value),
                Task::Get => get(actor.arena, actor.me, queue),
                Task::Reuse => {
                    let block = actor.arena.alloc(actor.me, 8 << 10).unwrap();
                    actor.arena.zero(block, 8 << 10).unwrap();
                    EMPTY
                }
            });
        }
    }

    fn at_rest(&self, family: &Family, queue: &Queue, end: &End) -> Result<(), String> {
        let before: Vec<u64> = (0..self.full).map(|k| 50 + k).collect();
        settle(family, queue, end, &before)?;
        close(family, queue, end)
    }
}

use Task::{Get, Put, PutBlock, Reuse};

#[test]
fn put_and_get() {
    let concert = Concert {
        tasks: &[&[Put], &[Get]],
        most: 0,
        used: 0,
        full: 0,
    };
    Explorer::new("queue, put and get", 2).kills(2).run(&concert);
}

#[test]
fn puts_and_gets() {
    let concert = Concert {
        tasks: &[&[Put], &[Put], &[Get], &[Get]],
        most: 0,
        used: 0,
        full: 1,
    };
    Explorer::new("queue, two puts and two gets", 4)
        .kills(1)
        .preemptions(1)
        .run(&concert);
}

#[test]
fn messages_in_blocks() {
    let concert = Concert {
        tasks: &[&[PutBlock], &[Get]],
        most: 0,
        used: 0,
        full: 0,
    };
    Explorer::new("queue, a message in a block", 2)
        .kills(2)
        .run(&concert);
}

#[test]
fn a_bounded_queue() {
    let concert = Concert {
        tasks: &[&[Put], &[Put], &[Get]],
        most: 1,
        used: 0,
        full: 0,
    };
    Explorer::new("queue, bound of one", 3)
        .kills(1)
        .preemptions(2)
        .run(&concert);
}

#[test]
fn a_segment_is_used_up() {
    let concert = Concert {
        tasks: &[&[Put, Put], &[Get, Get]],
        most: 0,
        used: 30,
        full: 0,
    };
    Explorer::new("queue, a new segment", 2)
        .kills(1)
        .preemptions(2)
        .run(&concert);
}

#[test]
fn a_segment_is_used_again() {
    let concert = Concert {
        tasks: &[&[Put, Put], &[Get, Get]],
        most: 0,
        used: 31 + 63 - 1,
        full: 0,
    };
    Explorer::new("queue, a segment again", 2)
        .kills(1)
        .preemptions(2)
        .run(&concert);
}

#[test]
fn a_segment_is_given_back() {
    let all: [&'static [&'static [Task]]; 2] = [
        &[&[Put, Put, Get, Reuse], &[Put]],
        &[&[Put, Put, Get, Reuse], &[Get]],
    ];
    for tasks in all {
        let concert = Concert {
            tasks,
            most: 0,
            // The first segment is over, the second but for one slot.
            used: 31 + 62,
            full: 0,
        };
        Explorer::new("queue, a segment given back", 2)
            .tires(1)
            .preemptions(2)
            .run(&concert);
        Explorer::new("queue, killed while it gives back", 2)
            .kills(1)
            .preemptions(0)
            .run(&concert);
    }
}
