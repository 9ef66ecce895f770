//! Who keeps a pool's worker processes: starts, replaces and ends them, from the native thread of the process that
//! made the pool, whatever its event loop does.
//!
//! The thread looks after each recovery of the dead, when a submitter of any process has said that more workers
//! are wanted, and when the deadline of a task has passed. All that it goes by stands on the board or in the
//! queues; what only this process knows is which workers it has started.
//!
//! - A worker that ends without having left is replaced at once, and counts as a loss until a task is settled.
//!   From the first loss on one worker more than is needed is kept ready, where there may be as many: so the
//!   next replacement has booted before it is needed.
//! - A worker that has left is replaced if there is work that nobody is idle for.
//! - After too many losses in a row the board says that the pool is broken, and nobody is replaced any more.
//! - The worker of a task whose deadline has passed is asked to stop, and killed a while after.
//!
//! # What a crash leaves
//! Workers are daemons: they end with the process that keeps them.

use crate::board::{Board, now_ms};
use crate::hired::{Hired, Launch};
use crate::lane::Ticket;
use crate::row::{Phase, Stop, Worker};
use crate::seat::{Standing, state};
use polyproc_arena::error::{Error, Result};
use polyproc_arena::object::Handle;
use polyproc_arena::{Arena, Member};
use polyproc_channel::Queue;
use polyproc_family::{Key, children};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const KILL: i32 = 9;
/// How soon it is tried again what could not be done, in ns.
const AGAIN: u64 = 50_000_000;
/// A letter to a worker: a message that lies in a slot.
pub type Letter = (u8, Vec<u8>);

/// How a pool's workers are kept.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Most workers at a time, those not counted whose tasks wait for tasks of the same pool.
    pub processes: usize,
    /// Losses in a row after which the pool is broken.
    pub most_losses: u64,
    /// Between asking a task to stop and the end of its worker, in ms.
    pub kill_after: u64,
    /// Put into a worker's inbox when a task of it has been asked to stop.
    pub letter: Letter,
    /// The queues of tasks that wait, those kept alive by the board.
    pub ready: Vec<Handle>,
}

/// A worker that was started, for whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Its process.
    pub key: Key,
    /// Its pid.
    pub pid: u32,
    /// Which of this keeper's workers it is, from 1.
    pub serial: u64,
}

/// See the module.
pub struct Keeper {
    arena: &'static Arena,
    board: Board,
    terms: Terms,
    launch: Launch,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    hired: Vec<Hired>,
    /// Workers started so far.
    serial: u64,
    /// Workers that are wanted at least, as long as they do not leave.
    desired: usize,
    /// It is to be looked whether more are needed.
    grows: bool,
    closed: bool,
}

/// Keepers of this process, by their numbers.
static KEEPERS: Mutex<Vec<Option<Arc<Keeper>>>> = Mutex::new(Vec::new());

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the workers of a board that this process made, until [`close`]. Its number.
///
/// # Errors
/// `Stale` when an object that the workers are to be given is gone.
pub fn open(arena: &'static Arena, me: &Member, board: Board, terms: Terms, launch: Launch) -> Result<u32> {
    // Held by this process for the keeper: what is launched later still finds them.
    arena.open(me, board.handle)?;
    for (k, handle) in launch.handles.iter().enumerate() {
        if let Err(error) = arena.open(me, *handle) {
            for held in &launch.handles[..k] {
                arena.close(me, *held)?;
            }
            arena.close(me, board.handle)?;
            return Err(error);
        }
    }
    let keeper = Arc::new(Keeper {
        arena,
        board,
        terms,
        launch,
        state: Mutex::default(),
    });
    let mut keepers = locked(&KEEPERS);
    if keepers.is_empty() {
        arena.set_chore(Arc::new(look_at_all));
    }
    let free = keepers.iter().position(Option::is_none);
    let number = free.unwrap_or(keepers.len());
    if free.is_none() {
        keepers.push(None);
    }
    keepers[number] = Some(keeper);
    Ok(number as u32)
}

