//! Calls that take less time than what the macros add to each: bare Node-API functions without arguments or
//! results. Numbers cross through *cells*, some memory that JavaScript and native code both see. `bareCalls()` hands
//! out the functions and the cells.
//!
//! Measured: through the macros a call takes some 170 ns; bare 10, and 4 more to learn what it was made with, 5 for an
//! argument, 5 for a result. Through cells all of these take 2 together.

use crate::barrier;
use crate::batch;
use crate::board;
use crate::condition;
use crate::failure::{Fail, Result, fail, node, state};
use crate::isolate::Isolate;
use crate::joinable_queue;
use crate::lock::{NOT, number};
use crate::queue::{self, Taken};
use crate::shared::{Shared, closed};
use crate::waits;
use napi::bindgen_prelude::*;
use napi::sys;
use napi_derive::napi;
use polyproc_arena::wait::Record;
use std::cell::Cell;
use std::ffi::CString;
use std::ptr;

/// One of the calls.
type Call = unsafe extern "C" fn(sys::napi_env, sys::napi_callback_info) -> sys::napi_value;

/// What crosses: JavaScript writes the numbers and reads the result. No call runs JavaScript but the function that does nothing
/// (`setPulse`), so there is never more than one under way.
#[repr(C)]
struct Cells {
    numbers: [Cell<u32>; 4],
    integer: Cell<i32>,
    /// Not 0: a wait is to be ended before the event loop sleeps.
    resting: Cell<u32>,
    double: Cell<f64>,
    /// A number that takes more than 32 bits.
    wide: Cell<f64>,
}

/// What the calls of a thread have in common.
#[derive(Clone, Copy)]
struct Common {
    /// Null until something shared is made, and again when the environment ends.
    isolate: *const Isolate,
    /// JavaScript's memory, kept alive by `calls`.
    cells: *const Cells,
    /// The object that was handed out: there is one for all copies of the package's JavaScript in this thread.
    calls: sys::napi_ref,
}

thread_local! {
    static COMMON: Cell<Common> = const {
        Cell::new(Common { isolate: ptr::null(), cells: ptr::null(), calls: ptr::null_mut() })
    };
}

/// From now on calls act for that isolate; `None`: for none. It must live until it is replaced.
pub fn act_for(isolate: Option<&Isolate>) {
    let isolate = isolate.map_or(ptr::null(), ptr::from_ref);
    // A thread that is ending has nothing to act for.
    let _ = COMMON.try_with(|common| {
        common.set(Common {
            isolate,
            ..common.get()
        })
    });
}

/// True when JavaScript keeps a wait that nobody stands in for: it wants to be called before this thread's event loop sleeps.
pub fn is_resting() -> bool {
    let cells = COMMON.get().cells;
    // SAFETY: as in `run`.
    !cells.is_null() && unsafe { &*cells }.resting.get() != 0
}

/// Runs `body` with the numbers of a call.
#[inline]
fn run<const N: usize, T: Number>(
    env: sys::napi_env,
    body: impl FnOnce(&Isolate, [u32; N]) -> Result<T>,
) -> sys::napi_value {
    let common = COMMON.get();
    if common.isolate.is_null() {
        return throw(env, &closed("object"));
    }
    // SAFETY: whoever has one of the calls has them from `bare_calls`, which set the cells and keeps them alive.
    let cells = unsafe { &*common.cells };
    // SAFETY: `act_for` was told of an isolate that lives until it is told of another.
    let isolate = unsafe { &*common.isolate };
    match body(isolate, std::array::from_fn(|k| cells.numbers[k].get())) {
        Ok(result) => result.put(cells),
        Err(error) => return throw(env, &error),
    }
    ptr::null_mut()
}

/// The same with a number besides that takes more than 32 bits.
#[inline]
fn run_wide<const N: usize, T: Number>(
    env: sys::napi_env,
    body: impl FnOnce(&Isolate, [u32; N], u64) -> Result<T>,
) -> sys::napi_value {
    run_with_double(env, |isolate, numbers, wide| body(isolate, numbers, wide as u64))
}

