//! Lanes: the tasks of one submitter.
//!
//! Each thread that submits has rows of its own, so it takes and gives them back without asking anybody: what
//! is free is known to it alone, in its own memory. Block k of a lane has 512 · 2^k rows.
//!
//! A lane's number is its member's name, cut to 32 bits; a ticket is row and generation in one number below
//! 2^53. Both are what messages carry.

use crate::board::{Board, now_ms};
use crate::row::{self, Claim, MOST_ATTEMPTS, Phase, Row, State, Stop, Worker};
use crate::seat::{LIMITED, RESULTS, ROWS, ROWS_LEN, SUBMITTER, Seat};
use polyproc_arena::error::{Error, Result};
use polyproc_arena::object::Handle;
use polyproc_arena::primitive::Ordering::{Relaxed, SeqCst};
use polyproc_arena::{Arena, Member, Name};

/// Rows of the first block.
const FIRST: u64 = 512;
/// Deadlines have 54 bits.
const MOST_DEADLINE: u64 = (1 << 54) - 1;
/// The most tasks of a submitter at a time.
pub const MOST_ROWS: u64 = 1 << 24;

/// A task, by its row in a lane and which use of the row it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

impl Ticket {
    fn new(row: u64, generation: u32) -> Self {
        Self(u64::from(generation) << 24 | row)
    }

    /// Its row.
    #[must_use]
    pub fn row(self) -> u64 {
        self.0 & (MOST_ROWS - 1)
    }

    fn generation(self) -> u32 {
        (self.0 >> 24) as u32
    }
}

/// What a submitter has of a board. One a thread and board: two would hand out the same rows.
#[derive(Debug)]
pub struct Lane {
    /// Its number.
    pub number: u32,
    board: Board,
    free: Vec<u32>,
    next: u64,
    room: u64,
}

fn number(name: Name) -> u32 {
    name.slot() as u32 | name.generation() << 12
}

/// The block of a row, and where the row is in it.
fn place(row: u64) -> (u64, u64) {
    let k = u64::from((row / FIRST + 1).ilog2());
    (k, row + FIRST - (FIRST << k))
}

