//! For tests: life under an old kernel, or in a container that refuses more than most.
//!
//! A seccomp filter answers chosen system calls with the error that such a system gives, so that the other
//! path of whoever makes the call is taken, for real.

use super::errno;
use std::io;

/// What is refused, and with which error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Making a process in this memory that does not stop its maker: EPERM, as a strict filter.
    Clone,
    /// Making one that does: EPERM.
    Vfork,
    /// Holding a process by descriptor: ENOSYS, as before Linux 5.3.
    PidFd,
    /// Sending it a signal by that: ENOSYS, as before 5.1.
    PidFdSignal,
    /// Closing many descriptors at once: ENOSYS, as before 5.9.
    CloseRange,
    /// Waiting for several words: ENOSYS, as before 5.16.
    FutexWaitAny,
}

/// Refuses these calls to the calling thread, and to the threads and processes that it starts from now on. There
/// is no way back.
///
/// # Errors
/// `EINVAL` on a kernel without seccomp filters.
pub fn refuse(calls: &[Refused]) -> io::Result<()> {
    let mut filter: Vec<libc::sock_filter> = calls.iter().flat_map(|call| call.rules()).collect();
    filter.push(answer(libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog {
        len: filter.len() as libc::c_ushort,
        filter: filter.as_mut_ptr(),
    };
    // Else only root could; children then run no set-user-id programs with other rights.
    // SAFETY: plain numbers.
    errno::check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    // SAFETY: a valid program, which the kernel copies.
    let result = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    };
    errno::check(result).map(drop)
}

/// Offsets in the kernel's `struct seccomp_data`.
const NUMBER: u32 = 0;
/// The lower half of the first argument.
const FLAGS: u32 = 16;

impl Refused {
    /// Rules that answer if the call is meant, and otherwise go on after their end.
    fn rules(self) -> Vec<libc::sock_filter> {
        let (vm, beside, waiting) = (libc::CLONE_VM, libc::CLONE_THREAD, libc::CLONE_VFORK);
        match self {
            Self::Clone => clone_with(vm | beside | waiting, vm),
            Self::Vfork => clone_with(vm | waiting, vm | waiting),
            Self::PidFd => missing(libc::SYS_pidfd_open),
            Self::PidFdSignal => missing(libc::SYS_pidfd_send_signal),
            Self::CloseRange => missing(libc::SYS_close_range),
            Self::FutexWaitAny => missing(libc::SYS_futex_waitv),
        }
    }
}

fn missing(number: libc::c_long) -> Vec<libc::sock_filter> {
    vec![
        load(NUMBER),
        skip_unless(number as u32, 1),
        answer_error(libc::ENOSYS),
    ]
}

/// A clone whose flags are, under the mask, these.
fn clone_with(mask: libc::c_int, flags: libc::c_int) -> Vec<libc::sock_filter> {
    vec![
        load(NUMBER),
        skip_unless(libc::SYS_clone as u32, 4),
        load(FLAGS),
        rule(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask as u32, 0),
        skip_unless(flags as u32, 1),
        answer_error(libc::EPERM),
    ]
}

fn load(offset: u32) -> libc::sock_filter {
    rule(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0)
}

/// Jumps over the next `count` rules unless the loaded number is this one.
fn skip_unless(number: u32, count: u8) -> libc::sock_filter {
    rule(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number, count)
}

fn answer_error(errno: libc::c_int) -> libc::sock_filter {
    answer(libc::SECCOMP_RET_ERRNO | errno as u32)
}

fn answer(value: u32) -> libc::sock_filter {
    rule(libc::BPF_RET | libc::BPF_K, value, 0)
}

fn rule(code: libc::c_uint, k: u32, jf: u8) -> libc::sock_filter {
    libc::sock_filter {
        code: code as libc::c_ushort,
        jt: 0,
        jf,
        k,
    }
}
