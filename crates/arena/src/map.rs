//! A range of shared memory, addressed by offset.
//!
//! Everything in the arena is an offset; a [`Map`] turns one into a [`Word`], a [`Flag`] or a copy of
//! bytes, and checks it each time: any member can scribble, so an offset that was read from shared
//! memory is never trusted. An offset out of range or misaligned yields [`Error::Corrupt`], not a
//! fault. No reference to arena bytes is ever made except to atomics.

use crate::error::{Error, Result};
use crate::primitive::{Flag, Word};

/// A place in the arena, in bytes from its start. 0 is "nowhere": the header lies there.
pub type Offset = u64;

#[cfg(not(loom))]
mod real {
    use super::{Error, Flag, Offset, Result, Word};
    use std::ptr::NonNull;

    /// See the module.
    #[derive(Debug, Clone, Copy)]
    pub struct Map {
        base: NonNull<u8>,
        len: u64,
    }

    // SAFETY: the range is only accessed through atomics and raw copies, which any thread may do.
    unsafe impl Send for Map {}
    // SAFETY: as above.
    unsafe impl Sync for Map {}

    impl Map {
        /// # Safety
        /// `base..base + len` must be readable and writable for as long as the map or a copy of it is
        /// used, and `base` aligned to 8 bytes at least.
        #[must_use]
        pub unsafe fn new(base: NonNull<u8>, len: u64) -> Self {
            Self { base, len }
        }

        /// Length in bytes.
        #[must_use]
        pub fn len(&self) -> u64 {
            self.len
        }

        /// True for an empty range.
        #[must_use]
        pub fn is_empty(&self) -> bool {
            self.len == 0
        }

        #[inline]
        fn at(&self, offset: Offset, len: u64, align: u64) -> Result<NonNull<u8>> {
            if offset.is_multiple_of(align) && offset.checked_add(len).is_some_and(|end| end <= self.len) {
                // SAFETY: offset + len lies inside the range, checked above.
                Ok(unsafe { self.base.add(offset as usize) })
            } else {
                Err(Error::Corrupt("an offset points outside the arena"))
            }
        }

        /// The word at `offset`.
        ///
        /// # Errors
        /// `Corrupt` when the offset is misaligned or out of range.
        #[inline]
        pub fn word(&self, offset: Offset) -> Result<&Word> {
            let place = self.at(offset, 8, 8)?;
            // SAFETY: in range, aligned, and Word is a transparent atomic: shared access is its purpose.
            Ok(unsafe { place.cast::<Word>().as_ref() })
        }

        /// The flag at `offset`.
        ///
        /// # Errors
        /// `Corrupt` when the offset is misaligned or out of range.
        #[inline]
        pub fn flag(&self, offset: Offset) -> Result<&Flag> {
            let place = self.at(offset, 4, 4)?;
            // SAFETY: as in `word`.
            Ok(unsafe { place.cast::<Flag>().as_ref() })
        }

        /// The address of `len` bytes at `offset`.
        ///
        /// # Errors
        /// `Corrupt` when they do not lie inside the arena.
        #[inline]
        pub fn bytes(&self, offset: Offset, len: u64) -> Result<NonNull<u8>> {
            self.at(offset, len, 1)
        }

