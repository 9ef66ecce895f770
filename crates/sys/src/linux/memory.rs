//! Shared memory without a name: a sealed memfd, its mapping, and the pages in it.
//!
//! The file is sparse. Setting its size takes no memory, [`commit`] takes it, [`punch`] gives it back.
//! It is sealed against shrinking and growing, so no member can turn another's access into SIGBUS, and
//! it lives exactly as long as somebody has it open or mapped: a crash leaves nothing behind.

use super::{cgroup, errno, limits};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::ptr::NonNull;

/// The numbers below are for descriptors that a program opens by itself or passes by number (`stdio`,
/// `dup2`); a descriptor that children are to inherit at the same number stays clear of them.
/// It stays below 64, too: a process's table of descriptors starts with that many places, and making it
/// larger while other threads use it takes the kernel several milliseconds.
const HIGH: RawFd = 48;
/// Allocating more than this in one call would keep the caller in the kernel too long for a signal.
const COMMIT_STEP: u64 = 64 << 20;
/// A call cut short by a signal gives back what it had allocated, so a repeat is made smaller, to here.
const COMMIT_STEP_MIN: u64 = 256 << 10;
/// While a call writes nobody else can commit or write, in no process.
const WRITE_STEP: usize = 1 << 20;
const SEALS: i32 = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// An open, sealed memfd. Not close-on-exec: children inherit it at the same number.
#[derive(Debug)]
pub struct Memfd {
    file: File,
}

impl Memfd {
    /// Makes a file of `len` bytes (all holes), mode 0600, sealed, at a number from 48 up where
    /// RLIMIT_NOFILE allows that. `name` is what `/proc/<pid>/fd` shows; at most 249 bytes, no NUL.
    ///
    /// # Errors
    /// `EFBIG` when `len` is over RLIMIT_FSIZE (halve it and try again); `EMFILE`, `ENFILE`, `ENOMEM` as
    /// the system says; `InvalidInput` for a bad name.
    ///
    /// # Examples
    /// ```
    /// let fd = polyproc_sys::memory::Memfd::create("example", 1 << 20)?;
    /// assert_eq!(fd.len()?, 1 << 20);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn create(name: &str, len: u64) -> io::Result<Self> {
        // Asked first, because the kernel answers a file that is too long with SIGXFSZ as well.
        if len > limits::file_size() {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        }
        let file = unsealed(name)?;
        file.set_len(len)?;
        // SAFETY: the descriptor is open and ours; F_ADD_SEALS takes an int.
        errno::check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, SEALS) })?;
        Ok(Self { file })
    }

    /// Takes over the descriptor number that a parent passed on, after checking that it is a memfd sealed
    /// as [`Memfd::create`] seals, and that it belongs to this user or to root (whose child may have
    /// dropped its privileges since). On an error the number is left as it was, open or not.
    ///
    /// # Errors
    /// `EBADF` when nothing is open there; `InvalidData` when it is something else.
    ///
    /// # Safety
    /// If a sealed memfd is open at `fd`, nothing else in the process may own that number.
    pub unsafe fn adopt(fd: RawFd) -> io::Result<Self> {
        // The check is made on a duplicate: were `fd` a number that somebody else owns, an error here must
        // not close it.
        let copy = duplicate(fd, 0, libc::F_DUPFD_CLOEXEC)?;
        check_sealed(&File::from(copy))?;
        // SAFETY: open, as the duplicate shows, and nobody else's by the caller's contract.
        let file = unsafe { File::from_raw_fd(fd) };
        Ok(Self { file })
    }

    /// Descriptors of this process that are sealed memfds of that name: what an ancestor passed on, if this
    /// process has made none itself. Empty where there is no `/proc`.
    pub fn inherited(name: &str) -> Vec<RawFd> {
        let wanted = format!("/memfd:{name}");
        let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let link = std::fs::read_link(&path).ok()?;
                let link = link.to_str()?;
                let found = link.strip_prefix(&wanted)?;
                let fd: RawFd = path.file_name()?.to_str()?.parse().ok()?;
                if !matches!(found, "" | " (deleted)") {
                    return None;
                }
                let copy = duplicate(fd, 0, libc::F_DUPFD_CLOEXEC).ok()?;
                check_sealed(&File::from(copy)).ok()?;
                Some(fd)
            })
            .collect()
    }

    /// Opens descriptor `fd` of process `pid` a second time, through `/proc`. Checked as in
    /// [`Memfd::adopt`]; a pid or number that now belongs to somebody else is an error and opens nothing
    /// that could notice.
    ///
    /// # Errors
    /// `NotFound` when there is no such process, descriptor or `/proc`; `PermissionDenied` when the process
    /// is another user's or has changed its user; `InvalidData` when it is not such a memfd.
    pub fn open_of(pid: u32, fd: RawFd) -> io::Result<Self> {
        let path = format!("/proc/{pid}/fd/{fd}");
        let link = std::fs::read_link(&path)?;
        if !link.as_os_str().as_encoded_bytes().starts_with(b"/memfd:") {
            return Err(not_ours("the descriptor there is not a memfd"));
        }
        let file = super::reopen::descriptor(&path, libc::S_IFREG, libc::O_RDWR)?;
        let file = File::from(file);
        check_sealed(&file)?;
        Ok(Self { file: raised(&file)? })
    }

    /// The size in bytes, as the kernel has it now.
    ///
    /// # Errors
    /// Those of `fstat`, which a sound descriptor does not give.
    #[expect(
        clippy::len_without_is_empty,
        reason = "the size of a file, which cannot change"
    )]
    pub fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// The descriptor's number; closed with this value.
    pub fn raw(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Keeps the descriptor open for the rest of the process, so that children inherit it.
    pub fn leak(self) -> RawFd {
        self.file.into_raw_fd()
    }

    /// Reads exactly `buf.len()` bytes at `off`, without a mapping.
    ///
    /// # Errors
    /// `UnexpectedEof` past the end.
    pub fn read_at(&self, off: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, off)
    }

    /// Writes all of `buf` at `off`, without a mapping. Takes memory for the pages it touches.
    ///
    /// # Errors
    /// `EPERM` past the sealed end, `ENOSPC` or `ENOMEM` when there is no memory.
    pub fn write_at(&self, off: u64, buf: &[u8]) -> io::Result<()> {
        self.file.write_all_at(buf, off)
    }
}