/// The same with a number besides that need not be whole.
#[inline]
fn run_with_double<const N: usize, T: Number>(
    env: sys::napi_env,
    body: impl FnOnce(&Isolate, [u32; N], f64) -> Result<T>,
) -> sys::napi_value {
    let double = match COMMON.get().cells {
        cells if cells.is_null() => 0.0,
        // SAFETY: as in `run`.
        cells => unsafe { &*cells }.wide.get(),
    };
    run(env, |isolate, numbers| body(isolate, numbers, double))
}

/// Takes an item of a joinable queue: as [`joinable_queue::get`]. Where its slot is stands in the second and the third number
/// then, its ticket in the wide one.
unsafe extern "C" fn joinable_take(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id, area, receives]| {
        let got = joinable_queue::get(isolate, id, area, receives > 0)?;
        let (ticket, slot) = joinable_queue::taken_last();
        // SAFETY: as in `run`.
        let cells = unsafe { &*COMMON.get().cells };
        cells.numbers[1].set(slot as u32);
        cells.numbers[2].set((slot >> 32) as u32);
        cells.wide.set(ticket);
        Ok(got)
    })
}

/// Marks an item done: 1, or 0 when it is not in this thread's hand.
unsafe extern "C" fn joinable_done(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run_wide(env, |isolate, [id, low, high], ticket| {
        let slot = u64::from(high) << 32 | u64::from(low);
        joinable_queue::done(isolate, id, ticket as f64, slot as f64).map(i32::from)
    })
}

/// What a call results in.
trait Number {
    fn put(self, cells: &Cells);
}

impl Number for i32 {
    #[inline]
    fn put(self, cells: &Cells) {
        cells.integer.set(self);
    }
}

impl Number for f64 {
    #[inline]
    fn put(self, cells: &Cells) {
        cells.double.set(self);
    }
}

/// The kind in the place of a whole number, the length in that of the first number of a call.
impl Number for Taken {
    #[inline]
    fn put(self, cells: &Cells) {
        cells.integer.set(self.kind);
        cells.numbers[0].set(self.len);
        cells.double.set(self.number);
    }
}

/// A number, and a yes or no in the place of a whole one.
impl Number for (f64, bool) {
    #[inline]
    fn put(self, cells: &Cells) {
        cells.double.set(self.0);
        cells.integer.set(i32::from(self.1));
    }
}

#[cold]
fn throw(env: sys::napi_env, error: &Fail) -> sys::napi_value {
    let text = |text: &str| CString::new(text).unwrap_or_default();
    let (code, message) = (text(error.status.as_ref()), text(&error.reason));
    // SAFETY: both texts end with a NUL and live during the call.
    let _ = unsafe { sys::napi_throw_error(env, code.as_ptr(), message.as_ptr()) };
    ptr::null_mut()
}

/// Acquires a lock if it is free: the acquisition, or -1.
unsafe extern "C" fn lock_try(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id]| {
        let acquired = isolate.lock(id)?.try_acquire(isolate.arena, &isolate.me);
        Ok(acquired.map_err(fail)?.map_or(NOT, number))
    })
}

/// Acquires a lock if it becomes free within a moment: the acquisition, or -1.
unsafe extern "C" fn lock_glance(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id]| {
        let acquired = isolate.lock(id)?.glance(isolate.arena, &isolate.me);
        Ok(acquired.map_err(fail)?.map_or(NOT, number))
    })
}

/// Acquires a reentrant lock for a context of this thread: the acquisition, or -1.
unsafe extern "C" fn rlock_try(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id, context]| {
        let acquired = isolate
            .rlock(id)?
            .try_acquire(isolate.arena, &isolate.me, context);
        Ok(acquired.map_err(fail)?.map_or(NOT, number))
    })
}

