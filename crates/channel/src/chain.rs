//! The chain of a queue's segments: finding the one of a ticket, growing, and taking out what is over.
//!
//! Walks need no lock, changes happen in the queue's section.
//!
//! # What a crash leaves
//! Each change is one commit: done or not begun.

use crate::queue::{FIRST, HEAD, LAST, Queue, SPARE, TAIL};
use crate::segment::{self, RETIRED, Segment, Walk};
use crate::slot::{self, Look};
use polyproc_arena::blocks::{BODY_TAG, Side};
use polyproc_arena::error::{Error, Result};
use polyproc_arena::primitive::Ordering::{Acquire, Relaxed};
use polyproc_arena::{Arena, Guard, Member};

/// No segment is larger, in bytes.
const LARGEST_SEGMENT: u64 = 128 << 10;
/// A queue has no more; a damaged chain must not be walked for ever.
pub(crate) const MOST_SEGMENTS: u32 = 1 << 24;

impl Queue {
    /// The segment that serves a ticket, walking from the first. `None` also when segments are moved
    /// meanwhile.
    pub(crate) fn find(&self, arena: &Arena, ticket: u64) -> Result<Option<Segment>> {
        Ok(self
            .from(arena, ticket)?
            .segment()
            .filter(|segment| segment.serves(ticket)))
    }

    /// The first segment that ends behind a ticket: what is before it in the chain is over.
    pub(crate) fn from(&self, arena: &Arena, ticket: u64) -> Result<Walk> {
        let first = Segment::read(arena, arena.link(self.body + FIRST)?)?;
        if first.base == RETIRED {
            return Ok(Walk::Moved);
        }
        let mut walk = Walk::At(first);
        while let Walk::At(segment) = walk {
            if segment.end() > ticket {
                break;
            }
            walk = segment.after(arena)?;
        }
        Ok(walk)
    }

    /// The head, moved past all slots that are over or taken.
    pub(crate) fn head(&self, arena: &Arena) -> Result<u64> {
        let word = arena.map.word(self.body + HEAD)?;
        let mut head = word.load(Acquire);
        let tail = arena.map.word(self.body + TAIL)?.load(Acquire);
        if head >= tail {
            return Ok(head);
        }
        let Some(mut segment) = self.find(arena, head)? else {
            return Ok(word.load(Acquire));
        };
        while head < tail {
            if head >= segment.end() {
                let Walk::At(next) = segment.after(arena)? else {
                    break;
                };
                segment = next;
            }
            if !segment.serves(head) {
                break;
            }
            match segment.slot(arena, head).look()? {
                Look::Over | Look::Reading(_) => {}
                _ => break,
            }
            match word.cas(head, head + 1) {
                Ok(_) => head += 1,
                Err(now) => {
                    head = now;
                    if !segment.serves(head) && head < segment.base {
                        break;
                    }
                }
            }
        }
        Ok(word.load(Acquire))
    }

    /// Links another segment behind the last. In the section, so that exactly one is linked.
    pub(crate) fn grow(&self, arena: &Arena, me: &Member) -> Result<()> {
        let guard = arena.enter(me, self.section(arena))?;
        let last = Segment::read(arena, arena.link(self.body + LAST)?)?;
        if arena.map.word(self.body + TAIL)?.load(Acquire) < last.end() {
            return Ok(());
        }
        let mut spare = arena.link(self.body + SPARE)?;
        if spare == 0 && self.policy.is_some() {
            // Items are marked done in any order, so what is over is looked for when it is needed.
            self.take_out(arena, &guard)?;
            spare = arena.link(self.body + SPARE)?;
        }
        let next = if spare == 0 {
            let bytes = ((last.len + 1) * slot::SIZE * 2).min(LARGEST_SEGMENT);
            let block = arena.alloc(me, bytes)?;
            arena.zero(block, bytes)?;
            arena
                .map
                .word(block + segment::LEN)?
                .store(segment::slots_in(bytes), Relaxed);
            block
        } else {
            spare
        };
        let mut writes = vec![(next + segment::BASE, last.end())];
        if spare == 0 {
            let side = arena.place(next)?.side;
            writes.push((side, Side::held(self.handle.index, BODY_TAG).pack()));
        } else {
            writes.push((self.body + SPARE, arena.link(spare + segment::NEXT)?));
        }
        writes.extend([
            (next + segment::NEXT, 0),
            (last.at + segment::NEXT, next),
            (self.body + LAST, next),
        ]);
        guard.commit(&writes)
    }

    /// Moves segments that are over to the spares.
    pub(crate) fn retire(&self, arena: &Arena, me: &Member) -> Result<()> {
        let guard = arena.enter(me, self.section(arena))?;
        self.take_out(arena, &guard)
    }

    fn take_out(&self, arena: &Arena, guard: &Guard<'_>) -> Result<()> {
        let last = arena.link(self.body + LAST)?;
        let head = arena.map.word(self.body + HEAD)?.load(Acquire);
        let mut link = self.body + FIRST;
        for _ in 0..MOST_SEGMENTS {
            let segment = Segment::read(arena, arena.link(link)?)?;
            if segment.at == last || head < segment.end() {
                return Ok(());
            }
            if !segment.is_over(arena)? {
                link = segment.at + segment::NEXT;
                continue;
            }
            let next = segment.next(arena)?;
            let spare = arena.link(self.body + SPARE)?;
            // The base before the link: see `segment`.
            guard.commit(&[
                (link, next),
                (segment.at + segment::BASE, RETIRED),
                (segment.at + segment::NEXT, spare),
                (self.body + SPARE, segment.at),
            ])?;
        }
        Err(Error::Corrupt("a queue's segments go round in circles"))
    }
}