/// A memfd mapped into this process, read and write, shared. Left out of core dumps: the dumper would
/// fault in every hole. Unmapped when dropped, and only then.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is an address range; what is done through `base` answers for itself.
unsafe impl Send for Mapping {}
// SAFETY: as above; no method changes anything.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes. Address space only: no memory is reserved or used.
    ///
    /// # Errors
    /// `ENOMEM` when RLIMIT_AS or the address space is used up; `InvalidInput` when `len` is zero or more
    /// than the file has, since an access past the end would be SIGBUS.
    ///
    /// # Examples
    /// ```
    /// use polyproc_sys::memory::{Mapping, Memfd};
    /// let map = Mapping::of(&Memfd::create("example", 1 << 20)?, 1 << 20)?;
    /// assert_eq!(map.len(), 1 << 20);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn of(fd: &Memfd, len: usize) -> io::Result<Self> {
        if len == 0 || len as u64 > fd.len()? {
            return Err(errno::invalid("the mapping must lie within the file"));
        }
        // SAFETY: a new mapping at a place that the kernel chooses disturbs nothing.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_NORESERVE,
                fd.raw(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| errno::invalid("mapped at zero"))?;
        let mapping = Self { base, len };
        // SAFETY: the range was mapped just now and this advice changes no bytes.
        errno::check(unsafe { libc::madvise(base.as_ptr().cast(), len, libc::MADV_DONTDUMP) })?;
        Ok(mapping)
    }

    /// The first byte. The bytes change under the reader's hands at any time: only atomics and raw copies.
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The length in bytes, never zero.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is ours alone; whoever kept a pointer into it broke the contract of `base`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// Enters the pages of a mapped range that have memory into this process's page table in one call: a fault for each page
/// takes longer than to copy that page. Only whole pages inside the range. An advice: a kernel before 5.14 does not know it,
/// and the pages are entered when they are touched.
///
/// Asks for reading, since sixteen pages are entered at a time then, and in a shared mapping they may be written all the same.
///
/// # Safety
/// The range must be mapped and shared, and all of it must have memory: a page that has none gets it here, uncounted.
///
/// # Examples
/// ```
/// use polyproc_sys::memory::{Mapping, Memfd, commit, enter};
/// let fd = Memfd::create("example", 1 << 20)?;
/// let map = Mapping::of(&fd, 1 << 20)?;
/// commit(fd.raw(), 0, 1 << 20)?;
/// // SAFETY: mapped and committed above.
/// unsafe { enter(map.base(), map.len()) };
/// # Ok::<(), std::io::Error>(())
/// ```
pub unsafe fn enter(at: NonNull<u8>, len: usize) {
    let page = page_size();
    let skipped = at.as_ptr().align_offset(page);
    let whole = len.saturating_sub(skipped) / page * page;
    if whole > 0 {
        let first = at.as_ptr().wrapping_add(skipped);
        // SAFETY: inside the range, which is mapped; no byte changes.
        unsafe { libc::madvise(first.cast(), whole, libc::MADV_POPULATE_READ) };
    }
}

