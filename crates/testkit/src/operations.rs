//! What victims do: every operation that changes shared memory, each with what may be found afterwards.
//!
//! An operation is prepared while nothing counts, and returns the step in which every write is a point.
//! Survivors fill the queue "t" of the round with the messages 1, 2 … before; afterwards the messages in
//! it must be those, each once, plus the one that the victim puts if it got so far, less the one it takes.

use polyproc_arena::layout::header;
use polyproc_arena::object::Handle;
use polyproc_arena::primitive::Ordering::Relaxed;
use polyproc_arena::units::Use;
use polyproc_arena::wait::Sleeper;
use polyproc_arena::{Arena, Error, Member, Result};
use polyproc_channel::envelope;
use polyproc_channel::queue::{Got, Message, Put, Queue};
use polyproc_channel::slot::INLINE;
use polyproc_sys::clock;

/// What the victim puts.
pub const OWN: u64 = 7777;
/// What it puts behind that, where it puts two in a row.
pub const SECOND: u64 = 8888;
/// Kind byte of a message in a slot.
pub const INLINE_KIND: u8 = 1;
/// Kind byte of a message in a block.
pub const BLOCK_KIND: u8 = 2;

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// In the slot.
    Inline,
    /// In a block.
    Block,
    /// In a block of several units.
    Large,
    /// In a block that carries a handle.
    Handle(Handle),
}

/// The queue that an operation is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// "t".
    Plain,
    /// "j", which redelivers: see [`crate::hands`].
    Redelivering,
    /// "l", which does not.
    Losing,
}

/// What a survivor does beside the victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// Nothing.
    Nothing,
    /// Waits for a message in "t".
    Getter,
    /// Waits for room in the bounded queue "b".
    Putter,
    /// Waits until everything in "j" has been marked done.
    Joiner,
}

/// One operation.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// Its name.
    pub name: &'static str,
    /// Messages in "t" before, as 1 … `before`.
    pub before: u64,
    /// Messages that the preparation takes again.
    pub prepared: u64,
    /// The victim puts [`OWN`].
    pub puts: bool,
    /// The victim takes the first message.
    pub takes: bool,
    /// It joins: points of all its threads count, from the first.
    pub joins: bool,
    /// What a survivor does beside.
    pub beside: Beside,
    /// The queue with the messages.
    pub on: On,
}

/// Nothing in particular.
pub(crate) const PLAIN: Operation = Operation {
    name: "",
    before: 3,
    prepared: 0,
    puts: false,
    takes: false,
    joins: false,
    beside: Beside::Nothing,
    on: On::Plain,
};

const fn named(name: &'static str) -> Operation {
    Operation { name, ..PLAIN }
}

const fn puts(name: &'static str) -> Operation {
    Operation {
        name,
        puts: true,
        ..PLAIN
    }
}

const fn takes(name: &'static str) -> Operation {
    Operation {
        name,
        takes: true,
        ..PLAIN
    }
}

const fn hands(name: &'static str, takes: bool, on: On) -> Operation {
    Operation {
        name,
        takes,
        on,
        ..PLAIN
    }
}

