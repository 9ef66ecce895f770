//! The isolate's event loop as a place to sleep in: a pipe in the loop's own epoll is the doorbell,
//! and libuv's prepare and check phases say when the loop sleeps and when it is awake.
//!
//! libuv's functions are looked up in the running program: Node exports them. Where they are missing
//! asynchronous waiting is refused with an error that says so.

use crate::bare;
use crate::failure::{Result, fail, node, state};
use crate::isolate::{Isolate, existing};
use napi::Env;
use napi::sys;
use polyproc_arena::spin;
use polyproc_sys::{clock, doorbell, dynamic};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::rc::Rc;
use std::sync::OnceLock;

type Handle = *mut c_void;
type Callback = unsafe extern "C" fn(Handle);
type PollCallback = unsafe extern "C" fn(Handle, c_int, c_int);

const UV_CHECK: c_int = 2;
const UV_POLL: c_int = 8;
const UV_PREPARE: c_int = 9;
const UV_READABLE: c_int = 1;
/// Longest stay in the prepare phase, in ns.
const TURN: u64 = 1_000_000;

macro_rules! libuv {
    ($($name:ident: fn($($arg:ty),*) $(-> $ret:ty)?;)*) => {
        #[derive(Clone, Copy)]
        struct Uv { $($name: unsafe extern "C" fn($($arg),*) $(-> $ret)?,)* }

        impl Uv {
            fn load() -> Option<Self> {
                $(
                    let name = concat!(stringify!($name), "\0");
                    let symbol = dynamic::symbol(std::ffi::CStr::from_bytes_with_nul(name.as_bytes()).ok()?)?;
                    // SAFETY: libuv's function of that name has had this signature since 1.0.
                    let $name = unsafe {
                        std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($arg),*) $(-> $ret)?>(symbol)
                    };
                )*
                Some(Self { $($name,)* })
            }
        }
    };
}

libuv! {
    uv_handle_size: fn(c_int) -> usize;
    uv_poll_init: fn(*mut c_void, Handle, c_int) -> c_int;
    uv_poll_start: fn(Handle, c_int, PollCallback) -> c_int;
    uv_prepare_init: fn(*mut c_void, Handle) -> c_int;
    uv_prepare_start: fn(Handle, Callback) -> c_int;
    uv_prepare_stop: fn(Handle) -> c_int;
    uv_check_init: fn(*mut c_void, Handle) -> c_int;
    uv_check_start: fn(Handle, Callback) -> c_int;
    uv_check_stop: fn(Handle) -> c_int;
    uv_ref: fn(Handle);
    uv_unref: fn(Handle);
    uv_close: fn(Handle, Option<Callback>);
    uv_backend_timeout: fn(*mut c_void) -> c_int;
}

fn uv() -> Result<Uv> {
    static UV: OnceLock<Option<Uv>> = OnceLock::new();
    UV.get_or_init(Uv::load).ok_or_else(|| {
        state("this runtime has no libuv: asynchronous waiting needs Node.js; the …Sync forms work")
    })
}

/// See the module.
pub struct EventLoop {
    uv: Uv,
    uv_loop: *mut c_void,
    poll: Handle,
    prepare: Handle,
    check: Handle,
    bell: (OwnedFd, OwnedFd),
    listener: sys::napi_ref,
    context: sys::napi_async_context,
    resource: sys::napi_ref,
    env: sys::napi_env,
    /// Handles that libuv has not let go of; when none is left the environment may end.
    closing: Cell<u32>,
    removal: sys::napi_async_cleanup_hook_handle,
    running: bool,
    /// What the handles lie in.
    _memory: [Vec<u128>; 3],
}

/// Memory for a libuv handle, zeroed, aligned to 16 bytes.
fn memory(size: usize) -> Vec<u128> {
    vec![0; size.div_ceil(16)]
}

fn done(code: c_int, what: &str) -> Result<()> {
    if code == 0 {
        Ok(())
    } else {
        Err(state(format!("{what} failed with libuv error {code}")))
    }
}

