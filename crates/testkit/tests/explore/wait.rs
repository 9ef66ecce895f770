//! Waiting: nobody sleeps for ever while there is something for it and nobody on the way to that,
//! whoever is killed and wherever.

use crate::numbers::{EMPTY, FULL, SHUT, close, get, put, settle};
use polyproc_arena::block_on::{Outcome, block_on};
use polyproc_arena::recovery;
use polyproc_arena::wait::Sleeper;
use polyproc_channel::queue::Queue;
use polyproc_testkit::explore::{Actor, End, Explorer, Scenario};
use polyproc_testkit::family::Family;

/// What a process does.
#[derive(Clone, Copy)]
enum Part {
    Put,
    /// Waits for room.
    PutBlocking,
    /// Waits, as a thread, for a message.
    Get,
    /// Waits at most until its deadline.
    GetUntil,
    /// Waits, as an isolate, in its event loop.
    GetAsync,
    /// Ends the queue.
    Shut,
    /// One round of recovery.
    Recover,
}

struct Waits {
    parts: &'static [Part],
    most: u64,
    full: u64,
}

/// Later than the time that stands still, earlier than that of one who has tired.
const DEADLINE: u64 = 10_000_000_000;

fn get_blocking(actor: &Actor<'_>, queue: &Queue, deadline: Option<u64>) -> u64 {
    loop {
        let value = get(actor.arena, actor.me, queue);
        if value != EMPTY {
            return value;
        }
        let list = queue.getters(actor.arena);
        let ready = || queue.is_readable(actor.arena);
        let outcome = block_on(actor.arena, actor.me, list, deadline, None, ready, || false).unwrap();
        if outcome == Outcome::TimedOut {
            return EMPTY;
        }
    }
}

fn put_blocking(actor: &Actor<'_>, queue: &Queue, value: u64) -> u64 {
    loop {
        let outcome = put(actor.arena, actor.me, queue, value);
        if outcome != FULL {
            return outcome;
        }
        let list = queue.putters(actor.arena);
        let ready = || queue.is_writable(actor.arena, actor.me);
        block_on(actor.arena, actor.me, list, None, None, ready, || false).unwrap();
    }
}

/// As an event loop does it: the record stays in the list while the loop turns.
fn get_async(actor: &Actor<'_>, queue: &Queue) -> u64 {
    let (arena, me) = (actor.arena, actor.me);
    let value = get(arena, me, queue);
    if value != EMPTY {
        return value;
    }
    let record = arena
        .enter_list(me, queue.getters(arena), Sleeper::Isolate, 0)
        .unwrap();
    let mut look = true;
    let value = loop {
        if look {
            let value = get(arena, me, queue);
            if value != EMPTY {
                break value;
            }
        }
        // The prepare phase: about to sleep, after a while of watching.
        arena.watch_out(me).unwrap();
        if !arena.is_dirty(me).unwrap() && arena.park(me).unwrap() {
            actor.hear_bell();
        }
        // The check phase: awake.
        arena.unpark(me).unwrap();
        arena.take_dirty(me).unwrap();
        look = arena.is_called(record).unwrap();
        if look {
            arena.acknowledge(record).unwrap();
        }
    };
    if arena.leave_list(me, record).unwrap() {
        arena.wake_one(me, queue.getters(arena)).unwrap();
    }
    value
}

impl Scenario for Waits {
    type Shared = Queue;

    fn setup(&self, family: &Family) -> Queue {
        let (arena, me) = (&family.arenas[0], &family.members[0]);
        let queue = Queue::create(arena, me, self.most, None).unwrap();
        for (arena, me) in family.arenas.iter().zip(&family.members).skip(1) {
            Queue::open(arena, me, queue.handle).unwrap();
        }
        for k in 0..self.full {
            put(arena, me, &queue, 50 + k);
        }
        // Records are allocated at the first wait: let that be behind them.
        for (arena, me) in family.arenas.iter().zip(&family.members) {
            let record = arena
                .enter_list(me, queue.getters(arena), Sleeper::Thread, 0)
                .unwrap();
            arena.leave_list(me, record).unwrap();
        }
        queue
    }

    fn run(&self, actor: &Actor<'_>, queue: &Queue) {
        let value = actor.p as u64;
        actor.note(match self.parts[actor.p] {
            Part::Put => put(actor.arena, actor.me, queue, value),
            Part::PutBlocking => put_blocking(actor, queue, value),
            Part::Get => get_blocking(actor, queue, None),
            Part::GetUntil => get_blocking(actor, queue, Some(DEADLINE)),
            Part::GetAsync => get_async(actor, queue),
            Part::Shut => {
                queue.shut_down(actor.arena, actor.me).unwrap();
                SHUT
            }
            Part::Recover => {
                recovery::round(actor.arena, actor.me).unwrap();
                return;
            }
        });
    }

