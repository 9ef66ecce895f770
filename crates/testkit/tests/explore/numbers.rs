//! Puts and gets of numbers, and what must be true of them at the end.
use polyproc_arena::{Arena, Member};
use polyproc_channel::queue::{Gets, Got, Message, Next, Put, Puts, Queue};
use polyproc_channel::slot::INLINE;
use polyproc_testkit::explore::End;
use polyproc_testkit::family::Family;
use std::collections::HashMap;

/// Outcome of a get that found nothing.
pub const EMPTY: u64 = u64::MAX;
/// Outcome of a put that found no room.
pub const FULL: u64 = u64::MAX - 1;
/// Outcome of either on a queue that is shut.
pub const SHUT: u64 = u64::MAX - 2;
/// Added to the outcome of a put that succeeded.
pub const PUT: u64 = 1 << 32;

pub fn put(arena: &Arena, me: &Member, queue: &Queue, value: u64) -> u64 {
    put_next(&mut queue.puts(arena, me), value)
}

/// One of several puts in a row.
pub fn put_next(puts: &mut Puts<'_>, value: u64) -> u64 {
    let bytes = value.to_le_bytes();
    let message = Message::Inline {
        kind: 1,
        bytes: &bytes,
    };
    match puts.put(message).unwrap() {
        Put::Done => PUT + value,
        Put::Full => FULL,
        Put::ShutDown => SHUT,
    }
}

/// A block with a message in it.
pub fn block(arena: &Arena, me: &Member, value: u64) -> u64 {
    let block = arena.alloc(me, 256).unwrap();
    arena.map.copy_in(block, &value.to_le_bytes()).unwrap();
    block
}

/// Puts a message that lies in a block.
pub fn send(arena: &Arena, me: &Member, queue: &Queue, block: u64, value: u64) -> u64 {
    let message = Message::Block {
        kind: 2,
        block,
        len: 8,
        pins: false,
    };
    let refused = match queue.try_put(arena, me, message).unwrap() {
        Put::Done => return PUT + value,
        Put::Full => FULL,
        Put::ShutDown => SHUT,
    };
    arena.free(me, block).unwrap();
    refused
}

pub fn put_block(arena: &Arena, me: &Member, queue: &Queue, value: u64) -> u64 {
    send(arena, me, queue, block(arena, me, value), value)
}

pub fn get(arena: &Arena, me: &Member, queue: &Queue) -> u64 {
    let mut buffer = [0; INLINE];
    match queue.try_get(arena, me, &mut buffer).unwrap() {
        Got::Message(received) if received.block != 0 => {
            let mut bytes = [0; 8];
            arena.map.copy_out(received.block, &mut bytes).unwrap();
            arena.free(me, received.block).unwrap();
            u64::from_le_bytes(bytes)
        }
        Got::Message(received) => {
            assert_eq!(received.len, 8);
            u64::from_le_bytes(buffer[..8].try_into().unwrap())
        }
        Got::Empty => EMPTY,
        Got::ShutDown => SHUT,
    }
}

/// One of several gets in a row, of messages that lie in slots.
pub fn get_next(gets: &mut Gets<'_>) -> u64 {
    let mut buffer = [0; INLINE];
    match gets.next(&mut buffer).unwrap() {
        Next::Message => u64::from_le_bytes(buffer[..8].try_into().unwrap()),
        Next::Empty => EMPTY,
        Next::ShutDown => SHUT,
    }
}

/// Closes the queue in the name of all survivors; nothing may be left of it.
pub fn close(family: &Family, queue: &Queue, end: &End) -> Result<(), String> {
    for p in 0..family.arenas.len() {
        if !end.killed.get(p).is_some_and(|killed| *killed) {
            family.arenas[p]
                .close(&family.members[p], queue.handle)
                .map_err(|e| format!("closing: {e}"))?;
        }
    }
    let warden = end.killed.len();
    let report = polyproc_arena::check::check(&family.arenas[warden]).map_err(|e| e.to_string())?;
    match (report.objects, report.held_blocks) {
        (0, 0) => Ok(()),
        left => Err(format!("(objects, held blocks) left: {left:?}")),
    }
}

/// Drains the queue and compares: every completed put was got once or is there once, except that a
/// getter that was killed may have taken one with it. `before`: values that were in the queue already.
pub fn settle(family: &Family, queue: &Queue, end: &End, before: &[u64]) -> Result<(), String> {
    let warden = end.killed.len();
    let (arena, me) = (&family.arenas[warden], &family.members[warden]);
    let mut completed: HashMap<u64, bool> = before.iter().map(|value| (*value, false)).collect();
    let mut got = Vec::new();
    for outcome in end.outcomes.iter().flatten().filter(|outcome| **outcome < SHUT) {
        if *outcome >= PUT {
            completed.insert(*outcome - PUT, false);
        } else {
            got.push(*outcome);
        }
    }
    let len = queue.len(arena).map_err(|error| error.to_string())?;
    let mut drained = 0;
    loop {
        match get(arena, me, queue) {
            EMPTY | SHUT => break,
            value => got.push(value),
        }
        drained += 1;
    }
    // A tombstone, or a message that was taken before one in front of it, counts until the head is past.
    if drained > len || (drained == 0) != (len == 0) {
        return Err(format!("the queue said it held {len} and held {drained}"));
    }
    let mut once = std::collections::HashSet::new();
    for value in &got {
        if !once.insert(*value) {
            return Err(format!("message {value} came twice: {got:?}"));
        }
    }
    let lost = completed.keys().filter(|value| !once.contains(value)).count();
    let excused = end.killed.iter().filter(|killed| **killed).count();
    if lost > excused {
        return Err(format!(
            "{lost} of {completed:?} were lost, {excused} were killed; got {got:?}"
        ));
    }
    let put = put(arena, me, queue, 77);
    if put == SHUT {
        return Ok(());
    }
    if put != PUT + 77 || get(arena, me, queue) != 77 {
        return Err("the queue does not work any more".into());
    }
    Ok(())
}
