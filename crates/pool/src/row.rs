//! One word a task: what has become of it.
//!
//! ```text
//! bits 0-2    phase: 0 free, 1 queued, 2 running, 3 done, 4 cancelled, 5 lost
//! bit  3      its worker has been asked to stop
//! bits 4-24   worker: slot of the member (12 bits) and low bits of its generation (9)
//! bits 25-34  attempt, from 1; 0 before it has run
//! bits 35-63  generation: counts the uses of the row
//! ```
//!
//! The word after it says how many attempts the task may have (bits 0-9), and when it is to be over (bits 10-63,
//! in ms of the monotonic clock; 0: whenever it likes). Only the submitter writes it; whoever acts on it does so
//! by a CAS of the first word, which says the generation.
//!
//! ```text
//!         submit          claim                settle
//! free ───────────▶ queued ─────▶ running(w, n) ─────▶ done
//!   ▲                 │ stop       │  ▲   │  └─ w ended, n the last, or asked to stop ─▶ lost
//!   │                 ▼            └──┘   └─ stop ─▶ running(w, n), asked to stop
//!   │             cancelled      claim by w2: w had it and has ended, or gave it back
//!   └──────────────────┴── release, from any of them: the next generation
//! ```
//!
//! Tasks travel through a queue that gives an item back when its taker ends, so only who has a task's item in
//! hand may claim its row: a claim that finds it running knows that the one who ran it is gone. Every arrow
//! is one SeqCst CAS from what was seen, so of a stop, a claim and a loss that meet only one happens.
//!
//! # What a crash leaves
//! | killed | left | put right by |
//! |---|---|---|
//! | the worker, before it has claimed | queued, the item in the hand of the dead | the queue gives the item to somebody else |
//! | the worker, while it runs | running under the dead name; the item comes back | who takes it claims it again, or finds that it is lost; the submitter sees the loss by itself |
//! | the worker, having sent the outcome and not settled | the same | the same: the submitter keeps the first outcome |
//! | the worker, having settled and not marked the item | done; the item comes back | who takes it finds it done, and drops it |
//! | who claims, having written `lost` and not told | lost; the item comes back | who takes it finds it lost, and tells |
//! | the submitter | rows of its lane | claims are refused; the next submitter there begins their next generation |

use polyproc_arena::error::Result;
use polyproc_arena::map::{Map, Offset};
use polyproc_arena::member::Name;
use polyproc_arena::primitive::Ordering::{Acquire, Relaxed, SeqCst};

/// Bytes of a row.
pub const SIZE: u64 = 16;
/// The most attempts of a task.
pub const MOST_ATTEMPTS: u32 = (1 << 10) - 1;
/// Generations of a row: then they begin again.
pub const GENERATIONS: u32 = 1 << 29;

const TERMS: Offset = 8;
const DEADLINE: u32 = 10;
const STOP: u64 = 1 << 3;

/// Who runs tasks: a member, by its slot and the low bits of its generation. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Worker(u32);

impl Worker {
    /// The worker that a member is.
    #[must_use]
    pub fn of(name: Name) -> Self {
        Self(name.slot() as u32 | (name.generation() & 0x1ff) << 12)
    }

    /// From a number that [`Worker::number`] gave; whatever else it is, no such worker will be found.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        Self(number & 0x1f_ffff)
    }

    /// As a number of 21 bits.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// Slot of the member.
    #[must_use]
    pub fn slot(self) -> u64 {
        u64::from(self.0 & 0xfff)
    }
}

/// What can become of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No task.
    Free,
    /// Nobody has begun it.
    Queued,
    /// The worker has begun it.
    Running,
    /// Its outcome has been sent.
    Done,
    /// It was stopped before anybody had begun it.
    Cancelled,
    /// Whoever ran it has ended, for the last time.
    Lost,
}

/// The word, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Which use of the row.
    pub generation: u32,
    /// What has become of the task.
    pub phase: Phase,
    /// Its worker has been asked to stop.
    pub stop: bool,
    /// Who runs it, or ran it last.
    pub worker: Worker,
    /// How often it has been begun.
    pub attempt: u32,
}

