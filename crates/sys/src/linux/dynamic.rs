//! Finding what the running program exports.

use std::ffi::{CStr, c_void};

/// The address of a symbol that the program or a library loaded with it exports (Node's own functions, for
/// example); `None` when there is none of that name.
///
/// # Examples
/// ```
/// assert!(polyproc_sys::dynamic::symbol(c"getpid").is_some());
/// assert!(polyproc_sys::dynamic::symbol(c"no_such_function_here").is_none());
/// ```
pub fn symbol(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: a C string, and the handle that means "everything loaded".
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!address.is_null()).then_some(address)
}
