//! Tasks of a pool: a queue that redelivers, the board, the queue of outcomes, as a pool puts them together.
//! Workers are killed wherever they are, the submitter stops a task or looks for its loss; each task comes to
//! an outcome that its submitter is told of, and is never begun more often than it may.

use crate::numbers::{EMPTY, get, put};
use polyproc_arena::{Arena, Member};
use polyproc_channel::joinable::Policy;
use polyproc_channel::queue::{Got, JOINABLE, Options, Queue};
use polyproc_channel::slot::INLINE;
use polyproc_pool::{Board, Claim, Stop, Ticket, Worker};
use polyproc_testkit::explore::{Actor, End, Explorer, Scenario};
use polyproc_testkit::family::Family;

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Takes a task, if there is one, and runs it.
    Work,
    /// As the submitter: stops the first task.
    Stop,
    /// As the submitter: looks whether the first task is lost.
    Look,
    /// As the submitter: has got what it wanted of the first task, and uses its row for another.
    Again,
}

struct Pool {
    parts: &'static [Part],
    attempts: u32,
    tasks: u64,
}

struct Shared {
    board: Board,
    ready: Queue,
    results: Queue,
    lane: u32,
    tickets: Vec<Ticket>,
}

// What the parts note, with the number of a task in the low bits.
const BEGUN: u64 = 1 << 40;
const CANCELLED: u64 = 2 << 40;
const STOPPED: u64 = 3 << 40;
const LOST: u64 = 4 << 40;
const SENT: u64 = 5 << 40;
const AGAIN: u64 = 6 << 40;
// What travels to the submitter.
const RAN: u64 = 1 << 32;
const WAS_LOST: u64 = 2 << 32;

fn take(arena: &Arena, me: &Member, ready: &Queue) -> Option<(u64, polyproc_channel::queue::Hand)> {
    let mut buffer = [0; INLINE];
    match ready.try_receive(arena, me, &mut buffer).unwrap() {
        Got::Message(received) => Some((
            u64::from_le_bytes(buffer[..8].try_into().unwrap()),
            received.hand.unwrap(),
        )),
        Got::Empty | Got::ShutDown => None,
    }
}

/// As a worker does it. False when there is nothing.
fn work(arena: &Arena, me: &Member, shared: &Shared, note: &dyn Fn(u64)) -> bool {
    let Some((number, hand)) = take(arena, me, &shared.ready) else {
        return false;
    };
    let ticket = shared.tickets[number as usize];
    let worker = Worker::of(me.name);
    let (board, lane) = (&shared.board, shared.lane);
    match board.claim(arena, lane, ticket, worker).unwrap() {
        Claim::Run(_) => {
            note(BEGUN + number);
            put(arena, me, &shared.results, RAN + number);
            note(SENT + number);
            board.settle(arena, lane, ticket, worker).unwrap();
        }
        Claim::Lost(_) => {
            put(arena, me, &shared.results, WAS_LOST + number);
        }
        Claim::Drop => {}
    }
    assert!(shared.ready.done(arena, me, &hand).unwrap());
    true
}

impl Scenario for Pool {
    type Shared = Shared;

    fn setup(&self, family: &Family) -> Shared {
        // The submitter is the one that is never killed: what becomes of its tasks is the question.
        let warden = self.parts.len();
        let (arena, me) = (&family.arenas[warden], &family.members[warden]);
        let board = Board::create(arena, me, &[], &[]).unwrap();
        let options = Options {
            policy: Some(Policy {
                redeliver: true,
                most_deliveries: 0,
            }),
            ..Options::default()
        };
        let ready = Queue::create_kind(arena, me, JOINABLE, &options).unwrap();
        let results = Queue::create(arena, me, 0, None).unwrap();
        for (p, part) in self.parts.iter().enumerate() {
            let (arena, me) = (&family.arenas[p], &family.members[p]);
            Board::open(arena, me, board.handle).unwrap();
            Queue::open(arena, me, ready.handle).unwrap();
            Queue::open(arena, me, results.handle).unwrap();
            if *part == Part::Work {
                board.enter(arena, me, None).unwrap();
            }
        }
        let mut lane = board.lane(arena, me, results.handle).unwrap();
        let tickets = (0..self.tasks)
            .map(|number| {
                let ticket = lane.submit(arena, me, self.attempts).unwrap();
                put(arena, me, &ready, number);
                ticket
            })
            .collect();
        Shared {
            board,
            ready,
            results,
            lane: lane.number,
            tickets,
        }
    }

    fn run(&self, actor: &Actor<'_>, shared: &Shared) {
        let (arena, me) = (actor.arena, actor.me);
        let (board, lane, first) = (&shared.board, shared.lane, shared.tickets[0]);
        match self.parts[actor.p] {
            Part::Work => {
                work(arena, me, shared, &|what| actor.note(what));
            }
            Part::Stop => match board.stop(arena, lane, first).unwrap() {
                Stop::Cancelled => actor.note(CANCELLED),
                Stop::Running(_) => actor.note(STOPPED),
                Stop::Over => {}
            },
            Part::Look => {
                if board.lose(arena, lane, first).unwrap().is_some() {
                    actor.note(LOST);
                }
            }
            Part::Again => {
                // By the row itself: its lane is another thread's here, which does nothing with it.
                if board.release(arena, lane, first).unwrap() {
                    actor.note(AGAIN);
                }
            }
        }
    }