/// The keeper of a number.
#[must_use]
pub fn of(number: u32) -> Option<Arc<Keeper>> {
    locked(&KEEPERS).get(number as usize).cloned().flatten()
}

/// Starts no more workers; those that there are go on. Twice is harmless.
pub fn close(me: Option<&Member>, number: u32) {
    let keeper = locked(&KEEPERS).get_mut(number as usize).and_then(Option::take);
    if let Some(keeper) = keeper {
        locked(&keeper.state).closed = true;
        for handle in &keeper.launch.handles {
            keeper.arena.let_go(me, *handle);
        }
        keeper.arena.let_go(me, keeper.board.handle);
    }
}

/// What the native thread does.
fn look_at_all(me: &Member) -> Option<u64> {
    let keepers: Vec<_> = locked(&KEEPERS).iter().flatten().cloned().collect();
    let mut due: Option<u64> = None;
    for keeper in keepers {
        let again = keeper
            .look(me)
            .unwrap_or_else(|_| Some(polyproc_sys::clock::now() + AGAIN));
        due = due.into_iter().chain(again).min();
    }
    due
}

impl Keeper {
    /// Starts a worker if there may be one more. `None` when there are as many as there may be, or the keeper is
    /// closed.
    ///
    /// # Errors
    /// `TableFull`, `OutOfMemory`, `State`: it cannot be started.
    pub fn start(&self, me: &Member) -> Result<Option<Started>> {
        let mut state = locked(&self.state);
        self.note_exits(me, &mut state)?;
        let standing = self.board.workers(self.arena)?;
        if state.closed || self.live(&state, &standing) >= self.terms.processes {
            return Ok(None);
        }
        let started = self.hire(me, &mut state)?;
        if let Some(hired) = state.hired.last_mut() {
            hired.shown = true;
        }
        state.desired = state.desired.max(self.live(&state, &standing));
        Ok(Some(started))
    }

    fn hire(&self, me: &Member, state: &mut State) -> Result<Started> {
        let serial = state.serial + 1;
        let hired = self.launch.start(self.arena, me, serial)?;
        state.serial = serial;
        let started = hired.started;
        state.hired.push(hired);
        Ok(started)
    }

    /// All workers that have been started and not been seen to end. Whoever asks takes note of their ends.
    #[must_use]
    pub fn hired(&self) -> Vec<Started> {
        let mut state = locked(&self.state);
        let shown = state.hired.iter_mut().map(|hired| {
            hired.shown = true;
            hired.started
        });
        shown.collect()
    }

    /// A worker is to end, and not to be replaced.
    pub fn expect(&self, key: Key) {
        let mut state = locked(&self.state);
        if let Some(hired) = state.hired.iter_mut().find(|hired| hired.started.key == key)
            && !std::mem::replace(&mut hired.expected, true)
        {
            state.desired = state.desired.saturating_sub(1);
        }
    }

    /// Workers that run or could run tasks.
    fn live(&self, state: &State, standing: &[Standing]) -> usize {
        let counts = |hired: &&Hired| {
            let said = self.said_by(hired, standing);
            !hired.expected && !matches!(said, state::WAITING | state::RETIRING)
        };
        state.hired.iter().filter(counts).count()
    }

    /// What a worker says of itself.
    fn said_by(&self, hired: &Hired, standing: &[Standing]) -> u32 {
        let name = hired.started.key.name();
        let found = standing.iter().find(|standing| standing.process == name);
        match found {
            Some(standing) => state::of(standing.state),
            None if hired.entered => state::RETIRING,
            None => state::STARTING,
        }
    }

