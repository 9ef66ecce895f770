//! The event: a flag that is set and cleared, and those who wait until it is set.
//!
//! Word 0 of the header: that of [`crate::pulse`]. So whoever began to wait before a setting knows of it also when the flag has
//! been cleared since. First list: those who wait.
//!
//! # What a crash leaves
//! Setting is one CAS. Killed after it and before the waiters were called: its note of the object, so
//! recovery rouses them. Nobody ever waits for a waiter.

use crate::lock::Patience;
use crate::pulse::Pulse;
use polyproc_arena::block_on::{Outcome, block_on};
use polyproc_arena::error::{Error, Result};
use polyproc_arena::map::Offset;
use polyproc_arena::object::{self, Handle, Kind};
use polyproc_arena::wait::List;
use polyproc_arena::{Arena, Member, Name, names};

/// Index of the kind.
pub const KIND: usize = 12;

/// An event that this process holds a handle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Its handle.
    pub handle: Handle,
    at: Offset,
}

impl Event {
    /// Makes an event, or finds the one of that name.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn create(arena: &Arena, me: &Member, name: Option<&str>) -> Result<Self> {
        let make = || arena.create(me, KIND, 0, |_, _| Ok(()));
        let handle = match name {
            None => make()?,
            Some(name) => names::find_or_create(arena, me, KIND, name, make)?.0,
        };
        Ok(Self {
            handle,
            at: arena.layout.object(handle.index),
        })
    }

    /// Takes hold of the event that a handle stands for.
    ///
    /// # Errors
    /// `Stale` when it is gone or no event.
    pub fn open(arena: &Arena, me: &Member, handle: Handle) -> Result<Self> {
        arena.open(me, handle)?;
        if arena.object_kind(handle.index)? == KIND {
            return Ok(Self {
                handle,
                at: arena.layout.object(handle.index),
            });
        }
        arena.close(me, handle)?;
        Err(Error::Stale)
    }

    /// Those who wait for it.
    #[must_use]
    #[inline]
    pub fn waiters(&self) -> List {
        List {
            at: self.at + object::LIST_A,
            section: self.at + object::SECTION,
        }
    }

    #[inline]
    fn pulse<'a>(&self, arena: &'a Arena) -> Pulse<'a> {
        Pulse {
            map: &arena.map,
            at: self.at + object::WORDS,
        }
    }

    /// True while it is set.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn is_set(&self, arena: &Arena) -> Result<bool> {
        Ok(self.pulse(arena).look()?.set)
    }

    /// How often it has been set: what a waiter remembers when it begins.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn count(&self, arena: &Arena) -> Result<u64> {
        Ok(self.pulse(arena).look()?.count)
    }

    /// True when it is set, or has been since somebody saw that `count`.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn was_set(&self, arena: &Arena, count: u64) -> Result<bool> {
        let seen = self.pulse(arena).look()?;
        Ok(seen.set || seen.count != count)
    }

    /// Waits until it is set. A wait that begins now ends with the next setting, even if that is cleared at
    /// once.
    ///
    /// # Errors
    /// `Corrupt`; `OutOfMemory` when there is no room for a record.
    pub fn wait(&self, arena: &Arena, me: &Member, patience: Patience<'_>) -> Result<Outcome> {
        let count = self.count(arena)?;
        let ready = || self.was_set(arena, count);
        let Patience {
            deadline,
            slice,
            stop,
        } = patience;
        block_on(arena, me, self.waiters(), deadline, slice, ready, stop)
    }

    /// Sets it, and calls those who wait.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn set(&self, arena: &Arena, me: &Member) -> Result<()> {
        arena.note(me, self.handle, 0)?;
        if self.pulse(arena).set()? {
            arena.wake_all(me, self.waiters())?;
        }
        Ok(())
    }

    /// Clears it.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn clear(&self, arena: &Arena) -> Result<()> {
        self.pulse(arena).clear()
    }
}

/// How events are recovered: there is nothing that one could have.
#[derive(Debug, Clone, Copy)]
pub struct EventKind;

impl Kind for EventKind {
    fn destroy(&self, _: &Arena, _: &Member, _: u64) -> Result<()> {
        Ok(())
    }

    fn recover(&self, _: &Arena, _: &Member, _: Name, _: u64, _: u64) -> Result<()> {
        Ok(())
    }
}
