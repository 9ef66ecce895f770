//! Taking the message of one slot.
//!
//! # What a crash leaves
//! A slot in phase reading: recovery makes it full again. A message that was delivered by a queue that is
//! joined stays in that phase, in hand: see [`crate::joinable`].

use crate::get::{Gets, Received, Taking};
use crate::joinable::Hand;
use crate::slot::{self, HAS_BLOCK, HAS_PINS, IN_HAND, Slot};
use polyproc_arena::blocks::Side;
use polyproc_arena::error::{Error, Result};
use polyproc_arena::map::Offset;

impl Gets<'_> {
    /// Takes the message of a full slot. False when somebody else was faster.
    #[inline]
    pub(crate) fn take(&mut self, slot: &Slot<'_>, buffer: &mut [u8; slot::INLINE]) -> Result<bool> {
        let Self { queue, arena, me, .. } = *self;
        queue.note(arena, me, slot.ticket)?;
        if !slot.take(me.name.slot())? {
            return Ok(false);
        }
        let (meta, block) = slot.meta()?;
        self.received = Received {
            kind: (meta >> 32) as u8,
            len: meta as u32,
            ..Received::default()
        };
        if meta & HAS_BLOCK != 0 {
            self.take_block(slot, meta, block)?;
        } else {
            let len = (meta as u32 as usize).min(slot::INLINE);
            self.received.len = len as u32;
            arena.map.copy_out(slot.at + slot::PAYLOAD, &mut buffer[..len])?;
            self.leave(slot, meta, false)?;
        }
        self.untold = true;
        Ok(true)
    }

    /// The rest of taking a message that lies in a block.
    #[inline(never)]
    fn take_block(&mut self, slot: &Slot<'_>, mut meta: u64, block: Offset) -> Result<()> {
        let Self {
            queue,
            arena,
            me,
            taking,
            ..
        } = *self;
        let keeps = taking == Taking::InHand { keeps: true };
        let pins = meta & HAS_PINS != 0;
        let its = Side::held(queue.handle.index, slot.ticket).with_pins(pins);
        let mine = Side::owned(me.name).with_pins(pins);
        let ours = if keeps {
            arena.side(block)? == its
        } else {
            arena.hand_over(block, its, mine)?
        };
        if !ours || u64::from(self.received.len) > arena.place(block)?.size {
            slot.release(me.name.slot())?;
            return Err(Error::Corrupt("a message's block is not the queue's"));
        }
        self.received.block = block;
        self.received.pins = pins;
        if !keeps {
            meta &= !(HAS_BLOCK | HAS_PINS);
        }
        self.leave(slot, meta, keeps)?;
        if !keeps {
            queue.take_bytes_off(arena, arena.place(block)?.size)?;
        }
        Ok(())
    }

    /// The message has been read: its slot is free, or done in a queue that is joined, or in the taker's hand.
    #[inline]
    fn leave(&mut self, slot: &Slot<'_>, meta: u64, keeps: bool) -> Result<()> {
        let owner = self.me.name.slot();
        if let Taking::InHand { .. } = self.taking {
            self.hand_out(slot, meta, keeps)?;
        } else if self.queue.policy.is_some() {
            slot.finish(owner)?;
        } else {
            slot.release(owner)?;
        }
        Ok(())
    }

    /// From here on the item counts as delivered.
    fn hand_out(&mut self, slot: &Slot<'_>, meta: u64, keeps: bool) -> Result<()> {
        self.received.hand = Some(Hand {
            ticket: slot.ticket,
            slot: slot.at,
            attempt: slot::deliveries(meta) + 1,
            keeps,
        });
        slot.mark(meta | IN_HAND)
    }
}
