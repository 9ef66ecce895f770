//! Rounds of tasks: what a victim does with a board and its queues, and what two survivors ask of it afterwards.
//!
//! Each round has a board, the queue of tasks that are ready and one of outcomes, by name. The first survivor
//! submits three tasks, the second waits for the board where that is part of it; the victim is killed in its
//! step; then the first works off what is left, and every task must have come to an outcome.
//!
//! ```text
//! pool begin R     opens the objects of a round
//! pool hold OP     submits, as the first survivor
//! pool beside OP   waits, as the second: "woken" in the end
//! pool after OP    as the first: does what the victim may have left undone
//! pool judge OP    works, and says "right", or what is wrong
//! pool end         lets go of the objects
//! ```

use crate::operations::{Operation, PLAIN, Step};
use polyproc_arena::block_on::Outcome;
use polyproc_arena::error::Result;
use polyproc_arena::{Arena, Error, Member};
use polyproc_channel::joinable::{Hand, Policy};
use polyproc_channel::queue::{Got, JOINABLE, Message, Options, Queue};
use polyproc_channel::slot::INLINE;
use polyproc_pool::{Board, Claim, Lane, Stop, Ticket, Worker};
use polyproc_sys::clock;
use std::cell::RefCell;

const fn named(name: &'static str) -> Operation {
    Operation { name, ..PLAIN }
}

/// All of them.
pub const ALL: &[Operation] = &[
    named("pool-work"),
    named("pool-stop"),
    named("pool-submit"),
    named("pool-enter"),
    named("pool-break"),
    named("pool-create"),
];

/// Whether the second survivor waits.
#[must_use]
pub fn has_sleeper(operation: &str) -> bool {
    matches!(operation, "pool-work" | "pool-enter" | "pool-break")
}

/// The objects of a round, as one process holds them.
#[derive(Debug, Clone, Copy)]
struct Objects {
    board: Board,
    ready: Queue,
    results: Queue,
}

impl Objects {
    fn open(arena: &Arena, me: &Member, round: u64) -> Result<Self> {
        let name = format!("ready{round}");
        let options = Options {
            name: Some(&name),
            policy: Some(Policy {
                redeliver: true,
                most_deliveries: 0,
            }),
            ..Options::default()
        };
        Ok(Self {
            board: Board::named(arena, me, &format!("board{round}"))?,
            ready: Queue::create_kind(arena, me, JOINABLE, &options)?,
            results: Queue::create(arena, me, 0, Some(&format!("results{round}")))?,
        })
    }

    fn close(self, arena: &Arena, me: &Member) -> Result<()> {
        for handle in [self.board.handle, self.ready.handle, self.results.handle] {
            arena.close(me, handle)?;
        }
        Ok(())
    }

    fn submit(&self, arena: &Arena, me: &Member, lane: &mut Lane) -> Result<Ticket> {
        let ticket = lane.submit(arena, me, 1)?;
        send(arena, me, &self.ready, u64::from(lane.number), ticket)?;
        Ok(ticket)
    }

    fn take(&self, arena: &Arena, me: &Member) -> Result<Option<(u32, Ticket, Hand)>> {
        let mut buffer = [0; INLINE];
        let Got::Message(received) = self.ready.try_receive(arena, me, &mut buffer)? else {
            return Ok(None);
        };
        let hand = received.hand.ok_or(Error::Corrupt("no hand"))?;
        let (lane, ticket) = read(&buffer);
        Ok(Some((lane as u32, ticket, hand)))
    }

    /// As a worker does it. False when there is nothing.
    fn work(&self, arena: &Arena, me: &Member) -> Result<bool> {
        let Some((lane, ticket, hand)) = self.take(arena, me)? else {
            return Ok(false);
        };
        let worker = Worker::of(me.name);
        match self.board.claim(arena, lane, ticket, worker)? {
            Claim::Run(attempt) => {
                send(arena, me, &self.results, u64::from(attempt), ticket)?;
                self.board.settle(arena, lane, ticket, worker)?;
            }
            Claim::Lost(_) => send(arena, me, &self.results, 0, ticket)?,
            Claim::Drop => {}
        }
        self.ready.done(arena, me, &hand)?;
        Ok(true)
    }
}

fn send(arena: &Arena, me: &Member, queue: &Queue, first: u64, ticket: Ticket) -> Result<()> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&first.to_le_bytes());
    bytes[8..].copy_from_slice(&ticket.0.to_le_bytes());
    let message = Message::Inline {
        kind: 1,
        bytes: &bytes,
    };
    queue.try_put(arena, me, message).map(drop)
}

