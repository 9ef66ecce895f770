//! The side word of a block: who the block belongs to, and how it changes hands.
//!
//! ```text
//! bits 0-3   state: 0 free, 1 owned, 2 held, 3 retired (its unit is not in use)
//! bit  4     pins: the block begins with a table of handles (see `object`)
//! owned      bits 8-19 slot, bits 32-63 generation of the owner
//! held       bits 5-41 tag, bits 42-63 object: the place that holds it
//! ```
//!
//! Every change is one CAS from what the changer has seen there, so a block is never nobody's and never
//! two's, whoever dies.

use crate::member::Name;
use crate::primitive::Ordering::Acquire;
use crate::primitive::Word;

const PINS: u64 = 1 << 4;
const TAG: u64 = (1 << 37) - 1;

/// Who a block belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Nobody.
    Free,
    /// A member.
    Owned {
        /// Its name.
        name: Name,
        /// The block begins with a table of handles.
        pins: bool,
    },
    /// A place in an object.
    Held {
        /// Index of the object, or of the process slot for a boot block (see [`BOOT_TAG`]).
        object: u64,
        /// Which place: the low 37 bits of a ticket, or a constant.
        tag: u64,
        /// The block begins with a table of handles.
        pins: bool,
    },
    /// Its unit is not in use as a unit of this class.
    Retired,
}

/// Tag of a block that a process slot holds.
pub const BOOT_TAG: u64 = TAG - 1;
/// Tag of a block that is part of an object's body.
pub const BODY_TAG: u64 = TAG;

impl Side {
    /// Owned by `name`, no handles in it.
    #[must_use]
    pub fn owned(name: Name) -> Self {
        Self::Owned { name, pins: false }
    }

    /// Held by an object, no handles in it.
    #[must_use]
    pub fn held(object: u64, tag: u64) -> Self {
        Self::Held {
            object,
            tag: tag & TAG,
            pins: false,
        }
    }

    /// The same, with handles or without.
    #[must_use]
    pub fn with_pins(self, with: bool) -> Self {
        match self {
            Self::Owned { name, .. } => Self::Owned { name, pins: with },
            Self::Held { object, tag, .. } => Self::Held {
                object,
                tag,
                pins: with,
            },
            other => other,
        }
    }

    /// True when the block begins with a table of handles.
    #[must_use]
    pub fn pins(self) -> bool {
        matches!(
            self,
            Self::Owned { pins: true, .. } | Self::Held { pins: true, .. }
        )
    }

    /// From the word in shared memory; what no member would write counts as retired.
    #[must_use]
    pub fn unpack(word: u64) -> Self {
        let pins = word & PINS != 0;
        match word & 0xf {
            0 if word == 0 => Self::Free,
            1 => {
                let name = (word >> 32) << 32 | (word >> 8 & 0xfff);
                Name::from_word(name).map_or(Self::Retired, |name| Self::Owned { name, pins })
            }
            2 => Self::Held {
                object: word >> 42,
                tag: word >> 5 & TAG,
                pins,
            },
            _ => Self::Retired,
        }
    }

    /// As the word in shared memory.
    #[must_use]
    pub fn pack(self) -> u64 {
        match self {
            Self::Free => 0,
            Self::Owned { name, pins } => {
                u64::from(name.generation()) << 32 | name.slot() << 8 | u64::from(pins) << 4 | 1
            }
            Self::Held { object, tag, pins } => object << 42 | tag << 5 | u64::from(pins) << 4 | 2,
            Self::Retired => 3,
        }
    }

    /// What stands in a side word.
    #[must_use]
    #[inline]
    #[cfg_attr(feature = "points", track_caller)]
    pub fn of(word: &Word) -> Self {
        // SYNC: Acquire pairs with the CAS in `pass`, or the commit, that gave the block its owner.
        Self::unpack(word.load(Acquire))
    }

    /// Passes a block on. False, and nothing is changed, when its side word says something else than
    /// `self`: of several who pass the same block on only one does.
    #[must_use]
    #[inline]
    #[cfg_attr(feature = "points", track_caller)]
    pub fn pass(self, word: &Word, to: Self) -> bool {
        // SYNC: SeqCst CAS: releases the contents to the next owner, and acquires the last one's.
        word.cas(self.pack(), to.pack()).is_ok()
    }
}
