//! A process for the tests to watch: does what its first argument says to the memfd whose number is the
//! second, and tells how far it is in the first word there. Exit codes are the answers.

use polyproc_sys::memory::{Mapping, Memfd};
use polyproc_sys::{abstract_socket, clock, doorbell, futex, proc_info, robust, thread};
use std::os::fd::AsRawFd;
use std::process::{Command, abort, exit};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, fd, rest @ ..] = arguments.as_slice() else {
        exit(100)
    };
    match what.as_str() {
        "file-limit" => file_limit(),
        "few-descriptors" => few_descriptors(),
        "address-limit" => address_limit(),
        _ => {}
    }
    // SAFETY: the number was passed on for this and nothing else owns it.
    let Ok(memfd) = (unsafe { Memfd::adopt(fd.parse().unwrap_or(-1)) }) else {
        exit(101)
    };
    let Ok(map) = Mapping::of(&memfd, 4096) else {
        exit(102)
    };
    let map: &'static Mapping = Box::leak(Box::new(map));
    let how = rest.first().map_or("", String::as_str);
    match what.as_str() {
        "adopt" => exit(0),
        "live" => live(map, how),
        "bell" => bell(map),
        "name" => {
            let _held = abstract_socket::hold(how);
            ready(map);
            sleep();
        }
        _ => exit(103),
    }
}

/// Has three words 64 bytes apart, from byte 64 on, watched, gives one of them back, then ends as told.
fn live(map: &'static Mapping, how: &str) {
    let spawned = thread::spawn_immortal("helper-life", 64 << 10, move || {
        let first = std::ptr::from_ref(word(map, 16));
        // SAFETY: the mapping is leaked, and the thread ends with the process.
        if unsafe { robust::register(first, 3, 64) }.is_err() {
            exit(104);
        }
        word(map, 48).store(0, Ordering::SeqCst);
        word(map, 1).store(proc_info::tid(), Ordering::SeqCst);
        ready(map);
    });
    if spawned.is_err() {
        exit(105);
    }
    // Nobody ends before the one who watches is asleep on the word.
    while word(map, 2).load(Ordering::SeqCst) == 0 {
        futex::wait(word(map, 2), 0, None);
    }
    match how {
        "wait" => sleep(),
        "exit" => exit(3),
        "return" => {}
        "abort" => abort(),
        "exec" => {
            use std::os::unix::process::CommandExt;
            let _ = Command::new("sleep").arg("60").exec();
            exit(106);
        }
        _ => exit(107),
    }
}

/// Makes a doorbell, tells its number and waits to be rung.
fn bell(map: &'static Mapping) {
    let Ok((read, _write)) = doorbell::pipe() else {
        exit(108)
    };
    word(map, 1).store(read.as_raw_fd() as u32, Ordering::SeqCst);
    ready(map);
    let mut poll = libc::pollfd {
        fd: read.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one valid pollfd.
    let rung = unsafe { libc::poll(&raw mut poll, 1, 10_000) };
    exit(if rung == 1 { 0 } else { 109 });
}

/// With files limited to 1 MiB: one that is too long is an error, not the death by SIGXFSZ.
fn file_limit() {
    limit(libc::RLIMIT_FSIZE, 1 << 20);
    let error = Memfd::create("limited", (1 << 20) + 1).err();
    let sound = error.and_then(|error| error.raw_os_error()) == Some(libc::EFBIG)
        && Memfd::create("limited", 1 << 20).is_ok();
    exit(if sound { 0 } else { 110 });
}

/// With 64 descriptors allowed, the number is as high as that allows.
fn few_descriptors() {
    limit(libc::RLIMIT_NOFILE, 64);
    let number = Memfd::create("limited", 4096).map_or(-1, Memfd::leak);
    exit(if (32..64).contains(&number) { 0 } else { 111 });
}

/// With 1 GiB of address space, a mapping of 2 GiB is an error.
fn address_limit() {
    limit(libc::RLIMIT_AS, 1 << 30);
    let Ok(memfd) = Memfd::create("limited", 2 << 30) else {
        exit(112)
    };
    let error = Mapping::of(&memfd, 2 << 30)
        .err()
        .and_then(|error| error.raw_os_error());
    exit(if error == Some(libc::ENOMEM) { 0 } else { 113 });
}

fn limit(resource: libc::__rlimit_resource_t, bytes: u64) {
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: bytes,
    };
    // SAFETY: a valid limit.
    unsafe { libc::setrlimit(resource, &raw const limit) };
}

fn word(map: &'static Mapping, index: usize) -> &'static AtomicU32 {
    // SAFETY: within the 4096 bytes, aligned, and the mapping is leaked.
    unsafe { &*map.base().as_ptr().cast::<AtomicU32>().wrapping_add(index) }
}

fn ready(map: &'static Mapping) {
    word(map, 0).store(1, Ordering::SeqCst);
    futex::wake(word(map, 0), 1);
}

/// Long enough for a test, short enough not to stay behind a test that failed.
fn sleep() -> ! {
    let end = clock::now() + 60_000_000_000;
    while clock::now() < end {
        std::thread::sleep(Duration::from_millis(100));
    }
    exit(114);
}
