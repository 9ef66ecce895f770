//! Numbers that nobody can guess.

use super::errno;
use std::io::Read;

/// 64 random bits from the kernel.
///
/// # Panics
/// When the kernel gives none: neither `getrandom` nor `/dev/urandom` can be used.
///
/// # Examples
/// ```
/// assert_ne!(polyproc_sys::random::u64(), polyproc_sys::random::u64());
/// ```
pub fn u64() -> u64 {
    let mut bytes = [0_u8; 8];
    // SAFETY: the buffer is as long as is said.
    let got = errno::retry(
        || unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) } as libc::c_long,
    );
    // A sandbox may refuse the call and still show the file. Fewer than 8 bytes never come.
    if !matches!(got, Ok(8)) {
        std::fs::File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut bytes))
            .expect("the system gives random numbers");
    }
    u64::from_ne_bytes(bytes)
}