    /// Does what is to be done, and says when it is to look again at the latest.
    fn look(&self, me: &Member) -> Result<Option<u64>> {
        let mut state = locked(&self.state);
        if state.closed {
            return Ok(None);
        }
        self.note_exits(me, &mut state)?;
        let standing = self.board.workers(self.arena)?;
        for hired in &mut state.hired {
            let name = hired.started.key.name();
            hired.entered |= standing.iter().any(|standing| standing.process == name);
        }
        let (lost, left) = self.bury(&mut state)?;
        let idle = self.idle(&state, &standing);
        let wanted = self.board.is_wanted(self.arena)?;
        // Of those that were killed from here it may have been counted already that they died, and not yet that they
        // were to.
        let excused = state.hired.iter().filter(|hired| hired.killed).count() as u64;
        if self.board.losses(self.arena)?.saturating_sub(excused) >= self.terms.most_losses {
            self.board.give_up(self.arena, me)?;
        }
        if self.board.is_broken(self.arena)? {
            return Ok(None);
        }
        if lost > 0 && idle == 0 {
            // A spare. If it was an idle one that was lost, one is too many.
            state.desired = (state.desired + 1).min(self.terms.processes);
        }
        // Both are tried again if a worker cannot be started now.
        state.grows |= lost > 0 || left > 0 || wanted;
        while self.live(&state, &standing) < state.desired {
            self.hire(me, &mut state)?;
        }
        if state.grows {
            self.grow(me, &mut state, &standing)?;
            state.grows = false;
        }
        drop(state);
        self.end_the_late(me)
    }

    /// Says on the board how those ended that have died.
    fn note_exits(&self, me: &Member, state: &mut State) -> Result<()> {
        for hired in &mut state.hired {
            let key = hired.started.key;
            if hired.exit.is_none() {
                hired.exit = exit_of(self.arena, key)?;
            }
            if let Some(code) = hired.exit {
                self.board.note_exit(self.arena, me, key.name(), code)?;
            }
        }
        Ok(())
    }

    fn idle(&self, state: &State, standing: &[Standing]) -> usize {
        let is_idle = |hired: &&Hired| {
            !hired.expected && matches!(self.said_by(hired, standing), state::STARTING | state::IDLE)
        };
        state.hired.iter().filter(is_idle).count()
    }

    /// Forgets those that have ended: how many are lost, and how many have left in peace.
    fn bury(&self, state: &mut State) -> Result<(usize, usize)> {
        let mut lost = 0;
        let mut left = 0;
        let mut kept = Vec::with_capacity(state.hired.len());
        let seated = self.board.workers(self.arena)?;
        for hired in std::mem::take(&mut state.hired) {
            let key = hired.started.key;
            // One that has a seat has not been recovered: whether it has died stands on the board only then.
            let is_seated = seated.iter().any(|standing| standing.process == key.name());
            if is_seated || !has_ended(self.arena, key) {
                kept.push(hired);
                continue;
            }
            if !hired.expected {
                if self.board.died(self.arena, key.name())? {
                    lost += 1;
                    if hired.killed {
                        self.board.discount_loss(self.arena)?;
                    }
                } else if hired.entered || hired.exit == Some(0) {
                    left += 1;
                } else {
                    // It did not come so far as to enter.
                    self.board.count_stillborn(self.arena)?;
                    lost += 1;
                }
            }
            if !hired.shown {
                children::forget(key);
            }
        }
        state.hired = kept;
        // What has left is replaced when it is needed.
        state.desired = state.desired.saturating_sub(left);
        Ok((lost, left))
    }

    /// Starts workers for what waits and nobody is idle for.
    fn grow(&self, me: &Member, state: &mut State, standing: &[Standing]) -> Result<()> {
        let mut backlog = 0;
        for handle in &self.terms.ready {
            backlog += Queue::borrowed(self.arena, *handle)?.len(self.arena)? as usize;
        }
        loop {
            let live = self.live(state, standing);
            if backlog <= self.idle(state, standing) || live >= self.terms.processes {
                state.desired = state.desired.max(live.min(self.terms.processes));
                return Ok(());
            }
            self.hire(me, state)?;
        }
    }

