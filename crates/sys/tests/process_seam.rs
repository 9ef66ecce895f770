//! Processes, doorbells, names, threads and signals.

mod common;

use common::{Helper, Page};
use polyproc_sys::pidfd::PidFd;
use polyproc_sys::{abstract_socket, cpu, doorbell, proc_info, signal, thread};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

#[test]
fn a_pidfd_sees_the_end_and_never_a_stranger() {
    let mut child = Helper(Command::new("sleep").arg("60").spawn().expect("starts"));
    let pidfd = match PidFd::open(child.pid()) {
        Ok(pidfd) => pidfd,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            return;
        }
    };
    assert!(!pidfd.wait_exit(20).expect("asks"));
    pidfd.send_signal(0).expect("there");
    pidfd.send_signal(libc::SIGKILL).expect("killed");
    assert!(pidfd.wait_exit(-1).expect("waits"));
    assert!(proc_info::is_zombie(child.pid()));
    child.wait();
    assert_eq!(
        pidfd.send_signal(0).expect_err("gone").raw_os_error(),
        Some(libc::ESRCH)
    );
    assert!(!proc_info::is_zombie(child.pid()));
    assert!(PidFd::open(0).is_err());
}

#[test]
fn start_times_tell_processes_apart() {
    let mine = proc_info::start_time(proc_info::pid()).expect("mine");
    assert!(proc_info::start_time(proc_info::ppid()).is_none_or(|parent| parent <= mine));
    assert_ne!(proc_info::pid_namespace(), 0);
    assert_eq!(proc_info::start_time(u32::MAX), None);
}

#[test]
fn children_of_every_thread_are_found() {
    let (send, receive) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let starter = std::thread::spawn(move || {
        let mut child = Command::new("sleep").arg("60").spawn().expect("starts");
        send.send(child.id()).expect("sent");
        let _ = ended.recv();
        child.kill().expect("killed");
        child.wait().expect("reaped");
    });
    let child = receive.recv().expect("started");
    assert!(proc_info::children_of(proc_info::pid()).contains(&child));
    drop(end);
    starter.join().expect("ended");
    assert!(!proc_info::children_of(proc_info::pid()).contains(&child));
}

#[test]
fn a_doorbell_rings_in_another_process() {
    let page = Page::new();
    let mut helper = page.helper("bell", "");
    let number = page.word(1).load(Ordering::SeqCst) as i32;
    let bell = doorbell::open_peer(helper.pid(), number).expect("opened");
    doorbell::ring(bell.as_raw_fd()).expect("rung");
    assert!(helper.wait().success());
    assert_eq!(
        doorbell::ring(bell.as_raw_fd()).expect_err("gone").kind(),
        ErrorKind::BrokenPipe
    );
    let error = doorbell::open_peer(helper.pid(), number).expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_full_bell_has_been_rung() {
    let (read, write) = doorbell::pipe().expect("pipe");
    for _ in 0..70_000 {
        doorbell::ring(write.as_raw_fd()).expect("rung");
    }
    doorbell::clear(read.as_raw_fd());
    let mut poll = libc::pollfd {
        fd: read.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one valid pollfd.
    assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 0) }, 0, "empty");
    let file = std::fs::File::open("/proc/self/exe").expect("open");
    let error = doorbell::open_peer(proc_info::pid(), file.as_raw_fd()).expect_err("not a pipe");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

#[test]
fn a_name_goes_with_its_holder() {
    let page = Page::new();
    let name = format!("polyproc-sys-test-{}", proc_info::pid());
    let mut helper = page.helper("name", &name);
    assert_eq!(
        abstract_socket::hold(&name).expect_err("held").kind(),
        ErrorKind::AddrInUse
    );
    assert_eq!(abstract_socket::list(&name).expect("listed"), [name.as_str()]);
    signal::kill(helper.pid(), libc::SIGKILL).expect("killed");
    helper.wait();
    assert!(abstract_socket::list(&name).expect("listed").is_empty());
    abstract_socket::hold(&name).expect("free again");
    for bad in ["", "a b", "a\0b", "ä", &"x".repeat(108)] {
        assert_eq!(
            abstract_socket::hold(bad).expect_err("refused").kind(),
            ErrorKind::InvalidInput
        );
    }
}

