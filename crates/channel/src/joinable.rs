//! Queues that are joined: items are marked done, and who waits for all of them is told.
//!
//! ```text
//! +424  mode     1 | redeliver << 1 | most deliveries << 8 (0: no limit)
//! +432  letters  block with the handle of the queue for dead letters, 0: none
//! +440  lost     items whose taker ended, in a queue that does not redeliver
//! +448  lost by  name of the process of the last of them
//! +456  lost at  its pid << 32 | deliveries
//! +464  done     all tickets below are over (a hint that anybody may advance; never goes back)
//! +472  met      highest tail at which everything was done while somebody joined
//! ```
//!
//! An item stays in its slot, in phase reading under its taker's name, until it is marked done. So there is
//! no count of unfinished items that could be wrong: everything is done when every slot up to the tail is
//! over. Whoever marks an item done while somebody joins looks, from `done` on; the last one finds it so.
//!
//! # What a crash leaves
//! | killed | left | put right by |
//! |---|---|---|
//! | with items in hand | slots in phase reading, in hand | recovery finds them by the dead's name, in order of ticket: full again, behind the head; or counted in `lost`, with the slot, by one commit |
//! | marking done, before the slot is let go | the same; the item's block may be the dead's already | the same; the block goes back to the slot |
//! | having marked the last one done | joiners that sleep | the note of the queue: recovery rouses them |
//! | giving back, before the slot is full | phase reading, not in hand, one delivery more | as for one that was being taken |
//! | having given back, before `low` is lowered | a full slot behind the head | the note of the ticket: recovery lowers it |
//! | burying, before the dead letter has the block | the item in hand | the next one buries it |
//! | burying, after that | phase reading without its block; a dead letter that is whole | the slot is let go; the dead letter is shown |
//!
//! A dead letter is never doubled and never lost, for the message's block says where it is: the step from
//! one queue to the other is the compare-and-swap of the block's side word. An item without a block is
//! given one first, in a commit.

use crate::envelope;
use crate::put::{Message, Put};
use crate::queue::{DROPS, Queue, SHUT, TAIL};
use crate::segment::Walk;
use crate::slot::{self, HAS_BLOCK, HAS_PINS, IN_HAND, Look, Slot};
use polyproc_arena::blocks::{BODY_TAG, Side};
use polyproc_arena::error::Result;
use polyproc_arena::map::Offset;
use polyproc_arena::object::{self, Handle};
use polyproc_arena::primitive::Ordering::{Acquire, Relaxed, Release, SeqCst};
use polyproc_arena::wait::List;
use polyproc_arena::{Arena, Guard, Member, Name, process};

const MODE: Offset = 424;
const LETTERS: Offset = 432;
const LOST: Offset = 440;
const LOST_BY: Offset = 448;
const LOST_AT: Offset = 456;
const DONE: Offset = 464;
const MET: Offset = 472;

/// What becomes of items whose taker ends before it has marked them done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// They go to somebody else. Else they are lost, and whoever joins is told.
    pub redeliver: bool,
    /// After so many deliveries an item becomes a dead letter, or is dropped; 0: no limit. At most
    /// [`slot::MOST_DELIVERIES`].
    pub most_deliveries: u64,
}

impl Policy {
    pub(crate) fn read(arena: &Arena, body: Offset) -> Result<Self> {
        let mode = arena.map.word(body + MODE)?.load(Relaxed);
        Ok(Self {
            redeliver: mode & 2 != 0,
            most_deliveries: mode >> 8,
        })
    }

    pub(crate) fn write(self, arena: &Arena, body: Offset) -> Result<()> {
        let mode = 1 | u64::from(self.redeliver) << 1 | self.most_deliveries << 8;
        arena.map.word(body + MODE)?.store(mode, Relaxed);
        Ok(())
    }
}

/// An item in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hand {
    /// Its ticket.
    pub ticket: u64,
    /// Where its slot is.
    pub slot: Offset,
    /// Which delivery of the item this is, from 1.
    pub attempt: u64,
    /// Its block is the queue's, to be read until the item is marked done.
    pub keeps: bool,
}

/// What somebody who joins finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// Something is not done.
    Pending,
    /// Everything was done at some moment since it began to join.
    Finished,
    /// Items were lost.
    Lost(Lost),
}

/// Items that will never be marked done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// How many.
    pub count: u64,
    /// Name of the process that had the last of them (`generation << 32 | slot`).
    pub process: u64,
    /// Its pid.
    pub pid: u32,
    /// Which delivery of that item it was, from 1.
    pub attempt: u32,
}

/// The queue for dead letters of the queue with that body.
pub(crate) fn letters(arena: &Arena, body: Offset) -> Result<Option<Handle>> {
    match arena.link(body + LETTERS)? {
        0 => Ok(None),
        block => Ok(arena.pinned(block)?.first().copied()),
    }
}

