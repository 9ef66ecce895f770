//! Boards of pools, by the ids that this isolate gave them. What is called for each task is handed out by
//! [`crate::bare`]; tickets are numbers below 2^53.

use crate::failure::{Result, fail, state};
use crate::isolate::{Isolate, isolate};
use crate::queue::pairs;
use crate::shared::Shared;
use crate::waits::{deadline, slice, stop as stopped};
use napi::Env;
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;
use polyproc_arena::block_on::Outcome;
use polyproc_arena::object::Handle;
use polyproc_family::{Key, children};
use polyproc_pool::seat::state as worker_state;
use polyproc_pool::{Board, Claim, Lane, Stop, Ticket, Worker};
use std::cell::RefCell;
use std::rc::Rc;

/// What a stop returns besides the number of a worker.
const CANCELLED: i32 = -1;
const OVER: i32 = -2;

impl Isolate {
    /// What this isolate submits to the pool of a board.
    fn lane(&self, id: u32) -> Result<Rc<RefCell<Lane>>> {
        let lanes = self.lanes.borrow();
        let lane = lanes.get(id as usize).cloned().flatten();
        lane.ok_or_else(|| state("this thread has no lane on the board"))
    }

    /// The board of an id is closed here: if no other id stands for it, this isolate submits no more.
    pub fn leave_lane(&self, id: u32, board: &Board) -> polyproc_arena::Result<()> {
        let lane = self
            .lanes
            .borrow_mut()
            .get_mut(id as usize)
            .and_then(Option::take);
        match lane {
            Some(lane) if Rc::strong_count(&lane) == 1 => board.leave_lane(self.arena, &self.me),
            _ => Ok(()),
        }
    }
}

/// Makes a board that keeps the objects of `handles` alive and carries a note; returns its id.
#[napi]
pub fn board_create(env: &Env, handles: Vec<u32>, note: Buffer) -> Result<u32> {
    let isolate = isolate(env)?;
    let board = Board::create(isolate.arena, &isolate.me, &pairs(&handles), &note);
    Ok(isolate.share(Shared::Board(board.map_err(fail)?)))
}

/// Opens the board of a handle; returns its id.
#[napi]
pub fn board_open(env: &Env, index: u32, generation: u32) -> Result<u32> {
    let isolate = isolate(env)?;
    let handle = Handle {
        index: u64::from(index),
        generation,
    };
    let board = Board::open(isolate.arena, &isolate.me, handle).map_err(fail)?;
    Ok(isolate.share(Shared::Board(board)))
}

/// The handles that a board keeps alive.
#[napi]
pub fn board_handles(env: &Env, id: u32) -> Result<Vec<u32>> {
    let isolate = isolate(env)?;
    let handles = isolate.board(id)?.handles(isolate.arena).map_err(fail)?;
    let flat = handles
        .iter()
        .flat_map(|handle| [handle.index as u32, handle.generation]);
    Ok(flat.collect())
}

/// The note that a board carries.
#[napi]
pub fn board_note(env: &Env, id: u32) -> Result<Buffer> {
    let isolate = isolate(env)?;
    let note = isolate.board(id)?.note(isolate.arena).map_err(fail)?;
    Ok(note.into())
}

/// Begins to submit: outcomes go into the queue of that handle. The number of the lane; that of an id of the
/// same board is the same.
#[napi]
pub fn board_lane(env: &Env, id: u32, index: u32, generation: u32) -> Result<u32> {
    let isolate = isolate(env)?;
    let board = isolate.board(id)?;
    let results = Handle {
        index: u64::from(index),
        generation,
    };
    let mut lane = board
        .lane(isolate.arena, &isolate.me, results)
        .map(|lane| Rc::new(RefCell::new(lane)))
        .map_err(fail)?;
    let mut lanes = isolate.lanes.borrow_mut();
    let shared = isolate.shared.borrow();
    // Two lanes of one thread would hand out the same rows.
    let known = lanes.iter().zip(shared.iter()).find_map(|pair| match pair {
        (Some(lane), Some(Shared::Board(other))) if *other == board => Some(lane.clone()),
        _ => None,
    });
    if let Some(known) = known {
        lane = known;
    }
    let number = lane.borrow().number;
    if lanes.len() <= id as usize {
        lanes.resize(id as usize + 1, None);
    }
    lanes[id as usize] = Some(lane);
    Ok(number)
}

/// The handle of the queue for the outcomes of a lane; null when its submitter is gone.
#[napi]
pub fn board_results(env: &Env, id: u32, lane: u32) -> Result<Option<Vec<u32>>> {
    let isolate = isolate(env)?;
    let results = isolate.board(id)?.results_of(isolate.arena, lane).map_err(fail)?;
    Ok(results.map(|handle| vec![handle.index as u32, handle.generation]))
}

/// Makes a row for a task that may be begun `attempts` times: its ticket.
pub fn submit(isolate: &Isolate, id: u32, lane: u32, attempts: u32) -> Result<f64> {
    let own = isolate.lane(id)?;
    let mut own = own.borrow_mut();
    if own.number != lane {
        return Err(state("the lane is another thread's"));
    }
    let ticket = own.submit(isolate.arena, &isolate.me, attempts).map_err(fail)?;
    Ok(ticket.0 as f64)
}

