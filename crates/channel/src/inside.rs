//! Being inside a queue: who may be looking at a segment that has been taken out of the chain.
//!
//! Whoever changes slots without the queue's section says so in its own member slot, in a word that others
//! only read: the queue, and how many times it has been inside. Whoever wants to give segments back takes
//! them out of the chain first, and then waits until everybody who was inside has left at least once: those
//! who come later find their way by the chain. It does not wait for long, for somebody inside may be stopped
//! or off its processor; then the segments stay spares until the next time. Nobody enters a section while it
//! is inside, so the two never wait for each other.
//!
//! Those who only look for a hint may read what is no segment any more. They find out by looking once more
//! where they came from, and what they read is over in truth, whatever stands there.
//!
//! # What a crash leaves
//! A word that says that the dead is inside: nobody waits for the dead.

use polyproc_arena::primitive::Ordering::{Acquire, Relaxed, Release, SeqCst};
use polyproc_arena::primitive::{Word, fence};

/// Inside until this is dropped.
#[derive(Debug)]
pub struct Inside<'a> {
    word: &'a Word,
    times: u64,
}

/// Says in `word`, the member's own, that it is inside the queue of that number.
#[inline]
pub fn enter(word: &Word, queue: u64) -> Inside<'_> {
    // SYNC: Relaxed: only this member writes the word.
    let times = word.load(Relaxed).wrapping_add(1) & 0xffff_ffff;
    word.store(queue << 32 | times, Relaxed);
    // SYNC: pairs with the fence in `taken_out`: either the word is seen there, or what is looked at from
    // here on is the chain without what was taken out.
    fence(SeqCst);
    Inside { word, times }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        // SYNC: Release: what was done inside comes before.
        self.word.store(self.times, Release);
    }
}

/// Something has been taken out of the chain; the words of those who may be inside are looked at next.
pub fn taken_out() {
    // SYNC: between the change of the chain and the look at the words.
    fence(SeqCst);
}

/// What stands in the word of one who is inside the queue of that number; `None` when it is not.
pub fn is_inside(word: &Word, queue: u64) -> Option<u64> {
    // SYNC: Acquire pairs with the store in `drop`.
    let seen = word.load(Acquire);
    (seen >> 32 == queue).then_some(seen)
}
