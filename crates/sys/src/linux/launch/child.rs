//! What a new process does between its making and the program it is to run.
//!
//! It runs in the memory of its parent, beside it. So it makes raw system calls and writes to its own stack
//! and the launch's control words, nothing else: no allocation, no `errno`, no panic. All signals are
//! blocked on entry, and no handler of the parent's may ever run here.

use super::raw::call;
use super::{Plan, Stdio, Step};
use std::ffi::{CStr, c_void};
use std::os::fd::RawFd;
use std::sync::atomic::Ordering;

/// A step that failed, and the system's error number.
type Failed = (Step, i32);

/// Signals go to 64 on every architecture that this runs on, in sets of 8 bytes.
const SIGNALS: usize = 64;
const SET_BYTES: usize = 8;
/// The shell's code for a program that could not be run.
const NOT_RUN: usize = 127;

/// The entry on the new stack; `plan` is a [`Plan`] that stays until the control word says that this is
/// over. Does not return.
pub(super) extern "C" fn enter(plan: *mut c_void) -> libc::c_int {
    // SAFETY: the parent keeps the plan, unchanged, for as long as this process may read it.
    let plan = unsafe { &*plan.cast_const().cast::<Plan>() };
    let Err((step, errno)) = run(plan);
    // SYNC: Release; `Launch::exec_error` (Acquire) reads it after the kernel has cleared the control word.
    plan.control()
        .error
        .store((step as u32) << 16 | errno as u32, Ordering::Release);
    exit()
}

fn run(plan: &Plan) -> Result<std::convert::Infallible, Failed> {
    default_signals();
    if plan.program.die_with_parent {
        die_with(plan.parent)?;
    }
    if let Some(cwd) = &plan.program.cwd {
        // SAFETY: a C string.
        check(Step::Directory, unsafe {
            call(libc::SYS_chdir, address(cwd), 0, 0, 0)
        })?;
    }
    place_stdio(plan.program.stdio)?;
    keep_only(&plan.program.keep_fds)?;
    let (exec, argv, env) = (address(&plan.program.exec), plan.argv.as_ptr(), plan.env.as_ptr());
    // SAFETY: a C string and two arrays of them, each ended by a null.
    let result = unsafe { call(libc::SYS_execve, exec, argv as usize, env as usize, 0) };
    Err((Step::Exec, (-result) as i32))
}

/// Dispositions to default, the ignored ones too, and only then an empty mask: exec would keep both the
/// mask and what is ignored, and before it a handler of the parent's must not run.
fn default_signals() {
    // Larger than the kernel's structure on any architecture; zeros mean SIG_DFL, no flags, empty mask.
    let default = [0_u64; 8];
    for signal in 1..=SIGNALS {
        let action = default.as_ptr() as usize;
        // SAFETY: a valid action; refused for SIGKILL and SIGSTOP, which have no other.
        unsafe { call(libc::SYS_rt_sigaction, signal, action, 0, SET_BYTES) };
    }
    let none = 0_u64;
    let (how, set) = (libc::SIG_SETMASK as usize, (&raw const none) as usize);
    // SAFETY: a valid set of the size that is said.
    unsafe { call(libc::SYS_rt_sigprocmask, how, set, 0, SET_BYTES) };
}

/// SIGKILL to this process when the parent's thread ends; it lives as long as the parent.
fn die_with(parent: u32) -> Result<(), Failed> {
    let (option, signal) = (libc::PR_SET_PDEATHSIG as usize, libc::SIGKILL as usize);
    // SAFETY: plain numbers.
    check(Step::ParentDeath, unsafe {
        call(libc::SYS_prctl, option, signal, 0, 0)
    })?;
    // SAFETY: takes nothing.
    let now = unsafe { call(libc::SYS_getppid, 0, 0, 0, 0) };
    // Had it died before the call above, nobody would send the signal. 0 means a parent outside the pid
    // namespace, of whom this does not tell.
    if now != 0 && now != parent as isize {
        exit();
    }
    Ok(())
}

/// Puts the three standard streams in their places.
fn place_stdio(stdio: [Stdio; 3]) -> Result<(), Failed> {
    // Sources among 0 to 2 go out of the way first: placing one stream must not overwrite the source of
    // another.
    let mut sources = [None; 3];
    for (source, stream) in sources.iter_mut().zip(stdio) {
        *source = match stream {
            Stdio::Inherit => None,
            Stdio::Null => Some(open_null()?),
            Stdio::Fd(fd) if fd > 2 => Some(fd),
            Stdio::Fd(fd) => Some(above(fd)?),
        };
    }
    for (place, source) in sources.into_iter().enumerate() {
        if let Some(fd) = source {
            // SAFETY: plain numbers. Without a flag the copy stays open over exec.
            check(Step::Stdio, unsafe {
                call(libc::SYS_dup3, fd as usize, place, 0, 0)
            })?;
        } else {
            // Node marks its own standard streams close-on-exec. One that is closed stays closed.
            // SAFETY: plain numbers.
            let _ = unsafe { call(libc::SYS_fcntl, place, libc::F_SETFD as usize, 0, 0) };
        }
    }
    Ok(())
}

/// A copy of `fd` at a number over 2, not kept over exec.
fn above(fd: RawFd) -> Result<RawFd, Failed> {
    let command = libc::F_DUPFD_CLOEXEC as usize;
    // SAFETY: plain numbers.
    check(Step::Stdio, unsafe {
        call(libc::SYS_fcntl, fd as usize, command, 3, 0)
    })
}

