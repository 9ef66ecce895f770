//! What one isolate (main thread or worker thread) has of the arena: its member, the objects that it
//! holds, its scratch areas. Made when the first shared object is; let go when the environment ends.

use crate::bare;
use crate::event_loop::EventLoop;
use crate::failure::{Result, state};
use crate::family;
use crate::shared::Shared;
use napi::bindgen_prelude::*;
use polyproc_arena::wait::Record;
use polyproc_arena::{Arena, Member};
use polyproc_channel::Queue;
use polyproc_channel::connection::End;
use polyproc_pool::Lane;
use polyproc_sync::Condition;
use polyproc_sync::condition::Waiting;
use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;

/// Bytes that JavaScript and native code both see. JavaScript keeps the buffer alive.
#[derive(Clone, Copy)]
pub struct Area {
    pub at: *mut u8,
    pub len: usize,
}

/// An end of a pipe, with the ids of its queues.
#[derive(Clone, Copy)]
pub struct OpenEnd {
    pub end: End,
    pub reads: Option<u32>,
    pub writes: Option<u32>,
}

/// See the module.
pub struct Isolate {
    pub arena: &'static Arena,
    pub me: Member,
    pub queues: RefCell<Vec<Option<Queue>>>,
    pub ends: RefCell<Vec<Option<OpenEnd>>>,
    /// Locks and what is built like them.
    pub shared: RefCell<Vec<Option<Shared>>>,
    /// What this isolate submits to pools, by the ids of their boards.
    pub lanes: RefCell<Vec<Option<Rc<RefCell<Lane>>>>>,
    /// Who keeps the workers of pools that this isolate made.
    pub keepers: RefCell<Vec<u32>>,
    /// Pending asynchronous waits for conditions.
    pub conditions: RefCell<Vec<(Condition, Waiting)>>,
    pub sending: RefCell<Vec<Area>>,
    pub receiving: RefCell<Vec<Area>>,
    /// Records of pending asynchronous waits.
    pub waits: RefCell<Vec<Record>>,
    /// Those of them that were called and have not looked yet, the next one last.
    pub called: RefCell<Vec<Record>>,
    pub event_loop: RefCell<Option<Box<EventLoop>>>,
    /// Called in a worker thread's synchronous wait, so that termination is noticed.
    pub pulse: Cell<sys::napi_ref>,
    pub env: sys::napi_env,
    pub is_worker: Cell<bool>,
}

thread_local! {
    static ISOLATE: RefCell<Option<Rc<Isolate>>> = const { RefCell::new(None) };
}

/// The isolate of this thread, if it has one.
pub fn existing() -> Option<Rc<Isolate>> {
    ISOLATE
        .try_with(|slot| slot.try_borrow().ok().and_then(|slot| slot.clone()))
        .ok()
        .flatten()
}

/// The isolate of this thread; joins the family when there is none.
pub fn isolate(env: &Env) -> Result<Rc<Isolate>> {
    if let Some(isolate) = existing() {
        return Ok(isolate);
    }
    let (arena, me) = family::member()?;
    let isolate = Rc::new(Isolate {
        arena,
        me,
        queues: RefCell::default(),
        ends: RefCell::default(),
        shared: RefCell::default(),
        lanes: RefCell::default(),
        keepers: RefCell::default(),
        conditions: RefCell::default(),
        sending: RefCell::default(),
        receiving: RefCell::default(),
        waits: RefCell::default(),
        called: RefCell::default(),
        event_loop: RefCell::default(),
        pulse: Cell::new(std::ptr::null_mut()),
        env: env.raw(),
        is_worker: Cell::new(false),
    });
    ISOLATE.with(|slot| *slot.borrow_mut() = Some(isolate.clone()));
    bare::act_for(Some(&isolate));
    // SAFETY: the hook has no argument and is registered once for this environment.
    let status = unsafe { sys::napi_add_env_cleanup_hook(env.raw(), Some(leave), std::ptr::null_mut()) };
    crate::failure::node(status, "napi_add_env_cleanup_hook")?;
    Ok(isolate)
}

