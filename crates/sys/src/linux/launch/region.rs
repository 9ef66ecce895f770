//! The memory that a child uses until it runs its program.

use super::super::errno;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// The words at the end of a region.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Control {
    /// Not zero while the child uses this memory; cleared by the kernel.
    pub(super) in_use: AtomicU32,
    /// The step that failed in the upper half, the error number in the lower; 0: none.
    pub(super) error: AtomicU32,
}

/// Regions that no child uses any more, kept mapped: to map one, fault its pages in and unmap it again costs as
/// much as to make the process.
static SPARE: Mutex<Vec<Region>> = Mutex::new(Vec::new());
/// Children that are on their way to their programs at the same time, mostly.
const MOST_SPARE: usize = 4;

/// A guard page, the child's stack and the control words. Shared memory, so that the words are the same ones
/// after a real fork.
#[derive(Debug)]
pub(super) struct Region {
    base: NonNull<u8>,
}

// SAFETY: a range of memory that the value owns, used by one at a time.
unsafe impl Send for Region {}

impl Region {
    const GUARD: usize = 64 << 10;
    const LEN: usize = Self::GUARD + (32 << 10);
    /// Room for the control words over the stack, which keeps the stack's alignment.
    const CONTROL: usize = 64;

    /// One that no child uses, new or used before, its control words zero.
    pub(super) fn get() -> io::Result<Self> {
        let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(region) = spare {
            // SAFETY: no child uses the region.
            let control = unsafe { region.control().as_ref() };
            control.error.store(0, Ordering::Relaxed);
            return Ok(region);
        }
        Self::map()
    }

    /// Gives one back that its child has left.
    pub(super) fn give_back(self) {
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < MOST_SPARE {
            spare.push(self);
        }
    }

    fn map() -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at a place that the kernel chooses disturbs nothing.
        let base = unsafe { libc::mmap(ptr::null_mut(), Self::LEN, access, kind, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| errno::invalid("mapped at zero"))?;
        let region = Self { base };
        // SAFETY: the lowest pages (as many as the largest page size needs) of the new mapping.
        errno::check(unsafe { libc::mprotect(base.as_ptr().cast(), Self::GUARD, libc::PROT_NONE) })?;
        Ok(region)
    }

    /// The stack grows down from here.
    pub(super) fn control(&self) -> NonNull<Control> {
        // SAFETY: within the mapping, whose end is aligned to far more than the words need.
        unsafe { self.base.add(Self::LEN - Self::CONTROL) }.cast()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the range is this value's alone, and the child has left it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), Self::LEN) };
    }
}
