//! Ends of pipes, by the ids that this isolate gave them. Reading and writing goes by the ids of their queues.

use crate::failure::{Result, fail};
use crate::isolate::isolate;
use napi::Env;
use napi_derive::napi;
use polyproc_arena::object::Handle;
use polyproc_channel::connection::{self, End};

/// An end: its id and the ids of its queues, -1 where it has none.
#[napi(object)]
pub struct PipeEnd {
    pub id: u32,
    pub reads: i32,
    pub writes: i32,
}

fn show(isolate: &crate::isolate::Isolate, end: End) -> Result<PipeEnd> {
    let id = isolate.keep_end(end);
    let open = isolate.end(id)?;
    let number = |id: Option<u32>| id.map_or(-1, |id| id as i32);
    Ok(PipeEnd {
        id,
        reads: number(open.reads),
        writes: number(open.writes),
    })
}

/// Makes a pipe: two ends that read and write, or a reader and a writer.
#[napi]
pub fn pipe_create(env: &Env, duplex: bool) -> Result<Vec<PipeEnd>> {
    let isolate = isolate(env)?;
    let (first, second) = connection::pipe(isolate.arena, &isolate.me, duplex).map_err(fail)?;
    Ok(vec![show(&isolate, first)?, show(&isolate, second)?])
}

/// Opens the end of a handle.
#[napi]
pub fn pipe_open(env: &Env, index: u32, generation: u32) -> Result<PipeEnd> {
    let isolate = isolate(env)?;
    let handle = Handle {
        index: u64::from(index),
        generation,
    };
    let end = End::open(isolate.arena, &isolate.me, handle).map_err(fail)?;
    show(&isolate, end)
}

/// Lets go of an end.
#[napi]
pub fn pipe_close(env: &Env, id: u32) -> Result<()> {
    let isolate = isolate(env)?;
    let open = isolate.end(id)?;
    isolate.ends.borrow_mut()[id as usize] = None;
    for queue in open.reads.into_iter().chain(open.writes) {
        isolate.queues.borrow_mut()[queue as usize] = None;
    }
    open.end.close(isolate.arena, &isolate.me).map_err(fail)
}

/// The handle of an end: index and generation.
#[napi]
pub fn pipe_handle(env: &Env, id: u32) -> Result<Vec<u32>> {
    let handle = isolate(env)?.end(id)?.end.handle;
    Ok(vec![handle.index as u32, handle.generation])
}

/// True when a get on a queue would find a message or the end.
#[napi]
pub fn queue_readable(env: &Env, id: u32) -> Result<bool> {
    let isolate = isolate(env)?;
    isolate.queue(id)?.is_readable(isolate.arena).map_err(fail)
}