/// For whoever has a task's item in hand: n > 0 it is to run it, as attempt n; 0 it is to mark the item done;
/// -n the task is lost after n attempts, which it is to tell.
pub fn claim(isolate: &Isolate, id: u32, lane: u32, number: u64, worker: u32) -> Result<i32> {
    let board = isolate.board(id)?;
    let me = Worker::from_number(worker);
    Ok(
        match board
            .claim(isolate.arena, lane, Ticket(number), me)
            .map_err(fail)?
        {
            Claim::Run(attempt) => attempt as i32,
            Claim::Drop => 0,
            Claim::Lost(attempts) => -(attempts as i32),
        },
    )
}

/// The outcome of a task has been sent: 1, or 0 when it was not the worker's any more.
pub fn settle(isolate: &Isolate, id: u32, lane: u32, number: u64, worker: u32) -> Result<i32> {
    let board = isolate.board(id)?;
    let settled = board.settle(isolate.arena, lane, Ticket(number), Worker::from_number(worker));
    settled.map(i32::from).map_err(fail)
}

/// Stops a task: -1 it will not run; the number of the worker that runs it and was asked to stop; -2 it was
/// over.
pub fn stop(isolate: &Isolate, id: u32, lane: u32, number: u64) -> Result<i32> {
    let board = isolate.board(id)?;
    Ok(
        match board.stop(isolate.arena, lane, Ticket(number)).map_err(fail)? {
            Stop::Cancelled => CANCELLED,
            Stop::Running(worker) => worker.number() as i32,
            Stop::Over => OVER,
        },
    )
}

/// The task is to be over in `ms` milliseconds. Always 0.
pub fn limit(isolate: &Isolate, id: u32, lane: u32, number: u64, ms: u32) -> Result<i32> {
    let board = isolate.board(id)?;
    let limited = board.limit(isolate.arena, lane, Ticket(number), u64::from(ms));
    limited.map(|()| 0).map_err(fail)
}

/// There is work, and nobody may be idle: whoever keeps the workers is to look. Always 0.
pub fn want(isolate: &Isolate, id: u32) -> Result<i32> {
    let board = isolate.board(id)?;
    board.want(isolate.arena).map(|()| 0).map_err(fail)
}

/// Whether the worker of a task has been asked to stop, or nobody waits for the task: 1 or 0.
pub fn stop_asked(isolate: &Isolate, id: u32, lane: u32, number: u64) -> Result<i32> {
    let board = isolate.board(id)?;
    let asked = board.stop_asked(isolate.arena, lane, Ticket(number));
    asked.map(i32::from).map_err(fail)
}

/// After how many attempts a task is lost, whose worker has ended; 0 when that is not so.
pub fn lost(isolate: &Isolate, id: u32, lane: u32, number: u64) -> Result<i32> {
    let board = isolate.board(id)?;
    let lost = board.lose(isolate.arena, lane, Ticket(number));
    Ok(lost.map_err(fail)?.map_or(0, |attempts| attempts as i32))
}

/// Gives the row of a task back: 1, or 0 when that has been done.
pub fn release(isolate: &Isolate, id: u32, lane: u32, number: u64) -> Result<i32> {
    let own = isolate.lane(id)?;
    let mut own = own.borrow_mut();
    if own.number != lane {
        return Err(state("the lane is another thread's"));
    }
    let released = own.release(isolate.arena, Ticket(number));
    released.map(i32::from).map_err(fail)
}

/// What a worker says of itself; -1 when it has left, or is taken for dead.
pub fn worker_state(isolate: &Isolate, id: u32, worker: u32) -> Result<f64> {
    let board = isolate.board(id)?;
    let standing = board.standing(isolate.arena, Worker::from_number(worker));
    Ok(standing
        .map_err(fail)?
        .map_or(-1.0, |standing| f64::from(standing.state)))
}

/// Says something of a worker: 1, or 0 when there is no such worker any more.
pub fn set_worker_state(isolate: &Isolate, id: u32, worker: u32, to: u32) -> Result<i32> {
    let board = isolate.board(id)?;
    let set = board.set_state(isolate.arena, Worker::from_number(worker), None, to);
    if worker_state::of(to) == worker_state::WAITING {
        // Another may be needed for what it waits for.
        board.want(isolate.arena).map_err(fail)?;
    }
    set.map(i32::from).map_err(fail)
}

/// Who runs a task, or ran it last: the number of a worker, or -1.
#[napi]
pub fn board_runner(env: &Env, id: u32, lane: u32, number: f64) -> Result<i32> {
    let isolate = isolate(env)?;
    let runner = isolate
        .board(id)?
        .runner_of(isolate.arena, lane, Ticket(number as u64));
    Ok(runner.map_err(fail)?.map_or(-1, |worker| worker.number() as i32))
}

