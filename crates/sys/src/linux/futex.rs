//! Sleeping on a 32-bit word that other processes can reach.
//!
//! All futexes are shared ones: the private kind that mutexes inside one process use cannot be woken
//! from another process. Deadlines are absolute, so a wait that is repeated after a false wake does not
//! grow longer.

use super::{clock, errno};
use std::io;
use std::sync::atomic::AtomicU32;

/// The most words [`wait_any`] takes, a limit of the kernel.
pub const MAX_ANY: usize = 128;

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Somebody called [`wake`] on the word (or the kernel did, for a robust word whose owner died). Says
    /// nothing about the value: look again.
    Woken,
    /// The word did not hold the expected value when the kernel looked.
    Changed,
    /// The deadline passed.
    TimedOut,
    /// A signal handler ran on this thread.
    Interrupted,
}

/// Sleeps while `word` holds `expected`, until `deadline` (absolute, [`clock::now`]; `None`: for ever).
///
/// Without a deadline a signal whose handler was installed with `SA_RESTART` does not end the wait, so
/// whoever wants to hear of signals passes one, if only a distant one (`u64::MAX`).
///
/// # Examples
/// ```
/// use std::sync::atomic::AtomicU32;
/// use polyproc_sys::futex::{self, Wait};
/// let word = AtomicU32::new(1);
/// assert_eq!(futex::wait(&word, 0, None), Wait::Changed);
/// assert_eq!(futex::wait(&word, 1, Some(polyproc_sys::clock::now() + 1_000_000)), Wait::TimedOut);
/// ```
pub fn wait(word: &AtomicU32, expected: u32, deadline: Option<u64>) -> Wait {
    let time = deadline.map(clock::timespec);
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word outlives the call as a borrow of it does, and `time` is null or a live timespec.
    // The bit set form is the one whose timeout is absolute, on the monotonic clock.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT_BITSET,
            expected,
            time,
            std::ptr::null::<u32>(),
            u32::MAX,
        )
    };
    outcome(result)
}

/// Sleeps while every word holds the value beside it; the first wake, change or the deadline ends it.
/// Takes 1 to [`MAX_ANY`] words.
///
/// # Errors
/// `Unsupported` where the kernel (before 5.16) or its sandbox has no `futex_waitv`; `InvalidInput` for
/// no words or too many.
///
/// # Examples
/// ```
/// use std::sync::atomic::AtomicU32;
/// use polyproc_sys::futex::{self, Wait};
/// let (a, b) = (AtomicU32::new(0), AtomicU32::new(7));
/// match futex::wait_any(&[(&a, 0), (&b, 6)], None) {
///     Ok(outcome) => assert_eq!(outcome, Wait::Changed),
///     Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::Unsupported),
/// }
/// ```
pub fn wait_any(words: &[(&AtomicU32, u32)], deadline: Option<u64>) -> io::Result<Wait> {
    /// `struct futex_waitv` of the kernel.
    #[derive(Clone, Copy)]
    #[repr(C)]
    struct Waiter {
        value: u64,
        address: u64,
        flags: u32,
        reserved: u32,
    }
    /// `FUTEX_32` without the private flag.
    const SHARED_32: u32 = 2;
    const NONE: Waiter = Waiter {
        value: 0,
        address: 0,
        flags: SHARED_32,
        reserved: 0,
    };

    if words.is_empty() || words.len() > MAX_ANY {
        return Err(errno::invalid("wait_any takes 1 to 128 words"));
    }
    let mut waiters = [NONE; MAX_ANY];
    for (waiter, (word, expected)) in waiters.iter_mut().zip(words) {
        waiter.value = u64::from(*expected);
        waiter.address = word.as_ptr() as u64;
    }
    let time = deadline.map(clock::timespec);
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the first `words.len()` entries name words that are borrowed for longer than the call, and
    // `time` is null or a live timespec.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex_waitv,
            waiters.as_ptr(),
            words.len() as libc::c_uint,
            0 as libc::c_uint,
            time,
            libc::CLOCK_MONOTONIC,
        )
    };
    if result == -1 && matches!(errno::last(), libc::ENOSYS | libc::EPERM) {
        return Err(errno::absent_is_unsupported(io::Error::last_os_error()));
    }
    Ok(outcome(result))
}

/// Wakes at most `count` sleepers of `word`, in whatever process, and says how many it woke.
///
/// # Examples
/// ```
/// let word = std::sync::atomic::AtomicU32::new(0);
/// assert_eq!(polyproc_sys::futex::wake(&word, u32::MAX), 0);
/// ```
pub fn wake(word: &AtomicU32, count: u32) -> u32 {
    let count = count.min(i32::MAX as u32);
    // SAFETY: only the address of a live word is used; nothing is written.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
    u32::try_from(woken).unwrap_or(0)
}

fn outcome(result: libc::c_long) -> Wait {
    if result >= 0 {
        return Wait::Woken;
    }
    match errno::last() {
        libc::ETIMEDOUT => Wait::TimedOut,
        libc::EINTR => Wait::Interrupted,
        // EAGAIN. EFAULT and EINVAL need a word that is unmapped or unaligned, which a reference is not;
        // the caller's look at the word is the right answer to them as well.
        _ => Wait::Changed,
    }
}
