//! Calls that take less time than what the macros add to each: bare Node-API functions, numbers in and a
//! number out. `bareCalls()` hands them out.
//!
//! Measured: through the macros a call takes some 170 ns, bare some 30.

use crate::failure::{Fail, Result, fail, node, state};
use crate::isolate::{Isolate, isolate};
use crate::lock::{NOT, number};
use crate::queue;
use crate::shared::{Shared, closed};
use napi::bindgen_prelude::*;
use napi::sys;
use napi_derive::napi;
use std::cell::OnceCell;
use std::ffi::{CString, c_void};
use std::ptr;
use std::rc::Rc;

/// One of the calls.
type Call = unsafe extern "C" fn(sys::napi_env, sys::napi_callback_info) -> sys::napi_value;

/// What the calls of an environment have in common: its isolate, once it has one. Never freed: the functions live as
/// long as the environment.
type Common = OnceCell<Rc<Isolate>>;

/// Runs `body` with the arguments of a call, all of which are whole numbers.
#[inline]
fn run<const N: usize, T: Number>(
    env: sys::napi_env,
    info: sys::napi_callback_info,
    body: impl FnOnce(&Isolate, [u32; N]) -> Result<T>,
) -> sys::napi_value {
    match arguments(env, info).and_then(|(isolate, numbers)| body(isolate, numbers)) {
        Ok(result) => result.into_value(env),
        Err(error) => throw(env, &error),
    }
}

/// What a call returns.
trait Number {
    fn into_value(self, env: sys::napi_env) -> sys::napi_value;
}

impl Number for i32 {
    #[inline]
    fn into_value(self, env: sys::napi_env) -> sys::napi_value {
        let mut value = ptr::null_mut();
        // SAFETY: called by JavaScript in this environment.
        let _ = unsafe { sys::napi_create_int32(env, self, &raw mut value) };
        value
    }
}

impl Number for f64 {
    #[inline]
    fn into_value(self, env: sys::napi_env) -> sys::napi_value {
        let mut value = ptr::null_mut();
        // SAFETY: called by JavaScript in this environment.
        let _ = unsafe { sys::napi_create_double(env, self, &raw mut value) };
        value
    }
}

