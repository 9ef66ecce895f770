//! One execution: the processes as coroutines, and the moves on them.

use super::process::{Stop, Wait};
use super::quiet::caught;
use super::search::Explorer;
use super::world::{Running, World, mix};
use super::{Actor, End, Scenario};
use crate::family::Family;
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use polyproc_arena::check;

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    Step(usize),
    Kill(usize),
    Tire(usize),
    Rest,
}

type Process = Coroutine<(), Stop, (), DefaultStack>;
const STACK: usize = 256 << 10;

/// What an execution has used up.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    kills: usize,
    tires: usize,
    preemptions: usize,
    last: usize,
    rested: bool,
}

/// See the module.
pub(super) struct Run<'a, S: Scenario> {
    explorer: &'a Explorer,
    scenario: &'a S,
    world: &'a World,
    family: &'a Family,
    shared: &'a S::Shared,
    processes: Vec<Process>,
    spent: Spent,
}

impl<'a, S: Scenario> Run<'a, S> {
    pub fn new(
        explorer: &'a Explorer,
        scenario: &'a S,
        world: &'a World,
        family: &'a Family,
        shared: &'a S::Shared,
    ) -> Self {
        Self {
            explorer,
            scenario,
            world,
            family,
            shared,
            processes: Vec::new(),
            spent: Spent::default(),
        }
    }

    /// Runs every process up to its first shared access.
    pub fn start(&mut self, stacks: &mut Vec<DefaultStack>) -> Result<(), String> {
        for p in 0..self.explorer.processes {
            let stack = stacks.pop().map_or_else(|| DefaultStack::new(STACK), Ok);
            let stack = stack.map_err(|error| format!("a stack: {error}"))?;
            let family = std::ptr::from_ref(self.family);
            let world = std::ptr::from_ref(self.world);
            let shared = std::ptr::from_ref(self.shared);
            let scenario = std::ptr::from_ref(self.scenario);
            let body = move || {
                // SAFETY: the coroutine is reset in `stop`, before any of the four is dropped.
                let family = unsafe { &*family };
                // SAFETY: as above.
                let world = unsafe { &*world };
                // SAFETY: as above.
                let scenario = unsafe { &*scenario };
                // SAFETY: as above.
                let shared = unsafe { &*shared };
                let actor = Actor {
                    p,
                    arena: &family.arenas[p],
                    me: &family.members[p],
                    family,
                    world,
                };
                scenario.run(&actor, shared);
            };
            let body: Box<dyn FnOnce()> = {
                let body: Box<dyn FnOnce() + '_> = Box::new(body);
                // SAFETY: only the lifetime changes; see above for why nothing is used after its end.
                unsafe { std::mem::transmute::<Box<dyn FnOnce() + '_>, Box<dyn FnOnce() + 'static>>(body) }
            };
            let world: *const World = self.world;
            self.processes
                .push(Coroutine::with_stack(stack, move |yielder, ()| {
                    // SAFETY: as above.
                    unsafe { &*world }.processes[p].runs(yielder);
                    body();
                }));
            self.step(p)?;
        }
        Ok(())
    }

    /// Forgets the processes; what is on their stacks stays as it is, as it does when one is killed.
    pub fn stop(&mut self, stacks: &mut Vec<DefaultStack>) {
        for mut process in self.processes.drain(..) {
            if !process.done() {
                // SAFETY: what the stack holds is leaked: small vectors, and guards whose drop would
                // write to the memory of a process that is no more.
                unsafe { process.force_reset() };
            }
            stacks.push(process.into_stack());
        }
    }

    fn step(&mut self, p: usize) -> Result<(), String> {
        let process = &self.world.processes[p];
        let coroutine = &mut self.processes[p];
        let running = Running::Process(p);
        let outcome = self.world.during(running, || caught(|| coroutine.resume(())));
        match outcome {
            Ok(CoroutineResult::Yield(Stop::Hang)) => {
                Err(format!("process {p} waits for ever for what nobody will do"))
            }
            Ok(CoroutineResult::Yield(_)) => Ok(()),
            Ok(CoroutineResult::Return(())) => {
                process.wait.set(Wait::Done);
                // It goes on nowhere: only what it found out still counts.
                let outcomes = process.outcomes.borrow();
                process
                    .history
                    .set(outcomes.iter().fold(1, |hash, outcome| mix(hash, *outcome)));
                Ok(())
            }
            Err(panic) => {
                process.wait.set(Wait::Done);
                Err(format!("process {p} panicked: {}", text(&*panic)))
            }
        }
    }