/// All operations.
pub const ALL: &[Operation] = &[
    Operation {
        joins: true,
        ..named("join")
    },
    Operation {
        joins: true,
        ..named("found")
    },
    named("member"),
    named("alloc-small"),
    named("free-small"),
    named("alloc-class"),
    named("alloc-large"),
    named("free-large"),
    named("trim"),
    named("create"),
    named("close"),
    named("open"),
    named("release"),
    named("name"),
    named("unname"),
    puts("put-inline"),
    puts("put-block"),
    puts("put-large"),
    puts("put-handle"),
    puts("put-two"),
    Operation {
        before: 31,
        ..puts("grow")
    },
    takes("get-inline"),
    takes("get-block"),
    takes("get-handle"),
    takes("get-two"),
    Operation {
        before: 33,
        prepared: 30,
        ..takes("retire")
    },
    named("shut-down"),
    named("wait"),
    Operation {
        before: 0,
        beside: Beside::Getter,
        ..puts("wake-getter")
    },
    Operation {
        before: 0,
        beside: Beside::Getter,
        ..puts("wake-getter-two")
    },
    Operation {
        before: 0,
        beside: Beside::Getter,
        ..named("wake-all")
    },
    Operation {
        beside: Beside::Putter,
        ..named("wake-putter")
    },
    named("spawn"),
    named("collect"),
    hands("receive", false, On::Redelivering),
    hands("receive-block", false, On::Redelivering),
    hands("done", true, On::Redelivering),
    hands("done-block", true, On::Redelivering),
    hands("retry", false, On::Redelivering),
    hands("retry-block", false, On::Redelivering),
    hands("bury", false, On::Redelivering),
    hands("bury-block", false, On::Redelivering),
    hands("hold", false, On::Redelivering),
    hands("hold-block", false, On::Redelivering),
    hands("lose", false, On::Losing),
    hands("lose-block", false, On::Losing),
    Operation {
        before: 1,
        beside: Beside::Joiner,
        ..hands("last-done", true, On::Redelivering)
    },
];

/// The operation of a name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Operation> {
    let rounds = crate::sync_rounds::ALL
        .iter()
        .chain(crate::pool_rounds::ALL)
        .chain(crate::bytes_rounds::ALL);
    let mut all = ALL.iter().chain(rounds);
    all.find(|operation| operation.name == name)
}

/// Puts a value in one of the shapes.
///
/// # Errors
/// What the queue says; `State` when there is no room.
pub fn put(arena: &Arena, me: &Member, queue: &Queue, value: u64, shape: Shape) -> Result<Put> {
    let message;
    let bytes = value.to_le_bytes();
    let long = bytes.repeat(if shape == Shape::Large { 25_000 } else { 25 });
    let handles = match shape {
        Shape::Handle(handle) => vec![handle],
        _ => Vec::new(),
    };
    let mut sealed = None;
    if shape == Shape::Inline {
        message = Message::Inline {
            kind: INLINE_KIND,
            bytes: &bytes,
        };
    } else {
        let block = envelope::seal(arena, me, &long, &[], &handles)?;
        sealed = Some(block.block);
        message = Message::Block {
            kind: BLOCK_KIND,
            block: block.block,
            len: block.len,
            pins: !handles.is_empty(),
        };
    }
    let outcome = queue.try_put(arena, me, message)?;
    if outcome != Put::Done
        && let Some(block) = sealed
    {
        arena.free(me, block)?;
    }
    Ok(outcome)
}

/// Takes the next value, of which a message is full.
///
/// # Errors
/// `State` once the queue has been shut down; `Corrupt` for part of a message; what the queue says.
pub fn get(arena: &Arena, me: &Member, queue: &Queue) -> Result<Option<u64>> {
    let mut buffer = [0; INLINE];
    match queue.try_get(arena, me, &mut buffer)? {
        Got::Empty => Ok(None),
        Got::ShutDown => Err(Error::State("shut down".into())),
        Got::Message(received) if received.block == 0 => {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&buffer[..8]);
            Ok(Some(u64::from_le_bytes(bytes)))
        }
        Got::Message(received) => {
            let parts = envelope::open(arena, received.block, received.pins)?;
            let (at, len) = parts.message;
            let mut long = vec![0; len as usize];
            arena.map.copy_out(at, &mut long)?;
            arena.free(me, received.block)?;
            let mut bytes = [0; 8];
            bytes.copy_from_slice(long.get(..8).ok_or(Error::Corrupt("a message is cut short"))?);
            if long.chunks(8).any(|part| part != bytes) {
                return Err(Error::Corrupt("a message is made of two"));
            }
            Ok(Some(u64::from_le_bytes(bytes)))
        }
    }
}

