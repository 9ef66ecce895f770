//! The queue: puts and gets in all orders that the bounds allow, with kills.

use crate::numbers::{EMPTY, close, get, get_next, put, put_block, put_next, settle};
use polyproc_channel::queue::Queue;
use polyproc_testkit::explore::{Actor, End, Explorer, Scenario};
use polyproc_testkit::family::Family;

/// What one process does, once.
#[derive(Clone, Copy)]
enum Task {
    Put,
    PutBlock,
    Get,
    /// Puts two in a row.
    PutTwo,
    /// Takes two in a row, if they are there.
    GetTwo,
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
                Task::PutTwo => {
                    let mut puts = queue.puts(actor.arena, actor.me);
                    for value in [value * 100, value * 100 + 1] {
                        actor.note(put_next(&mut puts, value));
                    }
                    puts.end().unwrap();
                    EMPTY
                }
                Task::GetTwo => {
                    let mut gets = queue.gets(actor.arena, actor.me);
                    for _ in 0..2 {
                        actor.note(get_next(&mut gets));
                    }
                    gets.end().unwrap();
                    EMPTY
                }
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

use Task::{Get, GetTwo, Put, PutBlock, PutTwo, Reuse};

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
fn several_in_a_row() {
    let all: [(&'static str, &'static [&'static [Task]], u64, u64); 5] = [
        ("two in a row", &[&[PutTwo], &[GetTwo]], 0, 0),
        ("two in a row into a new segment", &[&[PutTwo], &[GetTwo]], 30, 0),
        (
            "two in a row, and one who takes one",
            &[&[GetTwo], &[Get], &[Put]],
            0,
            2,
        ),
        ("two who take two", &[&[GetTwo], &[GetTwo]], 29, 3),
        ("two who put two", &[&[PutTwo], &[PutTwo], &[Get]], 0, 0),
    ];
    for (name, tasks, used, full) in all {
        let concert = Concert {
            tasks,
            most: 0,
            used,
            full,
        };
        Explorer::new(name, tasks.len())
            .kills(1)
            .preemptions(if tasks.len() > 2 { 1 } else { 2 })
            .run(&concert);
    }
}

#[test]
fn several_in_a_row_where_there_is_room_for_one() {
    let concert = Concert {
        tasks: &[&[PutTwo], &[Put], &[GetTwo]],
        most: 1,
        used: 0,
        full: 0,
    };
    Explorer::new("two in a row, bound of one", 3)
        .kills(1)
        .preemptions(1)
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