/// Releases an acquisition of a lock, by its turn: 1, or 0 when it has been released already.
unsafe extern "C" fn lock_release(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id, turn]| {
        let (arena, me) = (isolate.arena, &isolate.me);
        match isolate.shared.borrow().get(id as usize) {
            Some(Some(Shared::Lock(lock))) => lock.release_turn(arena, me, turn),
            Some(Some(Shared::RLock(rlock))) => rlock.release_turn(arena, me, turn),
            _ => return Err(closed("lock")),
        }
        .map(i32::from)
        .map_err(fail)
    })
}

/// Wakes one who waits for a lock that was released without a call.
unsafe extern "C" fn lock_look_after(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id]| {
        let looked = isolate.lock(id)?.look_after(isolate.arena, &isolate.me);
        looked.map(|()| 0).map_err(fail)
    })
}

/// Takes a permit of a semaphore if there is one: 0, or -1.
unsafe extern "C" fn semaphore_try(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id]| {
        let acquired = isolate.semaphore(id)?.try_acquire(isolate.arena, &isolate.me);
        Ok(if acquired.map_err(fail)? { 0 } else { NOT })
    })
}

/// Gives a permit back, or one more; with a second argument above 0 only one that this thread has, where
/// the semaphore keeps books. 1, or 0 when it has none.
unsafe extern "C" fn semaphore_release(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id, own]| {
        let semaphore = isolate.semaphore(id)?;
        let released = semaphore.release(isolate.arena, &isolate.me, own > 0);
        released.map(i32::from).map_err(fail)
    })
}

/// The permits of a semaphore that nobody has taken.
unsafe extern "C" fn semaphore_value(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id]| {
        let table = isolate.shared.borrow();
        let Some(Some(Shared::Semaphore(semaphore))) = table.get(id as usize) else {
            return Err(closed("semaphore"));
        };
        let value = semaphore.value(isolate.arena);
        value.map(|value| value as i32).map_err(fail)
    })
}

/// Whether an event is set: 1 or 0.
unsafe extern "C" fn event_is_set(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id]| {
        let table = isolate.shared.borrow();
        let Some(Some(Shared::Event(event))) = table.get(id as usize) else {
            return Err(closed("event"));
        };
        event.is_set(isolate.arena).map(i32::from).map_err(fail)
    })
}

/// Sets an event.
unsafe extern "C" fn event_set(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id]| {
        let set = isolate.event(id)?.set(isolate.arena, &isolate.me);
        set.map(|()| 0).map_err(fail)
    })
}

/// Clears an event.
unsafe extern "C" fn event_clear(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id]| {
        let cleared = isolate.event(id)?.clear(isolate.arena);
        cleared.map(|()| 0).map_err(fail)
    })
}

/// Waits for a condition, blocking: see [`condition::wait`].
unsafe extern "C" fn condition_wait(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run_with_double(env, |isolate, [id, context, interruptible], timeout| {
        condition::wait(isolate, id, context, timeout, interruptible > 0)
    })
}

/// Notifies some of those who wait for a condition: see [`condition::notify`].
unsafe extern "C" fn condition_notify(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id, context, most]| {
        condition::notify(isolate, id, context, most)
    })
}

/// Meets the others at a barrier, blocking: see [`barrier::meet`]. Round and place stand in the first two numbers then.
unsafe extern "C" fn barrier_meet(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run_with_double(env, |isolate, [id, interruptible], timeout| {
        let (what, round, place) = barrier::meet(isolate, id, timeout, interruptible > 0)?;
        // SAFETY: as in `run`.
        let cells = unsafe { &*COMMON.get().cells };
        cells.numbers[0].set(round);
        cells.numbers[1].set(place);
        Ok(what)
    })
}

/// Puts a message into a queue: see [`queue::put`].
unsafe extern "C" fn queue_put(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id, kind, area, length]| {
        queue::put(isolate, id, kind as u8, area, length)
    })
}