fn put_two(arena: &Arena, me: &Member, queue: &Queue) -> Result<()> {
    let mut puts = queue.puts(arena, me);
    for value in [OWN, SECOND] {
        puts.put(Message::Inline {
            kind: INLINE_KIND,
            bytes: &value.to_le_bytes(),
        })?;
    }
    puts.end()
}

fn get_two(arena: &Arena, me: &Member, queue: &Queue) -> Result<()> {
    let mut gets = queue.gets(arena, me);
    for _ in 0..2 {
        gets.next(&mut [0; INLINE])?;
    }
    gets.end()
}

/// The armed part of an operation.
pub type Step<'a> = Box<dyn FnOnce() -> Result<()> + 'a>;

/// Prepares an operation of a round, as the member that is to run it.
///
/// # Errors
/// What the preparation says.
pub fn prepare<'a>(
    operation: &Operation,
    arena: &'static Arena,
    me: &'a Member,
    round: u64,
    actor: &'a dyn Fn(&str) -> Result<()>,
) -> Result<Step<'a>> {
    if operation.name.starts_with("sync-") {
        return crate::sync_rounds::prepare(operation.name, arena, me, round);
    }
    if operation.name.starts_with("pool-") {
        return crate::pool_rounds::prepare(operation.name, arena, me, round);
    }
    if operation.name.starts_with("bytes-") {
        return crate::bytes_rounds::prepare(operation.name, arena, me, round);
    }
    let queue = move |name: &str, most: u64| Queue::create(arena, me, most, Some(&format!("{name}{round}")));
    let private = move || Queue::create(arena, me, 0, None);
    let t = queue("t", 0)?;
    for _ in 0..operation.prepared {
        get(arena, me, &t)?;
    }
    // Longer with each round, so that no gap fits and new pages are committed.
    let large = 300_000 + round * polyproc_arena::layout::UNIT;
    Ok(match operation.name {
        "member" => Box::new(move || {
            let other = arena.join_member()?;
            arena.leave(&other)
        }),
        "alloc-small" => Box::new(move || arena.alloc(me, 200).map(drop)),
        "free-small" => {
            let block = arena.alloc(me, 200)?;
            Box::new(move || arena.free(me, block))
        }
        "alloc-class" => {
            // No unit of blocks is left that nobody uses, and no page.
            let mut unit = arena.layout.data / polyproc_arena::layout::UNIT;
            let high = arena.map.word(header::UNITS_HIGH)?.load(Relaxed);
            while unit < high {
                let (used, _) = arena.unit(unit)?;
                if matches!(used, Use::Class { .. }) {
                    arena.retire_class(me, unit)?;
                }
                unit += if let Use::Run(len) = used { len } else { 1 };
            }
            arena.trim(me, 0)?;
            // Two blocks fill a unit of the largest class, so the third needs a new one.
            Box::new(move || (0..3).try_for_each(|_| arena.alloc(me, 32 << 10).map(drop)))
        }
        "alloc-large" => Box::new(move || arena.alloc(me, large).map(drop)),
        "free-large" => {
            let block = arena.alloc(me, large)?;
            Box::new(move || arena.free(me, block))
        }
        "trim" => {
            let block = arena.alloc(me, large)?;
            arena.free(me, block)?;
            let block = arena.alloc(me, 16 << 10)?;
            arena.free(me, block)?;
            Box::new(move || {
                arena.retire_class(me, block / polyproc_arena::layout::UNIT)?;
                arena.trim(me, 0).map(drop)
            })
        }
        "create" => Box::new(move || private().map(drop)),
        "close" => {
            let own = private()?;
            for (value, shape) in [
                (1, Shape::Inline),
                (2, Shape::Block),
                (3, Shape::Handle(t.handle)),
            ] {
                put(arena, me, &own, value, shape)?;
            }
            Box::new(move || arena.close(me, own.handle))
        }
        "open" => {
            arena.close(me, t.handle)?;
            Box::new(move || Queue::open(arena, me, t.handle).map(drop))
        }
        "release" => Box::new(move || arena.close(me, t.handle)),
        "name" => Box::new(move || queue("new", 0).map(drop)),
        "unname" => {
            let own = queue("new", 0)?;
            Box::new(move || arena.close(me, own.handle))
        }
        "put-inline" | "grow" | "wake-getter" => {
            Box::new(move || put(arena, me, &t, OWN, Shape::Inline).map(drop))
        }
        "put-two" | "wake-getter-two" => Box::new(move || put_two(arena, me, &t)),
        "get-two" => Box::new(move || get_two(arena, me, &t)),
        "put-block" => Box::new(move || put(arena, me, &t, OWN, Shape::Block).map(drop)),
        "put-large" => Box::new(move || put(arena, me, &t, OWN, Shape::Large).map(drop)),
        "put-handle" => {
            let inner = private()?;
            put(arena, me, &inner, 1, Shape::Block)?;
            Box::new(move || put(arena, me, &t, OWN, Shape::Handle(inner.handle)).map(drop))
        }
        "get-inline" | "get-block" | "get-handle" | "retire" => {
            Box::new(move || get(arena, me, &t).map(drop))
        }
        "shut-down" | "wake-all" => Box::new(move || t.shut_down(arena, me)),
        "wait" => {
            let b = queue("b", 1)?;
            Box::new(move || {
                let end = clock::now() + 200_000;
                let ready = || b.is_readable(arena);
                polyproc_arena::block_on::block_on(
                    arena,
                    me,
                    b.getters(arena),
                    Some(end),
                    None,
                    ready,
                    || false,
                )?;
                let record = arena.enter_list(me, b.putters(arena), Sleeper::Isolate, 1)?;
                arena.acknowledge(record)?;
                arena.leave_list(me, record).map(drop)
            })
        }
        "wake-putter" => {
            let b = queue("b", 1)?;
            Box::new(move || get(arena, me, &b).map(drop))
        }
        "spawn" => Box::new(move || actor("child")),
        "collect" => Box::new(move || actor("collector")),
        other => {
            let step = crate::hands::prepare(other, arena, me, round)?;
            step.ok_or_else(|| Error::State(format!("there is no operation {other}")))?
        }
    })
}

