//! Several "processes" over one piece of ordinary memory, in one test process.
#![allow(dead_code, reason = "each test file uses a part")]

use polyproc_arena::layout::{self, Layout};
use polyproc_arena::map::Map;
use polyproc_arena::process::{self, Phase};
use polyproc_arena::{Arena, Member, check};
use polyproc_channel::queue::{KIND, QueueKind};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;

pub struct Family {
    pub arenas: Vec<Arena>,
    pub members: Vec<Member>,
    memory: *mut u8,
    size: std::alloc::Layout,
}

impl Family {
    pub fn new(processes: usize) -> Self {
        let bytes = 32 << 20;
        let size = std::alloc::Layout::from_size_align(bytes, layout::UNIT as usize).unwrap();
        // SAFETY: the size is not zero.
        let memory = unsafe { std::alloc::alloc_zeroed(size) };
        let base = NonNull::new(memory).unwrap();
        // SAFETY: the memory lives until the family is dropped, after its arenas.
        let map = unsafe { Map::new(base, bytes as u64) };
        let layout = Layout::with(bytes as u64, 8, 64, 64, 1024);
        let arenas: Vec<Arena> = (0..processes)
            .map(|_| {
                let arena = Arena::over(map, layout, 1, None, &[(KIND, &QueueKind)]);
                let pid = std::process::id();
                let name = process::claim(&arena, Phase::Starting, pid, 0).unwrap();
                process::advance(&arena, name, Phase::Starting, Phase::Live, pid).unwrap();
                arena.set_process(name);
                arena
            })
            .collect();
        let members = arenas.iter().map(|arena| arena.join_member().unwrap()).collect();
        Self {
            arenas,
            members,
            memory,
            size,
        }
    }

    /// Declares process `p` dead, as the kernel and the grace would.
    pub fn kill(&self, p: usize) {
        let slot = self.arenas[p].process_slot();
        let life = self.arenas[p].layout.process(slot) + process::LIFE;
        self.arenas[p]
            .map
            .flag(life)
            .unwrap()
            .store(polyproc_sys::robust::OWNER_DIED, Relaxed);
    }

    pub fn expect_nothing_left(&self) {
        let report = check::check(&self.arenas[0]).unwrap();
        assert_eq!(report.faults, Vec::<String>::new());
        assert_eq!(
            (report.objects, report.owned_blocks, report.held_blocks),
            (0, 0, 0),
            "{report:?}"
        );
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        self.arenas.clear();
        // SAFETY: allocated with this very layout; the arenas over it are gone.
        unsafe { std::alloc::dealloc(self.memory, self.size) };
    }
}