/// Runs when the environment ends: lets go of everything that this isolate holds.
unsafe extern "C" fn leave(_: *mut std::ffi::c_void) {
    bare::act_for(None);
    let Some(isolate) = ISOLATE.with(|slot| slot.borrow_mut().take()) else {
        return;
    };
    if !isolate.is_worker.get() {
        // The process ends with it, and the kernel tells the family.
        return;
    }
    // Nobody can ask for the workers of its pools any more.
    for keeper in isolate.keepers.borrow_mut().drain(..) {
        crate::pool::end(&isolate, keeper);
    }
    for open in isolate.ends.borrow_mut().drain(..).flatten() {
        let _ = isolate.arena.close(&isolate.me, open.end.handle);
    }
    for queue in isolate.queues.borrow_mut().drain(..).flatten() {
        let _ = isolate.arena.close(&isolate.me, queue.handle);
    }
    for shared in isolate.shared.borrow_mut().drain(..).flatten() {
        let _ = shared.close(isolate.arena, &isolate.me);
    }
    let _ = isolate.arena.leave(&isolate.me);
}

impl Isolate {
    /// The queue of an id.
    pub fn queue(&self, id: u32) -> Result<Queue> {
        Ok(*self.open_queue(id)?)
    }

    /// The same, of use until anything is opened or closed: a copy of it costs as much as a get.
    #[inline]
    pub fn open_queue(&self, id: u32) -> Result<Ref<'_, Queue>> {
        let queue = Ref::filter_map(self.queues.borrow(), |queues| queues.get(id as usize)?.as_ref());
        queue.map_err(|_| {
            crate::failure::Fail::new("ERR_POLYPROC_CLOSED".to_owned(), "the queue is closed".to_owned())
        })
    }

    /// Remembers an open queue; returns its id.
    pub fn keep(&self, queue: Queue) -> u32 {
        place(&mut self.queues.borrow_mut(), queue)
    }

    /// Remembers an open end of a pipe; returns its id.
    pub fn keep_end(&self, end: End) -> u32 {
        let reads = end.reads.map(|queue| self.keep(queue));
        let writes = end.writes.map(|queue| self.keep(queue));
        place(&mut self.ends.borrow_mut(), OpenEnd { end, reads, writes })
    }

    /// The end of a pipe of an id.
    pub fn end(&self, id: u32) -> Result<OpenEnd> {
        self.ends
            .borrow()
            .get(id as usize)
            .copied()
            .flatten()
            .ok_or_else(|| {
                crate::failure::Fail::new(
                    "ERR_POLYPROC_CLOSED".to_owned(),
                    "the connection is closed".to_owned(),
                )
            })
    }

    /// A receiving area.
    pub fn receiving(&self, index: u32) -> Result<Area> {
        self.receiving
            .borrow()
            .get(index as usize)
            .copied()
            .ok_or_else(|| state("no such scratch area"))
    }

    /// The first `length` bytes of a sending area.
    pub fn sent(&self, index: u32, length: u32) -> Result<&[u8]> {
        let area = self
            .sending
            .borrow()
            .get(index as usize)
            .copied()
            .filter(|area| area.len >= length as usize)
            .ok_or_else(|| state("no such scratch area"))?;
        // SAFETY: JavaScript keeps the area alive and does not change it while it calls us.
        Ok(unsafe { std::slice::from_raw_parts(area.at, length as usize) })
    }
}

/// Puts a thing into the first free place of a table.
pub fn place<T>(table: &mut Vec<Option<T>>, thing: T) -> u32 {
    match table.iter().position(Option::is_none) {
        Some(id) => {
            table[id] = Some(thing);
            id as u32
        }
        None => {
            table.push(Some(thing));
            table.len() as u32 - 1
        }
    }
}

/// Registers a scratch area: messages are encoded into the sending ones and copied to the receiving ones.
#[napi_derive::napi]
pub fn scratch(env: &Env, receiving: bool, index: u32, mut bytes: Buffer) -> Result<()> {
    let isolate = isolate(env)?;
    let mut areas = if receiving {
        isolate.receiving.borrow_mut()
    } else {
        isolate.sending.borrow_mut()
    };
    let area = Area {
        at: bytes.as_mut().as_mut_ptr(),
        len: bytes.len(),
    };
    if areas.len() <= index as usize {
        areas.resize(
            index as usize + 1,
            Area {
                at: std::ptr::null_mut(),
                len: 0,
            },
        );
    }
    areas[index as usize] = area;
    Ok(())
}