/// Makes the loop's handles and remembers the listener, which replaces one of before. They do not keep the process alive.
pub fn prepare(env: &Env, isolate: &Rc<Isolate>, listener: sys::napi_value) -> Result<()> {
    if let Some(event_loop) = isolate.event_loop.borrow_mut().as_mut() {
        return replace_listener(env, event_loop, listener);
    }
    let uv = uv()?;
    let mut uv_loop = ptr::null_mut();
    // SAFETY: the place is ours, the environment the current one.
    let status = unsafe { sys::napi_get_uv_event_loop(env.raw(), &raw mut uv_loop) };
    node(status, "napi_get_uv_event_loop")?;
    let uv_loop = uv_loop.cast::<c_void>();
    let bell =
        doorbell::pipe().map_err(|error| state(format!("the doorbell pipe could not be made: {error}")))?;
    // SAFETY: the sizes are libuv's own.
    let size = |kind| unsafe { (uv.uv_handle_size)(kind) };
    let mut memory = [
        memory(size(UV_POLL)),
        memory(size(UV_PREPARE)),
        memory(size(UV_CHECK)),
    ];
    let [poll, prepare, check] = memory
        .each_mut()
        .map(|memory| memory.as_mut_ptr().cast::<c_void>());
    // SAFETY: the handle has the size that libuv asks for and lives until libuv has closed it.
    let status = unsafe { (uv.uv_poll_init)(uv_loop, poll, bell.0.as_raw_fd()) };
    done(status, "uv_poll_init")?;
    // SAFETY: as above.
    let status = unsafe { (uv.uv_prepare_init)(uv_loop, prepare) };
    done(status, "uv_prepare_init")?;
    // SAFETY: as above.
    done(unsafe { (uv.uv_check_init)(uv_loop, check) }, "uv_check_init")?;
    for handle in [poll, prepare, check] {
        // SAFETY: initialised above.
        unsafe { (uv.uv_unref)(handle) };
    }
    // SAFETY: initialised above.
    let status = unsafe { (uv.uv_poll_start)(poll, UV_READABLE, on_bell) };
    done(status, "uv_poll_start")?;
    // Starting a handle does not make it count again once it is unreferenced.
    let bell_fd = bell.1.as_raw_fd();
    let (listener, resource, context) = callback(env, listener)?;
    let mut event_loop = Box::new(EventLoop {
        uv,
        uv_loop,
        poll,
        prepare,
        check,
        bell,
        listener,
        context,
        resource,
        env: env.raw(),
        closing: Cell::new(0),
        removal: ptr::null_mut(),
        running: false,
        _memory: memory,
    });
    let itself = ptr::from_mut::<EventLoop>(&mut event_loop);
    for handle in [poll, prepare, check] {
        // SAFETY: `data` is the first field of every libuv handle.
        unsafe { *handle.cast::<*mut EventLoop>() = itself };
    }
    // SAFETY: the argument lives until the hook has run and all handles are closed.
    let status = unsafe {
        sys::napi_add_async_cleanup_hook(env.raw(), Some(close), itself.cast(), &raw mut event_loop.removal)
    };
    node(status, "napi_add_async_cleanup_hook")?;
    *isolate.event_loop.borrow_mut() = Some(event_loop);
    isolate.arena.hang_bell(&isolate.me, bell_fd).map_err(fail)
}

fn replace_listener(env: &Env, event_loop: &mut EventLoop, listener: sys::napi_value) -> Result<()> {
    let mut function = ptr::null_mut();
    // SAFETY: the function is alive during this call.
    let status = unsafe { sys::napi_create_reference(env.raw(), listener, 1, &raw mut function) };
    node(status, "napi_create_reference")?;
    let before = std::mem::replace(&mut event_loop.listener, function);
    // SAFETY: made by `napi_create_reference`, and nobody else has it.
    let status = unsafe { sys::napi_delete_reference(env.raw(), before) };
    node(status, "napi_delete_reference")
}