    /// Asks tasks to stop whose deadline has passed, and ends the workers of those that do not. When the next
    /// one is due.
    fn end_the_late(&self, me: &Member) -> Result<Option<u64>> {
        let (arena, board) = (self.arena, &self.board);
        let now = now_ms();
        match board.armed(arena)? {
            0 => return Ok(None),
            armed if armed > now => return Ok(Some(in_ns(armed))),
            _ => board.disarm(arena)?,
        }
        let mut due: Option<u64> = None;
        let mut later = |at: u64| due = Some(due.map_or(at, |due| due.min(at)));
        let mut late = Vec::new();
        board.each_limited(arena, |lane, ticket, deadline, state| {
            if deadline > now {
                later(deadline);
            } else if state.phase == Phase::Running {
                let end = deadline.saturating_add(self.terms.kill_after);
                late.push((lane, ticket, state.stop, end));
                if end > now {
                    later(end);
                }
            } else {
                // It has been waiting for too long; should it be begun all the same, it is stopped then.
                later(now + self.terms.kill_after.clamp(10, 1000));
            }
            Ok(())
        })?;
        for (lane, ticket, was_asked, end) in late {
            self.end(me, lane, ticket, was_asked, end <= now)?;
        }
        match due {
            Some(due) => {
                board.rearm(arena, due)?;
                Ok(Some(in_ns(due)))
            }
            None => Ok(None),
        }
    }

    fn end(&self, me: &Member, lane: u32, ticket: Ticket, was_asked: bool, is_over: bool) -> Result<()> {
        let Stop::Running(worker) = self.board.ask(self.arena, lane, ticket)? else {
            return Ok(());
        };
        if !was_asked {
            self.write_to(me, worker)?;
        }
        if is_over
            && was_asked
            && let Some(standing) = self.board.standing(self.arena, worker)?
        {
            self.kill(Key::of(standing.process));
        }
        Ok(())
    }

    /// Tells a worker to look at its tasks.
    fn write_to(&self, me: &Member, worker: Worker) -> Result<()> {
        let Some(inbox) = self.board.inbox_of(self.arena, worker)? else {
            return Ok(());
        };
        let queue = match Queue::open(self.arena, me, inbox) {
            Ok(queue) => queue,
            // It has ended in this moment.
            Err(Error::Stale) => return Ok(()),
            Err(error) => return Err(error),
        };
        let (kind, bytes) = &self.terms.letter;
        let message = polyproc_channel::Message::Inline { kind: *kind, bytes };
        let put = queue.try_put(self.arena, me, message);
        self.arena.close(me, queue.handle)?;
        put.map(drop)
    }

    /// SIGKILL to a worker that this keeper has started, for what it does: so that is no loss.
    pub fn kill(&self, key: Key) {
        let mut state = locked(&self.state);
        if let Some(hired) = state.hired.iter_mut().find(|hired| hired.started.key == key)
            && let Some(child) = children::running(key)
        {
            hired.killed = true;
            // That it ended meanwhile is what was wanted.
            let _ = child.signal(KILL);
        }
    }
}

/// Whether a child has ended and all that it had has been taken back.
fn has_ended(arena: &Arena, key: Key) -> bool {
    match children::exit_of(arena, key) {
        Ok(exit) => exit.is_some(),
        // Somebody has taken note of its end.
        Err(_) => true,
    }
}

/// How a child ended, if that is known: its place may be another's by now, and the table of children forgets.
fn exit_of(arena: &Arena, key: Key) -> Result<Option<i32>> {
    match children::exit_of(arena, key) {
        Ok(Some(exit)) => Ok(Some(exit.status.code())),
        Ok(None) => Ok(None),
        Err(_) => children::recorded_exit(arena, key),
    }
}

/// Somebody takes note of how a child ended, and makes it forgotten.
pub fn ended(me: &Member, key: Key, code: i32) {
    let keepers: Vec<_> = locked(&KEEPERS).iter().flatten().cloned().collect();
    for keeper in keepers {
        let mut state = locked(&keeper.state);
        if let Some(hired) = state.hired.iter_mut().find(|hired| hired.started.key == key) {
            hired.exit = Some(code);
            // Else with the next look.
            let _ = keeper.board.note_exit(keeper.arena, me, key.name(), code);
            return;
        }
    }
}

/// A moment of [`now_ms`] on the clock of the native thread.
fn in_ns(ms: u64) -> u64 {
    ms.saturating_mul(1_000_000)
}
