//! Locks, semaphores, conditions, events and barriers: one holder at a time, nobody left behind, whoever is
//! killed and wherever.

use polyproc_arena::section::Liveness;
use polyproc_arena::wait::{List, Sleeper};
use polyproc_sync::barrier::{Arrival, Fate};
use polyproc_sync::condition::Woken;
use polyproc_sync::lock::{KIND, Patience, Waited};
use polyproc_sync::rlock::THREAD;
use polyproc_sync::semaphore::Waited as Permitted;
use polyproc_sync::{Barrier, Condition, Event, Lock, Semaphore};
use polyproc_testkit::explore::{Actor, End, Explorer, Scenario};
use polyproc_testkit::family::Family;
use std::cell::Cell;

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Acquires the lock, waiting as a thread, and releases it.
    Lock,
    /// The same, at most until its deadline.
    LockUntil,
    /// The same, as an isolate in its event loop.
    LockAsync,
    /// Releases the lock, which it holds from the beginning.
    Release,
    /// The same, and acquires and releases it once more.
    Again,
    /// Takes the one permit, and gives it back.
    Permit,
    /// Waits for the condition.
    Wait,
    /// Notifies one who waits for it.
    Notify,
    /// Waits for the event.
    Listen,
    /// Sets it.
    Set,
    /// Passes the barrier.
    Meet,
}

struct Sync {
    parts: &'static [Part],
}

struct Objects {
    lock: Lock,
    bounded: Semaphore,
    condition: Condition,
    event: Event,
    barrier: Barrier,
    /// Who holds the lock or the permit, as they themselves see it.
    inside: Cell<Option<usize>>,
    /// Somebody who waited for the condition was notified.
    called: Cell<bool>,
}

const DEADLINE: u64 = 10_000_000_000;
const GOT: u64 = 1;
const LATE: u64 = 2;
const PASSED: u64 = 3;
const BROKEN: u64 = 4;
const TOLD: u64 = 5;

