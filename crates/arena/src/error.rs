//! What can go wrong in the arena.

use std::fmt;

/// Every failure of the arena. The binding turns each into an error class of the package by its code.
#[derive(Debug)]
pub enum Error {
    /// The limit on shared memory is reached; nothing was changed.
    OutOfMemory {
        /// Bytes that were asked for.
        wanted: u64,
        /// The limit in force, in bytes.
        limit: u64,
    },
    /// A table of the arena is full: its name and how many it holds.
    TableFull(&'static str, u64),
    /// Shared memory holds something that no member would write.
    Corrupt(&'static str),
    /// A section is held by somebody who makes no progress; only recovery gives up waiting.
    Busy,
    /// The handle's object is gone, or belongs to another family.
    Stale,
    /// Wrong use; the text says what.
    State(String),
    /// The system refused.
    System(&'static str, std::io::Error),
}

/// Result of the arena's operations.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The stable code of the JavaScript error class.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::OutOfMemory { .. } | Self::TableFull(..) => "ERR_POLYPROC_OUT_OF_MEMORY",
            Self::Stale => "ERR_POLYPROC_CLOSED",
            Self::Busy | Self::Corrupt(_) | Self::State(_) | Self::System(..) => "ERR_POLYPROC_STATE",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory { wanted, limit } => write!(
                f,
                "shared memory is used up: {wanted} bytes more would exceed the limit of {limit} bytes; \
                 raise it with configure({{ maxBytes }}) or POLYPROC_MAX_BYTES before the first shared object is made"
            ),
            Self::TableFull(what, most) => write!(
                f,
                "the shared memory has room for {most} {what} and all are in use"
            ),
            Self::Corrupt(what) => write!(f, "shared memory is damaged: {what}"),
            Self::Busy => f.write_str("a part of shared memory is held by a process that is stopped"),
            Self::Stale => {
                f.write_str("the shared object is gone, or belongs to another family of processes")
            }
            Self::State(text) => f.write_str(text),
            Self::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for Error {}
