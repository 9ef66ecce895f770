//! Limits of this process on what it may reserve.

use std::mem::MaybeUninit;

fn limit(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: `limit` is a valid place for the answer.
    let outcome = unsafe { libc::getrlimit(resource, limit.as_mut_ptr()) };
    if outcome != 0 {
        return u64::MAX;
    }
    // SAFETY: getrlimit has filled it in.
    unsafe { limit.assume_init() }.rlim_cur
}

/// Largest file (so also memfd) that this process may make, in bytes: RLIMIT_FSIZE. Growing one beyond
/// it would raise SIGXFSZ, so ask first.
#[must_use]
pub fn file_size() -> u64 {
    limit(libc::RLIMIT_FSIZE)
}

/// Most address space of this process, in bytes: RLIMIT_AS.
#[must_use]
pub fn address_space() -> u64 {
    limit(libc::RLIMIT_AS)
}

/// Most descriptors of this process: RLIMIT_NOFILE.
#[must_use]
pub fn descriptors() -> u64 {
    limit(libc::RLIMIT_NOFILE)
}
