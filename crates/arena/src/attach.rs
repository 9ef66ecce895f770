//! Finding the family's arena, or making it.
//!
//! An environment variable, named after the layout version, tells a process of its family:
//! `nonce:descriptor:pid:start` (hexadecimal nonce, the rest decimal) of whoever set it. A process tries
//! the descriptor that it inherited, then the one of any living member through `/proc`, and believes
//! neither unless seals, size, magic, version and nonce agree. A *named* arena is found through names in
//! the abstract socket namespace, one a member, which the kernel removes with the member.
//!
//! # What a crash leaves
//! Nothing: a memfd, a socket name and an inherited descriptor end with the processes that have them.

use crate::arena::Arena;
use crate::error::{Error, Result};
use crate::layout::{self, Layout, UNIT, header};
use crate::map::Map;
use crate::object::Kind;
use crate::primitive::Ordering::Relaxed;
use crate::process::{self, Phase};
use crate::{Member, watch};
use polyproc_sys::abstract_socket::{self, Held};
use polyproc_sys::memory::{Mapping, Memfd};
use polyproc_sys::{limits, proc_info, random};

/// The variable that leads descendants to the arena.
pub const VARIABLE: &str = "POLYPROC_ARENA_V1";

/// Name of the memfd, for people who look into `/proc`.
const NAME: &str = "polyproc";

/// An arena that has been found or made but not mapped.
#[derive(Debug)]
pub struct Family {
    memfd: Memfd,
    /// Random number of the family.
    pub nonce: u64,
    /// True when this process made it.
    pub created: bool,
    _name: Option<Held>,
}

/// Limits on the arena, settled by the first process that uses it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Most bytes committed; 0: half of what the machine or the cgroup has.
    pub max_bytes: u64,
    /// Most processes; 0: as many as the layout has.
    pub max_processes: u64,
    /// Most members; 0: as many as the layout has.
    pub max_members: u64,
}

impl Family {
    /// The arena that `variable` (the value of [`VARIABLE`]) leads to, or a new one without it. An empty
    /// value asks for a new one.
    ///
    /// # Errors
    /// `State` when the variable is set and leads nowhere: it says what was tried. Never a second arena in
    /// silence: also where the variable is missing, but an ancestor's arena was passed down.
    pub fn find(variable: Option<&str>) -> Result<Self> {
        match variable {
            Some("") => Self::create(),
            Some(value) => Self::inherited(value),
            None if Memfd::inherited(NAME).is_empty() => Self::create(),
            None => Err(Error::State(format!(
                "an ancestor of this process uses polyproc, but the environment lacks {VARIABLE}: whoever started it gave it \
                 an `env` without the variable. Pass the environment on (env: {{ ...process.env, … }}), or set {VARIABLE} to an \
                 empty text to begin a family of its own"
            ))),
        }
    }

