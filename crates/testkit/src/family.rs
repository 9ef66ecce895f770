//! Several "processes" over one piece of ordinary memory, in one test process.
//!
//! Each has its own [`Arena`] (its own hints and counts, as a real process has) and one [`Member`]. Death
//! is simulated by what the kernel and the watchers would write: the mark and the phase.

use polyproc_arena::layout::{self, Layout};
use polyproc_arena::map::Map;
use polyproc_arena::process::{self, Phase};
use polyproc_arena::{Arena, Member, check, recovery};
use polyproc_channel::queue::{JOINABLE, KIND, QueueKind};
use polyproc_pool::BoardKind;
use polyproc_pool::board::KIND as BOARD;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;

/// Zeroed memory, aligned as a mapping is.
#[derive(Debug)]
pub struct Memory {
    base: NonNull<u8>,
    size: std::alloc::Layout,
}

impl Memory {
    /// `bytes` of zeroed memory, at least one.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let size = std::alloc::Layout::from_size_align(bytes.max(1), layout::UNIT as usize)
            .unwrap_or_else(|error| panic!("{bytes} bytes: {error}"));
        // SAFETY: the size is not zero.
        let base = unsafe { std::alloc::alloc_zeroed(size) };
        let Some(base) = NonNull::new(base) else {
            std::alloc::handle_alloc_error(size)
        };
        Self { base, size }
    }

    /// Where it begins.
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Its size in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.size.size()
    }

    /// Never: there is at least one byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this very layout in `new`.
        unsafe { std::alloc::dealloc(self.base.as_ptr(), self.size) };
    }
}

/// The processes. Fields drop in order: arenas before the memory that they look at.
#[derive(Debug)]
pub struct Family {
    /// One a process.
    pub arenas: Vec<Arena>,
    /// One a process: its main thread.
    pub members: Vec<Member>,
    _memory: Option<Memory>,
}

impl Family {
    /// `processes` over 32 MiB of their own.
    ///
    /// # Examples
    /// ```
    /// let family = polyproc_testkit::family::Family::new(2);
    /// let block = family.arenas[0].alloc(&family.members[0], 100).unwrap();
    /// family.kill(0);
    /// family.recover(1);
    /// family.expect_nothing_left();
    /// ```
    ///
    /// # Panics
    /// When they cannot join.
    #[must_use]
    pub fn new(processes: usize) -> Self {
        let memory = Memory::new(32 << 20);
        let layout = Layout::with(memory.len() as u64, 8, 64, 64, 1024);
        // SAFETY: the memory is the family's own and is freed after its arenas.
        let mut family = unsafe { Self::over(&memory, layout, processes) };
        family._memory = Some(memory);
        family
    }

    /// `processes` over memory that the caller keeps, all zero or a family's at rest.
    ///
    /// # Safety
    /// The memory must outlive the family, and be as large as the layout says.
    ///
    /// # Panics
    /// When they cannot join.
    #[must_use]
    pub unsafe fn over(memory: &Memory, layout: Layout, processes: usize) -> Self {
        // SAFETY: what the caller promises.
        let map = unsafe { Map::new(memory.base(), memory.len() as u64) };
        let arenas: Vec<Arena> = (0..processes).map(|_| join(map, layout)).collect();
        let members = arenas
            .iter()
            .map(|arena| {
                arena
                    .join_member()
                    .unwrap_or_else(|error| panic!("a member: {error}"))
            })
            .collect();
        Self {
            arenas,
            members,
            _memory: None,
        }
    }

    /// Another process of the family, as one that is started later: a slot that recovery has given back
    /// is issued again.
    ///
    /// # Panics
    /// When there is no place.
    #[must_use]
    pub fn another(&self) -> (Arena, Member) {
        let arena = join(self.arenas[0].map, self.arenas[0].layout);
        let member = arena
            .join_member()
            .unwrap_or_else(|error| panic!("a member: {error}"));
        (arena, member)
    }

    /// Ends process `p`: marks its life word and declares it dead, as the kernel and, after the grace,
    /// whoever looks would.
    ///
    /// # Panics
    /// When there is no such process.
    pub fn kill(&self, p: usize) {
        let arena = &self.arenas[p];
        let slot = arena.process_slot();
        let life = arena.layout.process(slot) + process::LIFE;
        if let Ok(life) = arena.map.flag(life) {
            life.store(polyproc_sys::robust::OWNER_DIED, Relaxed);
        }
        let seen = process::state(arena, slot).unwrap_or_else(|error| panic!("process {p}: {error}"));
        assert!(
            process::declare_dead(arena, slot, seen),
            "process {p} changed while it was killed"
        );
    }

    /// Lets process `p` recover whatever has ended, until nothing is left undone.
    ///
    /// # Panics
    /// When damage is found, or something is still undone after ten rounds.
    pub fn recover(&self, p: usize) {
        for _ in 0..10 {
            if recovery::round(&self.arenas[p], &self.members[p])
                .unwrap_or_else(|error| panic!("recovery: {error}"))
            {
                return;
            }
        }
        panic!("recovery comes to no end");
    }

    /// # Panics
    /// When the checker finds a fault, or when an object or a block is in use.
    pub fn expect_nothing_left(&self) {
        let report = check::check(&self.arenas[0]).unwrap_or_else(|error| panic!("the checker: {error}"));
        assert_eq!(report.faults, Vec::<String>::new());
        assert_eq!(
            (report.objects, report.owned_blocks, report.held_blocks),
            (0, 0, 0),
            "{report:?}"
        );
    }
}

/// What objects a family under test has.
#[must_use]
pub fn kinds() -> Vec<(usize, &'static dyn polyproc_arena::object::Kind)> {
    let own: [(usize, &dyn polyproc_arena::object::Kind); 3] =
        [(KIND, &QueueKind), (JOINABLE, &QueueKind), (BOARD, &BoardKind)];
    own.into_iter().chain(polyproc_sync::KINDS).collect()
}

fn join(map: Map, layout: Layout) -> Arena {
    let arena = Arena::over(map, layout, 1, None, &kinds());
    let pid = std::process::id();
    let name = process::claim(&arena, Phase::Starting, pid, 0)
        .and_then(|name| {
            // The mark of whoever had the slot before, as a native thread clears it.
            let life = arena.layout.process(name & 0xffff_ffff) + process::LIFE;
            arena.map.flag(life)?.store(0, Relaxed);
            process::advance(&arena, name, Phase::Starting, Phase::Live, pid)?;
            Ok(name)
        })
        .unwrap_or_else(|error| panic!("a process: {error}"));
    arena.set_process(name);
    arena
}
