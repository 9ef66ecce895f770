//! System calls without the C library.
//!
//! A child that shares its parent's memory also shares the thread-local storage of the thread that made
//! it, `errno` included, while that thread goes on. So it must not call anything that might write there.

use std::arch::asm;

/// Makes system call `number` and returns what the kernel returns: minus an error number for a failure.
///
/// # Safety
/// That of the call and its arguments.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn call(number: libc::c_long, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result;
    // SAFETY: the registers are those of the kernel's calling convention, which saves all others but rcx and
    // r11; what the call does is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Makes system call `number` and returns what the kernel returns: minus an error number for a failure.
///
/// # Safety
/// That of the call and its arguments.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn call(number: libc::c_long, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result;
    // SAFETY: the registers are those of the kernel's calling convention, which saves all others; what the
    // call does is the caller's promise.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => result,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            options(nostack),
        );
    }
    result
}
