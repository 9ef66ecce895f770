//! Doorbells: how an event loop that sleeps is woken. Each isolate that waits asynchronously has a pipe in its
//! loop; what stands in shared memory is the number of its writing end in that process, for peers to open.
//!
//! A process rings its own isolates by descriptors that it keeps in its own memory: a number from shared
//! memory could be any file of this process.

use crate::arena::{Arena, Member, locked};
use crate::error::Result;
use crate::member::{self, Name, Phase};
use crate::primitive::Ordering::{Acquire, Release};
use crate::{process, watch};
use polyproc_sys::doorbell;
use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Peers whose bells are kept open at most.
const MOST_PEERS: usize = 1024;

/// Writing ends of doorbells, by the word of the isolate's name.
#[derive(Debug, Default)]
pub(crate) struct Bells {
    /// Of this process, open as long as they stand here.
    own: HashMap<u64, RawFd>,
    peers: HashMap<u64, OwnedFd>,
}

impl Arena {
    /// Hangs up the bell of an isolate of this process: `fd` is the writing end, to be open until
    /// [`take_down_bell`](Self::take_down_bell).
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn hang_bell(&self, me: &Member, fd: RawFd) -> Result<()> {
        locked(&self.local.bells).own.insert(me.name.word(), fd);
        // SYNC: Release pairs with the Acquire load of whoever rings.
        self.map
            .word(me.slot + member::BELL)?
            .store(fd as u64 + 1, Release);
        Ok(())
    }

    /// From here on nobody rings it.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn take_down_bell(&self, me: &Member) -> Result<()> {
        self.forget_bell(me);
        self.map.word(me.slot + member::BELL)?.store(0, Release);
        Ok(())
    }

    /// Its descriptor may be another file's before long.
    pub(crate) fn forget_bell(&self, me: &Member) {
        locked(&self.local.bells).own.remove(&me.name.word());
    }

    /// Rings an isolate whose event loop sleeps.
    pub(crate) fn push_bell(&self, owner: Name) -> Result<()> {
        #[cfg(feature = "points")]
        if crate::points::machine().is_some_and(|machine| (machine.bell)(owner.word())) {
            return Ok(());
        }
        let mut bells = locked(&self.local.bells);
        if let Some(fd) = bells.own.get(&owner.word()) {
            let _ = doorbell::ring(*fd);
            return Ok(());
        }
        if let Some(bell) = bells.peers.get(&owner.word())
            && doorbell::ring(bell.as_raw_fd()).is_ok()
        {
            return Ok(());
        }
        let state = self.member_state(owner.slot())?;
        if state.generation != owner.generation() || state.phase != Phase::Live {
            bells.peers.remove(&owner.word());
            return Ok(());
        }
        let there = process::state(self, state.process)?;
        let word = self.map.word(self.layout.member(owner.slot()) + member::BELL)?;
        let fd = word.load(Acquire);
        // An isolate of this process that is not in the map is one that ends.
        if fd == 0 || state.process == self.process_slot() {
            return Ok(());
        }
        if let Ok(bell) = doorbell::open_peer(there.pid, (fd - 1) as i32) {
            let _ = doorbell::ring(bell.as_raw_fd());
            if bells.peers.len() > MOST_PEERS {
                bells.peers.clear();
            }
            bells.peers.insert(owner.word(), bell);
            return Ok(());
        }
        drop(bells);
        // No /proc there, or another user: its native thread rings the bell for us.
        watch::call(self, state.process)
    }

    /// Rings the isolates of this process for peers that could not open their bells.
    pub(crate) fn relay_bells(&self) -> Result<()> {
        for (word, fd) in &locked(&self.local.bells).own {
            let Some(name) = Name::from_word(*word) else {
                continue;
            };
            if self
                .map
                .flag(self.layout.member(name.slot()) + member::DIRTY)?
                .load(Acquire)
                != 0
            {
                let _ = doorbell::ring(*fd);
            }
        }
        Ok(())
    }

    /// Closes the doorbells of peers that have ended.
    pub(crate) fn drop_dead_bells(&self) {
        locked(&self.local.bells).peers.retain(|owner, _| {
            Name::from_word(*owner).is_some_and(|name| {
                self.member_state(name.slot())
                    .is_ok_and(|state| state.generation == name.generation() && state.phase == Phase::Live)
            })
        });
    }
}
