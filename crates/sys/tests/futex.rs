//! Sleeping and waking across mappings and against the clock.

mod common;

use common::{Page, SECOND};
use polyproc_sys::clock;
use polyproc_sys::futex::{self, Wait};
use polyproc_sys::memory::Mapping;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[test]
fn wakes_through_another_mapping_of_the_same_memory() {
    let page = Page::new();
    let other = Mapping::of(&page.memfd, 4096).expect("mapped again");
    // SAFETY: the first word of a live mapping.
    let there = unsafe { &*other.base().as_ptr().cast::<AtomicU32>() };
    assert_ne!(std::ptr::from_ref(there), std::ptr::from_ref(page.word(0)));
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            while page.word(0).load(Ordering::SeqCst) == 0 {
                let outcome = futex::wait(page.word(0), 0, Some(clock::now() + 20 * SECOND));
                assert_ne!(outcome, Wait::TimedOut);
            }
        });
        std::thread::sleep(Duration::from_millis(20));
        there.store(1, Ordering::SeqCst);
        futex::wake(there, 1);
        sleeper.join().expect("woken");
    });
}

#[test]
fn wakes_as_many_as_told() {
    let word = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| futex::wait(&word, 0, Some(clock::now() + 20 * SECOND)));
        }
        let end = clock::now() + 20 * SECOND;
        let mut woken = 0;
        while woken < 3 && clock::now() < end {
            let count = futex::wake(&word, 1);
            assert!(count <= 1);
            woken += count;
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(woken, 3);
        assert_eq!(futex::wake(&word, u32::MAX), 0);
    });
}

#[test]
fn times_out_at_the_deadline_and_not_before() {
    let word = AtomicU32::new(5);
    let deadline = clock::now() + 30_000_000;
    assert_eq!(futex::wait(&word, 5, Some(deadline)), Wait::TimedOut);
    assert!(clock::now() >= deadline);
    assert_eq!(
        futex::wait(&word, 5, Some(0)),
        Wait::TimedOut,
        "a moment in the past"
    );
    assert_eq!(futex::wait(&word, 4, Some(0)), Wait::Changed);
}

/// A handler that does nothing but exist.
extern "C" fn nothing(_: libc::c_int) {}

fn handle(signal: libc::c_int, flags: libc::c_int) {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zeros are a valid action.
    let action = unsafe { action.assume_init_mut() };
    action.sa_sigaction = nothing as *const () as libc::sighandler_t;
    action.sa_flags = flags;
    // SAFETY: a handler that touches nothing.
    let result = unsafe { libc::sigaction(signal, action, std::ptr::null_mut()) };
    assert_eq!(result, 0);
}

#[test]
fn a_deadline_lets_signals_through() {
    handle(libc::SIGUSR2, libc::SA_RESTART);
    let before = polyproc_sys::signal::handled_set();
    assert_ne!(before & 1 << (libc::SIGUSR2 - 1), 0);
    let word = AtomicU32::new(0);
    // SAFETY: names the calling thread.
    let this = unsafe { libc::pthread_self() };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(30));
            // SAFETY: the thread waits in this scope, so it lives.
            unsafe { libc::pthread_kill(this, libc::SIGUSR2) };
        });
        assert_eq!(futex::wait(&word, 0, Some(u64::MAX)), Wait::Interrupted);
    });
}

#[test]
fn waits_for_the_first_of_several() {
    let words = [const { AtomicU32::new(0) }; 3];
    let all: Vec<_> = words.iter().map(|word| (word, 0)).collect();
    match futex::wait_any(&all, Some(clock::now() + 1_000_000)) {
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
            return;
        }
        Ok(outcome) => assert_eq!(outcome, Wait::TimedOut),
    }
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| futex::wait_any(&all, Some(clock::now() + 20 * SECOND)));
        while futex::wake(&words[2], 1) == 0 && !sleeper.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(sleeper.join().expect("ended").expect("offered"), Wait::Woken);
    });
    assert!(futex::wait_any(&[], None).is_err());
    let many: Vec<_> = (0..=futex::MAX_ANY).map(|_| (&words[0], 0)).collect();
    assert!(futex::wait_any(&many, None).is_err());
}
