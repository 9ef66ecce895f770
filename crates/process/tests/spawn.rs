//! Starting programs: how they end, what they find, what is left.

mod common;

use common::{Started, c, descriptors, program, shell, sleeper, until};
use polyproc_process::{ExitStatus, SpawnError, Stdio, Step, spawn};
use polyproc_sys::memory::Memfd;
use polyproc_sys::proc_info;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::sync::mpsc::channel;

#[test]
fn tells_codes_and_signals() {
    for (script, code) in [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 255", 255),
        ("kill -9 $$", -9),
        ("kill -15 $$", -15),
    ] {
        let exit = Started::new(shell(script)).wait();
        assert_eq!(exit.status.code(), code);
        assert_eq!(exit.exec_error, None);
    }
}

#[test]
fn gives_streams_directory_and_environment() {
    // Some that block: a program that another test starts meanwhile may hold the write ends until it executes.
    let (mut read, write) = std::io::pipe().expect("a pipe");
    let (mut errors, error_end) = std::io::pipe().expect("a pipe");
    let input = Memfd::create("input", 6).expect("a memfd");
    input.write_at(0, b"input\n").expect("written");
    let mut request = shell("cat; pwd; echo $A$B; echo oops >&2");
    request.cwd = Some(c("/proc/sys/kernel"));
    request.env = vec![c("A=x"), c("B=y")];
    request.stdio = [
        Stdio::Fd(input.raw()),
        Stdio::Fd(write.as_raw_fd()),
        Stdio::Fd(error_end.as_raw_fd()),
    ];
    let started = Started::new(request);
    // The child has its own from the moment that there is a child.
    drop((write, error_end, input));
    assert_eq!(started.status(), ExitStatus::Code(0));
    let mut text = String::new();
    read.read_to_string(&mut text).expect("reads to the end");
    assert_eq!(text, "input\n/proc/sys/kernel\nxy\n");
    text.clear();
    errors.read_to_string(&mut text).expect("reads to the end");
    assert_eq!(text, "oops\n");
}

#[test]
fn keeps_only_what_it_is_told() {
    let kept = Memfd::create("kept", 4096).expect("a memfd");
    let other = Memfd::create("other", 4096).expect("a memfd");
    assert_ne!(kept.raw(), other.raw());
    // Not close-on-exec, like those that Node leaves open for its children.
    let mut request = shell("ls /proc/$$/fd >/proc/self/fd/KEPT");
    request.argv[2] = c(&format!(
        "(ls /proc/$$/fd | sort -n) 1<>/proc/self/fd/{}",
        kept.raw()
    ));
    request.env = vec![c("PATH=/bin:/usr/bin")];
    request.keep_fds = vec![kept.raw()];
    assert_eq!(Started::new(request).status(), ExitStatus::Code(0));
    let mut bytes = [0; 4096];
    kept.read_at(0, &mut bytes).expect("reads");
    let text = String::from_utf8_lossy(&bytes);
    let open: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(open, [0, 1, 2, kept.raw()]);
}

#[test]
fn a_hundred_back_to_back_leave_nothing() {
    Started::new(shell("exit 0")).wait();
    until("the first is swept", || {
        !proc_info::children_of(proc_info::pid())
            .iter()
            .any(|pid| proc_info::is_zombie(*pid))
    });
    let before = descriptors();
    let all: Vec<_> = (0..100)
        .map(|_| Started::new(program("/bin/true", &["true"])))
        .collect();
    for started in &all {
        assert_eq!(started.status(), ExitStatus::Code(0));
        assert!(!started.child.is_running());
    }
    for started in &all {
        assert!(
            !proc_info::children_of(proc_info::pid()).contains(&started.child.pid),
            "a zombie is left"
        );
    }
    // Tests beside this one open a few of their own.
    until("as many descriptors as before", || descriptors() <= before + 12);
}

#[test]
fn a_hundred_killed_right_after_the_start_all_end() {
    let all: Vec<_> = (0..100).map(|_| Started::new(sleeper())).collect();
    for (index, started) in all.iter().enumerate() {
        started
            .child
            .signal(if index % 2 == 0 { 9 } else { 15 })
            .expect("sent");
    }
    for (index, started) in all.iter().enumerate() {
        assert_eq!(
            started.status(),
            ExitStatus::Signal(if index % 2 == 0 { 9 } else { 15 })
        );
    }
}

#[test]
fn a_program_that_cannot_run_is_told_as_such() {
    let exit = Started::new(program("/no/such/program", &["x"])).wait();
    assert_eq!(exit.status, ExitStatus::Code(127));
    let error = exit.exec_error.expect("told");
    assert_eq!((error.step, error.errno), (Step::Exec, 2));
    let mut request = sleeper();
    request.cwd = Some(c("/no/such/directory"));
    let exit = Started::new(request).wait();
    let error = exit.exec_error.expect("told");
    assert_eq!((error.step, error.errno), (Step::Directory, 2));
    // And one that exits with 127 by itself is not mistaken for one.
    let exit = Started::new(shell("exit 127")).wait();
    assert_eq!((exit.status, exit.exec_error), (ExitStatus::Code(127), None));
}

#[test]
fn what_cannot_be_met_is_an_error_and_calls_nobody() {
    let (send, receive) = channel();
    let mut request = sleeper();
    request.keep_fds = vec![54_321];
    let error = spawn(request, move |exit| {
        let _ = send.send(exit);
    })
    .expect_err("refused");
    assert!(matches!(error, SpawnError::Request(_)), "{error}");
    assert!(receive.recv().is_err(), "the callback is dropped uncalled");
}

#[test]
fn a_callback_may_start_the_next_and_panic() {
    let (send, receive) = channel();
    let (again, ended) = channel();
    spawn(shell("exit 5"), move |exit| {
        let next = spawn(shell("exit 6"), move |exit| {
            let _ = again.send(exit.status);
        });
        send.send((exit.status, next.is_ok())).expect("sent");
        std::panic::panic_any("only this callback's end");
    })
    .expect("starts");
    assert_eq!(
        receive.recv_timeout(common::PATIENCE).expect("told"),
        (ExitStatus::Code(5), true)
    );
    assert_eq!(
        ended.recv_timeout(common::PATIENCE).expect("told"),
        ExitStatus::Code(6)
    );
    assert_eq!(
        Started::new(shell("exit 7")).status(),
        ExitStatus::Code(7),
        "the thread goes on"
    );
}

#[test]
fn threads_start_processes_side_by_side() {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for code in 0..10 {
                    assert_eq!(
                        Started::new(shell(&format!("exit {code}"))).status(),
                        ExitStatus::Code(code)
                    );
                }
            });
        }
    });
}
