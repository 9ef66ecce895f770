//! Noticing SIGINT in a thread that is blocked in a system call, without taking it from whoever
//! handles it: the handler that is installed already is called in turn.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);
static NEXT: AtomicUsize = AtomicUsize::new(0);
static NEXT_TAKES_INFO: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handler(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    COUNT.fetch_add(1, Ordering::SeqCst);
    let next = NEXT.load(Ordering::SeqCst);
    if next == libc::SIG_DFL || next == libc::SIG_IGN {
        return;
    }
    if NEXT_TAKES_INFO.load(Ordering::SeqCst) == 1 {
        type Long = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
        // SAFETY: the kernel gave this address as a handler of that form.
        let next = unsafe { std::mem::transmute::<usize, Long>(next) };
        next(signal, info, context);
    } else {
        // SAFETY: the kernel gave this address as a handler of that form.
        let next = unsafe { std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(next) };
        next(signal);
    }
}

/// Sees to it that SIGINT is counted from now on, where something handles it; returns the count so far.
/// A process in which nothing handles it is left as it is: the signal ends it.
pub fn watch() -> u64 {
    let mut now = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: asks only; the place is ours.
    if unsafe { libc::sigaction(libc::SIGINT, ptr::null(), now.as_mut_ptr()) } != 0 {
        return count();
    }
    // SAFETY: filled in by the kernel.
    let now = unsafe { now.assume_init() };
    let ours = handler as *const () as usize;
    if now.sa_sigaction == ours || now.sa_sigaction == libc::SIG_DFL || now.sa_sigaction == libc::SIG_IGN {
        return count();
    }
    NEXT.store(now.sa_sigaction, Ordering::SeqCst);
    NEXT_TAKES_INFO.store(
        usize::from(now.sa_flags & libc::SA_SIGINFO != 0),
        Ordering::SeqCst,
    );
    let mut mine = now;
    mine.sa_sigaction = ours;
    mine.sa_flags |= libc::SA_SIGINFO;
    // SAFETY: the handler is async-signal-safe: two atomics and the handler that was there before.
    unsafe { libc::sigaction(libc::SIGINT, &raw const mine, ptr::null_mut()) };
    count()
}

/// How often SIGINT has come since it is counted.
#[must_use]
pub fn count() -> u64 {
    COUNT.load(Ordering::SeqCst)
}
