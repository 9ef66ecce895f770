//! Connections: the two ends of a pipe.
//!
//! An end is an object of its own, so that the family knows when the last holder of it is gone. It
//! keeps alive the queue that it reads and the one that it writes, by a block with their handles, as a
//! message would: word 0 of the header is that block. When an end is destroyed it shuts both queues
//! down, so the other end reads what is left and then finds the end of file, and finds a broken pipe
//! when it writes.
//!
//! Message boundaries, order, any number of readers and writers of one end, and a writer that is killed
//! in the middle of a message are the queue's affair.
//!
//! # What a crash leaves
//! A process that ends, in whatever way, lets go of its ends; recovery destroys those that nobody else
//! holds. Killed while it destroys one: shutting down and freeing are harmless twice.

use crate::queue::{KIND as QUEUE, Queue};
use polyproc_arena::blocks::{BODY_TAG, Side};
use polyproc_arena::error::{Error, Result};
use polyproc_arena::object::{self, Handle, Kind};
use polyproc_arena::primitive::Ordering::{Acquire, Release};
use polyproc_arena::{Arena, Member, Name};

/// Index of the kind.
pub const KIND: usize = 2;
/// Flag in word 1 of the header: the end reads.
const READS: u64 = 1;
/// Flag in word 1 of the header: the end writes.
const WRITES: u64 = 2;

/// An end that this process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Its handle.
    pub handle: Handle,
    /// The queue it reads.
    pub reads: Option<Queue>,
    /// The queue it writes.
    pub writes: Option<Queue>,
}

/// Makes a pipe: two ends that read and write, or a reader and a writer.
///
/// # Errors
/// `OutOfMemory`; nothing is left then.
pub fn pipe(arena: &Arena, me: &Member, duplex: bool) -> Result<(End, End)> {
    let there = Queue::create(arena, me, 0, None)?;
    let ends = (|| {
        let back = if duplex {
            Some(Queue::create(arena, me, 0, None)?)
        } else {
            None
        };
        let ends = both(arena, me, there, back);
        if let Some(back) = back {
            // Each end has holds of its own by now; on failure this was the last one.
            arena.close(me, back.handle)?;
        }
        ends
    })();
    arena.close(me, there.handle)?;
    ends
}

fn both(arena: &Arena, me: &Member, there: Queue, back: Option<Queue>) -> Result<(End, End)> {
    // The first reads what the second writes.
    let first = create(arena, me, Some(there), back)?;
    match create(arena, me, back, Some(there)) {
        Ok(second) => Ok((first, second)),
        Err(error) => {
            first.close(arena, me)?;
            Err(error)
        }
    }
}

fn create(arena: &Arena, me: &Member, reads: Option<Queue>, writes: Option<Queue>) -> Result<End> {
    let queues: Vec<Queue> = reads.into_iter().chain(writes).collect();
    let handle = arena.create(me, KIND, 0, |index, _| {
        let block = arena.alloc(me, object::pins_size(queues.len() as u64))?;
        let mine = Side::owned(me.name).with_pins(true);
        let its = Side::held(index, BODY_TAG).with_pins(true);
        let fill = || {
            arena.begin_pins(me, block, queues.len() as u64)?;
            for (entry, queue) in queues.iter().enumerate() {
                arena.pin(me, block, entry as u64, queue.handle)?;
            }
            Ok(())
        };
        if let Err(error) = fill() {
            arena.free(me, block)?;
            return Err(error);
        }
        let words = arena.layout.object(index) + object::WORDS;
        let flags = if reads.is_some() { READS } else { 0 } | if writes.is_some() { WRITES } else { 0 };
        arena.map.word(words + 8)?.store(flags, Release);
        arena.map.word(words)?.store(block, Release);
        arena.hand_over(block, mine, its)?;
        Ok(())
    })?;
    // The process holds each queue once for each end that it holds.
    for queue in queues {
        arena.open(me, queue.handle)?;
    }
    Ok(End {
        handle,
        reads,
        writes,
    })
}

impl End {
    /// Takes hold of the end that a handle stands for.
    ///
    /// # Errors
    /// `Stale` when it is gone or no end of a pipe.
    pub fn open(arena: &Arena, me: &Member, handle: Handle) -> Result<Self> {
        arena.open(me, handle)?;
        Self::opened(arena, me, handle).inspect_err(|_| {
            let _ = arena.close(me, handle);
        })
    }

    fn opened(arena: &Arena, me: &Member, handle: Handle) -> Result<Self> {
        if arena.object_kind(handle.index)? != KIND {
            return Err(Error::Stale);
        }
        let (queues, flags) = parts(arena, handle.index)?;
        let mut queues = queues.into_iter();
        let mut next = |wanted: u64| -> Result<Option<Queue>> {
            if flags & wanted == 0 {
                return Ok(None);
            }
            let handle = queues
                .next()
                .ok_or(Error::Corrupt("an end of a pipe has lost its queue"))?;
            Queue::open(arena, me, handle).map(Some)
        };
        let reads = next(READS)?;
        match next(WRITES) {
            Ok(writes) => Ok(Self {
                handle,
                reads,
                writes,
            }),
            Err(error) => {
                if let Some(queue) = reads {
                    arena.close(me, queue.handle)?;
                }
                Err(error)
            }
        }
    }

    /// Lets go of the end.
    ///
    /// # Errors
    /// `Stale` when this process does not hold it.
    pub fn close(self, arena: &Arena, me: &Member) -> Result<()> {
        let closed = arena.close(me, self.handle);
        for queue in self.reads.into_iter().chain(self.writes) {
            arena.close(me, queue.handle)?;
        }
        closed
    }
}

fn parts(arena: &Arena, index: u64) -> Result<(Vec<Handle>, u64)> {
    let words = arena.layout.object(index) + object::WORDS;
    let flags = arena.map.word(words + 8)?.load(Acquire);
    let block = arena.map.word(words)?.load(Acquire);
    if block == 0 || arena.side(block)? != Side::held(index, BODY_TAG).with_pins(true) {
        return Ok((Vec::new(), flags));
    }
    Ok((arena.pinned(block)?, flags))
}

/// How ends of pipes are destroyed.
#[derive(Debug, Clone, Copy)]
pub struct EndKind;

impl Kind for EndKind {
    fn destroy(&self, arena: &Arena, me: &Member, index: u64) -> Result<()> {
        for handle in parts(arena, index)?.0 {
            if arena.object_kind(handle.index)? == QUEUE {
                // Kept alive by our own block, so it needs no hold of this process.
                Queue::borrowed(arena, handle)?.shut_down(arena, me)?;
            }
        }
        let word = arena.map.word(arena.layout.object(index) + object::WORDS)?;
        let block = word.load(Acquire);
        if block != 0 {
            let its = Side::held(index, BODY_TAG).with_pins(true);
            if arena
                .hand_over(block, its, Side::owned(me.name).with_pins(true))
                .unwrap_or(false)
            {
                arena.free(me, block)?;
            }
            word.store(0, Release);
        }
        Ok(())
    }

    fn recover(&self, _: &Arena, _: &Member, _: Name, _: u64, _: u64) -> Result<()> {
        // Operations are on the queues.
        Ok(())
    }
}
