//! The process that goes on: it reads one command a line from its input and answers with one line.
//!
//! ```text
//! begin R            opens the queues "t" (no bound), "w" (no bound) and "b" (bound 1) of a round
//! fill N NAME        puts 1 … N into the queue of an operation
//! fill-b             fills "b"
//! get-b              takes one from "b"
//! drain [N]          takes all that is in "t", and in the queues that are joined: the values; 1 … N were in "l"
//! join MS            waits until everything in "j" has been marked done: done or timeout
//! put V              puts a value into "t": done, shut
//! len                the number of messages in "t"
//! wait MS            takes one from "t", waiting: the value, shut, or timeout
//! wait-put MS        puts into "b", waiting: done or timeout
//! room               whether there is room in "b"
//! work FIRST         500 operations of each kind of work; the other one does as many
//! end                lets go of the round's queues
//! private            an object of its own, and a hundred messages through it
//! find PID           the slot of a process
//! await SLOT MS      waits for the end of the process in a slot: when it was seen, in ns
//! forge PID OFFSET   a slot for a process of that pid which began OFFSET ticks later than the one there is
//! call               wakes the native thread
//! pool …             rounds of tasks: see `pool_rounds`
//! bytes …            rounds of a queue with a bound on bytes: see `bytes_rounds`
//! sync …             rounds of locks and the like: see `sync_rounds`
//! settled N MS       waits until N processes are left and the books balance: usage, or the faults
//! ```

use crate::hands::Queues;
use crate::operations::{self, On, Shape};
use polyproc_arena::block_on::{Outcome, block_on};
use polyproc_arena::primitive::Ordering::Relaxed;
use polyproc_arena::{Arena, Error, Member, Result, check, process, recovery};
use polyproc_channel::joinable::Joined;
use polyproc_channel::queue::{Put, Queue};
use polyproc_sys::clock;
use std::io::{BufRead, Write};

const MS: u64 = 1_000_000;

struct Round {
    number: u64,
    t: Queue,
    w: Queue,
    b: Queue,
    hands: Queues,
}

