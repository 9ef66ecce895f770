//! The one clock that all deadlines are on.

/// Nanoseconds of `CLOCK_MONOTONIC`: since some moment before boot, never going back, the same in every
/// process of the machine (time namespaces apart), standing still while the machine is suspended.
///
/// # Examples
/// ```
/// let start = polyproc_sys::clock::now();
/// assert!(polyproc_sys::clock::now() >= start);
/// ```
pub fn now() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds of the same clock as it was at the last tick of the kernel, 1 to 10 ms ago at most: at a quarter of what
/// [`now`] costs.
///
/// # Examples
/// ```
/// use polyproc_sys::clock;
/// let tick = clock::last_tick();
/// assert!(tick <= clock::now());
/// ```
pub fn last_tick() -> u64 {
    read(libc::CLOCK_MONOTONIC_COARSE)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the answer, and these clocks exist on every Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// An absolute time in the form that the kernel reads. Times past the end of `timespec` are cut to it,
/// so that `u64::MAX` means "never" and not a moment in the past.
pub(super) fn timespec(nanoseconds: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: (nanoseconds / 1_000_000_000) as libc::time_t,
        tv_nsec: (nanoseconds % 1_000_000_000) as libc::c_long,
    }
}

/// Tells the processor that this is a spin loop (x86 `pause`): a few nanoseconds to tens of them.
pub fn cpu_relax() {
    std::hint::spin_loop();
}

/// Lets another thread that is ready run on this core first, if there is one.
pub fn yield_now() {
    std::thread::yield_now();
}