fn open_null() -> Result<RawFd, Failed> {
    let flags = (libc::O_RDWR | libc::O_CLOEXEC) as usize;
    // SAFETY: a C string.
    let fd = check(Step::Stdio, unsafe { open(c"/dev/null", flags) })?;
    // 0 to 2 may have been closed, and then this came to lie in the place of another stream.
    if fd > 2 { Ok(fd) } else { above(fd) }
}

/// Everything from 3 on is closed by exec, except what is to be kept.
fn keep_only(keep: &[RawFd]) -> Result<(), Failed> {
    let flag = libc::CLOSE_RANGE_CLOEXEC as usize;
    // SAFETY: plain numbers.
    if unsafe { call(libc::SYS_close_range, 3, u32::MAX as usize, flag, 0) } < 0 {
        close_listed()?;
    }
    for &fd in keep {
        set_cloexec(fd, false)?;
    }
    Ok(())
}

/// The same by the list in `/proc`, for kernels before 5.11.
#[cold]
fn close_listed() -> Result<(), Failed> {
    /// Bytes of an entry before its name: inode, offset, length, type.
    const HEAD: usize = 19;
    let flags = (libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC) as usize;
    // SAFETY: a C string.
    let Ok(list) = check(Step::Descriptors, unsafe { open(c"/proc/self/fd", flags) }) else {
        // Without /proc: as far as descriptors commonly go.
        for fd in 3..65_536 {
            let _ = set_cloexec(fd, true);
        }
        return Ok(());
    };
    let mut buffer = [0_u64; 256];
    let room = size_of_val(&buffer);
    loop {
        let place = buffer.as_mut_ptr() as usize;
        // SAFETY: room for that many bytes.
        let result = unsafe { call(libc::SYS_getdents64, list as usize, place, room, 0) };
        let filled = check(Step::Descriptors, result)? as usize;
        if filled == 0 {
            return Ok(());
        }
        // SAFETY: the kernel filled that many bytes of the buffer.
        let mut entries = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), filled) };
        while let Some(&[low, high]) = entries.get(16..18) {
            let length = usize::from(u16::from_ne_bytes([low, high]));
            if let Some(fd) = entries.get(HEAD..length).and_then(number)
                && fd > 2
            {
                // It fails only for one that is not open any more.
                let _ = set_cloexec(fd, true);
            }
            entries = entries.get(length.max(HEAD)..).unwrap_or(&[]);
        }
    }
}

/// The decimal number that a name begins with; `None` for `.` and `..`.
fn number(name: &[u8]) -> Option<RawFd> {
    let mut digits = name.iter().take_while(|byte| byte.is_ascii_digit()).peekable();
    digits.peek()?;
    Some(digits.fold(0, |sum: RawFd, digit| {
        sum.wrapping_mul(10)
            .wrapping_add(RawFd::from(digit.wrapping_sub(b'0')))
    }))
}

fn set_cloexec(fd: RawFd, on: bool) -> Result<(), Failed> {
    let (command, flag) = (
        libc::F_SETFD as usize,
        if on { libc::FD_CLOEXEC } else { 0 } as usize,
    );
    // SAFETY: plain numbers.
    check(Step::Descriptors, unsafe {
        call(libc::SYS_fcntl, fd as usize, command, flag, 0)
    })
    .map(drop)
}

/// # Safety
/// None beyond the flags', which must not ask for a mode.
unsafe fn open(path: &'static CStr, flags: usize) -> isize {
    let here = libc::AT_FDCWD as usize;
    // SAFETY: a C string.
    unsafe { call(libc::SYS_openat, here, path.as_ptr() as usize, flags, 0) }
}

fn address(string: &CStr) -> usize {
    string.as_ptr() as usize
}

fn check(step: Step, result: isize) -> Result<i32, Failed> {
    if result < 0 {
        Err((step, (-result) as i32))
    } else {
        Ok(result as i32)
    }
}

fn exit() -> ! {
    loop {
        // SAFETY: ends this process alone, not the one whose memory it shares.
        unsafe { call(libc::SYS_exit_group, NOT_RUN, 0, 0, 0) };
    }
}

#[cfg(test)]
mod tests {
    use super::{close_listed, number};
    use std::os::fd::AsRawFd;

    #[test]
    fn the_list_in_proc_serves_where_close_range_is_missing() {
        // Enough to need the buffer more than once.
        let files: Vec<_> = (0..300)
            .map(|_| std::fs::File::open("/dev/null").expect("opens"))
            .collect();
        let flags = |fd| {
            // SAFETY: asks for flags only.
            unsafe { libc::fcntl(fd, libc::F_GETFD) }
        };
        for file in &files {
            // SAFETY: sets the flags of a descriptor of this test.
            unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) };
        }
        assert_eq!(close_listed(), Ok(()));
        assert!(
            files
                .iter()
                .all(|file| flags(file.as_raw_fd()) == libc::FD_CLOEXEC)
        );
        assert_eq!(flags(1) & libc::FD_CLOEXEC, 0);
    }

    #[test]
    fn reads_names_of_descriptors() {
        assert_eq!(number(b"17\0junk9"), Some(17));
        assert_eq!(number(b".."), None);
        assert_eq!(number(b""), None);
    }
}