/// Serves commands until the input ends.
///
/// # Errors
/// When a pipe breaks.
pub fn serve(arena: &Arena, me: &Member) -> std::io::Result<()> {
    let mut round = None;
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready")?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = obey(arena, me, &mut round, &words).unwrap_or_else(|error| format!("error: {error}"));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn obey(arena: &Arena, me: &Member, round: &mut Option<Round>, words: &[&str]) -> Result<String> {
    let number = |k: usize| {
        words
            .get(k)
            .and_then(|word| word.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let none = || Error::State("no round has begun".into());
    match words.first().copied().unwrap_or_default() {
        "begin" => {
            let queue =
                |name: &str, most| Queue::create(arena, me, most, Some(&format!("{name}{}", number(1))));
            *round = Some(Round {
                number: number(1),
                t: queue("t", 0)?,
                w: queue("w", 0)?,
                b: queue("b", 1)?,
                hands: Queues::open(arena, me, number(1))?,
            });
            Ok("begun".into())
        }
        "private" => {
            // Nothing that another has a part in: an object of its own, a message through it.
            let own = Queue::create(arena, me, 0, None)?;
            for value in 0..100 {
                operations::put(arena, me, &own, value, Shape::Inline)?;
                operations::get(arena, me, &own)?;
            }
            arena.close(me, own.handle)?;
            Ok("done".into())
        }
        "await" => await_end(arena, me, number(1), number(2)),
        "find" => Ok(process::all(arena)
            .find(|(_, state)| u64::from(state.pid) == number(1))
            .map_or("not there".into(), |(slot, _)| slot.to_string())),
        "forge" => forge(arena, number(1) as u32, number(2)),
        "pool" => crate::pool_rounds::obey(arena, me, &words[1..]),
        "bytes" => crate::bytes_rounds::obey(arena, me, &words[1..]),
        "sync" => crate::sync_rounds::obey(arena, me, &words[1..]),
        "call" => polyproc_arena::watch::call(arena, arena.process_slot()).map(|()| "called".into()),
        "settled" => Ok(settled(arena, number(1), number(2))),
        other => {
            let round_now = round.as_ref().ok_or_else(none)?;
            let answer = in_round(arena, me, round_now, other, words, &number)?;
            if other == "end" {
                *round = None;
            }
            Ok(answer)
        }
    }
}

fn in_round(
    arena: &Arena,
    me: &Member,
    round: &Round,
    command: &str,
    words: &[&str],
    number: &dyn Fn(usize) -> u64,
) -> Result<String> {
    match command {
        "fill" => {
            let name = words.get(2).copied().unwrap_or_default();
            let shape = operations::shape_before(name, round.w.handle);
            let queue = match operations::by_name(name).map_or(On::Plain, |operation| operation.on) {
                On::Plain => round.t,
                On::Redelivering => round.hands.j,
                On::Losing => round.hands.l,
            };
            for value in 1..=number(1) {
                operations::put(arena, me, &queue, value, shape)?;
            }
            Ok("filled".into())
        }
        "fill-b" => operations::put(arena, me, &round.b, 1, Shape::Inline).map(|put| format!("{put:?}")),
        "get-b" => Ok(format!("{:?}", operations::get(arena, me, &round.b)?)),
        "drain" => {
            let mut found = Vec::new();
            loop {
                match operations::get(arena, me, &round.t) {
                    Ok(Some(value)) => found.push(value.to_string()),
                    Ok(None) => break,
                    Err(Error::State(text)) if text == "shut down" => break,
                    Err(error) => return Err(error),
                }
            }
            let filled = words.get(1).map(|_| number(1));
            let hands = round.hands.drain(arena, me, filled)?;
            found.extend(hands.iter().map(u64::to_string));
            Ok(found.join(" "))
        }
        "put" => Ok(
            match operations::put(arena, me, &round.t, number(1), Shape::Inline)? {
                Put::Done => "done",
                Put::Full => "full",
                Put::ShutDown => "shut",
            }
            .into(),
        ),
        "len" => Ok(round.t.len(arena)?.to_string()),
        "room" => Ok(round.b.is_writable(arena, me)?.to_string()),
        "wait" => wait_get(arena, me, &round.t, number(1)),
        "join" => {
            let end = clock::now() + number(1) * MS;
            let since = round.hands.j.tail(arena)?;
            let ready = || Ok(round.hands.j.joined(arena, me, since)? != Joined::Pending);
            let joiners = round.hands.j.joiners(arena);
            let outcome = block_on(arena, me, joiners, Some(end), None, ready, || false)?;
            Ok(if outcome == Outcome::Ready {
                "done"
            } else {
                "timeout"
            }
            .into())
        }
        "wait-put" => wait_put(arena, me, &round.b, number(1)),
        "work" => work(arena, me, round, number(1) == 1),
        "end" => {
            for queue in [&round.t, &round.w, &round.b] {
                arena.close(me, queue.handle)?;
            }
            round.hands.close(arena, me)?;
            Ok("ended".into())
        }
        other => Err(Error::State(format!("there is no command {other}"))),
    }
}

/// Takes one message, waiting for at most `ms` milliseconds.
///
/// # Errors
/// What the queue says.
pub fn wait_get(arena: &Arena, me: &Member, queue: &Queue, ms: u64) -> Result<String> {
    let end = clock::now() + ms * MS;
    loop {
        match operations::get(arena, me, queue) {
            Ok(Some(value)) => return Ok(value.to_string()),
            Ok(None) => {}
            Err(Error::State(text)) if text == "shut down" => return Ok("shut".into()),
            Err(error) => return Err(error),
        }
        let ready = || queue.is_readable(arena);
        if block_on(arena, me, queue.getters(arena), Some(end), None, ready, || false)? != Outcome::Ready {
            return Ok("timeout".into());
        }
    }
}

fn wait_put(arena: &Arena, me: &Member, queue: &Queue, ms: u64) -> Result<String> {
    let end = clock::now() + ms * MS;
    loop {
        if operations::put(arena, me, queue, 2, Shape::Inline)? == Put::Done {
            return Ok("done".into());
        }
        let ready = || queue.is_writable(arena, me);
        if block_on(arena, me, queue.putters(arena), Some(end), None, ready, || false)? != Outcome::Ready {
            return Ok("timeout".into());
        }
    }
}

/// Half of a thousand operations; the other survivor does the other half on the same objects.
fn work(arena: &Arena, me: &Member, round: &Round, first: bool) -> Result<String> {
    let start = clock::now();
    for k in 0..100 {
        // Five operations a turn.
        let size = [200, 5000, 100_000][k % 3];
        let block = arena.alloc(me, size)?;
        let shape = match k % 8 {
            0 => Shape::Handle(round.t.handle),
            1 => Shape::Block,
            _ => Shape::Inline,
        };
        if first {
            operations::put(arena, me, &round.w, k as u64, shape)?;
        } else {
            let got = wait_get(arena, me, &round.w, 2000)?;
            if got != k.to_string() {
                return Ok(format!("got {got} in place of {k}"));
            }
        }
        if k % 10 == 0 {
            let own = Queue::create(
                arena,
                me,
                0,
                Some(&format!("own{}-{}", round.number, u8::from(first))),
            )?;
            arena.close(me, own.handle)?;
            let member = arena.join_member()?;
            arena.leave(&member)?;
        }
        arena.free(me, block)?;
        Queue::open(arena, me, round.t.handle)?;
        arena.close(me, round.t.handle)?;
    }
    Ok(format!("worked {}", (clock::now() - start) / 1000))
}

fn await_end(arena: &Arena, me: &Member, slot: u64, ms: u64) -> Result<String> {
    let list = recovery::waiters_of(arena, slot);
    let end = clock::now() + ms * MS;
    let ready =
        || Ok(process::state(arena, slot)?.phase != process::Phase::Live || process::is_dead(arena, slot));
    match block_on(arena, me, list, Some(end), None, ready, || false)? {
        Outcome::Ready => Ok(clock::now().to_string()),
        _ => Ok("timeout".into()),
    }
}

/// As if a child had been started whose pid is another process's by now.
fn forge(arena: &Arena, pid: u32, later: u64) -> Result<String> {
    let name = process::claim(arena, process::Phase::Starting, pid, 0)?;
    let slot = name & 0xffff_ffff;
    let start = polyproc_sys::proc_info::start_time(pid).unwrap_or(0) + later;
    arena
        .map
        .word(arena.layout.process(slot) + process::START)?
        .store(start, Relaxed);
    Ok(slot.to_string())
}

/// Why those that are dead still have their slots.
fn obstacles(arena: &Arena) -> Result<Vec<String>> {
    let me = arena.join_member()?;
    me.hurry();
    let dead: Vec<u64> = process::all(arena)
        .map(|(slot, _)| slot)
        .filter(|slot| process::is_dead(arena, *slot))
        .collect();
    let said = dead
        .into_iter()
        .map(|slot| format!("{slot}: {:?}", recovery::recover_process(arena, &me, slot)))
        .collect();
    arena.leave(&me)?;
    Ok(said)
}

fn settled(arena: &Arena, processes: u64, ms: u64) -> String {
    let start = clock::now();
    let end = start + ms * MS;
    loop {
        // Counted once no fault is left: while they are looked for, a recoverer may be destroying the last object.
        let checked = check::check(arena).and_then(|report| Ok((report, check::usage(arena)?)));
        let text = match checked {
            Err(error) => format!("faults: {error}"),
            Ok((report, usage)) => {
                let there = process::all(arena).count() as u64;
                if report.faults.is_empty() && there == processes && report.members == 2 * processes {
                    return format!(
                        "usage {} {} {} {} {} {}",
                        (clock::now() - start) / 1000,
                        usage.objects,
                        usage.owned_blocks,
                        usage.held_blocks,
                        usage.block_bytes,
                        usage.committed_bytes
                    );
                }
                let slots: Vec<_> = process::all(arena).collect();
                format!(
                    "faults: {:?}; {} members, slots {slots:?}",
                    report.faults, report.members
                )
            }
        };
        if clock::now() > end {
            let text = format!("{text}; recovery says {:?}", obstacles(arena));
            return text.replace('\n', " ");
        }
        std::thread::sleep(std::time::Duration::from_micros(300));
    }
}