/// Keeps the queue for dead letters alive for as long as the queue of `index` lives.
pub(crate) fn keep_letters(
    arena: &Arena,
    me: &Member,
    index: u64,
    body: Offset,
    letters: Option<Handle>,
) -> Result<()> {
    let Some(letters) = letters else { return Ok(()) };
    let block = arena.alloc(me, object::pins_size(1))?;
    let fill = || {
        arena.begin_pins(me, block, 1)?;
        arena.pin(me, block, 0, letters)
    };
    if let Err(error) = fill() {
        arena.free(me, block)?;
        return Err(error);
    }
    arena.map.word(body + LETTERS)?.store(block, Release);
    let its = Side::held(index, BODY_TAG).with_pins(true);
    arena.hand_over(block, Side::owned(me.name).with_pins(true), its)?;
    Ok(())
}

/// Lets go of the queue for dead letters of a dying queue.
pub(crate) fn drop_letters(arena: &Arena, me: &Member, index: u64, body: Offset) -> Result<()> {
    let block = arena.link(body + LETTERS)?;
    if block != 0 {
        let its = Side::held(index, BODY_TAG).with_pins(true);
        // Whoever died destroying it may have freed it already: then it is not ours.
        if arena
            .hand_over(block, its, Side::owned(me.name).with_pins(true))
            .unwrap_or(false)
        {
            arena.free(me, block)?;
        }
        arena.map.word(body + LETTERS)?.store(0, Release);
    }
    Ok(())
}

impl Queue {
    /// Those who wait until everything is done.
    #[must_use]
    pub fn joiners(&self, arena: &Arena) -> List {
        let at = arena.layout.object(self.handle.index);
        List {
            at: at + object::LIST_C,
            section: at + object::SECTION,
        }
    }

