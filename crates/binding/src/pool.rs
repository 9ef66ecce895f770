//! The workers of a pool, kept natively: started, replaced and ended whatever JavaScript does meanwhile.

use crate::failure::{Result, fail, state};
use crate::isolate::{Isolate, isolate};
use crate::process::{StartOptions, program};
use crate::queue::pairs;
use napi::Env;
use napi::bindgen_prelude::{Buffer, Uint8Array};
use napi_derive::napi;
use polyproc_family::Key;
use polyproc_pool::hired::Launch;
use polyproc_pool::keeper::{self, Keeper, Started, Terms};
use polyproc_process::Stdio;
use std::sync::Arc;

/// How the workers of a pool are kept.
#[napi(object)]
pub struct KeeperOptions {
    /// Most workers at a time.
    pub processes: u32,
    /// Losses in a row after which the pool is broken.
    pub max_restarts: f64,
    /// Between asking a task to stop and the end of its worker, in ms.
    pub kill_after: f64,
    /// The queues of tasks that wait, as index and generation of each.
    pub ready: Vec<u32>,
    /// Kind and bytes, at most 104, of what is put into a worker's inbox when a task of it is to stop.
    pub letter_kind: u8,
    pub letter: Buffer,
}

/// What every worker is started with.
#[napi(object)]
pub struct WorkerLaunch {
    pub program: StartOptions,
    /// What is said of a worker, before and after its number.
    pub before: String,
    pub after: String,
    pub kind: u8,
    pub message: Buffer,
    pub blobs: Vec<Uint8Array>,
    pub handles: Vec<u32>,
}

/// A worker that was started.
#[napi(object)]
pub struct KeptWorker {
    /// Its name in the family.
    pub key: f64,
    pub pid: u32,
    /// Which of the pool's workers it is, from 1.
    pub serial: f64,
}

impl From<Started> for KeptWorker {
    fn from(started: Started) -> Self {
        Self {
            key: started.key.0 as f64,
            pid: started.pid,
            serial: started.serial as f64,
        }
    }
}

fn keeper_of(number: u32) -> Result<Arc<Keeper>> {
    keeper::of(number).ok_or_else(|| state("nobody keeps the workers of this pool any more"))
}

fn whole(number: f64) -> u64 {
    // Infinity becomes the largest number.
    number as u64
}

/// Keeps the workers of a board from now on; returns the keeper's number.
#[napi]
pub fn keeper_open(env: &Env, board: u32, options: KeeperOptions, launch: WorkerLaunch) -> Result<u32> {
    let isolate = isolate(env)?;
    let board = isolate.board(board)?;
    let terms = Terms {
        processes: options.processes as usize,
        most_losses: whole(options.max_restarts),
        kill_after: whole(options.kill_after),
        letter: (options.letter_kind, options.letter.to_vec()),
        ready: pairs(&options.ready),
    };
    let mut request = program(&isolate, &launch.program)?;
    for (stream, wanted) in request.stdio.iter_mut().zip(&launch.program.stdio) {
        if *wanted == 1 {
            *stream = Stdio::Null;
        }
    }
    let launch = Launch {
        request,
        said: [launch.before.into_bytes(), launch.after.into_bytes()],
        kind: launch.kind,
        message: launch.message.to_vec(),
        blobs: launch.blobs.iter().map(|blob| blob.to_vec()).collect(),
        handles: pairs(&launch.handles),
    };
    let number = keeper::open(isolate.arena, &isolate.me, board, terms, launch).map_err(fail)?;
    isolate.keepers.borrow_mut().push(number);
    Ok(number)
}

/// Starts a worker; null when there are as many as there may be.
#[napi]
pub fn keeper_start(env: &Env, keeper: u32) -> Result<Option<KeptWorker>> {
    let isolate = isolate(env)?;
    let started = keeper_of(keeper)?.start(&isolate.me).map_err(fail)?;
    Ok(started.map(Into::into))
}

/// The workers that have been started and not been seen to end: whoever asks takes note of how they end.
#[napi]
pub fn keeper_workers(keeper: u32) -> Result<Vec<KeptWorker>> {
    Ok(keeper_of(keeper)?.hired().into_iter().map(Into::into).collect())
}

/// A worker is to end, and not to be replaced.
#[napi]
pub fn keeper_expect(keeper: u32, key: f64) -> Result<()> {
    keeper_of(keeper)?.expect(Key(key as u64));
    Ok(())
}

/// SIGKILL to a worker, for what it does: that is no loss, and it is replaced.
#[napi]
pub fn keeper_kill(keeper: u32, key: f64) -> Result<()> {
    keeper_of(keeper)?.kill(Key(key as u64));
    Ok(())
}

/// Starts no more workers; those that there are go on. Twice is harmless.
#[napi]
pub fn keeper_close(env: &Env, keeper: u32) -> Result<()> {
    let isolate = isolate(env)?;
    let mut keepers = isolate.keepers.borrow_mut();
    if let Some(at) = keepers.iter().position(|known| *known == keeper) {
        keepers.swap_remove(at);
        keeper::close(Some(&isolate.me), keeper);
    }
    Ok(())
}

/// The thread that made the pool is ending: so do the workers.
pub fn end(isolate: &Isolate, keeper: u32) {
    if let Some(kept) = keeper::of(keeper) {
        keeper::close(Some(&isolate.me), keeper);
        for worker in kept.hired() {
            kept.kill(worker.key);
        }
    }
}
