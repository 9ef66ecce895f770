//! The two pairs that make a wake-up impossible to lose.
//!
//! Each side writes, and then reads what the other writes, with a full barrier between: so at least one
//! of the two sees the other.
//!
//! - The waker publishes its change, by a SeqCst CAS, and asks [`anybody`]; the waiter enters the list,
//!   calls [`entered`], and looks at the thing again.
//! - The waker calls [`disturb`] or [`summon`], and rings if that says so; the isolate asks [`may_sleep`].
//!
//! Apart from [`crate::wait`] so that the models run this very source.

use crate::primitive::Ordering::SeqCst;
use crate::primitive::{Flag, Word, fence};

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

/// Tells an isolate to look. True when its event loop sleeps, or is about to.
#[inline]
pub fn disturb(dirty: &Flag, parked: &Flag) -> bool {
    // SYNC: pairs with `may_sleep`, which sets `parked` and then reads `dirty`.
    dirty.store(1, SeqCst);
    parked.load(SeqCst) == 1
}

/// The same, for one who is going to ring: of several only one is told so.
#[inline]
pub fn summon(dirty: &Flag, parked: &Flag) -> bool {
    // SYNC: as in `disturb`.
    dirty.store(1, SeqCst);
    parked.swap(0, SeqCst) == 1
}

/// The isolate's event loop is about to sleep. False when it must look first.
#[inline]
pub fn may_sleep(dirty: &Flag, parked: &Flag) -> bool {
    // SYNC: pairs with `disturb`, which sets `dirty` and then reads `parked`.
    parked.swap(1, SeqCst);
    if dirty.load(SeqCst) == 0 {
        return true;
    }
    parked.swap(0, SeqCst);
    false
}