/// Puts a number into a queue: see [`queue::put_number`].
unsafe extern "C" fn queue_put_number(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run_with_double(env, |isolate, [id], value| queue::put_number(isolate, id, value))
}

/// Takes a message from a queue: see [`queue::get`].
unsafe extern "C" fn queue_get(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id, area]| queue::get(isolate, id, area))
}

/// Looks for a message for a moment: see [`queue::glance`].
unsafe extern "C" fn queue_glance(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id]| queue::glance(isolate, id))
}

/// Begins to wait: see [`waits::begin`].
unsafe extern "C" fn wait_begin(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run_with_double(env, |isolate, [what], id| waits::begin(isolate, what, id))
}

/// Ends a wait: see [`waits::end`].
unsafe extern "C" fn wait_end(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run_with_double(env, |isolate, [what, low, high], id| {
        let record = Record(u64::from(high) << 32 | u64::from(low));
        waits::end(isolate, what, id, record).map(|()| 0)
    })
}

/// The next wait that was called: see [`waits::next_called`].
unsafe extern "C" fn wait_called(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [first]| waits::next_called(isolate, first > 0))
}

/// Puts several messages into a queue: see [`batch::put_area`].
unsafe extern "C" fn queue_put_many(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id, area, start, end]| {
        batch::put_area(isolate, id, area, start, end)
    })
}

/// Takes several messages from a queue: see [`batch::get_many`].
unsafe extern "C" fn queue_get_many(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id, area, max]| {
        batch::get_many(isolate, id, area, max)
    })
}

/// Makes a row for a task: see [`board::submit`].
unsafe extern "C" fn board_submit(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id, lane, attempts]| {
        board::submit(isolate, id, lane, attempts)
    })
}

/// What is to be done with a task's item: see [`board::claim`].
unsafe extern "C" fn board_claim(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run_wide(env, |isolate, [id, lane, worker], ticket| {
        board::claim(isolate, id, lane, ticket, worker)
    })
}

/// The outcome of a task has been sent: see [`board::settle`].
unsafe extern "C" fn board_settle(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run_wide(env, |isolate, [id, lane, worker], ticket| {
        board::settle(isolate, id, lane, ticket, worker)
    })
}

/// Says when a task is to be over: see [`board::limit`].
unsafe extern "C" fn board_limit(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run_wide(env, |isolate, [id, lane, ms], ticket| {
        board::limit(isolate, id, lane, ticket, ms)
    })
}

/// Asks for more workers: see [`board::want`].
unsafe extern "C" fn board_want(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id]| board::want(isolate, id))
}

/// Stops a task: see [`board::stop`].
unsafe extern "C" fn board_stop(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run_wide(env, |isolate, [id, lane], ticket| {
        board::stop(isolate, id, lane, ticket)
    })
}

/// Whether a task's worker is to stop: see [`board::stop_asked`].
unsafe extern "C" fn board_stop_asked(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run_wide(env, |isolate, [id, lane], ticket| {
        board::stop_asked(isolate, id, lane, ticket)
    })
}

/// Whether a task is lost: see [`board::lost`].
unsafe extern "C" fn board_lost(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run_wide(env, |isolate, [id, lane], ticket| {
        board::lost(isolate, id, lane, ticket)
    })
}

/// Gives the row of a task back: see [`board::release`].
unsafe extern "C" fn board_release(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run_wide(env, |isolate, [id, lane], ticket| {
        board::release(isolate, id, lane, ticket)
    })
}

/// What a worker says of itself: see [`board::worker_state`].
unsafe extern "C" fn board_state(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id, worker]| {
        board::worker_state(isolate, id, worker)
    })
}

/// Says something of a worker: see [`board::set_worker_state`].
unsafe extern "C" fn board_set_state(env: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    run(env, |isolate, [id, worker, state]| {
        board::set_worker_state(isolate, id, worker, state)
    })
}

/// Nothing: what a call costs that does none of this.
unsafe extern "C" fn nothing(_: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    ptr::null_mut()
}