    fn at_rest(&self, family: &Family, shared: &Shared, end: &End) -> Result<(), String> {
        let warden = end.killed.len();
        let (arena, me) = (&family.arenas[warden], &family.members[warden]);
        let noted: Vec<u64> = end.outcomes.iter().flatten().copied().collect();
        let count = |what: u64| noted.iter().filter(|noted| **noted == what).count();
        let killed = end.killed.iter().filter(|killed| **killed).count();
        let later = std::cell::RefCell::new(Vec::new());
        // What came back is taken by a worker that is left.
        shared
            .board
            .enter(arena, me, None)
            .map_err(|error| error.to_string())?;
        while work(arena, me, shared, &|what| later.borrow_mut().push(what)) {}
        let later = later.into_inner();
        let mut told: Vec<Vec<u64>> = vec![Vec::new(); self.tasks as usize];
        loop {
            match get(arena, me, &shared.results) {
                EMPTY => break,
                outcome => told[(outcome & 0xff) as usize].push(outcome & !0xff),
            }
        }
        for (number, told) in told.iter().enumerate() {
            let number = number as u64;
            let begun = count(BEGUN + number) + later.iter().filter(|what| **what == BEGUN + number).count();
            let cancelled = number == 0 && count(CANCELLED) > 0;
            let again = number == 0 && count(AGAIN) > 0;
            if begun > self.attempts as usize {
                return Err(format!("task {number} was begun {begun} times"));
            }
            if cancelled && (begun > 0 || !told.is_empty()) {
                return Err(format!(
                    "task {number} was cancelled, and {begun} times begun: {told:?}"
                ));
            }
            if told.is_empty() && !cancelled && !again {
                return Err(format!("nothing is told of task {number}"));
            }
            if told.len() > 1 + killed {
                return Err(format!("too much is told of task {number}: {told:?}"));
            }
            // One that was found lost did not come to an outcome after that.
            if number == 0 && count(LOST) > 0 && count(SENT) == 0 && told.contains(&RAN) {
                return Err(format!("task {number} was lost, and ran: {told:?}"));
            }
            if killed == 0 && !again && begun + usize::from(cancelled) != 1 {
                return Err(format!(
                    "task {number} was begun {begun} times, and nobody was killed"
                ));
            }
        }
        shared.board.leave(arena, me).map_err(|error| error.to_string())?;
        shared
            .board
            .leave_lane(arena, me)
            .map_err(|error| error.to_string())?;
        for queue in [&shared.ready, &shared.results] {
            if queue.len(arena).map_err(|error| error.to_string())? != 0 {
                return Err("something is left in a queue".into());
            }
        }
        for p in (0..family.arenas.len()).filter(|p| !end.killed.get(*p).is_some_and(|killed| *killed)) {
            for handle in [shared.board.handle, shared.ready.handle, shared.results.handle] {
                let closed = family.arenas[p].close(&family.members[p], handle);
                closed.map_err(|error| error.to_string())?;
            }
        }
        let report = polyproc_arena::check::check(arena).map_err(|error| error.to_string())?;
        match (report.objects, report.held_blocks) {
            (0, 0) => Ok(()),
            left => Err(format!("(objects, held blocks) left: {left:?}")),
        }
    }
}

use Part::{Again, Look, Stop as Stops, Work};

fn explore(name: &'static str, parts: &'static [Part], attempts: u32, kills: usize, preemptions: usize) {
    let pool = Pool {
        parts,
        attempts,
        tasks: 1,
    };
    Explorer::new(name, parts.len())
        .kills(kills)
        .preemptions(preemptions)
        .run(&pool);
}

#[test]
fn a_worker_and_a_stop() {
    explore("pool, a worker and a stop", &[Work, Stops], 1, 1, 4);
}

#[test]
fn a_worker_dies_and_another_takes_its_task() {
    explore("pool, two workers", &[Work, Work], 1, 2, 2);
}

#[test]
fn a_task_is_begun_again() {
    explore("pool, two attempts", &[Work, Work], 2, 2, 2);
}

#[test]
fn the_submitter_looks_for_a_loss() {
    explore("pool, a look", &[Work, Work, Look], 1, 1, 1);
}

#[test]
fn a_stop_and_a_death() {
    explore("pool, a stop beside a death", &[Work, Work, Stops], 2, 1, 1);
}

#[test]
fn a_row_is_used_again_while_its_worker_settles() {
    explore("pool, the next use of a row", &[Work, Again], 1, 1, 4);
}

#[test]
fn two_tasks() {
    let pool = Pool {
        parts: &[Work, Work],
        attempts: 1,
        tasks: 2,
    };
    Explorer::new("pool, two tasks", 2)
        .kills(1)
        .preemptions(1)
        .run(&pool);
}
