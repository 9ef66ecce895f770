//! The search: depth first, by replay.

use super::machine;
use super::run::{Move, Run};
use super::world::World;
use super::{BYTES, Report, Scenario, layout};
use crate::family::{Family, Memory};
use corosensei::stack::DefaultStack;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// How far to go. Every number is a bound on one execution.
#[derive(Debug, Clone)]
pub struct Explorer {
    name: &'static str,
    pub(super) processes: usize,
    pub(super) kills: usize,
    pub(super) killable: Vec<usize>,
    pub(super) tires: usize,
    pub(super) hurried: Vec<usize>,
    pub(super) preemptions: Option<usize>,
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
        let _entered = machine::enter(&world);
        let report = match self.search(scenario, &memory, &world) {
            Ok(report) => report,
            Err(failure) => panic!("{}", self.simplest(scenario, &memory, &world).unwrap_or(failure)),
        };
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

    /// A failure with few interruptions reads best.
    fn simplest<S: Scenario>(&self, scenario: &S, memory: &Memory, world: &World) -> Option<String> {
        (0..3).find_map(|bound| {
            let preemptions = Some(bound);
            Self {
                preemptions,
                ..self.clone()
            }
            .search(scenario, memory, world)
            .err()
        })
    }

    fn search<S: Scenario>(&self, scenario: &S, memory: &Memory, world: &World) -> Result<Report, String> {
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
            search.everything()?;
            stacks = search.stacks;
            if !world.discovered.get() {
                return Ok(search.report);
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

impl<S: Scenario> Search<'_, S> {
    /// # Errors
    /// The first failure, with its trace.
    fn everything(&mut self) -> Result<(), String> {
        loop {
            let outcome = self.execute();
            if let Err(reason) = outcome
                && !self.world.discovered.get()
            {
                return Err(self.trace(&reason));
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
                return Ok(());
            }
            let Some((at, untried)) = self.branches.last_mut() else {
                return Ok(());
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

    /// Runs the same moves once more, and tells what they did.
    fn trace(&mut self, reason: &str) -> String {
        self.branches.clear();
        *self.world.trace.borrow_mut() = Some(Vec::new());
        let again = self.execute().err();
        let trace = self.world.trace.borrow_mut().take().unwrap_or_default();
        let same = if again.as_deref() == Some(reason) {
            ""
        } else {
            " (not the same when run again!)"
        };
        format!("{}: {reason}{same}\n{}", self.explorer.name, trace.join("\n"))
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
        let mut run = Run::new(self.explorer, self.scenario, world, &family, &shared);
        let mut outcome = run.start(&mut self.stacks);
        for &next in &self.moves {
            if outcome.is_err() {
                break;
            }
            outcome = run.apply(next);
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
