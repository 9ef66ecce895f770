//! What the explorer knows about the memory and the processes while they run.
//!
//! The hook of the points lands here: it keeps a hash of the memory and, for each process, a hash of all
//! that it has read, and suspends the process before each access to a word that others access too.

use super::layout;
use corosensei::Yielder;
use polyproc_arena::layout::{MEMBER, OBJECT, PROCESS, SIDE};
use polyproc_arena::member;
use polyproc_arena::points::{self, Access, Edge, Machine, Point};
use polyproc_sys::futex;
use std::cell::{Cell, RefCell};

/// Time that the processes see, in ns; it does not pass.
const NOW: u64 = 1_000_000_000;
/// Time that a process sees whose patience was taken away.
const LATE: u64 = 1_000_000_000_000;
const PAGE: usize = 4096;
/// Accessed by more than one.
const MANY: u8 = u8::MAX;
/// Turns after which waiting without an end is one.
const FOR_EVER: u32 = 20_000;

/// Why a process gave control back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It is about to access a shared word.
    Access,
    /// It waits for one of the words that it looked at to change.
    Relax,
    /// It sleeps.
    Asleep,
    /// It waits without end for what nobody will do.
    Hang,
}

/// What a process can do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Go on; true when its next access changes memory.
    Ready(bool),
    /// Look again once a word that it looked at has changed.
    Relax,
    /// Nothing before the futex at that offset is woken.
    Futex(usize),
    /// Nothing before its doorbell is rung.
    Bell,
    /// It has done what it was to do.
    Done,
    /// It was killed.
    Killed,
}

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

/// One look at a word, for taking back what a waiting loop has seen.
#[derive(Debug, Clone, Copy)]
struct Seen {
    history: u64,
    offset: usize,
    len: usize,
    value: u64,
    writes: bool,
}

/// What is remembered of a process.
#[derive(Debug)]
pub(crate) struct Process {
    /// Hash of where it has been and of all that it has read.
    pub history: Cell<u64>,
    /// What it can do next.
    pub wait: Cell<Wait>,
    /// What its operations returned, as the scenario noted it.
    pub outcomes: RefCell<Vec<u64>>,
    /// Its doorbell has been rung and not heard.
    pub rung: Cell<bool>,
    /// The name of its member.
    pub name: Cell<u64>,
    /// Its deadlines have passed.
    pub late: Cell<bool>,
    /// Where its member notes the sections that it is about to enter.
    pub notes: Cell<usize>,
    yielder: Cell<*const Yielder<(), Stop>>,
    seen: RefCell<Vec<Seen>>,
    watched: RefCell<Vec<Seen>>,
    impatient: Cell<bool>,
    turns: Cell<u32>,
    start: Cell<usize>,
}

impl Process {
    fn new() -> Self {
        Self {
            history: Cell::new(0),
            wait: Cell::new(Wait::Ready(false)),
            outcomes: RefCell::default(),
            rung: Cell::new(false),
            name: Cell::new(0),
            late: Cell::new(false),
            notes: Cell::new(0),
            yielder: Cell::new(std::ptr::null()),
            seen: RefCell::default(),
            watched: RefCell::default(),
            impatient: Cell::new(false),
            turns: Cell::new(0),
            start: Cell::new(0),
        }
    }

    fn reset(&self) {
        self.history.set(0);
        self.wait.set(Wait::Ready(false));
        self.outcomes.borrow_mut().clear();
        self.rung.set(false);
        self.late.set(false);
        self.yielder.set(std::ptr::null());
        self.seen.borrow_mut().clear();
        self.watched.borrow_mut().clear();
        self.impatient.set(false);
        self.turns.set(0);
    }

    /// Called by the process itself once it runs.
    pub fn runs(&self, yielder: &Yielder<(), Stop>) {
        self.yielder.set(yielder);
    }

    /// Its deadlines have passed, and it waits for nothing any more.
    pub fn tire(&self) {
        self.late.set(true);
        self.history.set(mix(self.history.get(), 0x7469_7265));
        match self.wait.get() {
            Wait::Relax => self.impatient.set(true),
            _ => self.wait.set(Wait::Ready(false)),
        }
    }

    fn suspend(&self, stop: Stop) {
        // SAFETY: the yielder lies on the coroutine's stack, which is the one we are running on.
        unsafe { &*self.yielder.get() }.suspend(stop);
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct World {
    base: usize,
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
    turns: Cell<u32>,
}

thread_local! {
    static WORLD: Cell<*const World> = const { Cell::new(std::ptr::null()) };
}

pub(crate) fn mix(hash: u64, value: u64) -> u64 {
    let mut x = hash.rotate_left(23) ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn with<R>(f: impl FnOnce(&World) -> R) -> Option<R> {
    let world = WORLD.get();
    // SAFETY: `Entered` keeps the world alive for as long as the pointer is set.
    (!world.is_null()).then(|| f(unsafe { &*world }))
}

/// Makes a world the one that this thread's accesses belong to.
pub(crate) struct Entered<'a>(std::marker::PhantomData<&'a World>);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        WORLD.set(std::ptr::null());
    }
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

