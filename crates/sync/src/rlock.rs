//! The reentrant lock: a [`Lock`] whose owner may acquire it again.
//!
//! The word beside the lock's holds `context << 32 | depth` and is changed by the owner alone, while it
//! holds the lock. A *context* tells the owners within one thread apart: 0 is the thread itself, a
//! number with [`SHARED`] an asynchronous context that may enter again, any other one acquisition.
//!
//! # What a crash leaves
//! A word beside a lock that nobody holds: whoever acquires the lock writes it anew.

use crate::lock::{Lock, Patience, REENTRANT, Waited};
use crate::owned::Acquired;
use polyproc_arena::error::{Error, Result};
use polyproc_arena::object::Handle;
use polyproc_arena::primitive::Ordering::Relaxed;
use polyproc_arena::{Arena, Member};

/// The thread itself.
pub const THREAD: u32 = 0;
/// In the number of a context that releases only what it acquired, and may acquire again.
pub const SHARED: u32 = 1 << 31;

/// A reentrant lock that this process holds a handle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RLock {
    /// The lock.
    pub lock: Lock,
}

/// What became of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// It was given back once.
    Done,
    /// Nobody holds it.
    NotHeld,
    /// Somebody else holds it.
    Anothers,
}

impl RLock {
    /// Makes a reentrant lock, or finds the one of that name.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn create(arena: &Arena, me: &Member, name: Option<&str>) -> Result<Self> {
        let lock = Lock::create(arena, me, REENTRANT, name)?;
        Ok(Self { lock })
    }

    /// Takes hold of the reentrant lock that a handle stands for.
    ///
    /// # Errors
    /// `Stale` when it is gone or no reentrant lock.
    pub fn open(arena: &Arena, me: &Member, handle: Handle) -> Result<Self> {
        let lock = Lock::open(arena, me, handle)?;
        if arena.object_kind(handle.index)? == REENTRANT {
            return Ok(Self { lock });
        }
        arena.close(me, handle)?;
        Err(Error::Stale)
    }

    /// Context and depth of its owner. Means nothing while nobody holds it.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn depth(&self, arena: &Arena) -> Result<(u32, u32)> {
        let word = arena.map.word(self.lock.beside())?.load(Relaxed);
        Ok(((word >> 32) as u32, word as u32))
    }

    /// Writes context and depth; only while `me` holds the lock.
    pub(crate) fn set_depth(&self, arena: &Arena, context: u32, depth: u32) -> Result<()> {
        let word = u64::from(context) << 32 | u64::from(depth);
        // SYNC: Relaxed: the CAS that releases the lock releases it too.
        arena.map.word(self.lock.beside())?.store(word, Relaxed);
        Ok(())
    }

    /// Enters again if `context` holds it already.
    fn again(&self, arena: &Arena, me: &Member, context: u32) -> Result<Option<Acquired>> {
        let state = self.lock.state(arena)?;
        if !state.is_held_by(me.name) || context & SHARED == 0 && context != THREAD {
            return Ok(None);
        }
        let (owner, depth) = self.depth(arena)?;
        if owner != context {
            return Ok(None);
        }
        let depth = depth
            .checked_add(1)
            .ok_or_else(|| Error::State("the lock was acquired 2^32 times over".into()))?;
        self.set_depth(arena, context, depth)?;
        Ok(Some(Acquired {
            turn: state.turn,
            owner_died: false,
        }))
    }

    /// Acquires it for a context if it is free or that context's already.
    ///
    /// # Errors
    /// `Corrupt`; `State` when it is held 2^32 times.
    pub fn try_acquire(&self, arena: &Arena, me: &Member, context: u32) -> Result<Option<Acquired>> {
        if let Some(again) = self.again(arena, me, context)? {
            return Ok(Some(again));
        }
        let acquired = self.lock.try_acquire(arena, me)?;
        if acquired.is_some() {
            self.set_depth(arena, context, 1)?;
        }
        Ok(acquired)
    }

    /// Acquires it for a context, waiting while another has it.
    ///
    /// # Errors
    /// As [`RLock::try_acquire`]; `OutOfMemory` when there is no room for a record.
    pub fn acquire(
        &self,
        arena: &Arena,
        me: &Member,
        context: u32,
        patience: Patience<'_>,
    ) -> Result<Waited> {
        if let Some(again) = self.again(arena, me, context)? {
            return Ok(Waited::Acquired(again));
        }
        let waited = self.lock.acquire(arena, me, patience)?;
        if matches!(waited, Waited::Acquired(_)) {
            self.set_depth(arena, context, 1)?;
        }
        Ok(waited)
    }

    /// Gives it back once, as `context` of this thread: what an asynchronous acquisition of this thread
    /// holds too, but not what another asynchronous context does.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn release(&self, arena: &Arena, me: &Member, context: u32) -> Result<Released> {
        let state = self.lock.state(arena)?;
        if state.owner.is_none() || state.handed {
            return Ok(Released::NotHeld);
        }
        let (owner, depth) = self.depth(arena)?;
        if !state.is_held_by(me.name) || owner & SHARED != 0 && owner != context {
            return Ok(Released::Anothers);
        }
        self.less(arena, me, depth)?;
        Ok(Released::Done)
    }

    /// Gives back one acquisition of that turn. False, and nothing happens, when all of them were.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn release_turn(&self, arena: &Arena, me: &Member, turn: u32) -> Result<bool> {
        let state = self.lock.state(arena)?;
        if !state.is_held_by(me.name) || state.turn != turn {
            return Ok(false);
        }
        self.less(arena, me, self.depth(arena)?.1)
    }

    fn less(&self, arena: &Arena, me: &Member, depth: u32) -> Result<bool> {
        if depth > 1 {
            let (context, _) = self.depth(arena)?;
            self.set_depth(arena, context, depth - 1)?;
            return Ok(true);
        }
        self.lock.let_go(arena, me, self.lock.state(arena)?)
    }
}