#[inline]
fn arguments<'a, const N: usize>(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> Result<(&'a Isolate, [u32; N])> {
    let mut values = [ptr::null_mut(); N];
    let mut count = N;
    let mut data = ptr::null_mut();
    // SAFETY: there is room for N arguments; those that are missing become undefined.
    let status = unsafe {
        sys::napi_get_cb_info(
            env,
            info,
            &raw mut count,
            values.as_mut_ptr(),
            ptr::null_mut(),
            &raw mut data,
        )
    };
    node(status, "napi_get_cb_info")?;
    let mut numbers = [0; N];
    for (value, number) in values.iter().zip(&mut numbers) {
        // SAFETY: the value is an argument of this call.
        let status = unsafe { sys::napi_get_value_uint32(env, *value, number) };
        node(status, "napi_get_value_uint32")?;
    }
    // SAFETY: every call is made with what `bare_calls` leaked for this environment, whose thread this is.
    let common = unsafe { &*data.cast::<Common>() };
    let isolate = match common.get() {
        Some(isolate) => isolate,
        None => {
            let isolate = isolate(&Env::from_raw(env))?;
            common.get_or_init(|| isolate)
        }
    };
    Ok((isolate, numbers))
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
unsafe extern "C" fn lock_try(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    run(env, info, |isolate, [id]| {
        let acquired = isolate.lock(id)?.try_acquire(isolate.arena, &isolate.me);
        Ok(acquired.map_err(fail)?.map_or(NOT, number))
    })
}

/// Acquires a reentrant lock for a context of this thread: the acquisition, or -1.
unsafe extern "C" fn rlock_try(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    run(env, info, |isolate, [id, context]| {
        let acquired = isolate
            .rlock(id)?
            .try_acquire(isolate.arena, &isolate.me, context);
        Ok(acquired.map_err(fail)?.map_or(NOT, number))
    })
}

/// Releases an acquisition of a lock, by its turn: 1, or 0 when it has been released already.
unsafe extern "C" fn lock_release(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    run(env, info, |isolate, [id, turn]| {
        let (arena, me) = (isolate.arena, &isolate.me);
        match isolate.shared(id)? {
            Shared::RLock(rlock) => rlock.release_turn(arena, me, turn),
            _ => isolate.lock(id)?.release_turn(arena, me, turn),
        }
        .map(i32::from)
        .map_err(fail)
    })
}

/// Takes a permit of a semaphore if there is one: 0, or -1.
unsafe extern "C" fn semaphore_try(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    run(env, info, |isolate, [id]| {
        let acquired = isolate.semaphore(id)?.try_acquire(isolate.arena, &isolate.me);
        Ok(if acquired.map_err(fail)? { 0 } else { NOT })
    })
}

/// Gives a permit back, or one more; with a second argument above 0 only one that this thread has, where
/// the semaphore keeps books. 1, or 0 when it has none.
unsafe extern "C" fn semaphore_release(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    run(env, info, |isolate, [id, own]| {
        let semaphore = isolate.semaphore(id)?;
        let released = semaphore.release(isolate.arena, &isolate.me, own > 0);
        released.map(i32::from).map_err(fail)
    })
}

/// The permits of a semaphore that nobody has taken.
unsafe extern "C" fn semaphore_value(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    run(env, info, |isolate, [id]| {
        let table = isolate.shared.borrow();
        let Some(Some(Shared::Semaphore(semaphore))) = table.get(id as usize) else {
            return Err(closed("semaphore"));
        };
        let value = semaphore.value(isolate.arena);
        value.map(|value| value as i32).map_err(fail)
    })
}

/// Whether an event is set: 1 or 0.
unsafe extern "C" fn event_is_set(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    run(env, info, |isolate, [id]| {
        let table = isolate.shared.borrow();
        let Some(Some(Shared::Event(event))) = table.get(id as usize) else {
            return Err(closed("event"));
        };
        event.is_set(isolate.arena).map(i32::from).map_err(fail)
    })
}

/// Puts a message into a queue: see [`queue::put`].
unsafe extern "C" fn queue_put(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    run(env, info, |isolate, [id, kind, area, length]| {
        queue::put(isolate, id, kind as u8, area, length)
    })
}

/// Takes a message from a queue: see [`queue::get`].
unsafe extern "C" fn queue_get(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    run(env, info, |isolate, [id, area]| queue::get(isolate, id, area))
}

/// Nothing: what a call costs that does none of this.
unsafe extern "C" fn nothing(_: sys::napi_env, _: sys::napi_callback_info) -> sys::napi_value {
    ptr::null_mut()
}

const CALLS: &[(&str, Call)] = &[
    ("queuePut", queue_put),
    ("queueGet", queue_get),
    ("nothing", nothing),
    ("lockTry", lock_try),
    ("rlockTry", rlock_try),
    ("lockReleaseTurn", lock_release),
    ("semaphoreTry", semaphore_try),
    ("semaphoreRelease", semaphore_release),
    ("semaphoreValue", semaphore_value),
    ("eventIsSet", event_is_set),
];

/// An object with the bare calls, by their names.
#[napi(ts_return_type = "Record<string, (...numbers: number[]) => number>")]
pub fn bare_calls(env: &Env) -> Result<Object<'_>> {
    let object = Object::new(env).map_err(|error| state(error.to_string()))?;
    let common = Box::into_raw(Box::new(Common::new())).cast::<c_void>();
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
                common,
                &raw mut function,
            )
        };
        node(status, "napi_create_function")?;
        // SAFETY: the function was made above, in this environment.
        let status =
            unsafe { sys::napi_set_named_property(env.raw(), object.raw(), text.as_ptr(), function) };
        node(status, "napi_set_named_property")?;
    }
    Ok(object)
}
