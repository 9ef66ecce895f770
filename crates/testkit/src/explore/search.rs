//! The search: depth first, by replay.

use super::world::{Running, Stop, Wait, World, mix};
use super::{Actor, BYTES, End, Report, Scenario, layout};
use crate::family::{Family, Memory};
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use polyproc_arena::check;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Step(usize),
    Kill(usize),
    Tire(usize),
    Rest,
}

/// How far to go. Every number is a bound on one execution.
#[derive(Debug, Clone)]
pub struct Explorer {
    name: &'static str,
    processes: usize,
    kills: usize,
    killable: Vec<usize>,
    tires: usize,
    hurried: Vec<usize>,
    preemptions: Option<usize>,
    most_states: usize,
}

/// A state is a hash already.
#[derive(Debug, Default)]
struct Plain(u64);

impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only u64 is hashed")
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type Process = Coroutine<(), Stop, (), DefaultStack>;
const STACK: usize = 256 << 10;

impl Explorer {
    /// Explores `processes` processes, in all orders, without kills.
    #[must_use]
    pub fn new(name: &'static str, processes: usize) -> Self {
        Self {
            name,
            processes,
            kills: 0,
            killable: (0..processes).collect(),
            tires: 0,
            hurried: Vec::new(),
            preemptions: None,
            most_states: 20_000_000,
        }
    }

    /// Kills up to `kills` processes, each at any of its writes, while it waits, or when it is done.
    #[must_use]
    pub fn kills(mut self, kills: usize) -> Self {
        self.kills = kills;
        self
    }

    /// Only these may be killed.
    #[must_use]
    pub fn only(mut self, processes: &[usize]) -> Self {
        self.killable = processes.to_vec();
        self
    }

    /// Up to `tires` times what a sleeping or hurried process waits for takes too long, though somebody
    /// could still act. (When nobody can, a hurried one tires anyway.)
    #[must_use]
    pub fn tires(mut self, tires: usize) -> Self {
        self.tires = tires;
        self
    }

    /// These wait for a section as recovery does: not for ever.
    #[must_use]
    pub fn hurried(mut self, processes: &[usize]) -> Self {
        self.hurried = processes.to_vec();
        self
    }

    /// Bounds how often a process is interrupted that could go on. Without it the search is exhaustive.
    /// With `POLYPROC_EXPLORE=deep` in the environment it is one more than that, which takes ten times
    /// as long.
    #[must_use]
    pub fn preemptions(mut self, most: usize) -> Self {
        let deep = std::env::var_os("POLYPROC_EXPLORE").is_some_and(|how| how == "deep");
        self.preemptions = Some(most + usize::from(deep));
        self
    }

    /// Runs the search.
    ///
    /// # Panics
    /// When an execution breaks an invariant: with the moves and accesses that lead there.
    pub fn run<S: Scenario>(&self, scenario: &S) -> Report {
        let memory = Memory::new(BYTES);
        let world = World::new(memory.base().as_ptr() as usize, memory.len(), self.processes);
        let _entered = world.enter();
        // A failure with few interruptions reads best: look for one first.
        let first = self.preemptions.unwrap_or(usize::MAX).min(1);
        for bound in 0..=first {
            Self {
                preemptions: Some(bound),
                ..self.clone()
            }
            .search(scenario, &memory, &world);
        }
        let report = self.search(scenario, &memory, &world);
        let bound = self
            .preemptions
            .map_or("all orders".into(), |most| format!("at most {most} preemptions"));
        let Report {
            states,
            executions,
            depth,
        } = report;
        #[expect(clippy::print_stdout, reason = "what a test covered is its result")]
        {
            println!(
                "{}: {states} states, {executions} executions, depth {depth}; {bound}",
                self.name
            );
        }
        report
    }

    fn search<S: Scenario>(&self, scenario: &S, memory: &Memory, world: &World) -> Report {
        let mut stacks = Vec::new();
        loop {
            world.discovered.set(false);
            let mut search = Search {
                explorer: self,
                scenario,
                memory,
                world,
                visited: HashSet::default(),
                moves: Vec::new(),
                branches: Vec::new(),
                report: Report {
                    states: 0,
                    executions: 0,
                    depth: 0,
                },
                stacks: std::mem::take(&mut stacks),
            };
            search.everything();
            stacks = search.stacks;
            if !world.discovered.get() {
                return search.report;
            }
        }
    }
}

struct Search<'a, S: Scenario> {
    explorer: &'a Explorer,
    scenario: &'a S,
    memory: &'a Memory,
    world: &'a World,
    visited: HashSet<u64, BuildHasherDefault<Plain>>,
    /// The moves of the present execution.
    moves: Vec<Move>,
    /// Where there was a choice: position, moves not yet tried.
    branches: Vec<(usize, Vec<Move>)>,
    report: Report,
    stacks: Vec<DefaultStack>,
}