fn read(buffer: &[u8; INLINE]) -> (u64, Ticket) {
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&buffer[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    (word(0), Ticket(word(8)))
}

/// The step of a victim.
///
/// # Errors
/// What the preparation says.
pub fn prepare<'a>(name: &str, arena: &'static Arena, me: &'a Member, round: u64) -> Result<Step<'a>> {
    let objects = Objects::open(arena, me, round)?;
    let board = objects.board;
    Ok(match name {
        "pool-work" => {
            board.enter(arena, me, None)?;
            Box::new(move || objects.work(arena, me).map(drop))
        }
        "pool-stop" => {
            let Some((lane, ticket, hand)) = objects.take(arena, me)? else {
                return Err(Error::State("there is no task".into()));
            };
            objects.ready.retry(arena, me, &hand)?;
            Box::new(move || board.stop(arena, lane, ticket).map(drop))
        }
        "pool-submit" => Box::new(move || {
            let mut lane = board.lane(arena, me, objects.results.handle)?;
            let ticket = objects.submit(arena, me, &mut lane)?;
            for _ in 0..512 {
                lane.submit(arena, me, 1)?;
            }
            lane.release(arena, ticket)?;
            board.leave_lane(arena, me)
        }),
        "pool-enter" => Box::new(move || {
            let worker = board.enter(arena, me, Some(objects.results.handle))?;
            board.set_state(arena, worker, Some(0), 1)?;
            board.leave(arena, me)
        }),
        "pool-break" => Box::new(move || board.give_up(arena, me)),
        "pool-create" => Box::new(move || {
            let own = Board::create(arena, me, &[objects.ready.handle], &[7; 300])?;
            own.enter(arena, me, None)?;
            let mut lane = own.lane(arena, me, objects.results.handle)?;
            lane.submit(arena, me, 1)?;
            arena.close(me, own.handle)
        }),
        other => return Err(Error::State(format!("there is no operation {other}"))),
    })
}

struct Round {
    objects: Objects,
    /// Of the first survivor.
    lane: Option<Lane>,
    tickets: Vec<Ticket>,
}

thread_local! {
    /// The round that a survivor is in.
    static ROUND: RefCell<Option<Round>> = const { RefCell::new(None) };
}

const MS: u64 = 1_000_000;

/// What a survivor answers.
///
/// # Errors
/// What the objects say.
pub fn obey(arena: &Arena, me: &Member, words: &[&str]) -> Result<String> {
    ROUND.with(|slot| {
        let mut slot = slot.borrow_mut();
        if let ["begin", round] = words {
            *slot = Some(Round {
                objects: Objects::open(arena, me, round.parse().unwrap_or_default())?,
                lane: None,
                tickets: Vec::new(),
            });
            return Ok("begun".into());
        }
        let round = slot
            .as_mut()
            .ok_or_else(|| Error::State("no round has begun".into()))?;
        let board = round.objects.board;
        match words {
            ["hold", _] => {
                let mut lane = board.lane(arena, me, round.objects.results.handle)?;
                for _ in 0..3 {
                    round.tickets.push(round.objects.submit(arena, me, &mut lane)?);
                }
                round.lane = Some(lane);
                Ok("held".into())
            }
            ["beside", _] => {
                let epoch = board.epoch(arena)?;
                let end = clock::now() + 10_000 * MS;
                let outcome = board.wait(arena, me, epoch, Some(end), None, || false)?;
                Ok(if outcome == Outcome::Ready {
                    "woken"
                } else {
                    "sleeps on"
                }
                .into())
            }
            // The victim may not have come to it.
            ["after", operation] if has_sleeper(operation) => {
                board.give_up(arena, me).map(|()| "done".into())
            }
            ["after", _] => Ok("done".into()),
            ["judge", operation] => {
                Ok(judge(arena, me, round, operation)?.unwrap_or_else(|| "right".to_owned()))
            }
            ["end"] => {
                let objects = round.objects;
                *slot = None;
                objects.close(arena, me).map(|()| "ended".into())
            }
            _ => Err(Error::State(format!("there is no command {words:?}"))),
        }
    })
}

/// Works off what is left, and says what is wrong with it.
fn judge(arena: &Arena, me: &Member, round: &mut Round, operation: &str) -> Result<Option<String>> {
    let (objects, board) = (round.objects, round.objects.board);
    let Some(mut lane) = round.lane.take() else {
        return Ok(Some("nothing was submitted".into()));
    };
    let end = clock::now() + 1000 * MS;
    board.enter(arena, me, None)?;
    let mut told = vec![0; round.tickets.len()];
    loop {
        while objects.work(arena, me)? {}
        let mut buffer = [0; INLINE];
        while let Got::Message(_) = objects.results.try_get(arena, me, &mut buffer)? {
            let (_, ticket) = read(&buffer);
            if let Some(k) = round.tickets.iter().position(|known| *known == ticket) {
                told[k] += 1;
            }
        }
        let cancelled = operation == "pool-stop"
            && board.stop(arena, lane.number, round.tickets[0])? == Stop::Over
            && told[0] == 0;
        if told[usize::from(cancelled)..].iter().all(|times| *times > 0) {
            break;
        }
        if clock::now() > end {
            return Ok(Some(format!("outcomes of the tasks: {told:?}")));
        }
        std::thread::sleep(std::time::Duration::from_micros(300));
    }
    if told.iter().any(|times| *times > 2) {
        return Ok(Some(format!("outcomes of the tasks: {told:?}")));
    }
    board.leave(arena, me)?;
    for ticket in &round.tickets {
        if !lane.release(arena, *ticket)? {
            return Ok(Some("a row was free".into()));
        }
    }
    board.leave_lane(arena, me)?;
    while !board.workers(arena)?.is_empty() {
        if clock::now() > end {
            return Ok(Some(format!("workers are left: {:?}", board.workers(arena)?)));
        }
        std::thread::sleep(std::time::Duration::from_micros(300));
    }
    Ok(None)
}
