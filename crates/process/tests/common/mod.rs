//! Requests, and waiting for what they lead to.
#![allow(dead_code, reason = "each test file uses a part of this")]

use polyproc_process::{Child, Exit, ExitStatus, SpawnRequest, Stdio, spawn};
use polyproc_sys::proc_info::{self, State};
use std::ffi::CString;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn c(text: &str) -> CString {
    CString::new(text).expect("no NUL")
}

pub fn program(exec: &str, argv: &[&str]) -> SpawnRequest {
    SpawnRequest {
        exec: c(exec),
        argv: argv.iter().map(|text| c(text)).collect(),
        env: Vec::new(),
        cwd: None,
        stdio: [Stdio::Null, Stdio::Inherit, Stdio::Inherit],
        keep_fds: Vec::new(),
        die_with_parent: true,
    }
}

pub fn shell(script: &str) -> SpawnRequest {
    program("/bin/sh", &["sh", "-c", script])
}

pub fn sleeper() -> SpawnRequest {
    program("/bin/sleep", &["sleep", "60"])
}

/// A child, and where its end is told.
pub struct Started {
    pub child: Child,
    pub exit: Receiver<Exit>,
}

impl Started {
    pub fn new(request: SpawnRequest) -> Self {
        let (send, exit) = channel();
        let child = spawn(request, move |exit| {
            let _ = send.send(exit);
        })
        .expect("starts");
        Self { child, exit }
    }

    pub fn wait(&self) -> Exit {
        let exit = self.exit.recv_timeout(PATIENCE).expect("ends");
        assert_eq!(exit.pid, self.child.pid);
        exit
    }

    pub fn status(&self) -> ExitStatus {
        self.wait().status
    }
}

/// Looks every millisecond until it holds.
pub fn until(what: &str, holds: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
    start.elapsed()
}

pub fn ended(pid: u32) -> bool {
    proc_info::state(pid) == State::Ended
}

/// Descriptors that this process has open.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("a list").count()
}