fn callback(
    env: &Env,
    listener: sys::napi_value,
) -> Result<(sys::napi_ref, sys::napi_ref, sys::napi_async_context)> {
    let (mut function, mut object, mut name) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: the function is alive during this call.
    let status = unsafe { sys::napi_create_reference(env.raw(), listener, 1, &raw mut function) };
    node(status, "napi_create_reference")?;
    // SAFETY: the place is ours.
    let status = unsafe { sys::napi_create_object(env.raw(), &raw mut object) };
    node(status, "napi_create_object")?;
    let text = c"polyproc";
    // SAFETY: the text is NUL-terminated and its length given.
    let status = unsafe { sys::napi_create_string_utf8(env.raw(), text.as_ptr(), 8, &raw mut name) };
    node(status, "napi_create_string_utf8")?;
    let mut context = ptr::null_mut();
    // SAFETY: object and name were made above.
    let status = unsafe { sys::napi_async_init(env.raw(), object, name, &raw mut context) };
    node(status, "napi_async_init")?;
    let mut resource = ptr::null_mut();
    // SAFETY: the object was made above.
    let status = unsafe { sys::napi_create_reference(env.raw(), object, 1, &raw mut resource) };
    node(status, "napi_create_reference")?;
    Ok((function, resource, context))
}

/// Checks that waiting in the loop is possible.
pub fn start(isolate: &Isolate) -> Result<()> {
    if isolate.event_loop.borrow().is_some() {
        Ok(())
    } else {
        Err(state("nobody listens for the calls of asynchronous waits"))
    }
}

/// Keeps the loop alive while something waits in it, and only then.
pub fn update(isolate: &Isolate) {
    let waiting = !isolate.waits.borrow().is_empty();
    let mut slot = isolate.event_loop.borrow_mut();
    let Some(event_loop) = slot.as_mut() else { return };
    if waiting == event_loop.running {
        return;
    }
    event_loop.running = waiting;
    let uv = event_loop.uv;
    if waiting {
        // SAFETY: the handles are initialised and not closing while the environment runs JavaScript.
        unsafe { (uv.uv_ref)(event_loop.poll) };
        // SAFETY: as above.
        unsafe { (uv.uv_prepare_start)(event_loop.prepare, on_prepare) };
        // SAFETY: as above.
        unsafe { (uv.uv_check_start)(event_loop.check, on_check) };
    } else {
        // SAFETY: as above.
        unsafe { (uv.uv_unref)(event_loop.poll) };
        // SAFETY: as above.
        unsafe { (uv.uv_prepare_stop)(event_loop.prepare) };
        // SAFETY: as above.
        unsafe { (uv.uv_check_stop)(event_loop.check) };
        let _ = isolate.arena.unpark(&isolate.me);
    }
}

/// What a handle of ours belongs to.
fn of<'a>(handle: Handle) -> &'a EventLoop {
    // SAFETY: `data` is the first field and was set when the handle was made.
    let event_loop = unsafe { *handle.cast::<*const EventLoop>() };
    // SAFETY: it lives until the last handle is closed.
    unsafe { &*event_loop }
}

/// The loop is about to sleep: spin a little, then park, unless there is something to look at.
unsafe extern "C" fn on_prepare(handle: Handle) {
    let Some(isolate) = existing() else { return };
    let event_loop = of(handle);
    let (uv, uv_loop) = (event_loop.uv, event_loop.uv_loop);
    let (arena, me) = (isolate.arena, &isolate.me);
    let dirty = || arena.is_dirty(me);
    let turn_ends = clock::now() + TURN;
    // Whatever is looked at may begin to wait again, so the loop parks only after a look that found
    // nothing: a loop that sleeps without having parked would not be rung.
    while !isolate.waits.borrow().is_empty() {
        if !dirty().unwrap_or(false) && !bare::is_resting() {
            // 0 when the loop has work, but also when a descriptor has yet to be added to its epoll, and
            // then it may sleep: so it parks in either case, and only spares itself the spinning.
            // SAFETY: the loop is running.
            let idle = unsafe { (uv.uv_backend_timeout)(uv_loop) } != 0;
            let called = idle && {
                let _ = arena.watch_out(me);
                spin::until(arena, me, spin::BUDGET, dirty).unwrap_or(false)
            };
            if !called && arena.park(me).unwrap_or(true) {
                return;
            }
            let _ = arena.unpark(me);
        }
        look(&isolate);
        if clock::now() > turn_ends {
            // Others of this loop have their turn; it must not sleep meanwhile.
            let _ = doorbell::ring(event_loop.bell.1.as_raw_fd());
            return;
        }
    }
}

