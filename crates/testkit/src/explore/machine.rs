//! The machine that the processes run on: what the points call, for the world of this thread.

use super::layout;
use super::process::{Seen, Stop, Wait};
use super::world::{Running, World, mix};
use polyproc_arena::layout::{MEMBER, OBJECT, PROCESS, SIDE};
use polyproc_arena::member;
use polyproc_arena::points::{self, Machine, Point};
use polyproc_sys::futex;
use std::cell::Cell;

/// Time that the processes see, in ns; it does not pass.
const NOW: u64 = 1_000_000_000;
/// Time that a process sees whose patience was taken away.
const LATE: u64 = 1_000_000_000_000;
/// Turns after which waiting without an end is one.
const FOR_EVER: u32 = 20_000;

thread_local! {
    static WORLD: Cell<*const World> = const { Cell::new(std::ptr::null()) };
}

fn with<R>(f: impl FnOnce(&World) -> R) -> Option<R> {
    let world = WORLD.get();
    // SAFETY: `Entered` keeps the world alive for as long as the pointer is set.
    (!world.is_null()).then(|| f(unsafe { &*world }))
}

/// Makes a world the one that this thread's accesses belong to.
pub(crate) struct Entered<'a>(std::marker::PhantomData<&'a World>);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        WORLD.set(std::ptr::null());
    }
}

/// Makes a world the one that this thread's accesses belong to, until the result is dropped.
pub(crate) fn enter(world: &World) -> Entered<'_> {
    let _ = points::install(hook);
    let _ = points::simulate(Machine {
        now,
        relax,
        sleep,
        wake,
        bell,
    });
    WORLD.set(world);
    Entered(std::marker::PhantomData)
}

/// What lies at an offset, for people.
pub(crate) fn place_of(offset: usize) -> String {
    let layout = layout();
    let at = offset as u64;
    let row = |what: &str, first: u64, size: u64| {
        format!("{what} {} +{}", (at - first) / size, (at - first) % size)
    };
    if at >= layout.data {
        format!("data {offset:#x}")
    } else if at >= layout.sides {
        let index = (at - layout.sides) / 8;
        format!(
            "side of block {} of unit {}",
            index % (SIDE / 8),
            index / (SIDE / 8)
        )
    } else if at >= layout.objects {
        row("object", layout.objects, OBJECT)
    } else if at >= layout.names {
        row("name bucket", layout.names, 8)
    } else if at >= layout.members {
        row("member", layout.members, MEMBER)
    } else if at >= layout.processes {
        row("process slot", layout.processes, PROCESS)
    } else if at >= layout.units {
        row("unit word", layout.units, 8)
    } else {
        format!("header +{at}")
    }
}

fn hook(point: &Point) {
    with(|world| world.point(point));
}

fn now() -> Option<u64> {
    with(|world| match world.running.get() {
        Running::Process(p) if world.processes[p].late.get() => LATE,
        _ => NOW,
    })
}

fn relax(turn: u32) -> bool {
    with(|world| {
        let Running::Process(p) = world.running.get() else {
            world.turns.set(world.turns.get() + 1);
            assert!(
                world.turns.get() < FOR_EVER,
                "recovery waits for ever for one that lives"
            );
            return;
        };
        let process = &world.processes[p];
        if process.impatient.get() {
            process.turns.set(process.turns.get() + 1);
            if process.turns.get() > FOR_EVER {
                process.suspend(Stop::Hang);
            }
            return;
        }
        process.turns.set(0);
        // Take back what this turn has seen, so that a turn more or less makes no other state.
        let mut seen = process.seen.borrow_mut();
        let notes = process.notes.get()..process.notes.get() + 8 * member::NOTES_LEN as usize;
        let noted = |seen: &Seen| seen.writes && notes.contains(&seen.offset);
        let start = match turn {
            0 => seen.iter().rposition(noted).map_or(0, |note| note + 1),
            _ => process.start.get(),
        };
        process.start.set(start);
        process.history.set(seen[start].history);
        let mut watched = process.watched.borrow_mut();
        watched.clear();
        watched.extend(seen.drain(start..));
        drop((seen, watched));
        process.wait.set(Wait::Relax);
        process.suspend(Stop::Relax);
    })
    .is_some()
}

fn sleep(address: usize, expected: u32) -> Option<futex::Wait> {
    with(|world| {
        let offset = address - world.base;
        let Running::Process(p) = world.running.get() else {
            panic!("somebody sleeps who is not explored");
        };
        let process = &world.processes[p];
        world.account(offset, 4, p as u8 + 1, true);
        process.wait.set(Wait::Ready(false));
        process.suspend(Stop::Access);
        if world.value(offset, 4) != u64::from(expected) {
            process.history.set(mix(process.history.get(), 1));
            world.say(|| format!("  {p}: does not sleep on {}", place_of(offset)));
            return futex::Wait::Changed;
        }
        world.say(|| format!("  {p}: sleeps on {}", place_of(offset)));
        process.wait.set(Wait::Futex(offset));
        process.suspend(Stop::Asleep);
        if process.late.get() {
            futex::Wait::TimedOut
        } else {
            futex::Wait::Woken
        }
    })
}

fn wake(address: usize) -> bool {
    with(|world| {
        let offset = address - world.base;
        for (p, process) in world.processes.iter().enumerate() {
            if process.wait.get() == Wait::Futex(offset) {
                world.say(|| format!("  {p}: is woken"));
                process.wait.set(Wait::Ready(false));
                process.history.set(mix(process.history.get(), 2));
                break;
            }
        }
    })
    .is_some()
}

fn bell(name: u64) -> bool {
    with(|world| {
        if let Running::Process(p) = world.running.get() {
            let process = &world.processes[p];
            process.wait.set(Wait::Ready(true));
            process.suspend(Stop::Access);
        }
        for (p, process) in world.processes.iter().enumerate() {
            if process.name.get() == name {
                world.say(|| format!("  {p}: its doorbell rings"));
                process.rung.set(true);
                if process.wait.get() == Wait::Bell {
                    process.wait.set(Wait::Ready(false));
                }
            }
        }
    })
    .is_some()
}

/// Sleeps, as process `p`, until its doorbell has been rung.
pub(crate) fn hear(world: &World, p: usize) {
    let process = &world.processes[p];
    process.wait.set(Wait::Ready(false));
    process.suspend(Stop::Access);
    if !process.rung.get() {
        world.say(|| format!("  {p}: sleeps in its event loop"));
        process.wait.set(Wait::Bell);
        process.suspend(Stop::Asleep);
    }
    process.rung.set(false);
    process.history.set(mix(process.history.get(), 3));
}
