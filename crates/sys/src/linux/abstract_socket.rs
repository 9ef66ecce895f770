//! Names that the kernel gives up when their holder ends.
//!
//! A socket bound in the abstract namespace has a name but no file: it is gone with its last descriptor,
//! however the process ended. That makes a registry in which nothing is ever stale. The namespace belongs
//! to the network namespace, and every local user may bind there: a name proves nothing about its holder.

use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// A name that is held until this value is dropped or the process ends. Not inherited over exec.
#[derive(Debug)]
pub struct Held {
    _socket: UnixDatagram,
}

/// Takes a name: 1 to 107 bytes, printable ASCII without spaces.
///
/// # Errors
/// `AddrInUse` when somebody holds it; `InvalidInput` for a name outside those rules.
///
/// # Examples
/// ```
/// let name = format!("example-{}", std::process::id());
/// let held = polyproc_sys::abstract_socket::hold(&name)?;
/// assert!(polyproc_sys::abstract_socket::hold(&name).is_err());
/// assert_eq!(polyproc_sys::abstract_socket::list(&name)?, [name.clone()]);
/// drop(held);
/// assert!(polyproc_sys::abstract_socket::list(&name)?.is_empty());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn hold(name: &str) -> io::Result<Held> {
    // Printable, because `/proc/net/unix` prints a NUL as '@' and ends at a line break.
    if !(1..=107).contains(&name.len()) || !name.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(super::errno::invalid(
            "a name has 1 to 107 printable characters and no spaces",
        ));
    }
    let address = SocketAddr::from_abstract_name(name)?;
    let socket = UnixDatagram::bind_addr(&address)?;
    Ok(Held { _socket: socket })
}

/// The names that are held now and begin with `prefix`, each once, in no order.
///
/// # Errors
/// Those of reading `/proc/net/unix`: `NotFound` without `/proc`.
pub fn list(prefix: &str) -> io::Result<Vec<String>> {
    let table = fs::read("/proc/net/unix")?;
    let table = String::from_utf8_lossy(&table);
    let mut names: Vec<String> = table
        .lines()
        .filter_map(|line| line.split_whitespace().nth(7)?.strip_prefix('@'))
        .filter(|name| name.starts_with(prefix))
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}
