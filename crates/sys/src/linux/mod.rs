//! Linux, from kernel 4.18 and glibc 2.28 on: newer calls are made by number, and their absence is
//! reported as `Unsupported`.

pub mod abstract_socket;
mod cgroup;
pub mod clock;
pub mod cpu;
pub mod doorbell;
pub mod dynamic;
pub mod epoll;
mod errno;
pub mod eventfd;
pub mod futex;
pub mod interrupt;
pub mod launch;
pub mod limits;
pub mod memory;
pub mod once_file;
pub mod pidfd;
pub mod proc_info;
pub mod random;
pub mod reap;
mod reopen;
pub mod robust;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod signal;
pub mod thread;