/// Writes `bytes` at `off` without a mapping; returns how many were written, which may be fewer where something is in the
/// way (a signal, RLIMIT_FSIZE). For pages that have never been touched this is twice as fast as through a mapping: the
/// kernel neither zeroes them first nor takes a fault for each.
///
/// # Examples
/// ```
/// use polyproc_sys::memory::{Memfd, write_fresh};
/// let fd = Memfd::create("example", 1 << 20)?;
/// assert_eq!(write_fresh(fd.raw(), 100, &[7; 5000]), 5000);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write_fresh(fd: RawFd, off: u64, bytes: &[u8]) -> usize {
    // Beyond the limit the answer is a signal.
    if off.saturating_add(bytes.len() as u64) > limits::file_size() {
        return 0;
    }
    let mut done = 0;
    while done < bytes.len() {
        let part = (bytes.len() - done).min(WRITE_STEP);
        let Ok(at) = libc::off_t::try_from(off + done as u64) else {
            return done;
        };
        // SAFETY: the bytes are ours to read; a bad descriptor or place is an error.
        let written = unsafe { libc::pwrite(fd, bytes[done..].as_ptr().cast(), part, at) };
        match usize::try_from(written) {
            Ok(0) | Err(_) => return done,
            Ok(written) => done += written,
        }
    }
    done
}

/// From so many bytes on [`copy_past`] goes around the caches. The source, the message and the few before it that are on their
/// way leave little of a shared cache of 32 MiB then. Of fewer bytes the reader finds some in there, and is faster with them.
const PAST_CACHES: usize = 4 << 20;

/// Copies `bytes` to `to`. Many bytes are written around the caches: the processor need not read what they replace, which
/// makes half of the traffic of a plain copy, and the caches keep what they had. They are in memory when this returns, so
/// whatever publishes them afterwards publishes all of them.
///
/// # Safety
/// `to` must be writable for `bytes.len()` bytes, none of which is one of `bytes`.
///
/// # Examples
/// ```
/// let mut target = vec![0_u8; 9 << 20];
/// let at = std::ptr::NonNull::from(&mut target[..]).cast();
/// // SAFETY: as long as the bytes, and apart from them.
/// unsafe { polyproc_sys::memory::copy_past(at, &[7; 9 << 20]) };
/// assert!(target.iter().all(|byte| *byte == 7));
/// ```
pub unsafe fn copy_past(to: NonNull<u8>, bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    let done = if bytes.len() >= PAST_CACHES {
        // SAFETY: the caller's contract.
        unsafe { stream(to, bytes) }
    } else {
        0
    };
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    let rest = &bytes[done..];
    // SAFETY: the caller's contract, for what is left.
    unsafe { std::ptr::copy_nonoverlapping(rest.as_ptr(), to.as_ptr().wrapping_add(done), rest.len()) };
}

/// Copies whole lines of 64 bytes by stores that go around the caches; returns how many bytes that were.
///
/// # Safety
/// As [`copy_past`].
#[cfg(target_arch = "x86_64")]
unsafe fn stream(to: NonNull<u8>, bytes: &[u8]) -> usize {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
    // Such a store wants a multiple of 16.
    let skipped = to.as_ptr().align_offset(size_of::<__m128i>()).min(bytes.len());
    // SAFETY: inside both ranges by the caller's contract.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), skipped) };
    let (lines, _) = bytes[skipped..].as_chunks::<64>();
    let mut target = to.as_ptr().wrapping_add(skipped).cast::<__m128i>();
    for line in lines {
        let from = line.as_ptr().cast::<__m128i>();
        // All loads before all stores: a load between two of them sends an unfinished line on its way, at half the speed.
        let parts: [__m128i; 4] = std::array::from_fn(|part| {
            // SAFETY: a quarter of the line, wherever it begins; SSE2 is part of x86_64.
            unsafe { _mm_loadu_si128(from.wrapping_add(part)) }
        });
        for part in parts {
            // SAFETY: inside the target by the caller's contract, and aligned there by what was skipped.
            unsafe { _mm_stream_si128(target, part) };
            target = target.wrapping_add(1);
        }
    }
    // SYNC: these stores have no order with any other until this fence; from here on they are before all that follows.
    // SAFETY: SSE is part of x86_64.
    unsafe { _mm_sfence() };
    skipped + lines.len() * 64
}