const CALLS: &[(&str, Call)] = &[
    ("queuePut", queue_put),
    ("queuePutNumber", queue_put_number),
    ("queueGet", queue_get),
    ("queueGlance", queue_glance),
    ("waitBegin", wait_begin),
    ("waitEnd", wait_end),
    ("waitCalled", wait_called),
    ("queuePutMany", queue_put_many),
    ("queueGetMany", queue_get_many),
    ("joinableTake", joinable_take),
    ("joinableDone", joinable_done),
    ("nothing", nothing),
    ("lockTry", lock_try),
    ("lockGlance", lock_glance),
    ("rlockTry", rlock_try),
    ("lockReleaseTurn", lock_release),
    ("lockLookAfter", lock_look_after),
    ("semaphoreTry", semaphore_try),
    ("semaphoreRelease", semaphore_release),
    ("semaphoreValue", semaphore_value),
    ("eventIsSet", event_is_set),
    ("eventSet", event_set),
    ("eventClear", event_clear),
    ("conditionWait", condition_wait),
    ("conditionNotify", condition_notify),
    ("barrierMeet", barrier_meet),
    ("boardSubmit", board_submit),
    ("boardClaim", board_claim),
    ("boardSettle", board_settle),
    ("boardStop", board_stop),
    ("boardLimit", board_limit),
    ("boardWant", board_want),
    ("boardStopAsked", board_stop_asked),
    ("boardLost", board_lost),
    ("boardRelease", board_release),
    ("boardState", board_state),
    ("boardSetState", board_set_state),
];

/// An object with the bare calls, by their names, and `cells`: the first one of this thread makes it, with the cells that it is
/// given. Numbers go into the first four words of the cells, one of more than 32 bits into the 8 bytes from the 32nd; a whole
/// number comes back in the fifth word, any other in the 8 bytes from the 24th. The sixth says whether a wait rests.
#[napi(ts_return_type = "Record<string, () => void> & { cells: Buffer }")]
pub fn bare_calls(env: &Env, mut cells: Buffer) -> Result<Object<'_>> {
    let common = COMMON.get();
    if !common.calls.is_null() {
        let mut object = ptr::null_mut();
        // SAFETY: the reference was made below, in the environment of this thread.
        let status = unsafe { sys::napi_get_reference_value(env.raw(), common.calls, &raw mut object) };
        node(status, "napi_get_reference_value")?;
        return Ok(Object::from_raw(env.raw(), object));
    }
    let at = cells.as_mut().as_mut_ptr();
    if cells.len() < size_of::<Cells>() || !at.cast::<Cells>().is_aligned() {
        return Err(state("the cells are too small"));
    }
    let mut object = Object::new(env).map_err(|error| state(error.to_string()))?;
    for (name, call) in CALLS {
        let text = CString::new(*name).unwrap_or_default();
        let mut function = ptr::null_mut();
        // SAFETY: the name ends with a NUL; the call is a function of this library, which is never unloaded.
        let status = unsafe {
            sys::napi_create_function(
                env.raw(),
                text.as_ptr(),
                name.len() as isize,
                Some(*call),
                ptr::null_mut(),
                &raw mut function,
            )
        };
        node(status, "napi_create_function")?;
        // SAFETY: the function was made above, in this environment.
        let status =
            unsafe { sys::napi_set_named_property(env.raw(), object.raw(), text.as_ptr(), function) };
        node(status, "napi_set_named_property")?;
    }
    object
        .set("cells", cells)
        .map_err(|error| state(error.to_string()))?;
    let mut calls = ptr::null_mut();
    // SAFETY: the object was made above; the reference is kept as long as the environment.
    let status = unsafe { sys::napi_create_reference(env.raw(), object.raw(), 1, &raw mut calls) };
    node(status, "napi_create_reference")?;
    COMMON.set(Common {
        cells: at.cast(),
        calls,
        ..common
    });
    Ok(object)
}
