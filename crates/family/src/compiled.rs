//! What the engine made of polyproc's own program when the first child of a family ran it, for the children after it:
//! to compile the program anew takes a third of what a child needs beyond Node itself.
//!
//! It lies in a file in memory of its own, whose descriptor goes from parent to child: not in the arena, where a
//! process that writes where it should not could change what others run.

use polyproc_sys::once_file::OnceFile;
use std::os::fd::RawFd;
use std::sync::OnceLock;

static FILE: OnceLock<Option<OnceFile>> = OnceLock::new();

/// The file's descriptor, for a child; made when the first child is started. `None` where there can be none: every
/// child then compiles for itself.
pub fn descriptor() -> Option<RawFd> {
    FILE.get_or_init(|| OnceFile::create("polyproc-code").ok())
        .as_ref()
        .map(OnceFile::raw)
}

/// In a child: the descriptor that its parent passed on.
///
/// # Safety
/// Nothing else in this process owns that number.
pub unsafe fn adopt(fd: RawFd) {
    // SAFETY: as the caller says.
    let file = unsafe { OnceFile::adopt(fd) };
    let _ = FILE.set(file.ok());
}

/// Keeps compiled code for the children to come. False when there is some, or another child is keeping its own.
pub fn keep(code: &[u8]) -> bool {
    let file = FILE.get().and_then(Option::as_ref);
    // Without it the others compile for themselves.
    file.is_some_and(|file| file.fill(code).unwrap_or(false))
}
