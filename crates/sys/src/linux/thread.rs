//! Threads that last as long as their process.

use super::signal;
use std::ffi::CString;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Whether the caller runs on the process's first thread.
///
/// # Examples
/// ```
/// assert!(!std::thread::spawn(polyproc_sys::thread::is_main).join().unwrap());
/// ```
pub fn is_main() -> bool {
    // SAFETY: takes nothing and cannot fail.
    let thread = unsafe { libc::gettid() };
    // SAFETY: as above.
    thread == unsafe { libc::getpid() }
}

/// Starts a thread with `stack` bytes of stack (raised to the system's least) and every signal blocked in
/// it, so that the program's handlers never run there. `name` shows in `/proc` and `ps`, cut to 15 bytes.
///
/// The thread never ends before the process: a robust list and a parent-death signal of its own depend on
/// that. Should `f` return or panic, the thread sleeps from there on.
///
/// # Errors
/// `EAGAIN` when the system has no room for a thread.
///
/// # Examples
/// ```
/// let (send, receive) = std::sync::mpsc::channel();
/// polyproc_sys::thread::spawn_immortal("example", 64 << 10, move || { let _ = send.send(1); })?;
/// assert_eq!(receive.recv(), Ok(1));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn spawn_immortal(name: &str, stack: usize, f: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let short = short(name);
    // The new thread inherits the mask of this one. Blocking in the thread itself would leave a moment in
    // which a handler could still run there.
    let _blocked = signal::block_all();
    std::thread::Builder::new()
        .name(short)
        .stack_size(stack)
        .spawn(move || {
            // The hook has printed the panic; unwinding further would end the thread.
            let _ = catch_unwind(AssertUnwindSafe(f));
            loop {
                std::thread::park();
            }
        })
        .map(drop)
}

/// Names the calling thread, cut to 15 bytes. The main thread's name is the process's in `ps -o comm`.
pub fn set_name(name: &str) {
    let Ok(name) = CString::new(short(name)) else {
        return;
    };
    // SAFETY: a C string of at most 16 bytes, which the kernel copies.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// At most 15 bytes, cut between characters, NULs left out.
fn short(name: &str) -> String {
    let mut short = String::new();
    for c in name.chars().filter(|c| *c != '\0') {
        if short.len() + c.len_utf8() > 15 {
            break;
        }
        short.push(c);
    }
    short
}
