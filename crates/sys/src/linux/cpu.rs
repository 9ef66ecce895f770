//! How many processors this process may keep busy.

use super::{cgroup, errno};

/// Processors that this process may run on (its affinity mask) or that its control groups pay for,
/// whichever is less; at least 1. A quota of 2.5 processors counts as 2.
///
/// # Examples
/// ```
/// assert!(polyproc_sys::cpu::count() >= 1);
/// ```
pub fn count() -> u32 {
    let allowed = affinity().unwrap_or_else(online);
    match quota() {
        Some(quota) => allowed.min(quota as u32).max(1),
        None => allowed.max(1),
    }
}

/// The smallest processor quota on the way up the control groups (version 1 and 2), in processors (0.5 is
/// half of one); `None` when there is none.
pub fn quota() -> Option<f64> {
    let quotas = cgroup::limits("cpu", |dir, version| match version {
        cgroup::Version::Two => parse_max(&cgroup::read(dir, "cpu.max")?),
        cgroup::Version::One => ratio(
            &cgroup::read(dir, "cpu.cfs_quota_us")?,
            &cgroup::read(dir, "cpu.cfs_period_us")?,
        ),
    });
    quotas.into_iter().reduce(f64::min)
}

/// `cpu.max`: `"max 100000"` or `"150000 100000"`.
fn parse_max(text: &str) -> Option<f64> {
    let (quota, period) = text.split_once(' ')?;
    ratio(quota, period)
}

/// Quota over period, both in microseconds; `-1` and `max` mean none.
fn ratio(quota: &str, period: &str) -> Option<f64> {
    let (quota, period) = (quota.parse::<u64>().ok()?, period.parse::<u64>().ok()?);
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

/// Bits in the affinity mask. The mask grows until the kernel's fits: it refuses one that is shorter than
/// the number of processors it was built for.
fn affinity() -> Option<u32> {
    let mut words = 16;
    while words <= 4096 {
        let mut mask = vec![0_u64; words];
        // SAFETY: `mask` is a valid place for that many bytes of answer.
        let bytes = unsafe {
            libc::syscall(
                libc::SYS_sched_getaffinity,
                0,
                words * size_of::<u64>(),
                mask.as_mut_ptr(),
            )
        };
        if bytes >= 0 {
            return Some(mask.iter().map(|word| word.count_ones()).sum());
        }
        if errno::last() != libc::EINVAL {
            return None;
        }
        words *= 2;
    }
    None
}

fn online() -> u32 {
    // SAFETY: reads a number of the system.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    u32::try_from(online).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_quotas() {
        assert_eq!(parse_max("max 100000"), None);
        assert_eq!(parse_max("150000 100000"), Some(1.5));
        assert_eq!(ratio("-1", "100000"), None);
        assert_eq!(ratio("50000", "100000"), Some(0.5));
        assert_eq!(parse_max(""), None);
    }

    #[test]
    fn counts_at_most_what_is_online() {
        assert!(affinity().is_some_and(|allowed| allowed >= 1 && allowed <= online()));
    }
}