        /// Copies `bytes` to `offset`.
        ///
        /// # Errors
        /// `Corrupt` when they do not fit inside the arena.
        #[cfg_attr(feature = "points", track_caller)]
        #[inline]
        pub fn copy_in(&self, offset: Offset, bytes: &[u8]) -> Result<()> {
            self.store(offset, bytes, |place| {
                // SAFETY: the target is in range; it cannot overlap `bytes`, which is memory of this
                // process alone. Another process may read at the same time: bytes are only bytes.
                unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place.as_ptr(), bytes.len()) };
            })
        }

        /// Copies many `bytes` to `offset`, around the caches where that is faster.
        ///
        /// # Errors
        /// `Corrupt` when they do not fit inside the arena.
        #[cfg_attr(feature = "points", track_caller)]
        pub fn stream_in(&self, offset: Offset, bytes: &[u8]) -> Result<()> {
            self.store(offset, bytes, |place| {
                // SAFETY: as in `copy_in`.
                unsafe { polyproc_sys::memory::copy_past(place, bytes) };
            })
        }

        /// Copies `bytes` to `offset` by way of the descriptor that is mapped here: for pages that were never touched.
        ///
        /// # Errors
        /// `Corrupt` when they do not fit inside the arena.
        #[cfg_attr(feature = "points", track_caller)]
        pub fn write_in(&self, fd: i32, offset: Offset, bytes: &[u8]) -> Result<()> {
            self.store(offset, bytes, |place| {
                let left = &bytes[polyproc_sys::memory::write_fresh(fd, offset, bytes)..];
                let place = place.as_ptr().wrapping_add(bytes.len() - left.len());
                // SAFETY: as in `copy_in`, for what the system did not write.
                unsafe { std::ptr::copy_nonoverlapping(left.as_ptr(), place, left.len()) };
            })
        }

        #[cfg_attr(feature = "points", track_caller)]
        #[inline]
        fn store(&self, offset: Offset, bytes: &[u8], how: impl FnOnce(NonNull<u8>)) -> Result<()> {
            let place = self.at(offset, bytes.len() as u64, 1)?;
            #[cfg(feature = "points")]
            crate::points::hit(
                std::panic::Location::caller(),
                crate::points::Access::Bytes,
                crate::points::Edge::Before,
                place.as_ptr() as usize,
                bytes.len(),
            );
            how(place);
            #[cfg(feature = "points")]
            crate::points::hit(
                std::panic::Location::caller(),
                crate::points::Access::Bytes,
                crate::points::Edge::After,
                place.as_ptr() as usize,
                bytes.len(),
            );
            Ok(())
        }

        /// Copies from `offset` into `target`.
        ///
        /// # Errors
        /// `Corrupt` when the range does not lie inside the arena.
        #[cfg_attr(feature = "points", track_caller)]
        #[inline]
        pub fn copy_out(&self, offset: Offset, target: &mut [u8]) -> Result<()> {
            let place = self.at(offset, target.len() as u64, 1)?;
            #[cfg(feature = "points")]
            crate::points::hit(
                std::panic::Location::caller(),
                crate::points::Access::Load,
                crate::points::Edge::Before,
                place.as_ptr() as usize,
                target.len(),
            );
            // SAFETY: as in `copy_in`, the other way round.
            unsafe { std::ptr::copy_nonoverlapping(place.as_ptr(), target.as_mut_ptr(), target.len()) };
            Ok(())
        }
    }
}

#[cfg(loom)]
mod model {
    use super::{Error, Flag, Offset, Result, Word};

    /// Under loom: rows of model atomics, one a word and one a flag.
    #[derive(Debug)]
    pub struct Map {
        words: Vec<Word>,
        flags: Vec<Flag>,
    }

    impl Map {
        /// A model of `len` zeroed bytes. A word and a flag at the same place are two things here.
        #[must_use]
        pub fn model(len: u64) -> Self {
            Self {
                words: (0..len / 8).map(|_| Word::new(0)).collect(),
                flags: (0..len / 4).map(|_| Flag::new(0)).collect(),
            }
        }

        /// The word at `offset`.
        ///
        /// # Errors
        /// `Corrupt` when it is out of range.
        pub fn word(&self, offset: Offset) -> Result<&Word> {
            self.words
                .get((offset / 8) as usize)
                .ok_or(Error::Corrupt("model"))
        }

        /// The flag at `offset`.
        ///
        /// # Errors
        /// `Corrupt` when it is out of range.
        pub fn flag(&self, offset: Offset) -> Result<&Flag> {
            self.flags
                .get((offset / 4) as usize)
                .ok_or(Error::Corrupt("model"))
        }
    }
}

#[cfg(loom)]
pub use model::Map;
#[cfg(not(loom))]
pub use real::Map;