fn patient(deadline: Option<u64>, wait: impl FnOnce(Patience<'_>) -> u64) -> u64 {
    wait(Patience {
        deadline,
        slice: None,
        stop: &mut || false,
    })
}

/// Notes that this process is the only one inside, until it leaves.
fn enter(actor: &Actor<'_>, objects: &Objects) {
    if let Some(other) = objects.inside.replace(Some(actor.p)) {
        let name = actor.family.members[other].name;
        assert!(
            actor.arena.is_dead(name),
            "{other} and {} are both inside",
            actor.p
        );
    }
}

fn leave(objects: &Objects) {
    objects.inside.set(None);
}

fn lock(actor: &Actor<'_>, objects: &Objects, deadline: Option<u64>) -> u64 {
    let (arena, me) = (actor.arena, actor.me);
    let waited = patient(deadline, |patience| {
        match objects.lock.acquire(arena, me, patience).unwrap() {
            Waited::Acquired(acquired) => u64::from(acquired.turn) << 8 | GOT,
            _ => LATE,
        }
    });
    if waited & 0xff == GOT {
        enter(actor, objects);
        leave(objects);
        assert!(
            objects
                .lock
                .release_turn(arena, me, (waited >> 8) as u32)
                .unwrap()
        );
    }
    waited & 0xff
}

/// As an event loop does it: the record stays in the list while the loop turns.
fn lock_async(actor: &Actor<'_>, objects: &Objects) -> u64 {
    let (arena, me) = (actor.arena, actor.me);
    let list: List = objects.lock.waiters();
    let record = arena.enter_list(me, list, Sleeper::Isolate, 0).unwrap();
    let mut look = true;
    let acquired = loop {
        if look && let Some(acquired) = objects.lock.try_acquire(arena, me).unwrap() {
            break acquired;
        }
        // The prepare phase: about to sleep.
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
    enter(actor, objects);
    let woken = arena.leave_list(me, record).unwrap();
    objects.lock.give_up(arena, me).unwrap();
    if woken {
        arena.wake_one(me, list).unwrap();
    }
    leave(objects);
    assert!(objects.lock.release_turn(arena, me, acquired.turn).unwrap());
    GOT
}

fn meet(actor: &Actor<'_>, objects: &Objects) -> u64 {
    let (arena, me) = (actor.arena, actor.me);
    match objects.barrier.arrive(arena, me).unwrap() {
        Arrival::Passed(_) => PASSED,
        Arrival::Wait(round, _) => patient(None, |patience| {
            match objects.barrier.wait(arena, me, round, patience).unwrap() {
                Some(Fate::Passed) => PASSED,
                _ => BROKEN,
            }
        }),
        _ => BROKEN,
    }
}

impl Scenario for Sync {
    type Shared = Objects;

    fn setup(&self, family: &Family) -> Objects {
        let (arena, me) = (&family.arenas[0], &family.members[0]);
        let parties = self.parts.len() as u32;
        let objects = Objects {
            lock: Lock::create(arena, me, KIND, None).unwrap(),
            bounded: Semaphore::create(arena, me, 1, true, true, None).unwrap(),
            condition: Condition::create(arena, me, None, None).unwrap(),
            event: Event::create(arena, me, None).unwrap(),
            barrier: Barrier::create(arena, me, parties, f64::INFINITY, None, None)
                .unwrap()
                .0,
            inside: Cell::new(None),
            called: Cell::new(false),
        };
        for (arena, me) in family.arenas.iter().zip(&family.members).skip(1) {
            Lock::open(arena, me, objects.lock.handle).unwrap();
            Semaphore::open(arena, me, objects.bounded.handle).unwrap();
            Condition::open(arena, me, objects.condition.handle).unwrap();
            Event::open(arena, me, objects.event.handle).unwrap();
            Barrier::open(arena, me, objects.barrier.handle).unwrap();
        }
        // Records are allocated at the first wait: let that be behind them.
        for (arena, me) in family.arenas.iter().zip(&family.members) {
            let record = arena
                .enter_list(me, objects.lock.waiters(), Sleeper::Thread, 0)
                .unwrap();
            arena.leave_list(me, record).unwrap();
        }
        if matches!(self.parts[0], Part::Release | Part::Again) {
            objects.lock.try_acquire(arena, me).unwrap().unwrap();
        }
        objects
    }

    fn run(&self, actor: &Actor<'_>, objects: &Objects) {
        let (arena, me) = (actor.arena, actor.me);
        actor.note(match self.parts[actor.p] {
            Part::Lock => lock(actor, objects, None),
            Part::LockUntil => lock(actor, objects, Some(DEADLINE)),
            Part::LockAsync => lock_async(actor, objects),
            Part::Release => {
                objects.lock.release(arena, me).unwrap();
                GOT
            }
            Part::Again => {
                objects.lock.release(arena, me).unwrap();
                lock(actor, objects, None)
            }
            Part::Permit => {
                let got = patient(None, |patience| {
                    let waited = objects.bounded.acquire(arena, me, patience).unwrap();
                    if waited == Permitted::Acquired { GOT } else { LATE }
                });
                enter(actor, objects);
                leave(objects);
                assert!(objects.bounded.release(arena, me, true).unwrap());
                got
            }
            Part::Wait => {
                let lock = &objects.condition.lock;
                patient(None, |patience| {
                    lock.acquire(arena, me, patience).unwrap();
                    GOT
                });
                enter(actor, objects);
                leave(objects);
                let woken = patient(None, |patience| {
                    let woken = objects.condition.wait(arena, me, THREAD, patience).unwrap();
                    if woken == Woken::Notified { TOLD } else { LATE }
                });
                enter(actor, objects);
                leave(objects);
                assert!(lock.release(arena, me).unwrap());
                woken
            }
            Part::Notify => {
                let lock = &objects.condition.lock;
                patient(None, |patience| {
                    lock.acquire(arena, me, patience).unwrap();
                    GOT
                });
                enter(actor, objects);
                let told = objects.condition.notify(arena, me, THREAD, 1).unwrap();
                objects.called.set(objects.called.get() || told > 0);
                leave(objects);
                assert!(lock.release(arena, me).unwrap());
                told
            }
            Part::Listen => patient(None, |patience| {
                let outcome = objects.event.wait(arena, me, patience).unwrap();
                if outcome == polyproc_arena::block_on::Outcome::Ready {
                    TOLD
                } else {
                    LATE
                }
            }),
            Part::Set => {
                objects.event.set(arena, me).unwrap();
                TOLD
            }
            Part::Meet => meet(actor, objects),
        });
    }

    fn may_sleep(&self, family: &Family, objects: &Objects, p: usize) -> bool {
        match self.parts[p] {
            // Nobody has notified it, or who did died before that was committed.
            Part::Wait => !objects.called.get(),
            // Who was to set it has died before.
            Part::Listen => !objects.event.is_set(&family.arenas[self.parts.len()]).unwrap(),
            // The others died before they arrived.
            Part::Meet => {
                !objects
                    .barrier
                    .state(&family.arenas[self.parts.len()])
                    .unwrap()
                    .broken
            }
            _ => false,
        }
    }

    fn at_rest(&self, family: &Family, objects: &Objects, end: &End) -> Result<(), String> {
        let warden = end.killed.len();
        let (arena, me) = (&family.arenas[warden], &family.members[warden]);
        let killed = end.killed.iter().filter(|killed| **killed).count();
        let asleep = end.asleep.iter().filter(|asleep| **asleep).count();
        let outcomes: Vec<u64> = end.outcomes.iter().flatten().copied().collect();
        if asleep == 0 && objects.lock.try_acquire(arena, me).unwrap().is_none() {
            return Err(format!(
                "the lock is lost: {:?}",
                objects.lock.state(arena).unwrap()
            ));
        }
        let value = objects.bounded.value(arena).unwrap();
        if value != 1 {
            return Err(format!("the semaphore of one has {value} permits"));
        }
        if self.parts.contains(&Part::Meet) {
            let passed = outcomes.iter().filter(|outcome| **outcome == PASSED).count();
            if passed > 0 && passed + killed < self.parts.len() {
                return Err(format!("some passed the barrier alone: {outcomes:?}"));
            }
            if killed == 0 && passed < self.parts.len() {
                return Err(format!("not all passed the barrier: {outcomes:?}"));
            }
        }
        Ok(())
    }
}

use Part::{Again, Listen, Lock as Acquire, LockAsync, LockUntil, Meet, Notify, Permit, Release, Set, Wait};

#[test]
fn two_threads_and_a_lock() {
    let sync = Sync {
        parts: &[Acquire, Acquire],
    };
    Explorer::new("lock, two threads", 2).kills(2).run(&sync);
}

#[test]
fn three_threads_and_a_lock() {
    let sync = Sync {
        parts: &[Acquire, Acquire, Acquire],
    };
    Explorer::new("lock, three threads", 3)
        .kills(1)
        .preemptions(1)
        .run(&sync);
}

#[test]
fn a_thread_that_does_not_wait_for_ever() {
    let sync = Sync {
        parts: &[Acquire, LockUntil],
    };
    Explorer::new("lock, with a deadline", 2)
        .kills(1)
        .tires(1)
        .run(&sync);
}

#[test]
fn a_thread_and_an_isolate() {
    let sync = Sync {
        parts: &[Acquire, LockAsync],
    };
    Explorer::new("lock, an isolate", 2)
        .kills(1)
        .preemptions(2)
        .run(&sync);
}

#[test]
fn a_lock_is_handed_to_who_has_waited_for_long() {
    // Whoever tires finds that much time has passed: the release hands over.
    for parts in [&[Release, Acquire, Acquire], &[Release, LockAsync, Acquire]] {
        Explorer::new("lock, handed over", 3)
            .kills(1)
            .tires(1)
            .preemptions(1)
            .run(&Sync { parts });
    }
}

#[test]
fn a_lock_is_left_to_who_is_on_its_way() {
    // The second release sees that the first has woken somebody, who may look, and sleep again, at any moment.
    for parts in [&[Again, Acquire], &[Again, LockAsync]] {
        Explorer::new("lock, left", 2)
            .kills(1)
            .preemptions(2)
            .run(&Sync { parts });
    }
}

#[test]
fn a_third_releases_after_a_death() {
    let parts = &[Release, Acquire, Acquire];
    Explorer::new("lock, a third", 3)
        .kills(1)
        .preemptions(2)
        .run(&Sync { parts });
}

#[test]
fn two_threads_and_a_permit() {
    let sync = Sync {
        parts: &[Permit, Permit],
    };
    Explorer::new("semaphore, one permit", 2)
        .kills(1)
        .preemptions(2)
        .run(&sync);
}

#[test]
fn one_waits_and_one_notifies() {
    let sync = Sync {
        parts: &[Wait, Notify],
    };
    Explorer::new("condition", 2).kills(1).preemptions(2).run(&sync);
}

#[test]
fn one_listens_and_one_sets() {
    let sync = Sync {
        parts: &[Listen, Set],
    };
    Explorer::new("event", 2).kills(1).preemptions(2).run(&sync);
}

#[test]
fn two_meet() {
    let sync = Sync { parts: &[Meet, Meet] };
    Explorer::new("barrier", 2).kills(1).preemptions(2).run(&sync);
}
