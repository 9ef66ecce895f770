//! Processes: starting, watching, signalling and reaping them.
//!
//! One native thread a process does it all (`spawner.rs`), so that neither a blocked event loop nor a
//! long collection delays a start, an end, or the SIGKILL after a grace. It lives as long as the process,
//! which is what the parent-death signal of a child hangs on. Nothing here knows of shared memory or of
//! JavaScript: both hear of an end by the callback given to [`spawn`].
//!
//! # Examples
//! ```
//! use polyproc_process::{ExitStatus, SpawnRequest, Stdio, spawn};
//! let (send, receive) = std::sync::mpsc::channel();
//! let request = SpawnRequest {
//!     exec: c"/bin/sh".into(),
//!     argv: vec![c"sh".into(), c"-c".into(), c"exit 3".into()],
//!     env: Vec::new(),
//!     cwd: None,
//!     stdio: [Stdio::Null, Stdio::Inherit, Stdio::Inherit],
//!     keep_fds: Vec::new(),
//!     die_with_parent: true,
//! };
//! let child = spawn(request, move |exit| { let _ = send.send(exit.status); })?;
//! assert!(child.pid > 0);
//! assert_eq!(receive.recv()?, ExitStatus::Code(3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod child;
mod children;
mod error;
mod spawner;
mod status;
mod timers;
mod tree;

pub use child::{Child, at, kill_after, signal, signal_other, spawn};
pub use error::SpawnError;
pub use polyproc_sys::launch::{ExecError, Program as SpawnRequest, Stdio, Step};
pub use status::{Exit, ExitStatus};
pub use tree::{signal_tree, tree};
