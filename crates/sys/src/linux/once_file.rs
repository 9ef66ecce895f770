//! A file in memory that is written once: by the first process that gets to it, whole, and by nobody after. Processes
//! that inherit its descriptor read it from there.
//!
//! ```text
//! +0  length of the content in bytes, u64 LE; 0 while there is none
//! +8  the content
//! ```
//!
//! Who writes holds a lock on the file, which goes with its process. The length is written last and the file is sealed
//! after that: a writer killed before leaves a length of 0, and the next one writes all of it again.

use super::{errno, memory, reopen};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::fs::FileExt;

const SEALS: i32 = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
/// Where the content begins.
pub const HEAD: u64 = 8;

/// See the module.
#[derive(Debug)]
pub struct OnceFile {
    file: File,
}

impl OnceFile {
    /// A new one, without content. The descriptor is closed on exec unless a launch keeps it.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`; `InvalidInput` for a name with a NUL in it.
    pub fn create(name: &str) -> io::Result<Self> {
        let file = memory::unsealed(name)?;
        close_on_exec(&file)?;
        Ok(Self { file })
    }

    /// Takes over the number that a parent passed on. On an error it is left as it was.
    ///
    /// # Errors
    /// `EBADF` when nothing is open there; `InvalidData` when it is no file in memory.
    ///
    /// # Safety
    /// If a file in memory is open at `fd`, nothing else in the process may own that number.
    pub unsafe fn adopt(fd: RawFd) -> io::Result<Self> {
        seals(fd)?;
        // SAFETY: open, as the call above found, and ours, as the caller says.
        let file = unsafe { File::from_raw_fd(fd) };
        close_on_exec(&file)?;
        Ok(Self { file })
    }

    /// The descriptor's number.
    pub fn raw(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Whether it has its content.
    ///
    /// # Errors
    /// Of the system's.
    pub fn is_filled(&self) -> io::Result<bool> {
        Ok(seals(self.raw())? & libc::F_SEAL_WRITE != 0)
    }

    /// Gives it its content; false when it has some, or another process is about to give it.
    ///
    /// # Errors
    /// `ENOMEM`, `EFBIG`; without `/proc`, that it is missing.
    ///
    /// # Examples
    /// ```
    /// let file = polyproc_sys::once_file::OnceFile::create("example")?;
    /// assert!(file.fill(b"once")?);
    /// assert!(!file.fill(b"twice")?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn fill(&self, content: &[u8]) -> io::Result<bool> {
        if self.is_filled()? {
            return Ok(false);
        }
        // A lock is the open file's, and the one that was inherited is everybody's.
        let path = format!("/proc/self/fd/{}", self.raw());
        let own = File::from(reopen::descriptor(&path, libc::S_IFREG, libc::O_RDWR)?);
        // SAFETY: the descriptor is open.
        match errno::check(unsafe { libc::flock(own.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            other => other?,
        };
        if self.is_filled()? {
            return Ok(false);
        }
        own.write_all_at(content, HEAD)?;
        own.write_all_at(&(content.len() as u64).to_le_bytes(), 0)?;
        // SAFETY: the descriptor is open; F_ADD_SEALS takes an int.
        errno::check(unsafe { libc::fcntl(own.as_raw_fd(), libc::F_ADD_SEALS, SEALS) })?;
        Ok(true)
    }
}

fn close_on_exec(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open; only its flag changes.
    errno::check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) }).map(drop)
}

/// Only a file in memory has any.
fn seals(fd: RawFd) -> io::Result<i32> {
    // SAFETY: asks, and changes nothing.
    errno::check(unsafe { libc::fcntl(fd, libc::F_GET_SEALS) }).map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => io::Error::new(io::ErrorKind::InvalidData, "not a file in memory"),
        _ => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn content(file: &OnceFile) -> Vec<u8> {
        let mut head = [0; HEAD as usize];
        file.file.read_exact_at(&mut head, 0).expect("a head");
        let mut content = vec![0; u64::from_le_bytes(head) as usize];
        file.file.read_exact_at(&mut content, HEAD).expect("whole");
        content
    }

    #[test]
    fn it_is_filled_once() {
        let file = OnceFile::create("once").expect("made");
        assert!(!file.is_filled().expect("asked"));
        assert!(file.fill(b"the first").expect("filled"));
        assert!(!file.fill(b"a second").expect("refused"));
        assert_eq!(content(&file), b"the first");
        file.file.write_all_at(b"x", HEAD).expect_err("sealed");
        file.file.set_len(0).expect_err("sealed");
    }

    #[test]
    fn who_comes_while_another_writes_leaves_it_to_them() {
        let file = OnceFile::create("once").expect("made");
        let path = format!("/proc/self/fd/{}", file.raw());
        let writer = File::options().read(true).write(true).open(path).expect("opened");
        writer.lock().expect("locked");
        writer.write_all_at(b"a part of", HEAD).expect("written");
        assert!(!file.fill(b"mine").expect("asked"));
        // It was killed. A child that another test is starting may have its descriptor too, and so the lock, until it runs its program.
        drop(writer);
        let dropped = Instant::now();
        while !file.fill(b"mine").expect("asked") {
            assert!(
                dropped.elapsed() < Duration::from_secs(10),
                "nobody writes, and nobody may"
            );
            std::thread::yield_now();
        }
        assert_eq!(content(&file), b"mine");
    }

    #[test]
    fn what_is_no_file_in_memory_is_not_adopted() {
        let null = File::open("/dev/null").expect("opened");
        // SAFETY: no file in memory, so nothing is taken over.
        let refused = unsafe { OnceFile::adopt(null.as_raw_fd()) };
        assert_eq!(refused.expect_err("refused").kind(), io::ErrorKind::InvalidData);
        // SAFETY: nothing is open there.
        let absent = unsafe { OnceFile::adopt(1_000_000) };
        assert_eq!(absent.expect_err("absent").raw_os_error(), Some(libc::EBADF));
    }
}
