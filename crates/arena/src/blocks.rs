//! Blocks: the memory that messages and bodies of objects live in.
//!
//! Small blocks come in classes of 128 bytes to 32 KiB, carved from units; larger ones are runs of
//! units. Each block has one *side word* ([`crate::side`]), in a table apart from the data.
//!
//! Claiming is one CAS from free to owned, so a block is never nobody's. Lists of free blocks are
//! hints in each process's own memory (what a process freed last it takes first: those pages are
//! mapped there and warm); the side words are the truth.
//!
//! # What a crash leaves
//! Owned blocks of the dead are freed by recovery, after all sections and operations of the dead have
//! been settled. A held block belongs to the object that its word names, and goes with it.

use crate::arena::{Arena, Member, locked};
use crate::error::{Error, Result};
use crate::layout::{UNIT, header};
use crate::map::Offset;
use crate::member::Name;
use crate::object;
use crate::primitive::Ordering::Acquire;
use crate::units::Use;
use std::sync::atomic::Ordering as Std;

pub use crate::side::{BODY_TAG, BOOT_TAG, Side};

/// Number of size classes: 128 B << class, up to 32 KiB.
pub const CLASSES: usize = 9;
/// The smallest block, in bytes.
pub const LEAST: u64 = 128;
/// The largest block of a class, in bytes.
pub const LARGEST_CLASS: u64 = LEAST << (CLASSES - 1);
/// How many hints a process keeps a class.
const MAGAZINE: usize = 256;

/// Blocks of a class in a unit.
#[must_use]
pub fn per_unit(class: usize) -> u64 {
    UNIT / size_of_class(class)
}

/// Bytes of a block of a class.
#[must_use]
pub fn size_of_class(class: usize) -> u64 {
    LEAST << class.min(CLASSES - 1)
}

fn class_of(bytes: u64) -> usize {
    (bytes.max(LEAST).div_ceil(LEAST))
        .next_power_of_two()
        .trailing_zeros() as usize
}

/// Where a block's side word is, and how large the block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Offset of the side word.
    pub side: Offset,
    /// Bytes of the block.
    pub size: u64,
    unit: u64,
    class: Option<usize>,
}

impl Arena {
    /// Finds the side word of the block at `block`.
    ///
    /// # Errors
    /// `Corrupt` when no block begins there.
    pub fn place(&self, block: Offset) -> Result<Place> {
        let unit = block / UNIT;
        if block < self.layout.data || unit >= self.mark(header::UNITS_HIGH, self.layout.units_len) {
            return Err(Error::Corrupt("a block lies outside the data"));
        }
        match self.unit(unit)?.0 {
            Use::Class { class, .. } if class < CLASSES => {
                let size = size_of_class(class);
                let index = block % UNIT / size;
                if !(block % UNIT).is_multiple_of(size) || index >= per_unit(class) {
                    return Err(Error::Corrupt("a block begins inside another"));
                }
                let side = self.layout.side_word(unit, index);
                Ok(Place {
                    side,
                    size,
                    unit,
                    class: Some(class),
                })
            }
            Use::Run(len) if block.is_multiple_of(UNIT) && unit + len <= self.layout.units_len => {
                let side = self.layout.side_word(unit, 0);
                Ok(Place {
                    side,
                    size: len * UNIT,
                    unit,
                    class: None,
                })
            }
            _ => Err(Error::Corrupt("no block begins there")),
        }
    }

    /// Who the block at `block` belongs to.
    ///
    /// # Errors
    /// `Corrupt` when no block begins there.
    pub fn side(&self, block: Offset) -> Result<Side> {
        // SYNC: Acquire pairs with the CAS or commit that gave the block its owner.
        Ok(Side::unpack(
            self.map.word(self.place(block)?.side)?.load(Acquire),
        ))
    }

    /// A block of at least `bytes`, owned by `me`. Its contents are whatever stood there.
    ///
    /// # Errors
    /// `OutOfMemory` at the limit.
    pub fn alloc(&self, me: &Member, bytes: u64) -> Result<Offset> {
        if bytes > LARGEST_CLASS {
            if bytes > self.layout.size {
                return Err(Error::OutOfMemory {
                    wanted: bytes,
                    limit: self.max_bytes(),
                });
            }
            return Ok(self.take_run(me, bytes.div_ceil(UNIT))? * UNIT);
        }
        let class = class_of(bytes);
        loop {
            let hint = locked(&self.local.magazines[class]).pop();
            if let Some(block) = hint {
                if self.claim(me, block, class)? {
                    return Ok(block);
                }
                continue;
            }
            if !self.refill(class)? {
                let unit = self.take_class(me, class)?;
                self.local.cursors[class].store(unit, Std::Relaxed);
                self.stock(class, unit)?;
            }
        }
    }

    /// Claims a block that is said to be free.
    fn claim(&self, me: &Member, block: Offset, class: usize) -> Result<bool> {
        let unit = block / UNIT;
        let side = self
            .map
            .word(self.layout.side_word(unit, block % UNIT / size_of_class(class)))?;
        let owned = Side::owned(me.name);
        // SYNC: acquires what the last owner released when it freed the block.
        if !Side::Free.pass(side, owned) {
            return Ok(false);
        }
        // The hint may be older than the unit's present use: a block is ours only if the unit is of
        // its class now, and then it stays so, for a unit is retired only with all its blocks free.
        if matches!(self.unit(unit)?.0, Use::Class { class: now, .. } if now == class) {
            return Ok(true);
        }
        let _ = owned.pass(side, Side::Free);
        Ok(false)
    }