/// The loop is awake.
unsafe extern "C" fn on_check(_: Handle) {
    let Some(isolate) = existing() else { return };
    let _ = isolate.arena.unpark(&isolate.me);
    if isolate.arena.is_dirty(&isolate.me).unwrap_or(false) {
        look(&isolate);
    }
}

/// Somebody rang. What for is looked at in the check phase, which follows.
unsafe extern "C" fn on_bell(handle: Handle, _: c_int, _: c_int) {
    doorbell::clear(of(handle).bell.0.as_raw_fd());
}

/// Calls the listener, with the microtasks that follow a callback.
fn look(isolate: &Rc<Isolate>) {
    let (env, listener, resource, context) = {
        let slot = isolate.event_loop.borrow();
        let Some(event_loop) = slot.as_ref() else { return };
        (
            event_loop.env,
            event_loop.listener,
            event_loop.resource,
            event_loop.context,
        )
    };
    let mut scope = ptr::null_mut();
    // SAFETY: called by the loop of this environment, outside any scope.
    if unsafe { sys::napi_open_handle_scope(env, &raw mut scope) } != sys::Status::napi_ok {
        return;
    }
    let (mut function, mut object, mut result) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: the reference is kept as long as the environment.
    let mut status = unsafe { sys::napi_get_reference_value(env, listener, &raw mut function) };
    if status == sys::Status::napi_ok {
        // SAFETY: as above.
        status = unsafe { sys::napi_get_reference_value(env, resource, &raw mut object) };
    }
    if status == sys::Status::napi_ok {
        // SAFETY: function and object are alive in this scope.
        status = unsafe {
            sys::napi_make_callback(env, context, object, function, 0, ptr::null(), &raw mut result)
        };
        if status == sys::Status::napi_pending_exception {
            let mut error = ptr::null_mut();
            // SAFETY: an exception is pending.
            unsafe { sys::napi_get_and_clear_last_exception(env, &raw mut error) };
            // SAFETY: the error is alive in this scope.
            unsafe { sys::napi_fatal_exception(env, error) };
        }
    }
    // SAFETY: opened above.
    unsafe { sys::napi_close_handle_scope(env, scope) };
}

/// Runs when the environment ends, before it is torn down: closes the handles.
unsafe extern "C" fn close(_: sys::napi_async_cleanup_hook_handle, argument: *mut c_void) {
    let event_loop = argument.cast::<EventLoop>();
    if let Some(isolate) = existing() {
        isolate.waits.borrow_mut().clear();
        if let Some(owned) = isolate.event_loop.borrow_mut().take() {
            // From here on the handles own it; the last one to close frees it.
            let _ = Box::into_raw(owned);
        }
        let _ = isolate.arena.take_down_bell(&isolate.me);
    }
    // SAFETY: the argument of the hook, alive until `on_closed` has been called for every handle.
    let event_loop = unsafe { &*event_loop };
    let uv = event_loop.uv;
    let handles = [event_loop.poll, event_loop.prepare, event_loop.check];
    event_loop.closing.set(handles.len() as u32);
    for handle in handles {
        // SAFETY: closed once, here.
        unsafe { (uv.uv_close)(handle, Some(on_closed)) };
    }
}

unsafe extern "C" fn on_closed(handle: Handle) {
    let event_loop = of(handle);
    let left = event_loop.closing.get() - 1;
    event_loop.closing.set(left);
    if left == 0 {
        // SAFETY: `close` gave up the box, and no handle refers to it any more.
        let event_loop = unsafe { Box::from_raw(ptr::from_ref(event_loop).cast_mut()) };
        // SAFETY: the hook's own handle, removed once.
        unsafe { sys::napi_remove_async_cleanup_hook(event_loop.removal) };
    }
}