impl Board {
    /// From now on `me` submits tasks, whose outcomes go into the queue `results`.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn lane(&self, arena: &Arena, me: &Member, results: Handle) -> Result<Lane> {
        self.show(arena, me, Some(results))?;
        Ok(Lane {
            number: number(me.name),
            board: *self,
            free: Vec::new(),
            next: 0,
            room: 0,
        })
    }

    /// `me` submits no more: what still travels of its tasks is dropped.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn leave_lane(&self, arena: &Arena, me: &Member) -> Result<()> {
        self.show(arena, me, None)
    }

    fn show(&self, arena: &Arena, me: &Member, results: Option<Handle>) -> Result<()> {
        let seat = self.make_seat(arena, me)?;
        let guard = arena.enter(me, self.section())?;
        let name = results.map_or(0, |_| me.name.word());
        guard.commit(&[
            (seat.at + SUBMITTER, name),
            (seat.at + RESULTS, results.map_or(0, Handle::word)),
        ])
    }

    #[inline]
    fn lane_seat<'a>(&self, arena: &'a Arena, lane: u32) -> Result<Option<Seat<'a>>> {
        let Some(seat) = self.seat(arena, u64::from(lane & 0xfff))? else {
            return Ok(None);
        };
        let is_there = seat.name(SUBMITTER)?.map(number) == Some(lane);
        Ok(is_there.then_some(seat))
    }

    /// The queue into which the outcomes of a lane's tasks go; `None` when its submitter is gone.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn results_of(&self, arena: &Arena, lane: u32) -> Result<Option<Handle>> {
        match self.lane_seat(arena, lane)? {
            Some(seat) => Ok(Handle::from_word(seat.word(RESULTS)?)),
            None => Ok(None),
        }
    }

    #[inline]
    fn row<'a>(&self, arena: &'a Arena, lane: u32, ticket: Ticket) -> Result<Option<Row<'a>>> {
        match self.lane_seat(arena, lane)? {
            Some(seat) => row_of(arena, seat, ticket.row()),
            None => Ok(None),
        }
    }

    /// For the worker that has a task's item in hand: what is to be done with it.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn claim(&self, arena: &Arena, lane: u32, ticket: Ticket, me: Worker) -> Result<Claim> {
        match self.row(arena, lane, ticket)? {
            Some(row) => row.claim(ticket.generation(), me),
            None => Ok(Claim::Drop),
        }
    }

    /// For the worker, once the outcome has been sent. False when the task is not its own any more.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn settle(&self, arena: &Arena, lane: u32, ticket: Ticket, me: Worker) -> Result<bool> {
        self.forgive(arena)?;
        match self.row(arena, lane, ticket)? {
            Some(row) => row.settle(ticket.generation(), me),
            None => Ok(false),
        }
    }

    /// Stops a task: it is not begun any more, or its worker is asked, and killed if that does not help. For the
    /// submitter.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn stop(&self, arena: &Arena, lane: u32, ticket: Ticket) -> Result<Stop> {
        let stop = self.ask(arena, lane, ticket)?;
        if matches!(stop, Stop::Running(_)) {
            self.limit(arena, lane, ticket, 0)?;
        }
        Ok(stop)
    }

    /// The same without a word about the end of the worker.
    pub(crate) fn ask(&self, arena: &Arena, lane: u32, ticket: Ticket) -> Result<Stop> {
        match self.row(arena, lane, ticket)? {
            Some(row) => row.stop(ticket.generation()),
            None => Ok(Stop::Over),
        }
    }

    /// The task is to be over in `ms` milliseconds: from then on whoever keeps the workers asks the one that runs it to
    /// stop, and kills it in the end, whatever its submitter does meanwhile. For the submitter.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn limit(&self, arena: &Arena, lane: u32, ticket: Ticket, ms: u64) -> Result<()> {
        let Some(seat) = self.lane_seat(arena, lane)? else {
            return Ok(());
        };
        let Some(row) = row_of(arena, seat, ticket.row())? else {
            return Ok(());
        };
        let limited = arena.map.word(seat.at + LIMITED)?;
        // SYNC: SeqCst, as the deadline: see `Board::arm`. Nobody else writes it.
        if limited.load(Relaxed) <= ticket.row() {
            limited.swap(ticket.row() + 1, SeqCst);
        }
        let deadline = now_ms().saturating_add(ms).clamp(1, MOST_DEADLINE);
        row.set_deadline(deadline)?;
        self.arm(arena, deadline)
    }

    /// Calls `visit` for each task with a deadline that has not come to its end: lane, ticket, deadline in ms.
    ///
    /// # Errors
    /// `Corrupt`, or what `visit` returns.
    pub(crate) fn each_limited(
        &self,
        arena: &Arena,
        mut visit: impl FnMut(u32, Ticket, u64, State) -> Result<()>,
    ) -> Result<()> {
        for (_, seat) in self.seats(arena) {
            let limited = seat.word(LIMITED)?.min(MOST_ROWS);
            let Some(lane) = seat.name(SUBMITTER)?.map(number) else {
                continue;
            };
            for row in 0..limited {
                let Some(word) = row_of(arena, seat, row)? else {
                    continue;
                };
                let state = word.look()?;
                let deadline = word.deadline()?;
                if deadline != 0 && matches!(state.phase, Phase::Queued | Phase::Running) {
                    visit(lane, Ticket::new(row, state.generation), deadline, state)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the worker of a task has been asked to stop; also true when nobody waits for the task any
    /// more.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn stop_asked(&self, arena: &Arena, lane: u32, ticket: Ticket) -> Result<bool> {
        match self.row(arena, lane, ticket)? {
            Some(row) => row.stop_asked(ticket.generation()),
            None => Ok(true),
        }
    }

    /// Declares a task lost if its worker has ended and it is not to be begun again: after how many attempts.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn lose(&self, arena: &Arena, lane: u32, ticket: Ticket) -> Result<Option<u32>> {
        match self.row(arena, lane, ticket)? {
            Some(row) => row.lose(ticket.generation(), |worker| {
                self.has_ended(arena, worker).unwrap_or(true)
            }),
            None => Ok(None),
        }
    }

    /// Ends the use of a row, for a submitter that does not take it again itself: see [`Lane::release`].
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn release(&self, arena: &Arena, lane: u32, ticket: Ticket) -> Result<bool> {
        match self.row(arena, lane, ticket)? {
            Some(row) => row.release(ticket.generation()),
            None => Ok(false),
        }
    }

    /// Who runs a task, or ran it last; `None` before anybody has.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn runner_of(&self, arena: &Arena, lane: u32, ticket: Ticket) -> Result<Option<Worker>> {
        let Some(row) = self.row(arena, lane, ticket)? else {
            return Ok(None);
        };
        let state = row.look()?;
        let known = state.generation == ticket.generation() && state.attempt > 0;
        Ok(known.then_some(state.worker))
    }
}

