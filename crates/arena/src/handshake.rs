//! The pairs that make a wake-up impossible to lose.
//!
//! Each side writes, and then reads what the other writes, with a full barrier between: so at least one
//! of the two sees the other.
//!
//! An isolate's `parked` is 0 while its event loop is awake, 1 while it sleeps, 2 while it watches: spins before it sleeps, and
//! looks the moment it is dirty. Who is told by [`disturb`] that it does either need tell nobody else.
//!
//! - The waker publishes its change, by a SeqCst CAS, and asks [`anybody`]; the waiter enters the list,
//!   calls [`entered`], and looks at the thing again.
//! - The same change, and [`left_to`]; one who has been woken says [`looks`], and looks at the thing.
//! - The waker calls [`disturb`] or [`summon`], and rings if that says so; the isolate asks [`may_sleep`], or says [`attends`]
//!   before it takes note of being dirty.
//!
//! Apart from [`crate::wait`] so that the models run this very source.

use crate::primitive::Ordering::{Relaxed, SeqCst};
use crate::primitive::{Flag, Word, fence};

const AWAKE: u32 = 0;
const PARKED: u32 = 1;
/// See [`watches`].
pub const WATCHING: u32 = 2;

/// The waiter has entered a list, and looks at the thing again after this.
#[inline]
pub fn entered() {
    // SYNC: pairs with the waker's SeqCst change of the thing, after which it reads the head.
    fence(SeqCst);
}

/// True when somebody may be in the list of which `head` is the first word.
#[inline]
#[cfg_attr(feature = "points", track_caller)]
pub fn anybody(head: &Word) -> bool {
    // SYNC: SeqCst pairs with the fence in `entered`; the change before it was a SeqCst CAS.
    head.load(SeqCst) != 0
}

/// The waiter that `record` stands for, which has been woken, looks at the thing after this. `woken` is the list's word that says
/// who has been woken and has not looked.
#[inline]
#[cfg_attr(feature = "points", track_caller)]
pub fn looks(woken: &Word, record: u64) {
    // Where it names another, that one looks later.
    let _ = woken.cas(record, 0);
    // SYNC: pairs with `left_to`: who reads `woken` as it was before this has changed the thing, and that is seen after this.
    fence(SeqCst);
}

/// True when somebody has been woken who will look at the thing as it is now: nobody else need be.
#[inline]
#[cfg_attr(feature = "points", track_caller)]
pub fn left_to(woken: &Word) -> bool {
    // SYNC: SeqCst pairs with the fence in `looks`; the change before it was a SeqCst CAS.
    woken.load(SeqCst) != 0
}

/// Tells an isolate to look. True when it is sure to do nothing else before: its event loop sleeps, is about to, or watches.
#[inline]
pub fn disturb(dirty: &Flag, parked: &Flag) -> bool {
    // SYNC: pairs with `may_sleep`, which sets `parked` and then reads `dirty`, and with `attends`, after which `dirty` is read.
    dirty.store(1, SeqCst);
    parked.load(SeqCst) != AWAKE
}

/// Tells it to look, for one who is going to ring. True when it sleeps; of several only one is told so.
#[inline]
pub fn summon(dirty: &Flag, parked: &Flag) -> bool {
    // SYNC: as in `disturb`. One that watches, and parks in this moment, sees `dirty`.
    dirty.store(1, SeqCst);
    parked.swap(AWAKE, SeqCst) == PARKED
}

/// The isolate's event loop is about to sleep. False when it must look first.
#[inline]
pub fn may_sleep(dirty: &Flag, parked: &Flag) -> bool {
    // SYNC: pairs with `disturb`, which sets `dirty` and then reads `parked`.
    parked.swap(PARKED, SeqCst);
    if dirty.load(SeqCst) == 0 {
        return true;
    }
    parked.swap(AWAKE, SeqCst);
    false
}

/// From now on the isolate does nothing but look whether it is dirty, until it says [`attends`] or asks [`may_sleep`].
#[inline]
pub fn watches(parked: &Flag) {
    // SYNC: Relaxed: who sees it later rings in vain, or wakes somebody else besides.
    parked.store(WATCHING, Relaxed);
}

/// The isolate is going to take note of being dirty, and to look.
#[inline]
pub fn attends(parked: &Flag) {
    parked.store(AWAKE, Relaxed);
    // SYNC: pairs with `disturb`: who reads `parked` as it was before this has set `dirty`, and that is seen after this.
    fence(SeqCst);
}
