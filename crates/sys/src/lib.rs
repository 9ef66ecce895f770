//! The operating system, as the rest of polyproc sees it.
//!
//! Every call that reaches the kernel goes through this crate, and it is the only one that links
//! `libc`. The modules are contracts: what each function promises, in which unit, and with which
//! error is written at its definition, and an implementation for another system gives the same
//! promises in a folder of its own beside `linux/`.
//!
//! Rules that hold everywhere in here:
//!
//! - Times are absolute nanoseconds on the monotonic clock ([`clock::now`]) unless a name says `_ms`.
//! - Failures are [`std::io::Error`]s with the system's own number in them. A call that this kernel
//!   or its sandbox does not offer (`ENOSYS`, or `EPERM` from a seccomp filter) is
//!   [`std::io::ErrorKind::Unsupported`], so that the caller can take its other path.
//! - Nothing here keeps global state, starts threads by itself, or writes to a terminal.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::{
    abstract_socket, clock, cpu, doorbell, dynamic, epoll, eventfd, futex, interrupt, launch, limits, memory,
    once_file, pidfd, proc_info, random, reap, robust, signal, thread,
};

#[cfg(all(target_os = "linux", feature = "sandbox"))]
pub use linux::sandbox;

#[cfg(not(target_os = "linux"))]
compile_error!("polyproc runs on Linux only so far; another system is a folder beside src/linux");
