//! Rounds of what `polyproc-sync` is made of: what a victim does, and what two survivors ask of it afterwards.
//!
//! Each round has one object of each kind, by name. The first survivor prepares, the second waits where
//! that is part of it; the victim is killed in its step; then whoever waits must be let go on, by what the
//! victim did or by the first survivor in its place, and every object must be as if the step had been done
//! or had not.
//!
//! ```text
//! sync begin R     opens the objects of a round
//! sync hold OP     prepares, as the first survivor
//! sync beside OP   waits, as the second: "woken" in the end
//! sync asleep OP   as the first: "asleep" once the second stands in the list
//! sync after OP    as the first: does what the victim may have left undone; then "right", or what is wrong
//! sync end         lets go of the objects
//! ```

use crate::operations::{Operation, PLAIN, Step};
use polyproc_arena::block_on::Outcome;
use polyproc_arena::error::Result;
use polyproc_arena::{Arena, Error, Member};
use polyproc_sync::barrier::{Arrival, Fate};
use polyproc_sync::condition::Woken;
use polyproc_sync::lock::{KIND as LOCK, Patience, Waited};
use polyproc_sync::rlock::{Released, THREAD};
use polyproc_sync::semaphore::Waited as Permitted;
use polyproc_sync::{Barrier, Condition, Event, Lock, RLock, Semaphore};
use polyproc_sys::clock;
use std::cell::RefCell;

const fn named(name: &'static str) -> Operation {
    Operation { name, ..PLAIN }
}

/// All of them.
pub const ALL: &[Operation] = &[
    named("sync-acquire"),
    named("sync-release"),
    named("sync-hand-over"),
    named("sync-wait"),
    named("sync-rlock"),
    named("sync-semaphore"),
    named("sync-semaphore-wake"),
    named("sync-bounded"),
    named("sync-bounded-wake"),
    named("sync-bounded-hand-over"),
    named("sync-event"),
    named("sync-condition-wait"),
    named("sync-notify"),
    named("sync-barrier-last"),
    named("sync-barrier-first"),
    named("sync-create"),
];

/// The objects of a round, as one process holds them.
#[derive(Debug, Clone, Copy)]
struct Objects {
    lock: Lock,
    rlock: RLock,
    semaphore: Semaphore,
    bounded: Semaphore,
    condition: Condition,
    event: Event,
    barrier: Barrier,
}

impl Objects {
    fn open(arena: &Arena, me: &Member, round: u64) -> Result<Self> {
        let name = |what: &str| format!("{what}{round}");
        Ok(Self {
            lock: Lock::create(arena, me, LOCK, Some(&name("lock")))?,
            rlock: RLock::create(arena, me, Some(&name("rlock")))?,
            semaphore: Semaphore::create(arena, me, 2, false, false, Some(&name("semaphore")))?,
            bounded: Semaphore::create(arena, me, 2, true, true, Some(&name("bounded")))?,
            condition: Condition::create(arena, me, None, Some(&name("condition")))?,
            event: Event::create(arena, me, Some(&name("event")))?,
            barrier: Barrier::create(arena, me, 2, f64::INFINITY, None, Some(&name("barrier")))?.0,
        })
    }

    fn close(self, arena: &Arena, me: &Member) -> Result<()> {
        let handles = [
            self.lock.handle,
            self.rlock.lock.handle,
            self.semaphore.handle,
            self.bounded.handle,
            self.event.handle,
            self.barrier.handle,
        ];
        for handle in handles {
            arena.close(me, handle)?;
        }
        self.condition.close(arena, me)
    }
}

const MS: u64 = 1_000_000;

