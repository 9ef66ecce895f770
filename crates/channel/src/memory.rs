//! Memory by the piece: bytes that a process is given, fills, and hands over to another without a copy.
//!
//! A piece is an object whose body is the bytes; word 0 of its header says how many. So it travels as any
//! handle does, lives until the last process that holds it and the last message that carries it are gone, and
//! whatever a crash leaves of it is what a crash leaves of any object.

use polyproc_arena::blocks::Side;
use polyproc_arena::error::{Error, Result};
use polyproc_arena::map::Offset;
use polyproc_arena::object::{self, Handle, Kind};
use polyproc_arena::primitive::Ordering::{Acquire, Relaxed};
use polyproc_arena::{Arena, Member, Name};

/// Index of the kind.
pub const KIND: usize = 5;

/// A piece of memory that this process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Its handle.
    pub handle: Handle,
    /// Where it begins; 0 when it is empty.
    pub at: Offset,
    /// Bytes.
    pub len: u64,
}

impl Memory {
    /// A piece of `len` zeroed bytes.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn create(arena: &Arena, me: &Member, len: u64) -> Result<Self> {
        let mut at = 0;
        let handle = arena.create(me, KIND, len, |index, body| {
            at = body;
            let word = arena.map.word(arena.layout.object(index) + object::WORDS)?;
            word.store(len, Relaxed);
            Ok(())
        })?;
        Ok(Self { handle, at, len })
    }

    /// Takes hold of the piece that a handle stands for.
    ///
    /// # Errors
    /// `Stale` when it is gone or no memory; `Corrupt` when its bytes are not where they should be.
    pub fn open(arena: &Arena, me: &Member, handle: Handle) -> Result<Self> {
        arena.open(me, handle)?;
        let found = Self::look(arena, handle);
        if found.is_err() {
            arena.close(me, handle)?;
        }
        found
    }

    fn look(arena: &Arena, handle: Handle) -> Result<Self> {
        if arena.object_kind(handle.index)? != KIND {
            return Err(Error::Stale);
        }
        let header = arena.layout.object(handle.index);
        // SYNC: Acquire pairs with what made the object live.
        let len = arena.map.word(header + object::WORDS)?.load(Acquire);
        let at = arena.link(header + object::BODY)?;
        if len > 0 {
            let side = arena.side(at)?;
            let is_body = matches!(side, Side::Held { object, .. } if object == handle.index);
            if !is_body || len > arena.place(at)?.size {
                return Err(Error::Corrupt("a piece of memory is not where its header says"));
            }
        }
        Ok(Self { handle, at, len })
    }
}

/// The kind of a piece of memory: there is nothing in it but bytes.
#[derive(Debug)]
pub struct MemoryKind;

impl Kind for MemoryKind {
    fn destroy(&self, _: &Arena, _: &Member, _: u64) -> Result<()> {
        Ok(())
    }

    fn recover(&self, _: &Arena, _: &Member, _: Name, _: u64, _: u64) -> Result<()> {
        Ok(())
    }
}
