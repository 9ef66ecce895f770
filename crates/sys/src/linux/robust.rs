//! Words that the kernel marks when their process ends.
//!
//! A thread may tell the kernel of a list of words that hold its id. When the thread ends, in whatever way
//! (exit, any signal, exec of another program), the kernel sets [`OWNER_DIED`] in each word that still
//! holds the id and wakes one sleeper, before it begins to take the address space down: so within a
//! fraction of a millisecond, however much memory there is. "Is its process alive?" is then one load.
//!
//! The list is made for robust mutexes. Here a thread that lives as long as its process keeps words of
//! its own in it for ever, which makes them a property of the process.

use super::{errno, proc_info};
use std::alloc::Layout;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

/// Set by the kernel when the owner ended; the id is gone from the word then.
pub const OWNER_DIED: u32 = 0x4000_0000;
/// Tells the kernel to wake a sleeper when it marks. Always set here.
pub const WAITERS: u32 = 0x8000_0000;
/// The owner's thread id, as its own pid namespace has it.
pub const TID_MASK: u32 = 0x3fff_ffff;
/// The kernel stops walking a list here.
pub const MAX_WORDS: usize = 2048;

/// `struct robust_list`: a link of the ring.
#[repr(C)]
struct Link {
    next: *const Link,
}

/// `struct robust_list_head`.
#[repr(C)]
struct Head {
    ring: Link,
    /// From a link to its word.
    futex_offset: libc::c_long,
    /// A word that is just being locked or unlocked: never, here.
    pending: *const Link,
}

/// Puts `count` words, the first at `first` and each `stride_bytes` after the one before, under the
/// kernel's watch in the name of the calling thread, then stores `tid | WAITERS` in each. A word reads as
/// alive only from that store on; a death before it leaves the old value.
///
/// Replaces the list that the C library keeps for this thread: it must not hold robust pthread mutexes.
/// A second call on the same thread replaces the first. A `fork` does not carry the list over.
///
/// # Errors
/// `InvalidInput` for no words, more than [`MAX_WORDS`], a stride that is no multiple of 8, or a first
/// word that is not aligned to 4; `ENOSYS` on a kernel without robust futexes (none in use).
///
/// # Safety
/// The words must be mapped until the process ends, and the calling thread must not end before it: when
/// a thread ends, its words say that the process died.
pub unsafe fn register(first: *const AtomicU32, count: usize, stride_bytes: usize) -> io::Result<()> {
    if count == 0 || count > MAX_WORDS {
        return Err(errno::invalid("a robust list takes 1 to 2048 words"));
    }
    if stride_bytes == 0 || !stride_bytes.is_multiple_of(align_of::<Link>()) {
        return Err(errno::invalid("the stride must be a multiple of 8 bytes"));
    }
    if first.is_null() || !first.is_aligned() {
        return Err(errno::invalid("the first word must be aligned to 4 bytes"));
    }
    let head = leak_ring(first, count, stride_bytes)?;
    // SAFETY: the head and its ring live for ever, and every link plus the offset is one of the words.
    errno::check_long(unsafe { libc::syscall(libc::SYS_set_robust_list, head, size_of::<Head>()) })?;
    let mark = proc_info::tid() | WAITERS;
    for i in 0..count {
        // SAFETY: one of the words that the caller promised are mapped.
        let word = unsafe { &*first.wrapping_byte_add(i * stride_bytes) };
        // SYNC: Release, so that whoever reads this slot as alive (Acquire) sees what its owner wrote before.
        word.store(mark, Ordering::Release);
    }
    Ok(())
}

/// Whether the kernel has marked a word with this value: its process has ended.
///
/// # Examples
/// ```
/// assert!(polyproc_sys::robust::is_marked(polyproc_sys::robust::OWNER_DIED | polyproc_sys::robust::WAITERS));
/// assert!(!polyproc_sys::robust::is_marked(1234 | polyproc_sys::robust::WAITERS));
/// ```
pub fn is_marked(v: u32) -> bool {
    v & OWNER_DIED != 0
}

/// The links, in memory of this process (shared memory would let others misdirect the kernel), spaced as
/// the words are so that one offset serves for all. Never freed: the kernel reads them at the very end.
fn leak_ring(first: *const AtomicU32, count: usize, stride: usize) -> io::Result<*const Head> {
    let bytes = stride
        .checked_mul(count)
        .ok_or_else(|| errno::invalid("the words span too much memory"))?;
    let layout = Layout::from_size_align(bytes, align_of::<Link>())
        .map_err(|_| errno::invalid("the words span too much memory"))?;
    // SAFETY: the layout is not empty, since neither stride nor count is zero.
    let links = unsafe { std::alloc::alloc_zeroed(layout) };
    if links.is_null() {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let link = |i: usize| links.wrapping_add(i * stride).cast::<Link>();
    let head = Box::leak(Box::new(Head {
        ring: Link { next: link(0) },
        futex_offset: (first as libc::c_long).wrapping_sub(links as libc::c_long),
        pending: ptr::null(),
    }));
    for i in 0..count {
        let next = if i + 1 < count {
            link(i + 1).cast_const()
        } else {
            &raw const head.ring
        };
        // SAFETY: within the block, and aligned because block and stride are.
        unsafe { link(i).write(Link { next }) };
    }
    Ok(ptr::from_ref(head))
}