fn within(ns: u64, wait: impl FnOnce(Patience<'_>) -> Result<bool>) -> Result<bool> {
    wait(Patience {
        deadline: Some(clock::now() + ns),
        slice: None,
        stop: &mut || false,
    })
}

fn lock_within(arena: &Arena, me: &Member, lock: &Lock, ns: u64) -> Result<bool> {
    within(ns, |patience| {
        Ok(matches!(lock.acquire(arena, me, patience)?, Waited::Acquired(_)))
    })
}

fn permit_within(arena: &Arena, me: &Member, semaphore: &Semaphore, ns: u64) -> Result<bool> {
    within(ns, |patience| {
        Ok(semaphore.acquire(arena, me, patience)? == Permitted::Acquired)
    })
}

fn notified_within(arena: &Arena, me: &Member, condition: &Condition, ns: u64) -> Result<bool> {
    within(ns, |patience| {
        Ok(condition.wait(arena, me, THREAD, patience)? == Woken::Notified)
    })
}

/// The step of a victim.
///
/// # Errors
/// What the preparation says.
pub fn prepare<'a>(name: &str, arena: &'static Arena, me: &'a Member, round: u64) -> Result<Step<'a>> {
    let objects = Objects::open(arena, me, round)?;
    Ok(match name {
        "sync-acquire" => Box::new(move || {
            if let Some(acquired) = objects.lock.try_acquire(arena, me)? {
                objects.lock.release_turn(arena, me, acquired.turn)?;
            }
            Ok(())
        }),
        // Any process may release a lock: this one is the first survivor's.
        "sync-release" | "sync-hand-over" => Box::new(move || objects.lock.release(arena, me).map(drop)),
        "sync-wait" => Box::new(move || lock_within(arena, me, &objects.lock, MS / 5).map(drop)),
        "sync-rlock" => Box::new(move || {
            for _ in 0..2 {
                objects.rlock.try_acquire(arena, me, THREAD)?;
            }
            for _ in 0..2 {
                objects.rlock.release(arena, me, THREAD)?;
            }
            Ok(())
        }),
        "sync-semaphore" => Box::new(move || {
            objects.semaphore.try_acquire(arena, me)?;
            objects.semaphore.release(arena, me, false).map(drop)
        }),
        "sync-semaphore-wake" => Box::new(move || objects.semaphore.release(arena, me, false).map(drop)),
        "sync-bounded" => Box::new(move || {
            for _ in 0..2 {
                objects.bounded.try_acquire(arena, me)?;
            }
            for _ in 0..2 {
                objects.bounded.release(arena, me, true)?;
            }
            Ok(())
        }),
        "sync-bounded-wake" | "sync-bounded-hand-over" => {
            Box::new(move || objects.bounded.release(arena, me, false).map(drop))
        }
        "sync-event" => Box::new(move || objects.event.set(arena, me)),
        "sync-condition-wait" => Box::new(move || {
            if let Some(acquired) = objects.condition.lock.try_acquire(arena, me)? {
                notified_within(arena, me, &objects.condition, MS / 5)?;
                objects.condition.lock.release_turn(arena, me, acquired.turn)?;
            }
            Ok(())
        }),
        "sync-notify" => Box::new(move || {
            if let Some(acquired) = objects.condition.lock.try_acquire(arena, me)? {
                objects.condition.notify(arena, me, THREAD, 1)?;
                objects.condition.lock.release_turn(arena, me, acquired.turn)?;
            }
            Ok(())
        }),
        "sync-barrier-last" => Box::new(move || objects.barrier.arrive(arena, me).map(drop)),
        "sync-barrier-first" => Box::new(move || {
            if let Arrival::Wait(round, _) = objects.barrier.arrive(arena, me)? {
                within(MS / 5, |patience| {
                    Ok(objects.barrier.wait(arena, me, round, patience)? == Some(Fate::Passed))
                })?;
            }
            Ok(())
        }),
        "sync-create" => Box::new(move || {
            let own = Objects::open(arena, me, round + (1 << 32))?;
            own.close(arena, me)
        }),
        other => return Err(Error::State(format!("there is no operation {other}"))),
    })
}

thread_local! {
    /// The round that a survivor is in.
    static ROUND: RefCell<Option<Objects>> = const { RefCell::new(None) };
}

/// What a survivor answers.
///
/// # Errors
/// What the objects say.
pub fn obey(arena: &Arena, me: &Member, words: &[&str]) -> Result<String> {
    if let ["begin", round] = words {
        let objects = Objects::open(arena, me, round.parse().unwrap_or_default())?;
        ROUND.with(|slot| *slot.borrow_mut() = Some(objects));
        return Ok("begun".into());
    }
    let objects = ROUND.with(|slot| *slot.borrow());
    let objects = objects.ok_or_else(|| Error::State("no round has begun".into()))?;
    match words {
        ["hold", operation] => hold(arena, me, &objects, operation).map(|()| "held".into()),
        ["beside", operation] => beside(arena, me, &objects, operation)
            .map(|woken| if woken { "woken" } else { "sleeps on" }.to_owned()),
        ["asleep", operation] => asleep(arena, me, &objects, operation).map(|()| "asleep".into()),
        ["after", operation] => after(arena, me, &objects, operation),
        ["judge", operation] => {
            Ok(judge(arena, me, &objects, operation)?.unwrap_or_else(|| "right".to_owned()))
        }
        ["end"] => {
            ROUND.with(|slot| *slot.borrow_mut() = None);
            objects.close(arena, me).map(|()| "ended".into())
        }
        _ => Err(Error::State(format!("there is no command {words:?}"))),
    }
}

/// Whether the second survivor waits.
#[must_use]
pub fn has_sleeper(operation: &str) -> bool {
    matches!(
        operation,
        "sync-release"
            | "sync-hand-over"
            | "sync-semaphore-wake"
            | "sync-bounded-wake"
            | "sync-bounded-hand-over"
            | "sync-event"
            | "sync-notify"
            | "sync-barrier-last"
    )
}

fn hold(arena: &Arena, me: &Member, objects: &Objects, operation: &str) -> Result<()> {
    match operation {
        "sync-release" | "sync-hand-over" | "sync-wait" => {
            objects.lock.try_acquire(arena, me)?;
        }
        "sync-semaphore-wake" => {
            for _ in 0..2 {
                objects.semaphore.try_acquire(arena, me)?;
            }
        }
        "sync-bounded-wake" | "sync-bounded-hand-over" => {
            for _ in 0..2 {
                objects.bounded.try_acquire(arena, me)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn beside(arena: &Arena, me: &Member, objects: &Objects, operation: &str) -> Result<bool> {
    let long = 10_000 * MS;
    match operation {
        "sync-release" | "sync-hand-over" => {
            let got = lock_within(arena, me, &objects.lock, long)?;
            Ok(got && objects.lock.release(arena, me)?)
        }
        "sync-semaphore-wake" => permit_within(arena, me, &objects.semaphore, long),
        "sync-bounded-wake" | "sync-bounded-hand-over" => {
            let got = permit_within(arena, me, &objects.bounded, long)?;
            Ok(got && objects.bounded.release(arena, me, true)?)
        }
        "sync-event" => within(long, |patience| {
            Ok(objects.event.wait(arena, me, patience)? == Outcome::Ready)
        }),
        "sync-notify" => {
            let lock = &objects.condition.lock;
            let got =
                lock_within(arena, me, lock, long)? && notified_within(arena, me, &objects.condition, long)?;
            Ok(got && lock.release(arena, me)?)
        }
        "sync-barrier-last" => match objects.barrier.arrive(arena, me)? {
            Arrival::Wait(round, _) => within(long, |patience| {
                Ok(objects.barrier.wait(arena, me, round, patience)? == Some(Fate::Passed))
            }),
            _ => Ok(false),
        },
        _ => Ok(true),
    }
}

/// Waits until somebody waits for what the victim is to do.
fn asleep(arena: &Arena, me: &Member, objects: &Objects, operation: &str) -> Result<()> {
    let list = match operation {
        "sync-release" | "sync-hand-over" => objects.lock.waiters(),
        "sync-semaphore-wake" => objects.semaphore.waiters(),
        "sync-bounded-wake" | "sync-bounded-hand-over" => objects.bounded.waiters(),
        "sync-event" => objects.event.waiters(),
        "sync-notify" => objects.condition.lock.sleepers(),
        _ => objects.barrier.waiters(),
    };
    let end = clock::now() + 10_000 * MS;
    while arena.count_waiters(me, list, None)? == 0 {
        if clock::now() > end {
            return Err(Error::State("nobody waits".into()));
        }
        std::thread::sleep(std::time::Duration::from_micros(300));
    }
    Ok(())
}

/// What the victim may not have come to, the first survivor does.
fn after(arena: &Arena, me: &Member, objects: &Objects, operation: &str) -> Result<String> {
    let lock = &objects.condition.lock;
    match operation {
        "sync-release" | "sync-hand-over" | "sync-wait" if objects.lock.state(arena)?.is_held_by(me.name) => {
            objects.lock.release(arena, me)?;
        }
        "sync-semaphore-wake" => objects.semaphore.release(arena, me, false).map(drop)?,
        "sync-bounded-wake" | "sync-bounded-hand-over" => while objects.bounded.release(arena, me, true)? {},
        "sync-event" => objects.event.set(arena, me)?,
        "sync-notify" => {
            if !lock_within(arena, me, lock, 1000 * MS)? {
                return Ok("the lock is lost".into());
            }
            objects.condition.notify(arena, me, THREAD, 1)?;
            lock.release(arena, me)?;
        }
        "sync-barrier-last" if objects.barrier.state(arena)?.arrived > 0 => {
            objects.barrier.arrive(arena, me)?;
        }
        _ => {}
    }
    Ok("done".into())
}

/// Says what is wrong with the objects once nobody does anything with them any more.
fn judge(arena: &Arena, me: &Member, objects: &Objects, operation: &str) -> Result<Option<String>> {
    for (name, lock) in [
        ("lock", &objects.lock),
        ("rlock", &objects.rlock.lock),
        ("condition", &objects.condition.lock),
    ] {
        if !lock_within(arena, me, lock, 1000 * MS)? {
            return Ok(Some(format!(
                "the lock of {name} is lost: {:?}",
                lock.state(arena)?
            )));
        }
        lock.release(arena, me)?;
    }
    if objects.rlock.try_acquire(arena, me, THREAD)?.is_none()
        || objects.rlock.release(arena, me, THREAD)? != Released::Done
    {
        return Ok(Some("the reentrant lock is lost".into()));
    }
    let value = objects.semaphore.value(arena)?;
    let right = match operation {
        "sync-semaphore" => value == 2 || value == 1,
        // The sleeper has kept one; the victim may have released one, the first survivor did.
        "sync-semaphore-wake" => value == 0 || value == 1,
        _ => value == 2,
    };
    if !right {
        return Ok(Some(format!("the semaphore has {value} permits")));
    }
    let end = clock::now() + 1000 * MS;
    while objects.bounded.value(arena)? != 2 {
        if clock::now() > end {
            return Ok(Some(format!(
                "the bounded semaphore has {} permits of 2",
                objects.bounded.value(arena)?
            )));
        }
        std::thread::sleep(std::time::Duration::from_micros(300));
    }
    if objects.bounded.release(arena, me, false).is_ok() {
        return Ok(Some("the bounded semaphore takes a third permit".into()));
    }
    while objects.condition.count(arena, me)? != 0 {
        // The dead stand there until they are recovered.
        if clock::now() > end {
            return Ok(Some("somebody is left in the condition".into()));
        }
        std::thread::sleep(std::time::Duration::from_micros(300));
    }
    objects.barrier.reset(arena, me)?;
    let passed = matches!(objects.barrier.arrive(arena, me)?, Arrival::Wait(_, 0))
        && objects.barrier.arrive(arena, me)? == Arrival::Passed(1);
    Ok((!passed).then(|| "the barrier does not pass two".to_owned()))
}
