//! Operations of victims on queues that are joined, and what survivors find in them.
//!
//! "j" redelivers an item once and then passes it on to "d"; what is in the one or in the other is there.
//! In "l" the items that the dead had in hand are lost; what is said to be lost is there, too.

use crate::operations::{self, Step};
use polyproc_arena::{Arena, Error, Member, Result};
use polyproc_channel::envelope;
use polyproc_channel::joinable::{Hand, Joined, Policy};
use polyproc_channel::queue::{Got, JOINABLE, Options, Queue};
use polyproc_channel::slot::INLINE;

/// The queues of a round.
#[derive(Debug, Clone, Copy)]
pub struct Queues {
    /// Redelivers.
    pub j: Queue,
    /// Dead letters of "j".
    pub d: Queue,
    /// Does not redeliver.
    pub l: Queue,
}

impl Queues {
    /// Opens or makes them.
    ///
    /// # Errors
    /// What making a queue says.
    pub fn open(arena: &Arena, me: &Member, round: u64) -> Result<Self> {
        let d = Queue::create(arena, me, 0, Some(&format!("d{round}")))?;
        let make = |name: &str, redeliver, most_deliveries, letters| {
            let name = format!("{name}{round}");
            let options = Options {
                name: Some(&name),
                policy: Some(Policy {
                    redeliver,
                    most_deliveries,
                }),
                letters,
                ..Options::default()
            };
            Queue::create_kind(arena, me, JOINABLE, &options)
        };
        Ok(Self {
            j: make("j", true, 2, Some(d.handle))?,
            d,
            l: make("l", false, 0, None)?,
        })
    }

    /// Lets go of them.
    ///
    /// # Errors
    /// What closing says.
    pub fn close(&self, arena: &Arena, me: &Member) -> Result<()> {
        for queue in [&self.j, &self.d, &self.l] {
            arena.close(me, queue.handle)?;
        }
        Ok(())
    }

    /// Takes all that is in "j", "d" and "l", marking it done, and counts what of 1 … `filled` is missing in
    /// "l" as there if as much is said to be lost.
    ///
    /// # Errors
    /// `State` when something else is said to be lost, or not everything is done afterwards.
    pub fn drain(&self, arena: &Arena, me: &Member, filled: Option<u64>) -> Result<Vec<u64>> {
        let mut found = Vec::new();
        for queue in [&self.j, &self.l] {
            while let Some((value, hand)) = receive(arena, me, queue)? {
                found.push(value);
                if !queue.done(arena, me, &hand)? {
                    return Err(Error::State(format!("{value} was not in hand")));
                }
            }
        }
        while let Some(value) = operations::get(arena, me, &self.d)? {
            found.push(value);
        }
        let joined = |queue: &Queue| queue.joined(arena, me, queue.tail(arena)?);
        if joined(&self.j)? != Joined::Finished {
            return Err(Error::State("not everything in j is done".into()));
        }
        let lost = match joined(&self.l)? {
            Joined::Finished => 0,
            Joined::Lost(lost) => lost.count,
            Joined::Pending => return Err(Error::State("not everything in l is done".into())),
        };
        let filled = filled.unwrap_or_default();
        let missing: Vec<u64> = (1..=filled).filter(|value| !found.contains(value)).collect();
        if missing.len() as u64 != lost && (lost > 0 || filled > 0) {
            return Err(Error::State(format!(
                "{missing:?} are missing in l, {lost} are said to be lost"
            )));
        }
        found.extend(missing);
        Ok(found)
    }
}

/// Takes the next item in hand.
///
/// # Errors
/// What the queue says.
pub fn receive(arena: &Arena, me: &Member, queue: &Queue) -> Result<Option<(u64, Hand)>> {
    let mut buffer = [0; INLINE];
    let Got::Message(received) = queue.try_receive(arena, me, &mut buffer)? else {
        return Ok(None);
    };
    let mut bytes = [0; 8];
    if received.block == 0 {
        bytes.copy_from_slice(&buffer[..8]);
    } else {
        let parts = envelope::open(arena, received.block, received.pins)?;
        arena.map.copy_out(parts.message.0, &mut bytes)?;
    }
    let hand = received.hand.ok_or(Error::Corrupt("an item without a hand"))?;
    Ok(Some((u64::from_le_bytes(bytes), hand)))
}

/// Prepares one of the operations, `None` if it is none of them.
pub(crate) fn prepare<'a>(
    name: &str,
    arena: &'static Arena,
    me: &'a Member,
    round: u64,
) -> Result<Option<Step<'a>>> {
    let Queues { j, l, .. } = Queues::open(arena, me, round)?;
    let take = |queue: &Queue| -> Result<Hand> {
        let taken = receive(arena, me, queue)?;
        Ok(taken.ok_or_else(|| Error::State("nothing to take".into()))?.1)
    };
    Ok(Some(match name.strip_suffix("-block").unwrap_or(name) {
        "receive" => Box::new(move || receive(arena, me, &j).map(drop)),
        "done" => {
            let first = take(&j)?;
            take(&j)?;
            Box::new(move || j.done(arena, me, &first).map(drop))
        }
        "last-done" => {
            let last = take(&j)?;
            Box::new(move || j.done(arena, me, &last).map(drop))
        }
        "retry" => {
            let first = take(&j)?;
            take(&j)?;
            Box::new(move || j.retry(arena, me, &first).map(drop))
        }
        "bury" => {
            let first = take(&j)?;
            j.retry(arena, me, &first)?;
            let again = take(&j)?;
            Box::new(move || j.retry(arena, me, &again).map(drop))
        }
        "hold" => {
            // One for the second time, which is the last.
            let first = take(&j)?;
            j.retry(arena, me, &first)?;
            take(&j)?;
            take(&j)?;
            Box::new(move || receive(arena, me, &j).map(drop))
        }
        "lose" => {
            take(&l)?;
            take(&l)?;
            Box::new(move || receive(arena, me, &l).map(drop))
        }
        _ => return Ok(None),
    }))
}