    fn may_sleep(&self, family: &Family, queue: &Queue, p: usize) -> bool {
        let (warden, me) = (
            &family.arenas[self.parts.len()],
            &family.members[self.parts.len()],
        );
        match self.parts[p] {
            Part::Put | Part::Shut | Part::Recover => false,
            Part::PutBlocking => !queue.is_writable(warden, me).unwrap(),
            Part::Get | Part::GetUntil | Part::GetAsync => !queue.is_readable(warden).unwrap(),
        }
    }

    fn at_rest(&self, family: &Family, queue: &Queue, end: &End) -> Result<(), String> {
        let before: Vec<u64> = (0..self.full).map(|k| 50 + k).collect();
        if end.asleep.contains(&true) {
            // Some are still in the lists, rightly: what they wait for is not there.
            return Ok(());
        }
        settle(family, queue, end, &before)?;
        if end.outcomes[0] == [SHUT]
            && put(
                &family.arenas[end.killed.len()],
                &family.members[end.killed.len()],
                queue,
                9,
            ) != SHUT
        {
            return Err("a queue that is shut takes a message".into());
        }
        close(family, queue, end)
    }
}

use Part::{Get, GetAsync, GetUntil, Put, PutBlocking, Recover, Shut};

#[test]
fn a_thread_waits_for_a_message() {
    let waits = Waits {
        parts: &[Put, Get],
        most: 0,
        full: 0,
    };
    Explorer::new("wait, a thread", 2).kills(2).run(&waits);
}

#[test]
fn one_message_and_two_threads() {
    let waits = Waits {
        parts: &[Put, Get, Get],
        most: 0,
        full: 0,
    };
    Explorer::new("wait, one message for two", 3)
        .kills(1)
        .preemptions(1)
        .run(&waits);
}

#[test]
fn two_messages_and_two_threads() {
    let waits = Waits {
        parts: &[Put, Put, Get, Get],
        most: 0,
        full: 0,
    };
    Explorer::new("wait, two messages for two", 4)
        .kills(1)
        .only(&[0, 2])
        .preemptions(1)
        .run(&waits);
}

#[test]
fn a_deadline_passes() {
    let waits = Waits {
        parts: &[Put, GetUntil, Get],
        most: 0,
        full: 0,
    };
    Explorer::new("wait, a deadline", 3)
        .kills(1)
        .only(&[1])
        .tires(1)
        .preemptions(1)
        .run(&waits);
}

#[test]
fn an_isolate_waits_in_its_event_loop() {
    let waits = Waits {
        parts: &[Put, GetAsync],
        most: 0,
        full: 0,
    };
    Explorer::new("wait, an isolate", 2).kills(2).run(&waits);
}

#[test]
fn an_isolate_and_a_thread() {
    let waits = Waits {
        parts: &[Put, GetAsync, Get],
        most: 0,
        full: 0,
    };
    Explorer::new("wait, an isolate and a thread", 3)
        .kills(1)
        .preemptions(1)
        .run(&waits);
}

#[test]
fn putters_wait_for_room() {
    let waits = Waits {
        parts: &[PutBlocking, PutBlocking, Get],
        most: 1,
        full: 1,
    };
    Explorer::new("wait, for room", 3)
        .kills(1)
        .preemptions(1)
        .run(&waits);
}

#[test]
fn a_recoverer_dies_while_it_passes_a_wake_on() {
    let waits = Waits {
        parts: &[Put, Get, Get, Recover],
        most: 0,
        full: 0,
    };
    Explorer::new("wait, passed on by recovery", 4)
        .kills(2)
        .only(&[1, 3])
        .hurried(&[3])
        .preemptions(0)
        .run(&waits);
}

#[test]
fn a_shutdown_reaches_everybody() {
    let waits = Waits {
        parts: &[Shut, Get, Put],
        most: 0,
        full: 0,
    };
    Explorer::new("wait, a shutdown", 3)
        .kills(1)
        .only(&[0, 1])
        .preemptions(1)
        .run(&waits);
}

#[test]
fn a_shutdown_is_gone_on_with() {
    let waits = Waits {
        parts: &[Shut, Get, Recover, Recover],
        most: 0,
        full: 0,
    };
    Explorer::new("wait, half a shutdown", 4)
        .kills(2)
        .only(&[0, 2])
        .hurried(&[2, 3])
        .preemptions(0)
        .run(&waits);
}
