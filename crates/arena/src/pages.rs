//! Pages: what this process knows of the pages of units, so that large copies go the fastest way.
//!
//! A page costs more than the bytes in it. To zero a fresh one, to take a fault for it and to copy to it takes five times as
//! long as to copy to one that is there; a fault alone three times as long. So
//!
//! - fresh pages are written by a system call, which zeroes nothing and takes no fault;
//! - pages that others have used before are entered into the page table in one call, then copied to;
//! - pages that are entered are copied to.
//!
//! Copies are made around the caches where there are many bytes ([`polyproc_sys::memory::copy_past`]).
//!
//! All of this is knowledge of one process about itself, and a mistake costs time only: pages that were given back and
//! committed again by somebody else are taken for entered, and enter one by one.

use crate::arena::{Arena, locked};
use crate::error::Result;
use crate::layout::UNIT;
use crate::map::Offset;
use std::ops::Range;

/// Bytes from which on a copy asks how its pages are.
const LARGE: usize = UNIT as usize;

/// A set of units, one bit each.
#[derive(Debug, Default)]
struct Units(Vec<u64>);

impl Units {
    fn set(&mut self, units: Range<u64>, to: bool) {
        let words = units.end.div_ceil(64) as usize;
        if to && words > self.0.len() {
            self.0.resize(words, 0);
        }
        for unit in units {
            if let Some(word) = self.0.get_mut((unit / 64) as usize) {
                let bit = 1 << (unit % 64);
                *word = if to { *word | bit } else { *word & !bit };
            }
        }
    }

    fn has(&self, unit: u64) -> bool {
        self.0
            .get((unit / 64) as usize)
            .is_some_and(|word| word >> (unit % 64) & 1 == 1)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    /// Committed by this process and not written by it since.
    fresh: Units,
    /// In this process's page table.
    entered: Units,
}

/// How to copy to a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Write,
    Enter,
    Copy,
}

impl Pages {
    /// These units were committed just now.
    pub fn committed(&mut self, units: &[u64]) {
        for &unit in units {
            self.fresh.set(unit..unit + 1, true);
            self.entered.set(unit..unit + 1, false);
        }
    }

    /// The way to copy to these units, all of them; remembers that it was gone.
    fn way(&mut self, units: Range<u64>) -> Way {
        if units.clone().any(|unit| self.fresh.has(unit)) {
            self.fresh.set(units, false);
            return Way::Write;
        }
        if units.clone().all(|unit| self.entered.has(unit)) {
            return Way::Copy;
        }
        self.entered.set(units, true);
        Way::Enter
    }
}

impl Arena {
    /// Copies `bytes` to `at`, inside a block that the caller owns.
    ///
    /// # Errors
    /// `Corrupt` when they do not fit inside the arena.
    #[cfg_attr(feature = "points", track_caller)]
    pub fn copy_in(&self, at: Offset, bytes: &[u8]) -> Result<()> {
        let Some(fd) = self.fd.filter(|_| bytes.len() >= LARGE) else {
            return self.map.copy_in(at, bytes);
        };
        let len = bytes.len() as u64;
        self.map.bytes(at, len)?;
        let units = at / UNIT..(at + len).div_ceil(UNIT);
        match locked(&self.local.pages).way(units.clone()) {
            Way::Write => return self.map.write_in(fd, at, bytes),
            Way::Enter => {
                let place = self
                    .map
                    .bytes(units.start * UNIT, (units.end - units.start) * UNIT)?;
                // SAFETY: inside the mapping. A block consists of whole units, which are committed as long as it is owned.
                unsafe { polyproc_sys::memory::enter(place, ((units.end - units.start) * UNIT) as usize) };
            }
            Way::Copy => {}
        }
        self.map.stream_in(at, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use crate::map::Map;
    use polyproc_sys::memory::{self, Mapping, Memfd};

    #[test]
    fn fresh_units_are_written_then_entered_then_copied_to() {
        let mut pages = Pages::default();
        pages.committed(&[70, 71]);
        assert_eq!(pages.way(70..72), Way::Write);
        assert_eq!(pages.way(70..72), Way::Enter);
        assert_eq!(pages.way(70..72), Way::Copy);
        // One that is not entered is enough, and so is one that is fresh.
        assert_eq!(pages.way(70..73), Way::Enter);
        assert_eq!(pages.way(70..73), Way::Copy);
        pages.committed(&[72]);
        assert_eq!(pages.way(70..73), Way::Write);
        assert_eq!(pages.way(70..72), Way::Copy);
        assert_eq!(pages.way(70..73), Way::Enter);
    }

    #[test]
    fn the_same_bytes_arrive_by_every_way() {
        const SIZE: u64 = 1 << 30;
        let fd = Memfd::create("pages", SIZE).unwrap();
        let mapping = Mapping::of(&fd, SIZE as usize).unwrap();
        // SAFETY: the mapping outlives the arena.
        let map = unsafe { Map::new(mapping.base(), SIZE) };
        let arena = Arena::over(map, Layout::of(SIZE), 1, Some(fd.raw()), &[]);
        let first = arena.layout.data / UNIT;
        memory::commit(fd.raw(), first * UNIT, 4 * UNIT).unwrap();
        locked(&arena.local.pages).committed(&[first, first + 1, first + 2, first + 3]);
        // Neither begins nor ends with a page.
        let at = first * UNIT + 48;
        for seed in 0..3 {
            let bytes: Vec<u8> = (0..3 * UNIT + 1234).map(|k| (k * 7 + seed) as u8).collect();
            arena.copy_in(at, &bytes).unwrap();
            let mut seen = vec![0; bytes.len()];
            arena.map.copy_out(at, &mut seen).unwrap();
            assert_eq!(seen, bytes);
        }
        assert!(arena.copy_in(SIZE - 10, &[0; 1 << 20]).is_err());
    }
}