    pub fn enter(&self) -> Entered<'_> {
        let _ = points::install(hook);
        let _ = points::simulate(Machine {
            now,
            relax,
            sleep,
            wake,
            bell,
        });
        WORLD.set(self);
        Entered(std::marker::PhantomData)
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
    fn value(&self, offset: usize, len: usize) -> u64 {
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
    fn account(&self, offset: usize, len: usize, who: u8, writes: bool) -> bool {
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

    #[inline]
    fn point(&self, point: &Point) {
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

/// What lies at an offset, for people.
fn place_of(offset: usize) -> String {
    let layout = layout();
    let at = offset as u64;
    let row = |what: &str, first: u64, size: u64| {
        format!("{what} {} +{}", (at - first) / size, (at - first) % size)
    };
    if at >= layout.data {
        format!("data {offset:#x}")
    } else if at >= layout.sides {
        let index = (at - layout.sides) / 8;
        format!(
            "side of block {} of unit {}",
            index % (SIDE / 8),
            index / (SIDE / 8)
        )
    } else if at >= layout.objects {
        row("object", layout.objects, OBJECT)
    } else if at >= layout.names {
        row("name bucket", layout.names, 8)
    } else if at >= layout.members {
        row("member", layout.members, MEMBER)
    } else if at >= layout.processes {
        row("process slot", layout.processes, PROCESS)
    } else if at >= layout.units {
        row("unit word", layout.units, 8)
    } else {
        format!("header +{at}")
    }
}

fn hook(point: &Point) {
    with(|world| world.point(point));
}

fn now() -> Option<u64> {
    with(|world| match world.running.get() {
        Running::Process(p) if world.processes[p].late.get() => LATE,
        _ => NOW,
    })
}

fn relax(turn: u32) -> bool {
    with(|world| {
        let Running::Process(p) = world.running.get() else {
            world.turns.set(world.turns.get() + 1);
            assert!(
                world.turns.get() < FOR_EVER,
                "recovery waits for ever for one that lives"
            );
            return;
        };
        let process = &world.processes[p];
        if process.impatient.get() {
            process.turns.set(process.turns.get() + 1);
            if process.turns.get() > FOR_EVER {
                process.suspend(Stop::Hang);
            }
            return;
        }
        process.turns.set(0);
        // Take back what this turn has seen, so that a turn more or less makes no other state.
        let mut seen = process.seen.borrow_mut();
        let notes = process.notes.get()..process.notes.get() + 8 * member::NOTES_LEN as usize;
        let noted = |seen: &Seen| seen.writes && notes.contains(&seen.offset);
        let start = match turn {
            0 => seen.iter().rposition(noted).map_or(0, |note| note + 1),
            _ => process.start.get(),
        };
        process.start.set(start);
        process.history.set(seen[start].history);
        let mut watched = process.watched.borrow_mut();
        watched.clear();
        watched.extend(seen.drain(start..));
        drop((seen, watched));
        process.wait.set(Wait::Relax);
        process.suspend(Stop::Relax);
    })
    .is_some()
}

fn sleep(address: usize, expected: u32) -> Option<futex::Wait> {
    with(|world| {
        let offset = address - world.base;
        let Running::Process(p) = world.running.get() else {
            panic!("somebody sleeps who is not explored");
        };
        let process = &world.processes[p];
        world.account(offset, 4, p as u8 + 1, true);
        process.wait.set(Wait::Ready(false));
        process.suspend(Stop::Access);
        if world.value(offset, 4) != u64::from(expected) {
            process.history.set(mix(process.history.get(), 1));
            world.say(|| format!("  {p}: does not sleep on {}", place_of(offset)));
            return futex::Wait::Changed;
        }
        world.say(|| format!("  {p}: sleeps on {}", place_of(offset)));
        process.wait.set(Wait::Futex(offset));
        process.suspend(Stop::Asleep);
        if process.late.get() {
            futex::Wait::TimedOut
        } else {
            futex::Wait::Woken
        }
    })
}

fn wake(address: usize) -> bool {
    with(|world| {
        let offset = address - world.base;
        for (p, process) in world.processes.iter().enumerate() {
            if process.wait.get() == Wait::Futex(offset) {
                world.say(|| format!("  {p}: is woken"));
                process.wait.set(Wait::Ready(false));
                process.history.set(mix(process.history.get(), 2));
                break;
            }
        }
    })
    .is_some()
}

fn bell(name: u64) -> bool {
    with(|world| {
        if let Running::Process(p) = world.running.get() {
            let process = &world.processes[p];
            process.wait.set(Wait::Ready(true));
            process.suspend(Stop::Access);
        }
        for (p, process) in world.processes.iter().enumerate() {
            if process.name.get() == name {
                world.say(|| format!("  {p}: its doorbell rings"));
                process.rung.set(true);
                if process.wait.get() == Wait::Bell {
                    process.wait.set(Wait::Ready(false));
                }
            }
        }
    })
    .is_some()
}

/// Sleeps, as process `p`, until its doorbell has been rung.
pub(crate) fn hear(world: &World, p: usize) {
    let process = &world.processes[p];
    process.wait.set(Wait::Ready(false));
    process.suspend(Stop::Access);
    if !process.rung.get() {
        world.say(|| format!("  {p}: sleeps in its event loop"));
        process.wait.set(Wait::Bell);
        process.suspend(Stop::Asleep);
    }
    process.rung.set(false);
    process.history.set(mix(process.history.get(), 3));
}
