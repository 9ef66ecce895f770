//! What the explorer knows about the memory and the processes while they run.
//!
//! The hook of the points lands here: it keeps a hash of the memory and, for each process, a hash of all
//! that it has read, and suspends the process before each access to a word that others access too.

use super::machine::place_of;
use super::process::{Process, Seen, Stop, Wait};
use polyproc_arena::points::{Access, Edge, Point};
use std::cell::{Cell, RefCell};

const PAGE: usize = 4096;
/// Accessed by more than one.
const MANY: u8 = u8::MAX;

/// Whose accesses are being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Running {
    /// Nobody's that count: making the family, checking it.
    Nobody,
    /// A process of the scenario.
    Process(usize),
    /// The one that recovers at rest, or the kernel.
    Warden,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct World {
    /// Address of the memory.
    pub base: usize,
    len: usize,
    /// Hash of the memory, relative to what it was when the processes began.
    pub hash: Cell<u64>,
    pub running: Cell<Running>,
    pub processes: Vec<Process>,
    /// One line an access, if asked for.
    pub trace: RefCell<Option<Vec<String>>>,
    /// A word turned out to be shared that was not known to be: what was explored does not count.
    pub discovered: Cell<bool>,
    dirty: RefCell<Vec<usize>>,
    is_dirty: Vec<Cell<bool>>,
    by: Vec<Cell<u8>>,
    written: Vec<Cell<bool>>,
    shared: Vec<Cell<bool>>,
    /// Turns that the warden has waited.
    pub turns: Cell<u32>,
}

