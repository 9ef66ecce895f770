//! A memfd shared with a helper process, and the helper.
#![allow(dead_code, reason = "each test file uses a part of this")]

use polyproc_sys::memory::{Mapping, Memfd};
use polyproc_sys::{clock, futex};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};

pub const SECOND: u64 = 1_000_000_000;

/// A page shared with the helpers.
pub struct Page {
    pub memfd: Memfd,
    pub map: Mapping,
}

impl Page {
    pub fn new() -> Self {
        let memfd = Memfd::create("sys-test", 4096).expect("a memfd");
        let map = Mapping::of(&memfd, 4096).expect("a mapping");
        Self { memfd, map }
    }

    pub fn word(&self, index: usize) -> &AtomicU32 {
        assert!(index < 1024);
        // SAFETY: within the page, aligned, and borrowed no longer than the mapping.
        unsafe { &*self.map.base().as_ptr().cast::<AtomicU32>().wrapping_add(index) }
    }

    /// Starts a helper and waits until it says that it is ready.
    pub fn helper(&self, what: &str, how: &str) -> Helper {
        self.word(0).store(0, Ordering::SeqCst);
        let helper = Helper::start(&[what, &self.memfd.raw().to_string(), how]);
        wait_until(self.word(0), |value| value == 1);
        helper
    }
}

/// A helper process, killed and reaped when dropped.
pub struct Helper(pub Child);

impl Helper {
    pub fn start(arguments: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_sys-helper"))
            .args(arguments)
            .spawn();
        Self(child.expect("the helper starts"))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.0.wait().expect("the helper ends")
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sleeps on the word until it is as wanted, at most 20 seconds; returns the value.
pub fn wait_until(word: &AtomicU32, wanted: impl Fn(u32) -> bool) -> u32 {
    let end = clock::now() + 20 * SECOND;
    loop {
        let value = word.load(Ordering::SeqCst);
        if wanted(value) {
            return value;
        }
        assert!(clock::now() < end, "the word still holds {value:#x}");
        futex::wait(word, value, Some(end));
    }
}
