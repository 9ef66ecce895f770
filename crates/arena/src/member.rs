//! Members: who can act on the arena.
//!
//! One slot a thread that runs protocols: an isolate (main thread or worker thread), or a process's
//! own native thread. The slot number and a generation are the member's *name*; names stand in every
//! claim. Slots are 512 bytes:
//!
//! ```text
//! +0    state      generation << 32 | process slot << 8 | phase (0 free, 1 live, 2 left)
//! +8    notes      four words: sections this member is in or about to enter, outermost first
//! +40   op object  handle of the object that a lock-free operation is on, 0: none
//! +48   op ticket  what it claims there
//! +56   bell       descriptor of the doorbell's writing end in that process, + 1; 0: none
//! +64   parked     flag: 1 while the isolate's event loop sleeps, or is about to
//! +68   dirty      flag: 1 when something it waits for may have happened
//! +72   records    sixteen words: blocks of waiter records
//! +256  hazards    eight words: the first says which queue it is inside (see `inside` of the channel crate)
//! ```
//!
//! # What a crash leaves
//! A slot in phase live whose process is dead, or in phase left: recovery takes back all that stands
//! under its name and then frees the slot, by a CAS from that very generation. A claim is one CAS.

use crate::map::Offset;

/// Offset of the state word in a slot.
pub const STATE: Offset = 0;
/// First of the section notes.
pub const NOTES: Offset = 8;
/// Section notes in a slot: how deep sections nest.
pub const NOTES_LEN: u64 = 4;
/// The object of the lock-free operation under way.
pub const OP_OBJECT: Offset = 40;
/// What that operation claims.
pub const OP_TICKET: Offset = 48;
/// Doorbell descriptor + 1.
pub const BELL: Offset = 56;
/// Parked flag.
pub const PARKED: Offset = 64;
/// Dirty flag.
pub const DIRTY: Offset = 68;
/// Blocks of waiter records.
pub const RECORDS: Offset = 72;
/// How many such blocks a member can have; each is twice the one before.
pub const RECORDS_LEN: u64 = 16;
/// What it is inside of.
pub const HAZARDS: Offset = 256;
/// Hazard words in a slot.
pub const HAZARDS_LEN: u64 = 8;

/// The name of a member: slot and generation. Never zero, so 0 means "nobody" in a named word.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name(u64);

impl Name {
    /// From slot and generation.
    #[must_use]
    pub fn new(slot: u64, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | (slot & 0xfff))
    }

    /// From a named word; `None` for 0 and for what no member would write.
    #[must_use]
    pub fn from_word(word: u64) -> Option<Self> {
        (word & 0xfff != 0 && word & 0xffff_f000 == 0 && word >> 32 != 0).then_some(Self(word))
    }

    /// As a named word holds it.
    #[must_use]
    pub fn word(self) -> u64 {
        self.0
    }

    /// The slot number, 1 to 4095.
    #[must_use]
    pub fn slot(self) -> u64 {
        self.0 & 0xfff
    }

    /// The generation, from 1.
    #[must_use]
    pub fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.slot(), self.generation())
    }
}

/// What a member can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The slot is free.
    Free,
    /// It may act.
    Live,
    /// Its thread has ended; its process lives on.
    Left,
}

/// The state word of a member slot, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Counts the uses of the slot.
    pub generation: u32,
    /// Slot of its process.
    pub process: u64,
    /// What it is doing.
    pub phase: Phase,
}

impl State {
    /// From the word in shared memory.
    #[must_use]
    pub fn unpack(word: u64) -> Self {
        Self {
            generation: (word >> 32) as u32,
            process: word >> 8 & 0xffff,
            phase: match word & 0xff {
                1 => Phase::Live,
                2 => Phase::Left,
                _ => Phase::Free,
            },
        }
    }

    /// As the word in shared memory.
    #[must_use]
    pub fn pack(self) -> u64 {
        let phase = match self.phase {
            Phase::Free => 0,
            Phase::Live => 1,
            Phase::Left => 2,
        };
        u64::from(self.generation) << 32 | self.process << 8 | phase
    }
}
