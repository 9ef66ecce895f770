//! How a process ended.

use polyproc_sys::launch::ExecError;
use polyproc_sys::reap::Reaped;

/// How a process ended, as its parent is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code, 0 to 255.
    Code(i32),
    /// This signal ended it, 1 to 64.
    Signal(i32),
    /// It ended, but something else in this process took its status (a `waitpid(-1)`, or SIGCHLD ignored).
    Unknown,
}

impl ExitStatus {
    /// The exit code, or -N for signal N; 255 when it is not known.
    ///
    /// # Examples
    /// ```
    /// use polyproc_process::ExitStatus;
    /// assert_eq!(ExitStatus::Code(3).code(), 3);
    /// assert_eq!(ExitStatus::Signal(9).code(), -9);
    /// ```
    pub fn code(&self) -> i32 {
        match *self {
            Self::Code(code) => code,
            Self::Signal(signal) => -signal,
            Self::Unknown => 255,
        }
    }

    /// `None` while the process runs.
    pub(crate) fn of(reaped: Reaped) -> Option<Self> {
        match reaped {
            Reaped::Running => None,
            Reaped::Exited(code) => Some(Self::Code(code)),
            Reaped::Killed(signal) => Some(Self::Signal(signal)),
            Reaped::Gone => Some(Self::Unknown),
        }
    }
}

/// The end of a process that was started here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Which process it was. The pid may mean another one from here on.
    pub pid: u32,
    /// How it ended.
    pub status: ExitStatus,
    /// Set when its program never ran; the status is then code 127.
    pub exec_error: Option<ExecError>,
}
