//! Who is who: ids of this process, and what `/proc` tells of others.
//!
//! A pid is for people and for signals. It means something only in its own pid namespace, and only
//! together with the start time until it is reused.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

/// This process.
pub fn pid() -> u32 {
    std::process::id()
}

/// The parent of this process, or whoever adopted it; 0 when that is outside the pid namespace.
pub fn ppid() -> u32 {
    std::os::unix::process::parent_id()
}

/// The calling thread, as its own pid namespace has it.
pub fn tid() -> u32 {
    // By number: the C library has a function for it only from glibc 2.30 on.
    // SAFETY: takes nothing, cannot fail.
    let tid = unsafe { libc::syscall(libc::SYS_gettid) };
    tid as u32
}

/// The user this process acts as.
pub fn euid() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() }
}

/// Which pid namespace this process is in: the inode number that identifies it while the machine runs.
/// Pids of members in different namespaces cannot be compared. 0 when `/proc` does not tell.
pub fn pid_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |link| link.ino())
}

/// When the process started, in clock ticks (1/100 s) since boot. With the pid it names a process for as
/// long as the machine runs. `None` when there is no such process, or `/proc` does not show it.
///
/// # Examples
/// ```
/// assert!(polyproc_sys::proc_info::start_time(std::process::id()).is_some());
/// assert_eq!(polyproc_sys::proc_info::start_time(0), None);
/// ```
pub fn start_time(pid: u32) -> Option<u64> {
    Stat::of(pid).map(|stat| stat.start_time)
}

/// What a process is doing, as far as a signal for it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It runs or sleeps.
    Alive,
    /// A signal or a tracer has stopped it: it makes no step, and no child.
    Stopped,
    /// It has ended, reaped or not, or never was.
    Ended,
}

/// What the process is doing now.
///
/// # Examples
/// ```
/// use polyproc_sys::proc_info::{State, pid, state};
/// assert_eq!(state(pid()), State::Alive);
/// assert_eq!(state(0), State::Ended);
/// ```
pub fn state(pid: u32) -> State {
    match Stat::of(pid).map(|stat| stat.state) {
        Some('T' | 't') => State::Stopped,
        Some('Z' | 'X' | 'x') | None => State::Ended,
        Some(_) => State::Alive,
    }
}

/// The parent of a process; 0 when it is outside the pid namespace, `None` when there is no such process.
pub fn parent_of(pid: u32) -> Option<u32> {
    Stat::of(pid).map(|stat| stat.parent)
}

/// Whether the process has ended and waits for its parent to take the status. `false` when there is none.
pub fn is_zombie(pid: u32) -> bool {
    Stat::of(pid).is_some_and(|stat| matches!(stat.state, 'Z' | 'X' | 'x'))
}

/// The children of a process at this moment, zombies included, in no order; empty when there is no such
/// process. A process that forks meanwhile may be missed: ask again until nothing new appears.
pub fn children_of(pid: u32) -> Vec<u32> {
    listed_children(pid).unwrap_or_else(|_| scanned_children(pid))
}

/// From `/proc/<pid>/task/<tid>/children`: each thread lists what it started itself.
///
/// # Errors
/// When the kernel was built without these lists.
fn listed_children(pid: u32) -> io::Result<Vec<u32>> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Ok(Vec::new());
    };
    let mut children = Vec::new();
    for task in tasks.flatten() {
        match fs::read_to_string(task.path().join("children")) {
            Ok(list) => children.extend(list.split_whitespace().filter_map(|n| n.parse::<u32>().ok())),
            // A thread that ended meanwhile takes its folder with it; its children went to another thread,
            // and are found in the next look.
            Err(error) if error.kind() == io::ErrorKind::NotFound && task.path().exists() => {
                return Err(error);
            }
            Err(_) => {}
        }
    }
    Ok(children)
}

/// From the parent field of every process.
fn scanned_children(pid: u32) -> Vec<u32> {
    let Ok(all) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    all.flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&other| Stat::of(other).is_some_and(|stat| stat.parent == pid))
        .collect()
}

/// The fields of `/proc/<pid>/stat` that are of use here.
struct Stat {
    state: char,
    parent: u32,
    start_time: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
        Self::parse(&String::from_utf8_lossy(&text))
    }

    /// The second field is the program's name in brackets and may hold anything, brackets included; so the
    /// rest, from the third field (the state) on, begins after the last one.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        Some(Self {
            state: fields.next()?.chars().next()?,
            parent: fields.next()?.parse().ok()?,
            start_time: fields.nth(17)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_name_with_brackets() {
        let text = "7 (a) R b) S 3 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4711 9 10";
        let stat = Stat::parse(text).expect("parses");
        assert_eq!((stat.state, stat.parent, stat.start_time), ('S', 3, 4711));
        assert!(Stat::parse("7 (cut").is_none());
    }

    #[test]
    fn both_ways_find_a_child() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("spawns");
        assert!(children_of(pid()).contains(&child.id()));
        assert!(scanned_children(pid()).contains(&child.id()));
        child.kill().expect("kills");
        child.wait().expect("reaps");
    }
}