/// The blocked signals of a thread of this process, as the kernel shows them.
fn blocked(tid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/self/task/{tid}/status")).expect("status");
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigBlk:\t"))
        .expect("a mask");
    u64::from_str_radix(mask, 16).expect("hexadecimal")
}

#[test]
fn an_immortal_thread_hears_no_signal_and_outlives_its_work() {
    let before = blocked(proc_info::tid());
    let (send, receive) = mpsc::channel();
    let panics = send.clone();
    thread::spawn_immortal("name that is cut", 1, move || {
        send.send(proc_info::tid()).expect("sent");
    })
    .expect("started");
    let tid = receive.recv().expect("runs");
    assert_eq!(
        blocked(proc_info::tid()),
        before,
        "the caller's mask is as it was"
    );
    for number in [
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGCHLD,
        libc::SIGPROF,
        libc::SIGUSR1,
    ] {
        assert_ne!(blocked(tid) & 1 << (number - 1), 0, "signal {number}");
    }
    let name = std::fs::read_to_string(format!("/proc/self/task/{tid}/comm")).expect("comm");
    assert_eq!(name.trim(), "name that is cu");

    std::panic::set_hook(Box::new(|_| {}));
    thread::spawn_immortal("panics", 64 << 10, move || {
        panics.send(proc_info::tid()).expect("sent");
        panic!("on purpose");
    })
    .expect("started");
    let other = receive.recv().expect("runs");
    std::thread::sleep(std::time::Duration::from_millis(50));
    let _ = std::panic::take_hook();
    for tid in [tid, other] {
        assert!(std::path::Path::new(&format!("/proc/self/task/{tid}")).exists());
    }
}

#[test]
fn signals_go_to_one_process_or_nobody() {
    for pid in [0, u32::MAX, 1 << 31] {
        assert_eq!(
            signal::kill(pid, 0).expect_err("refused").kind(),
            ErrorKind::InvalidInput
        );
    }
    let mut child = Helper(Command::new("sleep").arg("60").spawn().expect("starts"));
    assert_eq!(
        signal::kill(child.pid(), 999)
            .expect_err("refused")
            .raw_os_error(),
        Some(libc::EINVAL)
    );
    signal::kill(child.pid(), signal::number("SIGTERM").expect("known")).expect("sent");
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(child.wait().signal(), Some(15));
    assert_eq!(
        signal::kill(child.pid(), 0).expect_err("reaped").raw_os_error(),
        Some(libc::ESRCH)
    );
    assert_eq!(signal::number("TERM"), None);
    assert_eq!(signal::name(libc::SIGABRT), Some("SIGABRT"));
    assert_eq!(signal::name(0), None);
}

#[test]
fn counts_the_processors_that_the_thread_may_use() {
    let all = cpu::count();
    let counted = std::thread::spawn(|| {
        let mut one = std::mem::MaybeUninit::<libc::cpu_set_t>::zeroed();
        // SAFETY: zeros are a valid, empty set.
        let one = unsafe { one.assume_init_mut() };
        // SAFETY: asks for a number.
        let current = unsafe { libc::sched_getcpu() } as usize;
        // SAFETY: the number of a processor is within the set's size on any machine that runs this.
        unsafe { libc::CPU_SET(current, one) };
        // SAFETY: a set of the size that is said, for the calling thread.
        let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), one) };
        assert_eq!(result, 0);
        cpu::count()
    });
    assert_eq!(counted.join().expect("counted"), 1);
    assert!(all >= 1);
    assert!(cpu::quota().is_none_or(|quota| quota > 0.0));
}