fn row_of<'a>(arena: &'a Arena, seat: Seat<'_>, row: u64) -> Result<Option<Row<'a>>> {
    let (block, index) = place(row & (MOST_ROWS - 1));
    Ok(match arena.link(seat.at + ROWS + block * 8)? {
        0 => None,
        at => Some(Row {
            map: &arena.map,
            at: at + index * row::SIZE,
        }),
    })
}

impl Lane {
    /// A row for a task that may be begun `attempts` times (1 to [`MOST_ATTEMPTS`]).
    ///
    /// # Errors
    /// `OutOfMemory`; `TableFull` at [`MOST_ROWS`] tasks.
    pub fn submit(&mut self, arena: &Arena, me: &Member, attempts: u32) -> Result<Ticket> {
        let row = match self.free.last() {
            Some(row) => u64::from(*row),
            None => self.fresh(arena, me)?,
        };
        let word = self
            .row(arena, row)?
            .ok_or(Error::Corrupt("a lane has lost its rows"))?;
        let generation = word.submit(attempts.clamp(1, MOST_ATTEMPTS))?;
        if self.free.pop().is_none() {
            self.next = row + 1;
        }
        Ok(Ticket::new(row, generation))
    }

    fn row<'a>(&self, arena: &'a Arena, row: u64) -> Result<Option<Row<'a>>> {
        match self.board.seat(arena, u64::from(self.number & 0xfff))? {
            Some(seat) => row_of(arena, seat, row),
            None => Ok(None),
        }
    }

    /// A row that this lane has not used yet.
    fn fresh(&mut self, arena: &Arena, me: &Member) -> Result<u64> {
        if self.next >= MOST_ROWS {
            return Err(Error::TableFull("tasks of one thread", MOST_ROWS));
        }
        let (block, _) = place(self.next);
        if self.next >= self.room && block < ROWS_LEN {
            let seat = self.board.make_seat(arena, me)?;
            let word = seat.at + ROWS + block * 8;
            if arena.link(word)? == 0 {
                self.board.grow(arena, me, word, (FIRST << block) * row::SIZE)?;
            }
            self.room = (FIRST << (block + 1)) - FIRST;
        }
        Ok(self.next)
    }

    /// The outcome of a task is known, or not wanted: its row is free again. False when it was before.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn release(&mut self, arena: &Arena, ticket: Ticket) -> Result<bool> {
        let released = match self.row(arena, ticket.row())? {
            Some(row) => row.release(ticket.generation())?,
            None => false,
        };
        if released && ticket.row() < self.next {
            self.free.push(ticket.row() as u32);
        }
        Ok(released)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_fill_their_blocks() {
        assert_eq!(place(0), (0, 0));
        assert_eq!(place(511), (0, 511));
        assert_eq!(place(512), (1, 0));
        assert_eq!(place(1535), (1, 1023));
        assert_eq!(place(1536), (2, 0));
        let (last, index) = place(MOST_ROWS - 1);
        assert!(last < ROWS_LEN && index < FIRST << last);
    }
}