    pub fn options(&self) -> Vec<Move> {
        let Spent {
            kills,
            tires,
            preemptions,
            last,
            rested,
        } = self.spent;
        let mut options = Vec::new();
        let goes_on = self.world.is_enabled(last);
        if goes_on {
            options.push(Move::Step(last));
        }
        let may_switch = !goes_on || self.explorer.preemptions.is_none_or(|most| preemptions < most);
        for p in 0..self.explorer.processes {
            if p != last && may_switch && self.world.is_enabled(p) {
                options.push(Move::Step(p));
            }
        }
        let idle = options.is_empty();
        if idle && rested {
            return options;
        }
        for p in 0..self.explorer.processes {
            let blocked = match self.world.processes[p].wait.get() {
                Wait::Relax => !self.world.is_enabled(p) && self.explorer.hurried.contains(&p),
                Wait::Futex(_) | Wait::Bell => tires < self.explorer.tires,
                _ => false,
            };
            if blocked && (idle || tires < self.explorer.tires) {
                options.push(Move::Tire(p));
            }
        }
        if idle && !options.iter().any(|tire| self.is_hurried(*tire)) {
            options.insert(0, Move::Rest);
        }
        if kills < self.explorer.kills {
            for &p in &self.explorer.killable {
                let now = match self.world.processes[p].wait.get() {
                    Wait::Ready(writes) => writes,
                    Wait::Killed => false,
                    Wait::Relax | Wait::Futex(_) | Wait::Bell | Wait::Done => true,
                };
                if now {
                    options.push(Move::Kill(p));
                }
            }
        }
        options
    }

    fn is_hurried(&self, next: Move) -> bool {
        matches!(next, Move::Tire(p) if self.explorer.hurried.contains(&p))
    }

    pub fn apply(&mut self, next: Move) -> Result<(), String> {
        self.world.say(|| format!("{next:?}"));
        match next {
            Move::Step(p) => {
                if p != self.spent.last && self.world.is_enabled(self.spent.last) {
                    self.spent.preemptions += 1;
                }
                self.spent.last = p;
                self.spent.rested = false;
                self.step(p)
            }
            Move::Kill(p) => {
                self.spent.kills += 1;
                self.spent.rested = false;
                self.world.during(Running::Warden, || self.family.kill(p));
                let process = &self.world.processes[p];
                process.wait.set(Wait::Killed);
                process
                    .history
                    .set(process.outcomes.borrow().iter().fold(2, |hash, o| mix(hash, *o)));
                if !self.processes[p].done() {
                    // SAFETY: as in `stop`.
                    unsafe { self.processes[p].force_reset() };
                }
                Ok(())
            }
            Move::Tire(p) => {
                self.spent.tires += 1;
                self.spent.rested = false;
                self.spent.last = p;
                self.world.processes[p].tire();
                self.step(p)
            }
            Move::Rest => {
                self.spent.rested = true;
                let warden = self.explorer.processes;
                guarded(|| self.world.during(Running::Warden, || self.family.recover(warden)))
            }
        }
    }

    /// Hash of all that decides about what happens from here on.
    pub fn state(&self) -> u64 {
        let mut state = self.world.hash.get();
        for (p, process) in self.world.processes.iter().enumerate() {
            let wait = match process.wait.get() {
                Wait::Ready(writes) => u64::from(writes),
                Wait::Relax => 2 + u64::from(self.world.is_enabled(p)),
                Wait::Futex(offset) => 8 + offset as u64,
                Wait::Bell => 4,
                Wait::Done => 5,
                Wait::Killed => 6,
            };
            state = mix(state, process.history.get());
            state = mix(
                state,
                wait << 2 | u64::from(process.rung.get()) << 1 | u64::from(process.late.get()),
            );
        }
        let Spent {
            kills,
            tires,
            preemptions,
            last,
            rested,
        } = self.spent;
        state = mix(state, (kills * 64 + tires) as u64 * 2 + u64::from(rested));
        if self.explorer.preemptions.is_some() {
            state = mix(state, (preemptions * 64 + last) as u64);
        }
        state
    }

    /// The survivors are done or asleep and the dead recovered: everything must be right now.
    pub fn finish(&self) -> Result<(), String> {
        let waits = || self.world.processes.iter().map(|process| process.wait.get());
        let end = End {
            outcomes: self
                .world
                .processes
                .iter()
                .map(|process| process.outcomes.borrow().clone())
                .collect(),
            killed: waits().map(|wait| wait == Wait::Killed).collect(),
            asleep: waits()
                .map(|wait| matches!(wait, Wait::Futex(_) | Wait::Bell))
                .collect(),
        };
        for (p, wait) in waits().enumerate() {
            match wait {
                Wait::Done | Wait::Killed => {}
                Wait::Futex(_) | Wait::Bell => {
                    if !self.scenario.may_sleep(self.family, self.shared, p) {
                        return Err(format!("process {p} sleeps for ever"));
                    }
                }
                Wait::Relax | Wait::Ready(_) => return Err(format!("process {p} waits for ever")),
            }
        }
        self.books()?;
        guarded(|| self.scenario.at_rest(self.family, self.shared, &end)).and_then(|outcome| outcome)?;
        self.books()
    }

    fn books(&self) -> Result<(), String> {
        let arena = &self.family.arenas[self.explorer.processes];
        let report = check::check(arena).map_err(|error| format!("the checker: {error}"))?;
        if report.faults.is_empty() {
            Ok(())
        } else {
            Err(report.faults.join("; "))
        }
    }
}

fn guarded<R>(f: impl FnOnce() -> R) -> Result<R, String> {
    caught(f).map_err(|panic| text(&*panic))
}

fn text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "something that is no text".into())
}
