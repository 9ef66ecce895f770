//! Why a process could not be started.

use std::fmt;
use std::io;

/// Why [`crate::spawn`] made no process. A program that cannot be run is not among these: by then there is a
/// process, and its end says so.
#[derive(Debug)]
pub enum SpawnError {
    /// The request cannot be carried out: a descriptor in it is not open, or is one of the standard ones.
    Request(io::Error),
    /// The system makes no process now: too many of them (`EAGAIN`), or no memory (`ENOMEM`).
    System(io::Error),
    /// The thread that starts processes could not be started itself.
    Thread(io::Error),
}

impl SpawnError {
    /// The system's error number, where one is the cause.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Request(error) | Self::System(error) | Self::Thread(error) => error.raw_os_error(),
        }
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(error) => write!(f, "the request for a process cannot be met: {error}"),
            Self::System(error) => write!(f, "the system starts no process: {error}"),
            Self::Thread(error) => write!(f, "the thread that starts processes cannot run: {error}"),
        }
    }
}

impl std::error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Request(error) | Self::System(error) | Self::Thread(error) => Some(error),
        }
    }
}
