//! The chain of a queue's segments: finding the one of a ticket, growing, and taking out what is over.
//!
//! Walks need no lock, changes happen in the queue's section.
//!
//! # What a crash leaves
//! Each change is one commit: done or not begun. A segment that is given back is the giver's own first,
//! so recovery frees it.

use crate::inside::{self, Inside};
use crate::queue::{FIRST, HEAD, LAST, Queue, SPARE, TAIL};
use crate::segment::{self, RETIRED, Segment, Walk};
use crate::slot::{self, Look};
use polyproc_arena::blocks::{BODY_TAG, Side};
use polyproc_arena::error::{Error, Result};
use polyproc_arena::primitive::Ordering::{Acquire, Relaxed};
use polyproc_arena::section::Liveness;
use polyproc_arena::{Arena, Guard, Member, Name, member, recovery};

/// No segment is larger, in bytes.
const LARGEST_SEGMENT: u64 = 128 << 10;
/// Spare segments that a queue keeps. Tests give them back sooner.
const SPARES: u32 = if cfg!(feature = "points") { 1 } else { 4 };
/// How often it is looked whether somebody has left.
const PATIENCE: u32 = 200;
/// A queue has no more; a damaged chain must not be walked for ever.
pub(crate) const MOST_SEGMENTS: u32 = 1 << 24;

impl Queue {
    /// The segment that serves a ticket, walking from the first. `None` also when segments are moved
    /// meanwhile.
    #[inline]
    pub(crate) fn find(&self, arena: &Arena, ticket: u64) -> Result<Option<Segment>> {
        Ok(self
            .from(arena, ticket)?
            .segment()
            .filter(|segment| segment.serves(ticket)))
    }

    /// The first segment that ends behind a ticket: what is before it in the chain is over.
    #[inline]
    pub(crate) fn from(&self, arena: &Arena, ticket: u64) -> Result<Walk> {
        let at = arena.link(self.body + FIRST)?;
        let first = Segment::glimpse(arena, at)?;
        if first.base == RETIRED || arena.link(self.body + FIRST)? != at {
            return Ok(Walk::Moved);
        }
        let mut walk = Walk::At(first.checked()?);
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
        let last = self.last(arena)?;
        if arena.map.word(self.body + TAIL)?.load(Acquire) < last.end() {
            return Ok(());
        }
        let mut spare = arena.link(self.body + SPARE)?;
        if spare == 0 && self.policy.is_some() {
            // Items are marked done in any order, so what is over is looked for when it is needed.
            self.take_out(arena, me, &guard)?;
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
        self.take_out(arena, me, &guard)
    }

    fn take_out(&self, arena: &Arena, me: &Member, guard: &Guard<'_>) -> Result<()> {
        let last = arena.link(self.body + LAST)?;
        let head = arena.map.word(self.body + HEAD)?.load(Acquire);
        let mut link = self.body + FIRST;
        for _ in 0..MOST_SEGMENTS {
            let segment = Segment::read(arena, arena.link(link)?)?;
            if segment.at == last || head < segment.end() {
                return self.give_back_spares(arena, me, guard);
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

    /// Frees spares beyond a few, if nobody is in the queue who may still look at them.
    fn give_back_spares(&self, arena: &Arena, me: &Member, guard: &Guard<'_>) -> Result<()> {
        let mut spare = arena.link(self.body + SPARE)?;
        let mut kept = 0;
        while spare != 0 && kept < SPARES {
            spare = arena.link(spare + segment::NEXT)?;
            kept += 1;
        }
        if spare == 0 || !self.have_all_left(arena, me)? {
            return Ok(());
        }
        // From the front: the ones behind were counted.
        for _ in 0..MOST_SEGMENTS {
            if spare == 0 {
                return Ok(());
            }
            spare = arena.link(spare + segment::NEXT)?;
            let first = arena.link(self.body + SPARE)?;
            let side = arena.place(first)?.side;
            guard.commit(&[
                (self.body + SPARE, arena.link(first + segment::NEXT)?),
                (side, Side::owned(me.name).pack()),
            ])?;
            arena.free(me, first)?;
        }
        Err(Error::Corrupt("a queue's spares go round in circles"))
    }

    /// Says that `me` is inside, where it is to look at slots and change them without the section.
    #[inline]
    pub(crate) fn inside<'a>(&self, arena: &'a Arena, me: &Member) -> Result<Inside<'a>> {
        let word = arena.map.word(me.slot + member::HAZARDS)?;
        Ok(inside::enter(word, self.handle.index))
    }

    /// True once everybody else who was inside when this was called has left.
    fn have_all_left(&self, arena: &Arena, me: &Member) -> Result<bool> {
        inside::taken_out();
        for (slot, state) in arena.members() {
            let word = arena.map.word(arena.layout.member(slot) + member::HAZARDS)?;
            let Some(seen) = inside::is_inside(word, self.handle.index) else {
                continue;
            };
            if slot == me.name.slot() {
                return Ok(false);
            }
            let name = Name::new(slot, state.generation);
            let mut turns = 0;
            while inside::is_inside(word, self.handle.index) == Some(seen) && !recovery::is_ended(arena, name)
            {
                if turns == PATIENCE {
                    return Ok(false);
                }
                arena.relax(turns);
                turns += 1;
            }
        }
        Ok(true)
    }

    /// The newest segment.
    #[inline]
    pub(crate) fn last(&self, arena: &Arena) -> Result<Segment> {
        loop {
            let at = arena.link(self.body + LAST)?;
            let last = Segment::glimpse(arena, at)?;
            if arena.link(self.body + LAST)? == at {
                return last.checked();
            }
        }
    }
}