/// Gives the range memory of its own now, so that touching it later cannot fail. Pages that have memory
/// keep their content; the rest reads as zeros. In steps of at most 64 MiB.
///
/// # Errors
/// `ENOSPC` or `ENOMEM` when the machine has no more (under strict overcommit); then a part may be
/// committed. `EINVAL` for an empty range, `EPERM` for one past the sealed end.
pub fn commit(fd: RawFd, off: u64, len: u64) -> io::Result<()> {
    if len == 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let (mut done, mut step) = (0, COMMIT_STEP);
    while done < len {
        let part = step.min(len - done);
        match fallocate(fd, libc::FALLOC_FL_KEEP_SIZE, off + done, part) {
            Ok(()) => done += part,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                step = (step / 2).max(COMMIT_STEP_MIN);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Gives the memory of the range back; it reads as zeros afterwards, in every process at once. Parts of
/// pages at the edges are zeroed and stay.
///
/// # Errors
/// `EINVAL` for an empty range; otherwise none on a sound descriptor.
pub fn punch(fd: RawFd, off: u64, len: u64) -> io::Result<()> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    loop {
        match fallocate(fd, mode, off, len) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// How much memory this process can hope for, in bytes: that of the machine, or the smallest limit of its
/// control groups (version 1 and 2, walking up to the root) if that is less.
pub fn limit_bytes() -> u64 {
    let limits = cgroup::limits("memory", |dir, version| {
        let file = match version {
            cgroup::Version::One => "memory.limit_in_bytes",
            cgroup::Version::Two => "memory.max",
        };
        cgroup::read(dir, file)?.parse::<u64>().ok()
    });
    limits.into_iter().fold(machine_bytes(), u64::min)
}

/// The size of a page in bytes, a power of two.
pub fn page_size() -> usize {
    // SAFETY: reads a constant of the system.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

fn machine_bytes() -> u64 {
    // SAFETY: reads a constant of the system.
    let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
    match u64::try_from(pages) {
        Ok(pages) => pages.saturating_mul(page_size() as u64),
        Err(_) => u64::MAX,
    }
}

/// An empty file in memory that can still be sealed, at a high number, inherited over exec.
pub(super) fn unsealed(name: &str) -> io::Result<File> {
    let name = CString::new(name).map_err(|_| errno::invalid("the name has a NUL in it"))?;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // With vm.memfd_noexec=2 a memfd without this flag is refused; kernels before 6.3 refuse the flag.
    let fd = match memfd(&name, flags | libc::MFD_NOEXEC_SEAL) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => memfd(&name, flags)?,
        other => other?,
    };
    let file = File::from(fd);
    // SAFETY: the descriptor is open and ours; only its mode changes.
    errno::check(unsafe { libc::fchmod(file.as_raw_fd(), 0o600) })?;
    raised(&file)
}

fn memfd(name: &CString, flags: libc::c_uint) -> io::Result<OwnedFd> {
    // SAFETY: the name is a C string that outlives the call.
    let fd = errno::check(unsafe { libc::memfd_create(name.as_ptr(), flags) })?;
    // SAFETY: just opened, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A duplicate at a high number, inherited over exec. Where few descriptors are allowed, from half of the
/// limit on; where those are taken, wherever there is room.
fn raised(file: &File) -> io::Result<File> {
    let allowed = RawFd::try_from(limits::descriptors()).unwrap_or(RawFd::MAX);
    for from in [HIGH, allowed / 2] {
        if from < allowed
            && let Ok(fd) = duplicate(file.as_raw_fd(), from, libc::F_DUPFD)
        {
            return Ok(File::from(fd));
        }
    }
    Ok(File::from(duplicate(file.as_raw_fd(), 3, libc::F_DUPFD)?))
}

fn duplicate(fd: RawFd, from: RawFd, command: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: takes a new number for whatever `fd` is, or fails with EBADF.
    let fd = errno::check(unsafe { libc::fcntl(fd, command, from) })?;
    // SAFETY: just opened, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Only a memfd can carry these seals: a file on tmpfs is sealed against sealing from the start.
fn check_sealed(file: &File) -> io::Result<()> {
    // SAFETY: asks, and changes nothing.
    let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
    if seals == -1 || seals & SEALS != SEALS {
        return Err(not_ours("not a memfd sealed against shrinking and growing"));
    }
    let owner = file.metadata()?.uid();
    if owner != super::proc_info::euid() && owner != 0 {
        return Err(not_ours("the memfd belongs to another user"));
    }
    Ok(())
}

fn not_ours(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn fallocate(fd: RawFd, mode: libc::c_int, off: u64, len: u64) -> io::Result<()> {
    let past = |_| io::Error::from_raw_os_error(libc::EFBIG);
    let off = libc::off_t::try_from(off).map_err(past)?;
    let len = libc::off_t::try_from(len).map_err(past)?;
    // SAFETY: a bad descriptor or range is an error, and the bytes of a hole are nobody's.
    errno::check(unsafe { libc::fallocate(fd, mode, off, len) }).map(drop)
}
