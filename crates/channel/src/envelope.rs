//! Messages that do not fit into a slot: one block with everything in it.
//!
//! ```text
//! handle table   only if the message has handles: count, entries (see arena `object`), to 16 bytes
//! 8 bytes        length of the message proper
//! 8 bytes        number of large buffers, n
//! n × 8 bytes    their lengths
//! message        then padding to 16 bytes
//! buffers        each padded to 16 bytes
//! ```
//!
//! # What a crash leaves
//! Until the put has published it the block is its sender's, and so are the handles counted in it:
//! recovery frees both.

use polyproc_arena::error::{Error, Result};
use polyproc_arena::map::Offset;
use polyproc_arena::object::{self, Handle};
use polyproc_arena::primitive::Ordering::{Acquire, Relaxed};
use polyproc_arena::{Arena, Member};

/// Most large buffers in one message.
pub const MOST_BUFFERS: u64 = 1 << 16;

/// A block that is ready to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Sealed {
    /// The block, owned by the sender.
    pub block: Offset,
    /// Bytes of header and message; buffers not counted.
    pub len: u32,
}

/// Where the parts of a received message lie, as offsets in the arena.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The message proper.
    pub message: (Offset, u64),
    /// The buffers.
    pub buffers: Vec<(Offset, u64)>,
}

fn pad(bytes: u64) -> u64 {
    bytes.next_multiple_of(16)
}

/// Copies a message, its buffers and its handles into a block that `me` owns. Each handle is counted as
/// a copy in flight.
///
/// # Errors
/// `OutOfMemory`; `Stale` when a handle's object is gone. Nothing is left then.
pub fn seal(
    arena: &Arena,
    me: &Member,
    message: &[u8],
    buffers: &[&[u8]],
    handles: &[Handle],
) -> Result<Sealed> {
    if buffers.len() as u64 > MOST_BUFFERS {
        return Err(Error::State(format!(
            "a message carries at most {MOST_BUFFERS} large buffers"
        )));
    }
    let table = if handles.is_empty() {
        0
    } else {
        object::pins_size(handles.len() as u64)
    };
    let header = 16 + buffers.len() as u64 * 8;
    let mut total = pad(table + header + message.len() as u64);
    for buffer in buffers {
        total += pad(buffer.len() as u64);
    }
    let block = arena.alloc(me, total)?;
    let fill = || {
        if !handles.is_empty() {
            arena.begin_pins(me, block, handles.len() as u64)?;
            for (entry, handle) in handles.iter().enumerate() {
                arena.pin(me, block, entry as u64, *handle)?;
            }
        }
        let mut at = block + table;
        arena.map.word(at)?.store(message.len() as u64, Relaxed);
        arena.map.word(at + 8)?.store(buffers.len() as u64, Relaxed);
        for (k, buffer) in buffers.iter().enumerate() {
            arena
                .map
                .word(at + 16 + k as u64 * 8)?
                .store(buffer.len() as u64, Relaxed);
        }
        arena.copy_in(at + header, message)?;
        at = block + pad(table + header + message.len() as u64);
        for buffer in buffers {
            arena.copy_in(at, buffer)?;
            at += pad(buffer.len() as u64);
        }
        Ok(())
    };
    if let Err(error) = fill() {
        arena.free(me, block)?;
        return Err(error);
    }
    let len = u32::try_from(table + header + message.len() as u64)
        .map_err(|_| Error::State("a message without its large buffers has at most 4 GiB".into()));
    match len {
        Ok(len) => Ok(Sealed { block, len }),
        Err(error) => {
            arena.free(me, block)?;
            Err(error)
        }
    }
}

/// Finds the parts of a message in a block, checking that they lie in it.
///
/// # Errors
/// `Corrupt`.
pub fn open(arena: &Arena, block: Offset, pins: bool) -> Result<Parts> {
    let size = arena.place(block)?.size;
    let damaged = || Error::Corrupt("a message does not fit into its block");
    let table = if pins {
        let count = arena.map.word(block)?.load(Acquire);
        if count > size / 8 {
            return Err(damaged());
        }
        object::pins_size(count)
    } else {
        0
    };
    if table + 16 > size {
        return Err(damaged());
    }
    let len = arena.map.word(block + table)?.load(Relaxed);
    let count = arena.map.word(block + table + 8)?.load(Relaxed);
    if count > MOST_BUFFERS || len > size || table + 16 + count * 8 + len > size {
        return Err(damaged());
    }
    let message = (block + table + 16 + count * 8, len);
    let mut at = block + pad(table + 16 + count * 8 + len);
    let mut buffers = Vec::with_capacity(count as usize);
    for k in 0..count {
        let len = arena.map.word(block + table + 16 + k * 8)?.load(Relaxed);
        if len > size || at + len > block + size {
            return Err(damaged());
        }
        buffers.push((at, len));
        at += pad(len);
    }
    Ok(Parts { message, buffers })
}