    /// The arena of a name, shared by all processes of this user; made if nobody has it.
    ///
    /// # Errors
    /// `State` or `System`.
    pub fn named(name: &str) -> Result<Self> {
        if name.is_empty() || name.len() > 40 || !name.bytes().all(|b| b.is_ascii_graphic() && b != b'/') {
            return Err(Error::State(format!(
                "POLYPROC_ARENA must have 1 to 40 printable ASCII characters without spaces and slashes, not {name:?}"
            )));
        }
        let prefix = format!("polyproc/{}/{}/{name}/", layout::VERSION, proc_info::euid());
        let _turn = take_turn(&format!(
            "polyproc/{}/{}/{name}.lock",
            layout::VERSION,
            proc_info::euid()
        ))?;
        let members =
            abstract_socket::list(&prefix).map_err(|error| Error::System("reading /proc/net/unix", error))?;
        for member in members {
            let mut parts = member[prefix.len()..].split('/');
            let (Some(nonce), Some(fd), Some(pid)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            if let (Ok(nonce), Ok(fd), Ok(pid)) = (
                u64::from_str_radix(nonce, 16),
                fd.parse::<i32>(),
                pid.parse::<u32>(),
            ) && let Ok(memfd) = Memfd::open_of(pid, fd)
                && verify(&memfd, nonce).is_ok()
            {
                return Self {
                    memfd,
                    nonce,
                    created: false,
                    _name: None,
                }
                .announce(&prefix);
            }
        }
        Self::create()?.announce(&prefix)
    }

    fn announce(mut self, prefix: &str) -> Result<Self> {
        let name = format!(
            "{prefix}{:x}/{}/{}",
            self.nonce,
            self.memfd.raw(),
            proc_info::pid()
        );
        let held = abstract_socket::hold(&name)
            .map_err(|error| Error::System("announcing the named arena", error))?;
        self._name = Some(held);
        Ok(self)
    }

    fn create() -> Result<Self> {
        let nonce = random::u64() | 1;
        let allowed = limits::file_size().min(limits::address_space() / 4);
        let mut size = layout::MOST_SIZE;
        while size > allowed && size > layout::LEAST_SIZE {
            size /= 2;
        }
        if size > limits::file_size() {
            return Err(Error::State(format!(
                "the limit on file sizes (ulimit -f: {} bytes) leaves no room for shared memory, which needs {} bytes of address",
                limits::file_size(),
                layout::LEAST_SIZE
            )));
        }
        let memfd = loop {
            match Memfd::create(NAME, size) {
                Ok(memfd) => break memfd,
                Err(_) if size > layout::LEAST_SIZE => size /= 2,
                Err(error) => return Err(Error::System("making shared memory (memfd)", error)),
            }
        };
        let words = [layout::MAGIC, layout::VERSION, nonce, size];
        let mut bytes = [0; 32];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        memfd
            .write_at(0, &bytes)
            .map_err(|error| Error::System("writing the arena's header", error))?;
        Ok(Self {
            memfd,
            nonce,
            created: true,
            _name: None,
        })
    }

    fn inherited(value: &str) -> Result<Self> {
        let parts: Vec<&str> = value.split(':').collect();
        let parsed = match parts[..] {
            [nonce, fd, pid, start] => u64::from_str_radix(nonce, 16)
                .ok()
                .zip(fd.parse::<i32>().ok())
                .zip(pid.parse::<u32>().ok().zip(start.parse::<u64>().ok())),
            _ => None,
        };
        let Some(((nonce, fd), (pid, _start))) = parsed else {
            return Err(Error::State(format!(
                "{VARIABLE}={value} is not what polyproc writes there"
            )));
        };
        let mut tried = Vec::new();
        // SAFETY: the number was passed down for this; it is believed only after all checks.
        match unsafe { Memfd::adopt(fd) }
            .map_err(|error| error.to_string())
            .and_then(|memfd| verify(&memfd, nonce).map(|()| memfd))
        {
            Ok(memfd) => {
                return Ok(Self {
                    memfd,
                    nonce,
                    created: false,
                    _name: None,
                });
            }
            Err(why) => tried.push(format!("descriptor {fd} of this process: {why}")),
        }
        let mut ancestors = vec![pid];
        let parent = proc_info::ppid();
        if parent != pid && parent > 1 {
            ancestors.push(parent);
        }
        for pid in ancestors {
            match Memfd::open_of(pid, fd)
                .map_err(|error| error.to_string())
                .and_then(|memfd| verify(&memfd, nonce).map(|()| memfd))
            {
                Ok(memfd) => {
                    return Ok(Self {
                        memfd,
                        nonce,
                        created: false,
                        _name: None,
                    });
                }
                Err(why) => tried.push(format!("descriptor {fd} of process {pid}: {why}")),
            }
        }
        Err(Error::State(format!(
            "this process belongs to a family of processes ({VARIABLE} is set) whose shared memory it cannot reach: {}. \
             Start it so that it inherits descriptors, or remove the variable to begin a family of its own",
            tried.join("; ")
        )))
    }

    /// The value of [`VARIABLE`] for descendants of this process.
    #[must_use]
    pub fn variable(&self) -> String {
        let pid = proc_info::pid();
        let start = proc_info::start_time(pid).unwrap_or(0);
        format!("{:x}:{}:{pid}:{start}", self.nonce, self.memfd.raw())
    }

    /// The descriptor that descendants inherit.
    #[must_use]
    pub fn descriptor(&self) -> i32 {
        self.memfd.raw()
    }

    /// Maps the arena and joins it: `child` is the name of the slot that a parent reserved.
    ///
    /// # Errors
    /// `System` when it cannot be mapped; `TableFull` at the limit on processes.
    pub fn join(
        self,
        limits: Limits,
        child: Option<u64>,
        kinds: &[(usize, &'static dyn Kind)],
    ) -> Result<(&'static Arena, Member)> {
        let size = self
            .memfd
            .len()
            .map_err(|error| Error::System("fstat of the arena", error))?;
        let mapping = Mapping::of(&self.memfd, size as usize).map_err(|error| {
            Error::System(
                "mapping the family's shared memory (is the address space limited, ulimit -v?)",
                error,
            )
        })?;
        let mapping = Box::leak(Box::new(mapping));
        // SAFETY: the mapping is leaked, so it stays for the life of the process.
        let map = unsafe { Map::new(mapping.base(), size) };
        let nonce = self.nonce;
        let fd = self.memfd.raw();
        Box::leak(Box::new(self));
        polyproc_sys::memory::commit(fd, 0, 2 * UNIT)
            .map_err(|error| Error::System("committing the arena's header", error))?;
        let arena = Box::leak(Box::new(Arena::over(
            map,
            Layout::of(size),
            nonce,
            Some(fd),
            kinds,
        )));
        arena.settle(limits)?;
        let pid = proc_info::pid();
        let process = match child {
            Some(process) => {
                // The parent may be slow to write down our pid: then we do.
                let _ = process::advance(arena, process, Phase::Reserved, Phase::Starting, pid);
                process
            }
            None => process::claim(arena, Phase::Starting, pid, 0)?,
        };
        let at = arena.layout.process(process & 0xffff_ffff);
        arena.ensure_table(at, layout::PROCESS)?;
        arena
            .map
            .word(at + process::START)?
            .store(proc_info::start_time(pid).unwrap_or(0), Relaxed);
        arena
            .map
            .word(at + process::NS)?
            .store(proc_info::pid_namespace(), Relaxed);
        arena.set_process(process);
        watch::start(arena, process)?;
        let member = arena.join_member()?;
        Ok((arena, member))
    }
}

impl Arena {
    /// Settles the limits if nobody has.
    ///
    /// # Errors
    /// `State` when others have settled different ones than were asked for.
    pub fn settle(&self, limits: Limits) -> Result<()> {
        let half = polyproc_sys::memory::limit_bytes() / 2;
        let wanted = [
            (
                header::MAX_BYTES,
                "maxBytes",
                limits.max_bytes,
                half.clamp(layout::LEAST_SIZE / 4, self.layout.size),
            ),
            (
                header::MAX_PROCESSES,
                "maxProcesses",
                limits.max_processes,
                self.layout.processes_len,
            ),
            (
                header::MAX_MEMBERS,
                "maxMembers",
                limits.max_members,
                self.layout.members_len,
            ),
        ];
        for (word, what, asked, default) in wanted {
            let value = if asked == 0 { default } else { asked };
            if let Err(settled) = self.map.word(word)?.cas(0, value)
                && asked != 0
                && settled != asked
            {
                return Err(Error::State(format!(
                    "{what} is {settled} in this family already and cannot become {asked}"
                )));
            }
        }
        Ok(())
    }
}

fn verify(memfd: &Memfd, nonce: u64) -> std::result::Result<(), String> {
    let mut bytes = [0; 32];
    memfd.read_at(0, &mut bytes).map_err(|error| error.to_string())?;
    let word = |k: usize| u64::from_le_bytes(bytes[k * 8..k * 8 + 8].try_into().unwrap_or_default());
    if word(0) != layout::MAGIC {
        return Err("it is not an arena".into());
    }
    if word(1) != layout::VERSION {
        return Err(format!(
            "it has layout {}, this package has {}",
            word(1),
            layout::VERSION
        ));
    }
    if word(2) != nonce {
        return Err("it belongs to another family".into());
    }
    if memfd.len().map_err(|error| error.to_string())? != word(3) {
        return Err("its size is not what its header says".into());
    }
    Ok(())
}

/// Holds the lock name of a named arena; waits up to 5 s for others who are just joining.
fn take_turn(lock: &str) -> Result<Held> {
    let end = polyproc_sys::clock::now() + 5_000_000_000;
    loop {
        match abstract_socket::hold(lock) {
            Ok(held) => return Ok(held),
            Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => {
                return Err(Error::System("looking for the named arena", error));
            }
            Err(error) if polyproc_sys::clock::now() > end => {
                return Err(Error::System(
                    "another process has been joining the named arena for 5 s",
                    error,
                ));
            }
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(1)),
        }
    }
}