impl State {
    /// From the word in shared memory.
    #[must_use]
    #[inline]
    pub fn unpack(word: u64) -> Self {
        Self {
            generation: (word >> 35) as u32,
            phase: match word & 7 {
                1 => Phase::Queued,
                2 => Phase::Running,
                3 => Phase::Done,
                4 => Phase::Cancelled,
                5 => Phase::Lost,
                _ => Phase::Free,
            },
            stop: word & STOP != 0,
            worker: Worker((word >> 4) as u32 & 0x1f_ffff),
            attempt: (word >> 25) as u32 & MOST_ATTEMPTS,
        }
    }

    /// As the word in shared memory.
    #[must_use]
    #[inline]
    pub fn pack(self) -> u64 {
        let phase = match self.phase {
            Phase::Free => 0,
            Phase::Queued => 1,
            Phase::Running => 2,
            Phase::Done => 3,
            Phase::Cancelled => 4,
            Phase::Lost => 5,
        };
        u64::from(self.generation) << 35
            | u64::from(self.attempt & MOST_ATTEMPTS) << 25
            | u64::from(self.worker.0) << 4
            | u64::from(self.stop) << 3
            | phase
    }
}

/// What whoever has a task's item in hand is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Run it: this is its attempt of that number, from 1.
    Run(u32),
    /// Mark the item done: it was stopped, it is over, or nobody waits for it any more.
    Drop,
    /// Tell its submitter that it is lost after so many attempts, and then mark the item done.
    Lost(u32),
}

/// What a stop came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It will not run.
    Cancelled,
    /// It runs; that worker has been asked to stop.
    Running(Worker),
    /// It was over.
    Over,
}

/// Where the row of a task is.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The memory it lies in.
    pub map: &'a Map,
    /// Its offset.
    pub at: Offset,
}