/// How the messages of a round are shaped: what is taken first decides which path a get takes.
#[must_use]
pub fn shape_before(name: &str, handle: Handle) -> Shape {
    match name {
        "get-block" => Shape::Block,
        "get-handle" => Shape::Handle(handle),
        name if name.ends_with("-block") && !name.starts_with("put") => Shape::Handle(handle),
        _ => Shape::Inline,
    }
}

/// Says what is wrong with the messages that were found, `None` if nothing is.
#[must_use]
pub fn judge(operation: &Operation, done: bool, found: &[u64]) -> Option<String> {
    let before: Vec<u64> = (1 + operation.prepared..=operation.before).collect();
    let times = |wanted| found.iter().filter(|value| **value == wanted).count();
    let (own, second) = (times(OWN), times(SECOND));
    let mut rest: Vec<u64> = found.to_vec();
    rest.retain(|value| ![OWN, SECOND].contains(value));
    rest.sort_unstable();
    let right = match (operation.puts, done) {
        (false, _) => own == 0,
        (true, true) => own == 1,
        (true, false) => own <= 1,
    };
    if !right {
        return Some(format!(
            "the victim's message is there {own} times (put returned: {done})"
        ));
    }
    let is_two = operation.name.ends_with("-two");
    let right = match (operation.puts && is_two, done) {
        (false, _) => second == 0,
        (true, true) => second == 1,
        (true, false) => second <= own,
    };
    if !right {
        return Some(format!(
            "the victim's second message is there {second} times, the first {own} (put returned: {done})"
        ));
    }
    let most = before.len().min(if is_two { 2 } else { 1 });
    let right = match (operation.takes, done) {
        (false, _) => rest == before,
        (true, true) => rest == before[most..],
        (true, false) => (0..=most).any(|taken| rest == before[taken..]),
    };
    (!right).then(|| format!("the messages {before:?} have become {rest:?} (get returned: {done})"))
}
