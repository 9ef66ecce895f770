//! The kernel's mark on the words of a process that ended.

mod common;

use common::{Page, SECOND, wait_until};
use polyproc_sys::robust::{self, OWNER_DIED, TID_MASK, WAITERS};
use polyproc_sys::{clock, futex, signal};
use std::sync::atomic::Ordering;

/// The three words that the helper has watched; it sets the last to zero again.
const FIRST: usize = 16;
const SECOND_WORD: usize = 32;
const GIVEN_BACK: usize = 48;

fn dies(how: &str, signal: Option<i32>) {
    let page = Page::new();
    let mut helper = page.helper("live", how);
    let tid = page.word(1).load(Ordering::SeqCst);
    let alive = page.word(FIRST).load(Ordering::SeqCst);
    assert_eq!(alive, tid | WAITERS);
    assert_eq!(alive & TID_MASK, tid);
    assert_ne!(tid, helper.pid(), "the words belong to a thread of their own");
    assert!(!robust::is_marked(alive));

    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            let end = clock::now() + 20 * SECOND;
            let mut wakes = 0;
            while !robust::is_marked(page.word(FIRST).load(Ordering::SeqCst)) {
                assert!(clock::now() < end, "never marked after {how}");
                futex::wait(page.word(FIRST), alive, Some(end));
                wakes += 1;
            }
            (wakes, clock::now())
        });
        std::thread::sleep(std::time::Duration::from_millis(20));
        let killed = clock::now();
        match signal {
            Some(number) => signal::kill(helper.pid(), number).expect("killed"),
            None => {
                page.word(2).store(1, Ordering::SeqCst);
                futex::wake(page.word(2), 1);
            }
        }
        let (wakes, seen) = sleeper.join().expect("the sleeper saw it");
        assert!(wakes >= 1, "the sleeper had to be woken, not only to look");
        assert!(
            seen - killed < SECOND,
            "{how}: seen after {} µs",
            (seen - killed) / 1000
        );
    });
    assert_eq!(page.word(FIRST).load(Ordering::SeqCst), OWNER_DIED | WAITERS);
    wait_until(page.word(SECOND_WORD), robust::is_marked);
    assert_eq!(
        page.word(GIVEN_BACK).load(Ordering::SeqCst),
        0,
        "a word without the id is left alone"
    );
    if how == "exec" {
        assert!(
            helper.0.try_wait().expect("asks").is_none(),
            "the process itself goes on"
        );
    } else {
        helper.wait();
    }
}

#[test]
fn marked_after_kill() {
    dies("wait", Some(9));
}

#[test]
fn marked_after_a_signal_without_handler() {
    dies("wait", Some(15));
    dies("wait", Some(3));
}

#[test]
fn marked_after_exit() {
    dies("exit", None);
}

#[test]
fn marked_after_main_returns() {
    dies("return", None);
}

#[test]
fn marked_after_abort() {
    dies("abort", None);
}

#[test]
fn marked_after_exec() {
    dies("exec", None);
}

#[test]
fn a_stopped_process_is_alive() {
    let page = Page::new();
    let helper = page.helper("live", "wait");
    signal::kill(helper.pid(), libc::SIGSTOP).expect("stops");
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(!robust::is_marked(page.word(FIRST).load(Ordering::SeqCst)));
    signal::kill(helper.pid(), libc::SIGKILL).expect("kills");
    wait_until(page.word(FIRST), robust::is_marked);
}

#[test]
fn refuses_what_the_kernel_could_not_walk() {
    let page = Page::new();
    let first = std::ptr::from_ref(page.word(0));
    for (count, stride) in [(0, 64), (robust::MAX_WORDS + 1, 64), (2, 12), (2, 0)] {
        // SAFETY: refused before anything is registered.
        let result = unsafe { robust::register(first, count, stride) };
        assert_eq!(
            result.expect_err("refused").kind(),
            std::io::ErrorKind::InvalidInput
        );
    }
}