/// What an execution has used up.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    kills: usize,
    tires: usize,
    preemptions: usize,
    last: usize,
    rested: bool,
}

impl<S: Scenario> Search<'_, S> {
    fn everything(&mut self) {
        loop {
            let outcome = self.execute();
            if let Err(reason) = outcome
                && !self.world.discovered.get()
            {
                self.fail(&reason);
            }
            self.report.executions += 1;
            self.report.states = self.visited.len();
            assert!(
                self.visited.len() <= self.explorer.most_states,
                "{}: more than {} states; bound it",
                self.explorer.name,
                self.explorer.most_states
            );
            // Words that count as private and are not: begin anew rather than finish in vain.
            if self.world.discovered.get() {
                return;
            }
            let Some((at, untried)) = self.branches.last_mut() else {
                return;
            };
            self.moves.truncate(*at);
            if let Some(next) = untried.pop() {
                self.moves.push(next);
            }
            if untried.is_empty() {
                self.branches.pop();
            }
        }
    }

    /// Runs the same moves once more, with a trace, and panics with it.
    fn fail(&mut self, reason: &str) -> ! {
        self.branches.clear();
        *self.world.trace.borrow_mut() = Some(Vec::new());
        let again = self.execute().err();
        let trace = self.world.trace.borrow_mut().take().unwrap_or_default();
        let same = if again.as_deref() == Some(reason) {
            ""
        } else {
            " (not the same when run again!)"
        };
        panic!("{}: {reason}{same}\n{}", self.explorer.name, trace.join("\n"));
    }

    fn execute(&mut self) -> Result<(), String> {
        let world = self.world;
        world.reset();
        // SAFETY: the memory outlives the search.
        let family = unsafe { Family::over(self.memory, layout(), self.explorer.processes + 1) };
        for &p in &self.explorer.hurried {
            family.members[p].hurry();
        }
        family.members[self.explorer.processes].hurry();
        let shared = self.scenario.setup(&family);
        for (process, member) in world.processes.iter().zip(&family.members) {
            process.name.set(member.name.word());
            process
                .notes
                .set((member.slot + polyproc_arena::member::NOTES) as usize);
        }
        let mut run = Run {
            explorer: self.explorer,
            scenario: self.scenario,
            world,
            family: &family,
            shared: &shared,
            processes: Vec::new(),
            spent: Spent::default(),
        };
        run.start(&mut self.stacks)?;
        let mut outcome = Ok(());
        for &next in &self.moves {
            outcome = run.apply(next);
            if outcome.is_err() {
                break;
            }
        }
        if outcome.is_ok() {
            outcome = self.extend(&mut run);
        }
        self.report.depth = self.report.depth.max(self.moves.len());
        run.stop(&mut self.stacks);
        outcome
    }

    /// Goes on from the present state to the end, or to where it has been before.
    fn extend(&mut self, run: &mut Run<'_, S>) -> Result<(), String> {
        loop {
            let mut options = run.options();
            if options.is_empty() {
                return run.finish();
            }
            if options.len() > 1 {
                if !self.visited.insert(run.state()) && self.world.trace.borrow().is_none() {
                    return Ok(());
                }
                options.reverse();
            }
            let next = options.pop().unwrap_or(Move::Rest);
            if !options.is_empty() {
                self.branches.push((self.moves.len(), options));
            }
            self.moves.push(next);
            run.apply(next)?;
            if self.moves.len() > 100_000 {
                return Err("it goes on for ever".into());
            }
        }
    }
}

struct Run<'a, S: Scenario> {
    explorer: &'a Explorer,
    scenario: &'a S,
    world: &'a World,
    family: &'a Family,
    shared: &'a S::Shared,
    processes: Vec<Process>,
    spent: Spent,
}

impl<S: Scenario> Run<'_, S> {
    /// Runs every process up to its first shared access.
    fn start(&mut self, stacks: &mut Vec<DefaultStack>) -> Result<(), String> {
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
    fn stop(&mut self, stacks: &mut Vec<DefaultStack>) {
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
        let outcome = self.world.during(running, || {
            catch_unwind(AssertUnwindSafe(|| coroutine.resume(())))
        });
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

    fn options(&self) -> Vec<Move> {
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

    fn apply(&mut self, next: Move) -> Result<(), String> {
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
    fn state(&self) -> u64 {
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
    fn finish(&self) -> Result<(), String> {
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
    catch_unwind(AssertUnwindSafe(f)).map_err(|panic| text(&*panic))
}

fn text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "something that is no text".into())
}
