//! Destroying queues, and taking back what the dead left in them.

use crate::chain::MOST_SEGMENTS;
use crate::joinable;
use crate::queue::{FIRST, JOINABLE, Queue, SHUT, SPARE, TAIL};
use crate::segment::{Segment, Walk};
use crate::slot::{HAS_BLOCK, HAS_PINS, IN_HAND, Look};
use polyproc_arena::blocks::{BODY_TAG, Side};
use polyproc_arena::error::{Error, Result};
use polyproc_arena::object::{self, Handle, Kind, Phase};
use polyproc_arena::primitive::Ordering::Acquire;
use polyproc_arena::{Arena, Member, Name, recovery};

/// How queues are destroyed and recovered.
#[derive(Debug, Clone, Copy)]
pub struct QueueKind;

impl Kind for QueueKind {
    fn destroy(&self, arena: &Arena, me: &Member, index: u64) -> Result<()> {
        let body = arena.link(arena.layout.object(index) + object::BODY)?;
        if body == 0 || arena.side(body)? != Side::held(index, BODY_TAG) {
            return Ok(());
        }
        joinable::drop_letters(arena, me, index, body)?;
        for list in [FIRST, SPARE] {
            for _ in 0..MOST_SEGMENTS {
                let at = arena.link(body + list)?;
                if at == 0 {
                    break;
                }
                if arena.side(at).ok() != Some(Side::held(index, BODY_TAG)) {
                    // Its maker was killed before it gave the queue its first segment: that was the
                    // maker's own, and may be anybody's by now.
                    break;
                }
                let segment = Segment::read(arena, at)?;
                segment.verify(arena, index)?;
                if list == FIRST {
                    empty(arena, me, index, &segment)?;
                }
                let guard = arena.enter(me, arena.layout.object(index) + object::SECTION)?;
                guard.commit(&[
                    (body + list, segment.next(arena)?),
                    (arena.place(at)?.side, Side::owned(me.name).pack()),
                ])?;
                drop(guard);
                arena.free(me, at)?;
            }
        }
        Ok(())
    }

    fn recover(&self, arena: &Arena, me: &Member, dead: Name, index: u64, ticket: u64) -> Result<()> {
        let guard = arena.enter(me, arena.layout.object(index) + object::SECTION)?;
        let Some(queue) = of_the_dead(arena, dead, index)? else {
            return Ok(());
        };
        queue.settle(arena, dead, ticket)?;
        let shut = arena.map.word(queue.body + SHUT)?.load(Acquire) != 0;
        drop(guard);
        // Half a shutdown would keep putters and getters waiting for the rest of it. Another recoverer may
        // have let go of the queue for the dead by now: it is held meanwhile.
        if shut && arena.open(me, queue.handle).is_ok() {
            // If there is no memory for the closing slot, it stays open, as it would have for the dead.
            let _ = queue.shut_down(arena, me);
            arena.close(me, queue.handle)?;
        }
        Ok(())
    }

    fn forsake(&self, arena: &Arena, me: &Member, dead: Name, index: u64) -> Result<bool> {
        if arena.object_kind(index)? != JOINABLE {
            return Ok(false);
        }
        let mut ticket = 0;
        let mut changed = false;
        // A segment at a time: others need the section too.
        while let Some(next) = take_back(arena, me, dead, index, ticket, &mut changed)? {
            ticket = next;
        }
        Ok(changed)
    }
}

