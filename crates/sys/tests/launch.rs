//! Programs started in each of the ways there are.

mod common;

use polyproc_sys::launch::{ExecError, Launch, Program, Stdio, Step, Way, start};
use polyproc_sys::memory::Memfd;
use polyproc_sys::reap::{Reaped, try_reap};
use polyproc_sys::{doorbell, proc_info};
use std::ffi::CString;
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::sync::Arc;

const WAYS: [Way; 3] = [Way::Clone, Way::Vfork, Way::Fork];

fn c(text: &str) -> CString {
    CString::new(text).expect("no NUL")
}

fn shell(script: &str) -> Program {
    Program {
        exec: c("/bin/sh"),
        argv: vec![c("sh"), c("-c"), c(script)],
        env: vec![c("GREETING=hello")],
        cwd: None,
        stdio: [Stdio::Null, Stdio::Inherit, Stdio::Inherit],
        keep_fds: Vec::new(),
        die_with_parent: false,
    }
}

fn wait(launch: Launch) -> (Reaped, Option<ExecError>) {
    loop {
        match try_reap(launch.pid()).expect("a pid") {
            Reaped::Running => std::thread::sleep(std::time::Duration::from_millis(1)),
            // SAFETY: it has ended.
            reaped => return (reaped, unsafe { launch.finish() }),
        }
    }
}

fn run(program: Program, way: Way) -> (Reaped, Option<ExecError>) {
    wait(start(&Arc::new(program), way).expect("starts"))
}

/// A pipe whose write end is the program's standard output; what it wrote, and how it ended.
fn output(mut program: Program, way: Way) -> (String, Reaped) {
    // One that blocks: a program that another test starts meanwhile may hold the write end until it executes.
    let (mut read, write) = std::io::pipe().expect("a pipe");
    program.stdio[1] = Stdio::Fd(write.as_raw_fd());
    let launch = start(&Arc::new(program), way).expect("starts");
    drop(write);
    let (reaped, error) = wait(launch);
    assert_eq!(error, None);
    let mut text = String::new();
    read.read_to_string(&mut text).expect("reads");
    (text, reaped)
}

#[test]
fn ends_with_a_code_or_a_signal() {
    for way in WAYS {
        assert_eq!(run(shell("exit 0"), way), (Reaped::Exited(0), None));
        assert_eq!(run(shell("exit 77"), way), (Reaped::Exited(77), None));
        assert_eq!(run(shell("kill -9 $$"), way), (Reaped::Killed(9), None));
        assert_eq!(run(shell("kill -15 $$"), way), (Reaped::Killed(15), None));
    }
}

#[test]
fn finds_its_directory_environment_and_streams() {
    for way in WAYS {
        let mut program = shell("pwd; echo $GREETING; cat; readlink /proc/self/fd/0");
        program.cwd = Some(c("/proc/sys"));
        let (text, reaped) = output(program, way);
        assert_eq!(text, "/proc/sys\nhello\n/dev/null\n");
        assert_eq!(reaped, Reaped::Exited(0));
    }
}

#[test]
fn streams_may_trade_places() {
    for way in WAYS {
        let (_read, write) = doorbell::pipe().expect("a pipe");
        let file = std::fs::File::open("/etc/passwd").expect("opens");
        let report = Memfd::create("report", 4096).expect("a memfd");
        let out = std::fs::read_link("/proc/self/fd/1").expect("a link");
        let number = report.raw();
        let mut program = shell(&format!(
            "(for n in 2 1 0; do readlink /proc/$$/fd/$n; done) 1<>/proc/self/fd/{number}"
        ));
        program.keep_fds = vec![number];
        program.stdio = [
            Stdio::Fd(file.as_raw_fd()),
            Stdio::Fd(write.as_raw_fd()),
            Stdio::Fd(1),
        ];
        assert_eq!(run(program, way), (Reaped::Exited(0), None));
        let mut bytes = [0; 4096];
        report.read_at(0, &mut bytes).expect("reads");
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], out.to_str().expect("text"), "2 is what 1 was");
        assert!(lines[1].starts_with("pipe:"));
        assert_eq!(lines[2], "/etc/passwd");
    }
}

#[test]
fn says_which_step_failed() {
    for way in WAYS {
        let mut program = shell("exit 0");
        program.exec = c("/no/such/program");
        let error = ExecError {
            step: Step::Exec,
            errno: libc::ENOENT,
        };
        assert_eq!(run(program, way), (Reaped::Exited(127), Some(error)), "{way:?}");
        let mut program = shell("exit 0");
        program.cwd = Some(c("/etc/passwd"));
        let error = ExecError {
            step: Step::Directory,
            errno: libc::ENOTDIR,
        };
        assert_eq!(run(program, way), (Reaped::Exited(127), Some(error)), "{way:?}");
        let mut program = shell("exit 0");
        program.exec = c("/etc/passwd");
        let error = ExecError {
            step: Step::Exec,
            errno: libc::EACCES,
        };
        assert_eq!(run(program, way), (Reaped::Exited(127), Some(error)), "{way:?}");
    }
}

#[test]
fn refuses_descriptors_that_are_not_there() {
    let mut program = shell("exit 0");
    program.keep_fds = vec![99_999];
    assert_eq!(
        start(&Arc::new(program), Way::Clone).expect_err("refused").kind(),
        ErrorKind::InvalidInput
    );
    let mut program = shell("exit 0");
    program.keep_fds = vec![2];
    assert_eq!(
        start(&Arc::new(program), Way::Clone).expect_err("refused").kind(),
        ErrorKind::InvalidInput
    );
    let mut program = shell("exit 0");
    program.stdio[0] = Stdio::Fd(99_999);
    assert_eq!(
        start(&Arc::new(program), Way::Clone).expect_err("refused").kind(),
        ErrorKind::InvalidInput
    );
}

#[test]
fn leaves_this_memory_when_its_program_runs() {
    let launch = start(&Arc::new(shell("sleep 60")), Way::Clone).expect("starts");
    let pid = launch.pid();
    let end = polyproc_sys::clock::now() + 20 * common::SECOND;
    while !launch.is_done() {
        assert!(polyproc_sys::clock::now() < end);
        std::thread::yield_now();
    }
    assert_eq!(launch.exec_error(), None);
    drop(launch);
    assert!(proc_info::children_of(proc_info::pid()).contains(&pid));
    polyproc_sys::signal::kill(pid, 9).expect("ours");
    while try_reap(pid).expect("a pid") == Reaped::Running {
        std::thread::yield_now();
    }
}

#[test]
fn signals_are_at_their_defaults() {
    let _blocked = polyproc_sys::signal::block_all();
    for way in WAYS {
        // Rust ignores SIGPIPE in this process; the program must not inherit that, nor the mask. The shell
        // itself blocks nothing, so what it shows is what it was given.
        let script = "while read name value; do case $name in SigBlk:|SigIgn:) echo $value;; esac; done \
                      </proc/$$/status";
        let (text, reaped) = output(shell(script), way);
        assert_eq!(reaped, Reaped::Exited(0));
        assert_eq!(text, "0000000000000000\n0000000000000000\n");
    }
}
