//! What other actors do: recoverers, producers and consumers of a storm, and those who only hold memory.

use crate::event_loop::EventLoop;
use crate::operations::{self, Shape};
use polyproc_arena::attach::{Family, Limits};
use polyproc_arena::block_on::block_on;
use polyproc_arena::wait::List;
use polyproc_arena::{Arena, Error, Member, Result, member, process};
use polyproc_channel::queue::{Put, Queue};
use polyproc_sys::{clock, proc_info, signal};
use std::fs::OpenOptions;
use std::io::{BufRead, Write};

const STEP: u64 = 16 << 20;

/// Looks until nobody is left to be recovered, for at most `ms` milliseconds.
pub fn until_recovered(arena: &Arena, ms: u64) {
    let end = clock::now() + ms * 1_000_000;
    while clock::now() < end {
        let left = process::all(arena).any(|(slot, _)| process::is_dead(arena, slot))
            || arena
                .members()
                .any(|(_, state)| state.phase == member::Phase::Left);
        if !left {
            return;
        }
        std::thread::sleep(std::time::Duration::from_micros(300));
    }
}

fn log(path: &str) -> Result<std::fs::File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map_err(|error| Error::System("a log", error))
}

/// How the actors of a storm wait: half of them block, half have event loops.
enum Waiting {
    Blocks,
    Turns(EventLoop),
}

impl Waiting {
    fn of_this_process(arena: &Arena, me: &Member) -> Result<Self> {
        Ok(if proc_info::pid().is_multiple_of(2) {
            Self::Blocks
        } else {
            Self::Turns(EventLoop::new(arena, me)?)
        })
    }

    fn wait(
        &self,
        arena: &Arena,
        me: &Member,
        list: List,
        deadline: u64,
        ready: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        match self {
            Self::Blocks => block_on(arena, me, list, Some(deadline), None, ready, || false).map(drop),
            Self::Turns(turns) => turns.wait(arena, me, list, deadline, ready),
        }
    }
}

/// Puts messages `pid << 32 | k` in all shapes, noting each before (`?`) and after (`+`) the put.
///
/// # Errors
/// What the queue says.
pub fn produce(arena: &Arena, me: &Member, name: &str, path: &str) -> Result<()> {
    let queue = Queue::create(arena, me, 256, Some(name))?;
    let mut file = log(path)?;
    let waiting = Waiting::of_this_process(arena, me)?;
    let pid = u64::from(proc_info::pid());
    for k in 0.. {
        let value = pid << 32 | k;
        let shape = match k % 16 {
            3 => Shape::Handle(queue.handle),
            5 | 9 | 11 => Shape::Block,
            7 => Shape::Large,
            _ => Shape::Inline,
        };
        let note = |file: &mut std::fs::File, sign: char| {
            file.write_all(format!("{sign}{value}\n").as_bytes())
                .map_err(|error| Error::System("a log", error))
        };
        note(&mut file, '?')?;
        loop {
            match operations::put(arena, me, &queue, value, shape)? {
                Put::Done => break,
                Put::ShutDown => return Ok(()),
                Put::Full => {}
            }
            let ready = || queue.is_writable(arena, me);
            waiting.wait(arena, me, queue.putters(arena), u64::MAX, ready)?;
        }
        note(&mut file, '+')?;
    }
    Ok(())
}

/// Takes messages and notes each with `-`, and how long it waited though there was work with `!`.
///
/// # Errors
/// What the queue says.
pub fn consume(arena: &Arena, me: &Member, name: &str, path: &str) -> Result<()> {
    let queue = Queue::create(arena, me, 256, Some(name))?;
    let mut file = log(path)?;
    let waiting = Waiting::of_this_process(arena, me)?;
    let mut note = |text: String| {
        file.write_all(text.as_bytes())
            .map_err(|error| Error::System("a log", error))
    };
    loop {
        // Sleeps longer than any wake may take: whoever times out though there is a message was forgotten.
        match operations::get(arena, me, &queue) {
            Ok(Some(value)) => note(format!("-{value}\n"))?,
            Ok(None) => {
                let end = clock::now() + 200_000_000;
                let ready = || queue.is_readable(arena);
                waiting.wait(arena, me, queue.getters(arena), end, ready)?;
                if clock::now() >= end && queue.is_readable(arena)? {
                    note(format!("!{}\n", queue.len(arena)?))?;
                }
            }
            Err(Error::State(text)) if text == "shut down" => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Joins, touches `shared` bytes of the arena and `private` of its own, says "ready", and ends as the
/// next line of its input says: `exit`, `exec`, `abort`, `segv`, or waits to be killed.
///
/// # Errors
/// What joining says.
pub fn hold(
    join: fn(Option<u64>) -> Result<(&'static Arena, Member)>,
    shared: u64,
    private: u64,
) -> Result<()> {
    let (arena, me) = join(None)?;
    let own = vec![1_u8; private as usize];
    let mut left = shared;
    while left > 0 {
        let size = left.min(64 << 20);
        let block = arena.alloc(&me, size)?;
        arena.zero(block, size)?;
        left -= size;
    }
    say("ready")?;
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Error::System("a pipe", error))?;
    match line.trim() {
        "exec" => {
            use std::os::unix::process::CommandExt;
            let error = std::process::Command::new("/bin/sleep").arg("5").exec();
            return Err(Error::System("exec", error));
        }
        "abort" => std::process::abort(),
        "segv" => {
            // Rust's handler lets the first one pass: a fault would come again at once.
            for _ in 0..2 {
                let _ = signal::kill(proc_info::pid(), 11);
            }
        }
        "exit" => std::process::exit(0),
        _ => {}
    }
    std::thread::sleep(std::time::Duration::from_secs(30));
    drop(own);
    Ok(())
}

/// A family of its own under whatever limits there are: takes blocks of 16 MiB, writing to each, until
/// there is no more or `most` bytes are taken, and says how that ended.
///
/// # Errors
/// What making or joining the arena says.
pub fn alone(most: u64) -> Result<()> {
    let (arena, me) = Family::find(Some(""))?.join(Limits::default(), None, &[])?;
    let mut taken = 0;
    while taken < most {
        let block = match arena.alloc(&me, STEP) {
            Ok(block) => block,
            Err(error @ (Error::OutOfMemory { .. } | Error::System(..))) => {
                return say(&format!("{taken} bytes, then {}: {error}", error.code()));
            }
            Err(error) => return Err(error),
        };
        arena.zero(block, STEP)?;
        taken += STEP;
    }
    say(&format!("{taken} bytes"))
}

/// One line to whoever started this process.
fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|error| Error::System("a pipe", error))
}