pub(crate) fn mix(hash: u64, value: u64) -> u64 {
    let mut x = hash.rotate_left(23) ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl World {
    pub fn new(base: usize, len: usize, processes: usize) -> Self {
        Self {
            base,
            len,
            hash: Cell::new(0),
            running: Cell::new(Running::Nobody),
            processes: (0..processes).map(|_| Process::new()).collect(),
            trace: RefCell::new(None),
            discovered: Cell::new(false),
            dirty: RefCell::default(),
            is_dirty: vec![Cell::new(false); len / PAGE],
            by: vec![Cell::new(0); len / 4],
            written: vec![Cell::new(false); len / 4],
            shared: vec![Cell::new(false); len / 4],
            turns: Cell::new(0),
        }
    }

    /// Zeroes what was written since the last call.
    pub fn reset(&self) {
        for page in self.dirty.borrow_mut().drain(..) {
            self.is_dirty[page].set(false);
            // SAFETY: the page lies in the memory, which the explorer owns; no process runs.
            unsafe { std::ptr::write_bytes((self.base + page * PAGE) as *mut u8, 0, PAGE) };
        }
        self.hash.set(0);
        self.running.set(Running::Nobody);
        for process in &self.processes {
            process.reset();
        }
        if let Some(trace) = self.trace.borrow_mut().as_mut() {
            trace.clear();
        }
    }

    /// Runs `f` with accesses counted as `running`'s.
    pub fn during<R>(&self, running: Running, f: impl FnOnce() -> R) -> R {
        let before = self.running.replace(running);
        self.turns.set(0);
        let result = f();
        self.running.set(before);
        result
    }

    /// True when process `p` can make a step.
    pub fn is_enabled(&self, p: usize) -> bool {
        let process = &self.processes[p];
        match process.wait.get() {
            Wait::Ready(_) => true,
            Wait::Relax => process
                .watched
                .borrow()
                .iter()
                .any(|seen| self.value(seen.offset, seen.len) != seen.value),
            _ => false,
        }
    }

    /// Adds a line to the trace.
    pub fn say(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = self.trace.borrow_mut().as_mut() {
            trace.push(line());
        }
    }

    fn cell(&self, index: usize) -> u64 {
        // SAFETY: inside the memory, and only this thread touches it.
        unsafe { std::ptr::read((self.base + index * 8) as *const u64) }
    }

    /// The value of a word or flag, or a hash of more than that.
    pub fn value(&self, offset: usize, len: usize) -> u64 {
        match len {
            8 if offset.is_multiple_of(8) => self.cell(offset / 8),
            4 if offset.is_multiple_of(4) => self.cell(offset / 8) >> (offset % 8 * 8) & 0xffff_ffff,
            _ => self.cells(offset, len),
        }
    }

    /// Hash of the cells under a range: of their places and contents, in any order.
    fn cells(&self, offset: usize, len: usize) -> u64 {
        let end = (offset + len).div_ceil(8);
        (offset / 8..end).fold(0, |hash, index| {
            hash ^ mix(index as u64 | 1 << 40, self.cell(index))
        })
    }

    /// Remembers who accesses what; true when others do too and one of them writes.
    pub fn account(&self, offset: usize, len: usize, who: u8, writes: bool) -> bool {
        let mut shared = false;
        for index in offset / 4..(offset + len).div_ceil(4) {
            let by = &self.by[index];
            if by.get() == 0 {
                by.set(who);
            } else if by.get() != who {
                by.set(MANY);
            }
            if writes {
                self.written[index].set(true);
            }
            let now = by.get() == MANY && self.written[index].get();
            if now && !self.shared[index].replace(true) {
                self.discovered.set(true);
            }
            shared |= now;
        }
        shared
    }

    fn touched(&self, offset: usize, len: usize) {
        for page in offset / PAGE..(offset + len).div_ceil(PAGE) {
            if !self.is_dirty[page].replace(true) {
                self.dirty.borrow_mut().push(page);
            }
        }
    }

    /// An access is about to be made, or has been.
    #[inline]
    pub fn point(&self, point: &Point) {
        let running = self.running.get();
        if running == Running::Nobody && (point.access == Access::Load || point.edge == Edge::Before) {
            return;
        }
        self.counts(point, running);
    }

    fn counts(&self, point: &Point, running: Running) {
        if point.address < self.base || point.address + point.len > self.base + self.len {
            return;
        }
        let offset = point.address - self.base;
        let writes = point.access != Access::Load;
        match (point.edge, running) {
            (Edge::Before, Running::Nobody) => {}
            (Edge::Before, Running::Warden) => {
                self.account(offset, point.len, MANY - 1, writes);
                if writes {
                    self.hash.set(self.hash.get() ^ self.cells(offset, point.len));
                }
            }
            (Edge::Before, Running::Process(p)) => self.before(p, point, offset, writes),
            (Edge::After, running) => {
                if !writes {
                    return;
                }
                self.touched(offset, point.len);
                if running != Running::Nobody {
                    self.hash.set(self.hash.get() ^ self.cells(offset, point.len));
                    self.say(|| format!("     {} = {:#x}", place_of(offset), self.value(offset, point.len)));
                }
            }
        }
    }

    fn before(&self, p: usize, point: &Point, offset: usize, writes: bool) {
        let process = &self.processes[p];
        let shared = self.account(offset, point.len, p as u8 + 1, writes);
        let watched =
            process.impatient.get() && process.watched.borrow().iter().any(|seen| seen.offset == offset);
        if !watched {
            process.impatient.set(false);
            if shared {
                process.wait.set(Wait::Ready(writes));
                process.suspend(Stop::Access);
            }
            let value = self.value(offset, point.len);
            let history = process.history.get();
            process.seen.borrow_mut().push(Seen {
                history,
                offset,
                len: point.len,
                value,
                writes,
            });
            let place = u64::from(point.place.line()) << 32 | point.place.file().len() as u64;
            let bytes = point.access == Access::Bytes;
            let read = if bytes { 0 } else { value };
            process
                .history
                .set(mix(mix(mix(history, place), offset as u64), read));
            self.say(|| {
                let file = point.place.file().rsplit('/').next().unwrap_or_default();
                let (line, access, place) = (point.place.line(), point.access, place_of(offset));
                format!("  {p}: {file}:{line} {access:?} {place} holds {value:#x}")
            });
        }
        if writes {
            self.hash.set(self.hash.get() ^ self.cells(offset, point.len));
        }
    }
}
