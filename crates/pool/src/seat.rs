//! Seats: what stands on a board about one thread of the family, at the slot of its member.
//!
//! ```text
//! +0    submitter  name of the member that submits here, 0: none
//! +8    results    handle of the queue into which its outcomes go
//! +16   worker     name of the member that runs tasks here, 0: none
//! +24   state      worker's number << 32 | what it says of itself
//! +32   inbox      handle of the queue by which it is told things, 0: none
//! +40   process    name of its process · +48 its pid
//! +56   limited    rows of the submitter below this one may have deadlines; never goes back
//! +64   rows       16 offsets of blocks of rows; each has twice as many as the one before
//! ```
//!
//! Names are written in the board's section; `state` by CAS, from a value that says whose it is.
//!
//! A seat is found by the number of its member: nothing has to be searched for, and a thread has one lane and
//! one place as a worker on each board.
//!
//! # What a crash leaves
//! A seat that names the dead. Recovery clears `worker` and logs the death in one commit, and clears
//! `submitter`. The rows stay: the next member in that slot goes on with their generations, so what still
//! travels of the dead's is refused.

use crate::board::{Board, own};
use crate::row::Worker;
use polyproc_arena::error::{Error, Result};
use polyproc_arena::map::Offset;
use polyproc_arena::object::Handle;
use polyproc_arena::primitive::Ordering::{Acquire, Relaxed};
use polyproc_arena::{Arena, Member, Name};

/// Bytes of a seat.
pub const SIZE: u64 = 256;
pub(crate) const SUBMITTER: Offset = 0;
pub(crate) const RESULTS: Offset = 8;
pub(crate) const WORKER: Offset = 16;
const STATE: Offset = 24;
const INBOX: Offset = 32;
pub(crate) const PROCESS: Offset = 40;
pub(crate) const PID: Offset = 48;
pub(crate) const LIMITED: Offset = 56;
pub(crate) const ROWS: Offset = 64;
/// Blocks of rows that a seat can have.
pub const ROWS_LEN: u64 = 16;

/// What a worker says of itself, in the low three bits of its state; above them it counts how often it has
/// become idle.
pub mod state {
    /// It has entered, and not begun to work.
    pub const STARTING: u32 = 0;
    /// It waits for tasks.
    pub const IDLE: u32 = 1;
    /// It runs tasks.
    pub const BUSY: u32 = 2;
    /// Its tasks wait for tasks of the same pool: it does not count among the workers.
    pub const WAITING: u32 = 3;
    /// It takes no more tasks.
    pub const RETIRING: u32 = 4;

    /// Which of them.
    #[must_use]
    pub fn of(said: u32) -> u32 {
        said & 7
    }
}

/// A worker, as the board shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its number.
    pub worker: Worker,
    /// What it says of itself.
    pub state: u32,
    /// Its pid.
    pub pid: u32,
    /// Name of its process (`generation << 32 | slot`).
    pub process: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat<'a> {
    pub arena: &'a Arena,
    pub at: Offset,
}

impl Seat<'_> {
    #[inline]
    pub fn word(&self, offset: Offset) -> Result<u64> {
        // SYNC: Acquire pairs with the commit or CAS that wrote it.
        Ok(self.arena.map.word(self.at + offset)?.load(Acquire))
    }

    #[inline]
    pub fn name(&self, offset: Offset) -> Result<Option<Name>> {
        Ok(Name::from_word(self.word(offset)?))
    }

    /// Whether that worker has the seat.
    fn is_of(&self, worker: Worker) -> Result<bool> {
        Ok(self.name(WORKER)?.map(Worker::of) == Some(worker))
    }
}

impl Board {
    /// From now on `me` runs tasks; `inbox` is where it is told things. Its number.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn enter(&self, arena: &Arena, me: &Member, inbox: Option<Handle>) -> Result<Worker> {
        let seat = self.make_seat(arena, me)?;
        let worker = Worker::of(me.name);
        let own = own(arena)?;
        let guard = arena.enter(me, self.section())?;
        // Nobody else changes it before the name stands there, and those who knew its last owner see that
        // the number is another.
        arena
            .map
            .word(seat.at + STATE)?
            .store(u64::from(worker.number()) << 32, Relaxed);
        guard.commit(&[
            (seat.at + INBOX, inbox.map_or(0, Handle::word)),
            (seat.at + PROCESS, own.process),
            (seat.at + PID, u64::from(own.pid)),
            (seat.at + WORKER, me.name.word()),
        ])?;
        Ok(worker)
    }

    /// `me` runs no more tasks, and ends in peace; whoever waits for the board is told.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn leave(&self, arena: &Arena, me: &Member) -> Result<()> {
        let Some(seat) = self.seat(arena, me.name.slot())? else {
            return Ok(());
        };
        let guard = arena.enter(me, self.section())?;
        if seat.name(WORKER)? != Some(me.name) {
            return Ok(());
        }
        self.tell(arena, me, guard, &mut vec![(seat.at + WORKER, 0)])
    }

    /// A worker that has entered and not left, dead or alive.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn standing(&self, arena: &Arena, worker: Worker) -> Result<Option<Standing>> {
        let Some(seat) = self.seat(arena, worker.slot())? else {
            return Ok(None);
        };
        let state = seat.word(STATE)?;
        let standing = Standing {
            worker,
            state: state as u32,
            pid: seat.word(PID)? as u32,
            process: seat.word(PROCESS)?,
        };
        Ok((seat.is_of(worker)? && state >> 32 == u64::from(worker.number())).then_some(standing))
    }

    /// All workers that have entered and not left.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn workers(&self, arena: &Arena) -> Result<Vec<Standing>> {
        let mut all = Vec::new();
        for (_, seat) in self.seats(arena) {
            if let Some(name) = seat.name(WORKER)? {
                all.extend(self.standing(arena, Worker::of(name))?);
            }
        }
        Ok(all)
    }

    /// Says something of a worker, if it has entered and not left; true if so. With `from` only if it says that
    /// of itself now.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn set_state(&self, arena: &Arena, worker: Worker, from: Option<u32>, to: u32) -> Result<bool> {
        let Some(seat) = self.seat(arena, worker.slot())? else {
            return Ok(false);
        };
        if !seat.is_of(worker)? {
            return Ok(false);
        }
        let owner = u64::from(worker.number()) << 32;
        let word = arena.map.word(seat.at + STATE)?;
        let mut seen = word.load(Acquire);
        while seen >> 32 << 32 == owner && from.is_none_or(|from| from == seen as u32) {
            // SYNC: SeqCst: against the look of whoever counts the idle.
            match word.cas(seen, owner | u64::from(to)) {
                Ok(_) => return Ok(true),
                Err(now) => seen = now,
            }
        }
        Ok(false)
    }

    /// The queue by which a worker is told things.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn inbox_of(&self, arena: &Arena, worker: Worker) -> Result<Option<Handle>> {
        match self.seat(arena, worker.slot())? {
            Some(seat) if seat.is_of(worker)? => Ok(Handle::from_word(seat.word(INBOX)?)),
            _ => Ok(None),
        }
    }

    /// True when no thread acts as that worker any more.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn has_ended(&self, arena: &Arena, worker: Worker) -> Result<bool> {
        use polyproc_arena::section::Liveness;
        let state = match arena.member_state(worker.slot()) {
            Ok(state) => state,
            Err(Error::Corrupt(_)) => return Ok(true),
            Err(error) => return Err(error),
        };
        let name = Name::new(worker.slot(), state.generation);
        // A slot that was re-issued is one whose old holder has been recovered.
        Ok(Worker::of(name) != worker || arena.is_dead(name))
    }
}