impl Row<'_> {
    /// What stands there.
    ///
    /// # Errors
    /// `Corrupt` when the row lies outside the arena.
    #[inline]
    pub fn look(&self) -> Result<State> {
        // SYNC: Acquire pairs with the CAS that put it there.
        Ok(State::unpack(self.map.word(self.at)?.load(Acquire)))
    }

    /// How often the task may be begun, at least once.
    fn allowed(&self) -> Result<u32> {
        // SYNC: Relaxed: whoever has the ticket got it from the submitter, who wrote this before.
        let terms = self.map.word(self.at + TERMS)?.load(Relaxed);
        Ok((terms as u32 & MOST_ATTEMPTS).max(1))
    }

    /// When the task is to be over, in ms of the monotonic clock; 0: whenever it likes.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn deadline(&self) -> Result<u64> {
        // SYNC: SeqCst: against `set_deadline`, whose writer then looks at when the board is looked at next.
        Ok(self.map.word(self.at + TERMS)?.load(SeqCst) >> DEADLINE)
    }

    /// Says when the task is to be over. Only for the submitter whose row it is.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn set_deadline(&self, ms: u64) -> Result<()> {
        let word = self.map.word(self.at + TERMS)?;
        let attempts = word.load(Relaxed) & u64::from(MOST_ATTEMPTS);
        // SYNC: SeqCst, for `deadline`.
        word.swap(ms << DEADLINE | attempts, SeqCst);
        Ok(())
    }

    /// Changes the word of that generation as long as `next` has something else to put there; what `next`
    /// said last.
    #[inline]
    fn change<T>(&self, generation: u32, over: T, next: impl Fn(State) -> (Option<State>, T)) -> Result<T> {
        let word = self.map.word(self.at)?;
        // SYNC: Acquire pairs with the CAS that put it there.
        let mut seen = word.load(Acquire);
        loop {
            let state = State::unpack(seen);
            if state.generation != generation {
                return Ok(over);
            }
            let (new, outcome) = next(state);
            let Some(new) = new else { return Ok(outcome) };
            // SYNC: releases what the changer did before, and acquires what those before it did.
            match word.cas(seen, new.pack()) {
                Ok(_) => return Ok(outcome),
                Err(now) => seen = now,
            }
        }
    }

    /// Begins the next use of the row, whatever stands there, for a task that may be begun `attempts` times.
    /// Only for the submitter whose row it is. Its generation.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn submit(&self, attempts: u32) -> Result<u32> {
        let word = self.map.word(self.at)?;
        let mut seen = word.load(Acquire);
        self.map
            .word(self.at + TERMS)?
            .store(u64::from(attempts.min(MOST_ATTEMPTS)), Relaxed);
        loop {
            let state = State {
                generation: next(State::unpack(seen).generation),
                phase: Phase::Queued,
                stop: false,
                worker: Worker(0),
                attempt: 0,
            };
            // SYNC: releases the number of attempts to whoever reads the generation.
            match word.cas(seen, state.pack()) {
                Ok(_) => return Ok(state.generation),
                // Somebody still acts on a use of it that is over.
                Err(now) => seen = now,
            }
        }
    }

    /// For whoever has the item in hand: what is to be done with it.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn claim(&self, generation: u32, me: Worker) -> Result<Claim> {
        let allowed = self.allowed()?;
        self.change(generation, Claim::Drop, |state| match state.phase {
            Phase::Running if state.stop || state.attempt >= allowed => {
                let lost = State {
                    phase: Phase::Lost,
                    ..state
                };
                (Some(lost), Claim::Lost(state.attempt))
            }
            Phase::Queued | Phase::Running => {
                let attempt = state.attempt + 1;
                let running = State {
                    phase: Phase::Running,
                    worker: me,
                    attempt,
                    ..state
                };
                (Some(running), Claim::Run(attempt))
            }
            // Whoever found that may have been killed before it could tell.
            Phase::Lost => (None, Claim::Lost(state.attempt)),
            Phase::Free | Phase::Done | Phase::Cancelled => (None, Claim::Drop),
        })
    }

    /// For the worker, once the outcome has been sent. False when the task is not its own any more.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn settle(&self, generation: u32, me: Worker) -> Result<bool> {
        self.change(generation, false, |state| {
            let mine = state.phase == Phase::Running && state.worker == me;
            let done = State {
                phase: Phase::Done,
                ..state
            };
            (mine.then_some(done), mine)
        })
    }

    /// Stops the task: it is not begun any more, or its worker is asked.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn stop(&self, generation: u32) -> Result<Stop> {
        self.change(generation, Stop::Over, |state| match state.phase {
            Phase::Queued => {
                let cancelled = State {
                    phase: Phase::Cancelled,
                    ..state
                };
                (Some(cancelled), Stop::Cancelled)
            }
            Phase::Running => {
                let asked = State { stop: true, ..state };
                ((!state.stop).then_some(asked), Stop::Running(state.worker))
            }
            _ => (None, Stop::Over),
        })
    }

    /// Whether the worker that runs the task has been asked to stop; also true when nobody waits for it any
    /// more.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn stop_asked(&self, generation: u32) -> Result<bool> {
        let state = self.look()?;
        Ok(state.generation != generation || state.stop)
    }

    /// Declares the task lost if its worker has ended, as `has_ended` says, and it is not to be begun again:
    /// after how many attempts. `None` when that is not so.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn lose(&self, generation: u32, has_ended: impl Fn(Worker) -> bool) -> Result<Option<u32>> {
        let allowed = self.allowed()?;
        self.change(generation, None, |state| match state.phase {
            Phase::Running if (state.stop || state.attempt >= allowed) && has_ended(state.worker) => {
                let lost = State {
                    phase: Phase::Lost,
                    ..state
                };
                (Some(lost), Some(state.attempt))
            }
            Phase::Lost => (None, Some(state.attempt)),
            _ => (None, None),
        })
    }

    /// For the submitter, which has the outcome or does not want it: nobody acts on this use of the row any
    /// more. False when that is so already.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn release(&self, generation: u32) -> Result<bool> {
        self.change(generation, false, |state| {
            let free = State {
                generation: next(generation),
                phase: Phase::Free,
                stop: false,
                worker: Worker(0),
                attempt: 0,
            };
            let held = state.phase != Phase::Free;
            (held.then_some(free), held)
        })
    }
}

/// The generation after one; never 0.
fn next(generation: u32) -> u32 {
    ((generation + 1) % GENERATIONS).max(1)
}
