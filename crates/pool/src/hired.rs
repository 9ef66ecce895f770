//! A worker process as the one who keeps it knows it, and what every worker is started with.

use crate::keeper::Started;
use polyproc_arena::error::Result;
use polyproc_arena::object::Handle;
use polyproc_arena::{Arena, Member};
use polyproc_channel::envelope;
use polyproc_family::{compiled, environment};
use polyproc_process::SpawnRequest;

/// What every worker is started with: the program, and the boot message that it finds. The objects whose handles
/// are in the message are kept alive by the keeper.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program.
    pub request: SpawnRequest,
    /// What is said of a worker, around its number.
    pub said: [Vec<u8>; 2],
    /// The message's kind.
    pub kind: u8,
    /// The message.
    pub message: Vec<u8>,
    /// Its large parts.
    pub blobs: Vec<Vec<u8>>,
    /// Handles in it.
    pub handles: Vec<Handle>,
}

impl Launch {
    /// Starts the worker of that number.
    pub(crate) fn start(&self, arena: &'static Arena, me: &Member, serial: u64) -> Result<Hired> {
        let serial_text = serial.to_string();
        let [before, after] = &self.said;
        let said = before.len() + serial_text.len() + after.len();
        let mut boot = Vec::with_capacity(5 + said + self.message.len());
        boot.extend_from_slice(&(said as u32).to_le_bytes());
        boot.extend_from_slice(before);
        boot.extend_from_slice(serial_text.as_bytes());
        boot.extend_from_slice(after);
        boot.push(self.kind);
        boot.extend_from_slice(&self.message);
        let blobs: Vec<&[u8]> = self.blobs.iter().map(AsRef::as_ref).collect();
        let sealed = envelope::seal(arena, me, &boot, &blobs, &self.handles)?;
        let pins = !self.handles.is_empty();
        let started = polyproc_family::start(arena, me, sealed.block, pins, |key| {
            let mut request = self.request.clone();
            request
                .env
                .push(environment::place(key.name(), compiled::descriptor()));
            request
        })?;
        Ok(Hired {
            started: Started {
                key: started.key,
                pid: started.child.pid,
                serial,
            },
            expected: false,
            entered: false,
            shown: false,
            killed: false,
            exit: None,
        })
    }
}

/// A worker that was started and has not been seen to end.
#[derive(Debug)]
pub(crate) struct Hired {
    pub started: Started,
    /// It has been told to end.
    pub expected: bool,
    /// It has been seen on the board.
    pub entered: bool,
    /// Somebody else knows of it, and will take note of how it ended.
    pub shown: bool,
    /// It was killed by whoever keeps it.
    pub killed: bool,
    /// How it ended, once that is known.
    pub exit: Option<i32>,
}
