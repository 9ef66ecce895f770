//! Under a filter that refuses what old kernels and strict containers do not offer. One test, since the
//! filter stays for the process.

mod common;

use common::{Started, c, ended, program, shell, sleeper, until};
use polyproc_process::{ExitStatus, Step, signal_other, tree};
use polyproc_sys::memory::Memfd;
use polyproc_sys::sandbox::{Refused, refuse};
use polyproc_sys::{futex, proc_info};
use std::io::ErrorKind;
use std::sync::atomic::AtomicU32;

#[test]
fn everything_has_another_way() {
    // Threads that are started from here on, the native one among them, live under it too.
    refuse(&[
        Refused::Clone,
        Refused::PidFd,
        Refused::PidFdSignal,
        Refused::CloseRange,
        Refused::FutexWaitAny,
    ])
    .expect("seccomp");
    processes_work();
    // And without vfork.
    let second = std::thread::spawn(|| {
        refuse(&[Refused::Vfork]).expect("seccomp");
        // Only this thread is under the second filter, so the process must be made by it.
        let mut request = shell("exit 9");
        request.die_with_parent = false;
        assert_eq!(Started::new(request).status(), ExitStatus::Code(9));
        let mut request = program("/no/such/program", &["x"]);
        request.die_with_parent = false;
        let exit = Started::new(request).wait();
        assert_eq!(exit.exec_error.map(|error| error.step), Some(Step::Exec));
    });
    second.join().expect("passes");

    let word = AtomicU32::new(0);
    assert_eq!(
        futex::wait_any(&[(&word, 1)], None).expect_err("refused").kind(),
        ErrorKind::Unsupported
    );
}

fn processes_work() {
    for (script, code) in [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", -9)] {
        assert_eq!(Started::new(shell(script)).status().code(), code);
    }
    let exit = Started::new(program("/no/such/program", &["x"])).wait();
    assert_eq!(
        exit.exec_error.map(|error| (error.step, error.errno)),
        Some((Step::Exec, 2))
    );

    let kept = Memfd::create("kept", 4096).expect("a memfd");
    let _other = Memfd::create("other", 4096).expect("a memfd");
    let mut request = shell("");
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
    assert_eq!(
        text.lines()
            .filter_map(|line| line.parse().ok())
            .collect::<Vec<i32>>(),
        [0, 1, 2, kept.raw()]
    );

    let started = Started::new(sleeper());
    let born = proc_info::start_time(started.child.pid).expect("alive");
    signal_other(started.child.pid, born, 15).expect("sent");
    assert_eq!(started.status(), ExitStatus::Signal(15));
    assert_eq!(
        started.child.signal(9).expect_err("gone").kind(),
        ErrorKind::NotFound
    );

    let family = Started::new(shell("sleep 60 & sleep 60 & wait"));
    until("a family of three", || tree(family.child.pid).len() == 3);
    let all = tree(family.child.pid);
    assert_eq!(family.child.signal_tree(15).expect("sent").len(), 3);
    assert_eq!(family.status(), ExitStatus::Signal(15));
    until("all gone", || all.iter().all(|pid| ended(*pid)));
}