    /// The ticket of the next put: who joins remembers it.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn tail(&self, arena: &Arena) -> Result<u64> {
        // SYNC: SeqCst: a put that has returned advanced the tail before, so it is seen here.
        Ok(arena.map.word(self.body + TAIL)?.load(SeqCst))
    }

    /// Looks for somebody who has joined since the tail was `since`.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn joined(&self, arena: &Arena, me: &Member, since: u64) -> Result<Joined> {
        // SYNC: pairs with the commit that counted the loss.
        let count = arena.map.word(self.body + LOST)?.load(Acquire);
        if count > 0 {
            let at = arena.map.word(self.body + LOST_AT)?.load(Acquire);
            return Ok(Joined::Lost(Lost {
                count,
                process: arena.map.word(self.body + LOST_BY)?.load(Acquire),
                pid: (at >> 32) as u32,
                attempt: at as u32,
            }));
        }
        let met = arena.map.word(self.body + MET)?.load(Acquire) >= since;
        Ok(if met || self.finished(arena, me)?.is_some() {
            Joined::Finished
        } else {
            Joined::Pending
        })
    }

    /// The tail, if every slot before it is over. A slot that is being written counts as not done: so what
    /// was once found done stays so.
    fn finished(&self, arena: &Arena, me: &Member) -> Result<Option<u64>> {
        let _inside = self.inside(arena, me)?;
        let tail = self.tail(arena)?;
        let mut ticket = arena.map.word(self.body + DONE)?.load(Acquire);
        let mut walk = self.from(arena, ticket)?;
        let mut all = false;
        for _ in 0..crate::queue::MOST_TURNS {
            match walk {
                Walk::At(segment) => {
                    // What is before the segment in the chain is over.
                    ticket = ticket.max(segment.base);
                    while ticket < segment.end().min(tail)
                        && segment.slot(arena, ticket).look()? == Look::Over
                    {
                        ticket += 1;
                    }
                    all = ticket >= tail;
                    if all || ticket < segment.end() {
                        break;
                    }
                    walk = segment.after(arena)?;
                }
                Walk::Moved => walk = self.from(arena, ticket)?,
                // The tail is at the end of the last segment.
                Walk::End => {
                    all = ticket >= tail;
                    break;
                }
            }
        }
        self.raise(arena, DONE, ticket.min(tail))?;
        Ok(all.then_some(tail))
    }

    /// Tells those who join if everything is done.
    pub(crate) fn tell_joiners(&self, arena: &Arena, me: &Member) -> Result<()> {
        let joiners = self.joiners(arena);
        if self.policy.is_none() || !arena.has_waiters(joiners.at)? {
            return Ok(());
        }
        if let Some(tail) = self.finished(arena, me)? {
            // A put may come between this and their look.
            self.raise(arena, MET, tail)?;
            arena.wake_all(me, joiners)?;
        }
        Ok(())
    }

    fn in_hand<'a>(&self, arena: &'a Arena, me: &Member, hand: &Hand) -> Result<Option<Slot<'a>>> {
        let slot = Slot {
            map: &arena.map,
            at: hand.slot,
            ticket: hand.ticket,
        };
        let owner = me.name.slot();
        let mine = slot.look()? == Look::Reading(owner) && slot.meta()?.0 & IN_HAND != 0;
        Ok(mine.then_some(slot))
    }

    /// Marks an item done that is in `me`'s hand. False when it is not.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn done(&self, arena: &Arena, me: &Member, hand: &Hand) -> Result<bool> {
        let Some(slot) = self.in_hand(arena, me, hand)? else {
            return Ok(false);
        };
        let block = self.withdraw(arena, me, &slot)?;
        self.note(arena, me, slot.ticket)?;
        slot.finish(me.name.slot())?;
        if let Some(block) = block {
            self.take_bytes_off(arena, arena.place(block)?.size)?;
            arena.free(me, block)?;
            self.call_putters(arena, me)?;
        }
        self.tell_joiners(arena, me)?;
        Ok(true)
    }

    /// Gives an item back that is in `me`'s hand and was received: it counts as delivered once more. False
    /// when it is not in hand.
    ///
    /// # Errors
    /// `OutOfMemory` when it has to become a dead letter and there is no room: it stays in hand. `Corrupt`.
    pub fn retry(&self, arena: &Arena, me: &Member, hand: &Hand) -> Result<bool> {
        let Some(slot) = self.in_hand(arena, me, hand)? else {
            return Ok(false);
        };
        let block = {
            let guard = arena.enter(me, self.section(arena))?;
            self.send_back(arena, me, &guard, &slot, me.name.slot())?
        };
        if let Some(block) = block {
            arena.free(me, block)?;
        }
        let getters = self.getters(arena);
        if arena.has_waiters(getters.at)? {
            arena.wake_one(me, getters)?;
        }
        self.tell_joiners(arena, me)?;
        Ok(true)
    }

    /// Takes back an item that `dead` had in hand or was taking. In the section. A block to be freed, if
    /// one is left.
    pub(crate) fn take_back(
        &self,
        arena: &Arena,
        me: &Member,
        guard: &Guard<'_>,
        dead: Name,
        slot: &Slot<'_>,
    ) -> Result<Option<Offset>> {
        let owner = dead.slot();
        let (meta, block) = slot.meta()?;
        let pins = meta & HAS_PINS != 0;
        let its = Side::held(self.handle.index, slot.ticket).with_pins(pins);
        let deads = Side::owned(dead).with_pins(pins);
        if meta & IN_HAND == 0 {
            if meta & HAS_BLOCK != 0 && arena.place(block).is_ok() {
                arena.hand_over(block, deads, its)?;
            }
            self.put_back(arena, me, slot, owner)?;
            return Ok(None);
        }
        let redelivers = self.policy.is_some_and(|policy| policy.redeliver);
        if !redelivers {
            return self.lose(arena, me, guard, dead, slot);
        }
        if meta & HAS_BLOCK != 0 {
            // It was marking it done, and had come so far as to take the block.
            arena.hand_over(block, deads, its)?;
            if arena.side(block)? != its {
                // Whoever buried it was killed once the dead letter had the block.
                self.note(arena, me, slot.ticket)?;
                slot.finish(owner)?;
                return Ok(None);
            }
        }
        self.send_back(arena, me, guard, slot, owner)
    }

    /// Counts an item of the dead as lost, and lets go of its slot in the same commit. The word of the slot
    /// may stand in a log here: nobody else changes it while it names the dead, and once it is over only who
    /// has passed this section.
    fn lose(
        &self,
        arena: &Arena,
        me: &Member,
        guard: &Guard<'_>,
        dead: Name,
        slot: &Slot<'_>,
    ) -> Result<Option<Offset>> {
        let (meta, block) = slot.meta()?;
        let pins = meta & HAS_PINS != 0;
        let its = Side::held(self.handle.index, slot.ticket).with_pins(pins);
        let member = arena.member_state(dead.slot())?;
        let state = process::state(arena, member.process)?;
        let lost = arena.map.word(self.body + LOST)?.load(Relaxed);
        let mut writes = vec![
            (slot.at + slot::WORD, slot.over()),
            (
                self.body + LOST_BY,
                process::name(member.process, state.generation),
            ),
            (
                self.body + LOST_AT,
                u64::from(state.pid) << 32 | (slot::deliveries(meta) + 1),
            ),
            (self.body + LOST, lost + 1),
        ];
        let keeps = meta & HAS_BLOCK != 0 && arena.side(block).ok() == Some(its);
        if keeps {
            let mine = Side::owned(me.name).with_pins(pins);
            writes.push((arena.place(block)?.side, mine.pack()));
        }
        self.note(arena, me, slot.ticket)?;
        guard.commit(&writes)?;
        if keeps {
            self.take_bytes_off(arena, arena.place(block)?.size)?;
        }
        Ok(keeps.then_some(block))
    }

    /// Gives an item in the hand of `owner` back to the queue, or buries it. In the section. A block to be
    /// freed outside of it, if one is left.
    fn send_back(
        &self,
        arena: &Arena,
        me: &Member,
        guard: &Guard<'_>,
        slot: &Slot<'_>,
        owner: u64,
    ) -> Result<Option<Offset>> {
        let meta = slot.meta()?.0;
        let drops = arena.map.word(self.body + SHUT)?.load(Acquire) >= DROPS;
        let most = self.policy.map_or(0, |policy| policy.most_deliveries);
        if drops || most > 0 && slot::deliveries(meta) + 1 >= most {
            return self.bury(arena, me, guard, slot, owner, drops);
        }
        slot.mark(slot::once_more(meta))?;
        self.put_back(arena, me, slot, owner)?;
        Ok(None)
    }

    fn put_back(&self, arena: &Arena, me: &Member, slot: &Slot<'_>, owner: u64) -> Result<()> {
        // Killed between the two, `me` has noted the ticket that is to be found again.
        self.note(arena, me, slot.ticket)?;
        slot.give_back(owner)?;
        self.lower(arena, slot.ticket)
    }

    /// Passes an item on to the queue for dead letters, or drops it, and lets go of its slot.
    fn bury(
        &self,
        arena: &Arena,
        me: &Member,
        guard: &Guard<'_>,
        slot: &Slot<'_>,
        owner: u64,
        drops: bool,
    ) -> Result<Option<Offset>> {
        let letters = match letters(arena, self.body)? {
            // Kept alive by our own block, so it needs no hold of this process.
            Some(handle) if !drops => Some(Queue::opened(arena, handle)?),
            _ => None,
        };
        let (meta, block) = slot.meta()?;
        let size = match meta & HAS_BLOCK {
            0 => 0,
            _ => arena.place(block)?.size,
        };
        let mut left = None;
        if let Some(letters) = letters {
            let (meta, block) = self.enclose(arena, me, guard, slot)?;
            let pins = meta & HAS_PINS != 0;
            let passed = Message::Passed {
                kind: (meta >> 32) as u8,
                block,
                len: meta as u32,
                from: Side::held(self.handle.index, slot.ticket).with_pins(pins),
            };
            if letters.try_put(arena, me, passed)? != Put::Done {
                // Shut down: nobody wants dead letters any more.
                left = self.withdraw(arena, me, slot)?;
            }
        } else {
            left = self.withdraw(arena, me, slot)?;
        }
        // The put noted another queue.
        self.note(arena, me, slot.ticket)?;
        slot.finish(owner)?;
        self.take_bytes_off(arena, size)?;
        Ok(left)
    }

    /// Takes the block of an item from its slot.
    fn withdraw(&self, arena: &Arena, me: &Member, slot: &Slot<'_>) -> Result<Option<Offset>> {
        let (meta, block) = slot.meta()?;
        if meta & HAS_BLOCK == 0 {
            return Ok(None);
        }
        let pins = meta & HAS_PINS != 0;
        let its = Side::held(self.handle.index, slot.ticket).with_pins(pins);
        let mine = Side::owned(me.name).with_pins(pins);
        Ok(arena.hand_over(block, its, mine)?.then_some(block))
    }

    /// Gives an item that lies in its slot a block; `meta` and block of the slot.
    fn enclose(
        &self,
        arena: &Arena,
        me: &Member,
        guard: &Guard<'_>,
        slot: &Slot<'_>,
    ) -> Result<(u64, Offset)> {
        let (meta, block) = slot.meta()?;
        if meta & HAS_BLOCK != 0 {
            return Ok((meta, block));
        }
        let mut bytes = [0; slot::INLINE];
        let len = (meta as u32 as usize).min(slot::INLINE);
        arena.map.copy_out(slot.at + slot::PAYLOAD, &mut bytes[..len])?;
        let sealed = envelope::seal(arena, me, &bytes[..len], &[], &[])?;
        let enclosed = meta >> 32 << 32 | u64::from(sealed.len) | HAS_BLOCK;
        let side = arena.place(sealed.block)?.side;
        // Only the owner of the slot writes these two words, and it does nothing else with them here.
        guard.commit(&[
            (slot.at + slot::META, enclosed),
            (slot.at + slot::BLOCK, sealed.block),
            (side, Side::held(self.handle.index, slot.ticket).pack()),
        ])?;
        Ok((enclosed, sealed.block))
    }
}