/// From now on this thread runs tasks; `inbox` is the handle of the queue by which it is told things, or
/// empty. The worker's number.
#[napi]
pub fn board_enter(env: &Env, id: u32, inbox: Vec<u32>) -> Result<u32> {
    let isolate = isolate(env)?;
    let inbox = pairs(&inbox).first().copied();
    let worker = isolate.board(id)?.enter(isolate.arena, &isolate.me, inbox);
    Ok(worker.map_err(fail)?.number())
}

/// This thread runs no more tasks.
#[napi]
pub fn board_leave(env: &Env, id: u32) -> Result<()> {
    let isolate = isolate(env)?;
    isolate.board(id)?.leave(isolate.arena, &isolate.me).map_err(fail)
}

/// The handle of the queue by which a worker is told things; null when it has none, or has left.
#[napi]
pub fn board_inbox(env: &Env, id: u32, worker: u32) -> Result<Option<Vec<u32>>> {
    let isolate = isolate(env)?;
    let worker = Worker::from_number(worker);
    let inbox = isolate.board(id)?.inbox_of(isolate.arena, worker);
    Ok(inbox
        .map_err(fail)?
        .map(|handle| vec![handle.index as u32, handle.generation]))
}

/// A worker of a pool.
#[napi(object)]
pub struct BoardWorker {
    pub number: u32,
    pub state: u32,
    pub pid: u32,
}

/// All workers of a pool that have entered and not left.
#[napi]
pub fn board_workers(env: &Env, id: u32) -> Result<Vec<BoardWorker>> {
    let isolate = isolate(env)?;
    let workers = isolate.board(id)?.workers(isolate.arena).map_err(fail)?;
    let shown = workers.iter().map(|standing| BoardWorker {
        number: standing.worker.number(),
        state: standing.state,
        pid: standing.pid,
    });
    Ok(shown.collect())
}

/// Whose the number of a worker is, or was.
#[napi(object)]
pub struct WorkerProcess {
    pub pid: u32,
    /// It has ended without having left.
    pub has_died: bool,
    /// The exit code of its process, once the parent of that has seen it.
    pub exit_code: Option<i32>,
    /// The parent may still say.
    pub may_be_known: bool,
}

/// The process of a worker, also for some time after it has died; null when it is not known.
#[napi]
pub fn board_process(env: &Env, id: u32, worker: u32) -> Result<Option<WorkerProcess>> {
    let isolate = isolate(env)?;
    let (arena, board) = (isolate.arena, isolate.board(id)?);
    let worker = Worker::from_number(worker);
    let (pid, process, noted, has_died) = match board.death_of(arena, worker).map_err(fail)? {
        Some(death) => (death.pid, death.process, death.exit, true),
        None => match board.standing(arena, worker).map_err(fail)? {
            Some(standing) => (standing.pid, standing.process, None, false),
            None => return Ok(None),
        },
    };
    let key = Key::of(process);
    let has_ended = children::has_ended(arena, key).map_err(fail)?;
    let exit_code = match noted {
        None => children::recorded_exit(arena, key).map_err(fail)?,
        known => known,
    };
    let mut may_be_known = has_ended && exit_code.is_none();
    if may_be_known {
        may_be_known = children::may_be_recorded(arena, key).map_err(fail)?
            || has_died && board.is_kept(arena).map_err(fail)?;
    }
    Ok(Some(WorkerProcess {
        pid,
        has_died,
        exit_code,
        may_be_known,
    }))
}

/// Counts deaths and departures of workers, and that the pool broke.
#[napi]
pub fn board_epoch(env: &Env, id: u32) -> Result<f64> {
    let isolate = isolate(env)?;
    Ok(isolate.board(id)?.epoch(isolate.arena).map_err(fail)? as f64)
}

/// Blocks until the epoch is another than `epoch`: 0; 1 after `timeout` ms (negative: never), 2 cut short.
#[napi]
pub fn board_wait(env: &Env, id: u32, epoch: f64, timeout: f64, interruptible: bool) -> Result<u8> {
    let isolate = isolate(env)?;
    let (arena, me) = (isolate.arena, &isolate.me);
    let waited = isolate.board(id)?.wait(
        arena,
        me,
        epoch as u64,
        deadline(timeout),
        slice(&isolate),
        stopped(&isolate, interruptible),
    );
    Ok(match waited.map_err(fail)? {
        Outcome::Ready => 0,
        Outcome::TimedOut => 1,
        Outcome::Stopped => 2,
    })
}

/// Nobody replaces the workers of the pool any more.
#[napi]
pub fn board_give_up(env: &Env, id: u32) -> Result<()> {
    let isolate = isolate(env)?;
    isolate
        .board(id)?
        .give_up(isolate.arena, &isolate.me)
        .map_err(fail)
}

/// Whether nobody replaces the workers of the pool any more.
#[napi]
pub fn board_is_broken(env: &Env, id: u32) -> Result<bool> {
    let isolate = isolate(env)?;
    isolate.board(id)?.is_broken(isolate.arena).map_err(fail)
}

/// Workers that died since a task was settled last.
#[napi]
pub fn board_losses(env: &Env, id: u32) -> Result<f64> {
    let isolate = isolate(env)?;
    Ok(isolate.board(id)?.losses(isolate.arena).map_err(fail)? as f64)
}