    /// Looks for free blocks of a class from where the last search ended. False when there are none.
    fn refill(&self, class: usize) -> Result<bool> {
        let low = self.layout.data / UNIT;
        let high = self.mark(header::UNITS_HIGH, self.layout.units_len);
        let cursor = self.local.cursors[class]
            .load(Std::Relaxed)
            .clamp(low, high.max(low));
        for (from, to) in [(cursor, high), (low, cursor)] {
            let mut unit = from;
            while unit < to {
                match self.unit(unit)?.0 {
                    Use::Run(len) => {
                        unit += len;
                        continue;
                    }
                    Use::Class {
                        class: found,
                        full: false,
                    } if found == class => {
                        if self.stock(class, unit)? {
                            self.local.cursors[class].store(unit, Std::Relaxed);
                            return Ok(true);
                        }
                        self.hint_full(unit, true)?;
                        // Freed between the search and the hint: look once more.
                        if self.stock(class, unit)? {
                            self.hint_full(unit, false)?;
                            return Ok(true);
                        }
                    }
                    _ => {}
                }
                unit += 1;
            }
        }
        Ok(false)
    }

    /// Notes the free blocks of a unit as hints. False when it has none.
    fn stock(&self, class: usize, unit: u64) -> Result<bool> {
        let mut magazine = locked(&self.local.magazines[class]);
        let before = magazine.len();
        // Last first, so that the lowest is taken first.
        for index in (0..per_unit(class)).rev() {
            if magazine.len() >= MAGAZINE {
                break;
            }
            if self.map.word(self.layout.side_word(unit, index))?.load(Acquire) == Side::Free.pack() {
                magazine.push(unit * UNIT + index * size_of_class(class));
            }
        }
        Ok(magazine.len() > before)
    }

    /// Moves a block from one owner or holder to another.
    ///
    /// # Errors
    /// `Corrupt` when no block begins there.
    #[cfg_attr(feature = "points", track_caller)]
    pub fn hand_over(&self, block: Offset, from: Side, to: Side) -> Result<bool> {
        let place = self.place(block)?;
        // SYNC: SeqCst CAS: releases the contents to the next owner.
        Ok(from.pass(self.map.word(place.side)?, to))
    }

    /// Frees a block that `me` owns, letting go of the handles in it. The native thread, which does not
    /// wait for a section that somebody stopped in, comes back to it later.
    ///
    /// # Errors
    /// `Corrupt` when `me` does not own it.
    pub fn free(&self, me: &Member, block: Offset) -> Result<()> {
        match self.free_now(me, block) {
            Err(Error::Busy) if self.native() == Some(me.name) => {
                locked(&self.local.orphans).push(block);
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn free_now(&self, me: &Member, block: Offset) -> Result<()> {
        let place = self.place(block)?;
        let word = self.map.word(place.side)?;
        let side = Side::of(word);
        let Side::Owned { name, pins } = side else {
            return Err(Error::Corrupt("a block is freed by one who does not own it"));
        };
        if name != me.name {
            return Err(Error::Corrupt("a block is freed by one who does not own it"));
        }
        if pins {
            object::unpin_all(self, me, block, place.size)?;
        }
        let Some(class) = place.class else {
            return self.free_run(me, place.unit, place.size / UNIT);
        };
        // SYNC: releases the block to whoever claims it next.
        if !side.pass(word, Side::Free) {
            return Err(Error::Corrupt("a block changed hands while it was freed"));
        }
        let mut magazine = locked(&self.local.magazines[class]);
        if magazine.len() < MAGAZINE {
            magazine.push(block);
        }
        drop(magazine);
        self.hint_full(place.unit, false)
    }

    /// All blocks in use, as (block, size, side).
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn each_block(&self, mut visit: impl FnMut(Offset, u64, Side) -> Result<()>) -> Result<()> {
        let mut unit = self.layout.data / UNIT;
        let high = self.mark(header::UNITS_HIGH, self.layout.units_len);
        while unit < high {
            match self.unit(unit)?.0 {
                Use::Class { class, .. } if class < CLASSES => {
                    for index in 0..per_unit(class) {
                        let word = self.map.word(self.layout.side_word(unit, index))?.load(Acquire);
                        if word != 0 {
                            let size = size_of_class(class);
                            visit(unit * UNIT + index * size, size, Side::unpack(word))?;
                        }
                    }
                    unit += 1;
                }
                Use::Run(len) => {
                    let word = self.map.word(self.layout.side_word(unit, 0))?.load(Acquire);
                    visit(unit * UNIT, len * UNIT, Side::unpack(word))?;
                    unit += len;
                }
                _ => unit += 1,
            }
        }
        Ok(())
    }

    /// Frees every block that the dead member `dead` owns. After its sections and operations.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn sweep(&self, me: &Member, dead: Name) -> Result<()> {
        self.each_block(|block, _, side| {
            if let Side::Owned { name, pins } = side
                && name == dead
                && self.hand_over(block, side, Side::owned(me.name).with_pins(pins))?
            {
                self.free(me, block)?;
            }
            Ok(())
        })
    }
}
