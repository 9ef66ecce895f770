//! What the explorer remembers of a process while it runs, and how the process gives control back.

use super::world::mix;
use corosensei::Yielder;
use std::cell::{Cell, RefCell};

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

/// One look at a word, for taking back what a waiting loop has seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub history: u64,
    pub offset: usize,
    pub len: usize,
    pub value: u64,
    pub writes: bool,
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
    /// What it has looked at since it began.
    pub seen: RefCell<Vec<Seen>>,
    /// What it looked at in the turn of waiting that it is in.
    pub watched: RefCell<Vec<Seen>>,
    /// It waits no longer for others to act.
    pub impatient: Cell<bool>,
    /// Turns of waiting since then.
    pub turns: Cell<u32>,
    /// Where in `seen` the turn of waiting began.
    pub start: Cell<usize>,
    yielder: Cell<*const Yielder<(), Stop>>,
}

impl Process {
    pub fn new() -> Self {
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

    pub fn reset(&self) {
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

    /// Gives control back until the explorer lets it go on.
    pub fn suspend(&self, stop: Stop) {
        // SAFETY: the yielder lies on the coroutine's stack, which is the one we are running on.
        unsafe { &*self.yielder.get() }.suspend(stop);
    }
}