/// The queue, if it is one and recovering `dead` is not over. In the section.
fn of_the_dead(arena: &Arena, dead: Name, index: u64) -> Result<Option<Queue>> {
    let state = arena.object_state(index)?;
    let body = arena.link(arena.layout.object(index) + object::BODY)?;
    if body == 0
        || arena.side(body).ok() != Some(Side::held(index, BODY_TAG))
        || !recovery::is_ended(arena, dead)
    {
        return Ok(None);
    }
    let handle = Handle {
        index,
        generation: state.generation,
    };
    match Queue::opened(arena, handle) {
        Ok(queue) => Ok(Some(queue)),
        Err(Error::Stale) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes back what the dead had in hand in the first segment that ends behind `ticket`; where to go on.
fn take_back(
    arena: &Arena,
    me: &Member,
    dead: Name,
    index: u64,
    ticket: u64,
    changed: &mut bool,
) -> Result<Option<u64>> {
    let mut left = Vec::new();
    let outcome = (|| {
        let guard = arena.enter(me, arena.layout.object(index) + object::SECTION)?;
        if arena.object_state(index)?.phase != Phase::Live || arena.object_kind(index)? != JOINABLE {
            return Ok(None);
        }
        let Some(queue) = of_the_dead(arena, dead, index)? else {
            return Ok(None);
        };
        let Walk::At(segment) = queue.from(arena, ticket)? else {
            return Ok(None);
        };
        let tail = arena.map.word(queue.body + TAIL)?.load(Acquire);
        for ticket in segment.base.max(ticket)..segment.end().min(tail) {
            let slot = segment.slot(arena, ticket);
            if slot.look()? == Look::Reading(dead.slot()) {
                *changed = true;
                left.extend(queue.take_back(arena, me, &guard, dead, &slot)?);
            }
        }
        Ok((segment.end() < tail).then_some(segment.end()))
    })();
    // Outside: a handle in a message may be one of this very queue.
    for block in left {
        arena.free(me, block)?;
    }
    outcome
}

impl Queue {
    /// Puts right what the dead left in the slot of `ticket`. In the section.
    fn settle(&self, arena: &Arena, dead: Name, ticket: u64) -> Result<()> {
        let Some(segment) = self.find(arena, ticket)? else {
            return Ok(());
        };
        let slot = segment.slot(arena, ticket);
        let look = slot.look()?;
        let (meta, block) = slot.meta()?;
        let pins = meta & HAS_PINS != 0;
        let its = Side::held(self.handle.index, ticket).with_pins(pins);
        let deads = Side::owned(dead).with_pins(pins);
        // Each step is a CAS from a value that names the dead, and not an entry in the section's log:
        // others take the message the moment that the slot is full, and a log that is applied again after
        // a second death would give it out once more. Whoever takes over begins at the slot's new state.
        match look {
            Look::Writing(owner) if owner == dead.slot() => {
                if meta & HAS_BLOCK != 0 && arena.side(block).ok() == Some(its) {
                    // The slot has the block, so the message is whole; for a dead letter it must be shown,
                    // for it is nowhere else.
                    slot.publish(owner)?;
                } else {
                    slot.abandon(owner)?;
                }
            }
            // What was in hand is another matter: see `forsake`.
            Look::Reading(owner)
                if owner == dead.slot() && (self.policy.is_none() || meta & IN_HAND == 0) =>
            {
                if meta & HAS_BLOCK != 0 && arena.place(block).is_ok() {
                    arena.hand_over(block, deads, its)?;
                }
                slot.give_back(owner)?;
                self.lower(arena, ticket)?;
            }
            // Published by the dead, or given back by a recoverer that came no further.
            Look::Full => self.lower(arena, ticket)?,
            _ => {}
        }
        Ok(())
    }
}

/// Frees the blocks of the messages in a segment of a dying queue.
fn empty(arena: &Arena, me: &Member, index: u64, segment: &Segment) -> Result<()> {
    for ticket in segment.base..segment.end() {
        let slot = segment.slot(arena, ticket);
        // Of what is in somebody's hand the block may be the queue's still.
        if !matches!(slot.look()?, Look::Full | Look::Reading(_)) {
            continue;
        }
        let (meta, block) = slot.meta()?;
        if meta & HAS_BLOCK == 0 {
            continue;
        }
        let pins = meta & HAS_PINS != 0;
        let its = Side::held(index, ticket).with_pins(pins);
        if arena
            .hand_over(block, its, Side::owned(me.name).with_pins(pins))
            .unwrap_or(false)
        {
            arena.free(me, block)?;
        }
    }
    Ok(())
}
