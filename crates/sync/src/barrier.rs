//! The barrier: a number of parties wait for each other, round after round.
//!
//! Words of the header: 0 parties; 1 state, `round << 32 | arrived << 8 | flags`; 2 for each of the last 64 rounds whether
//! it was broken, round `r` at bit `r % 64`; 3 default timeout; 4 block with the action, low bits its kind. The body has a word
//! for each party: the name of the member that has that place in this round. First list: those who wait.
//!
//! Everything changes in the object's section; who waits only reads, and spins on the state. A round ends
//! when the last party arrives, or, where there is an action, when that one has run it. A round that is
//! broken stays so for everybody until `reset`, which goes on to the next one; those who still sleep find
//! in word 2 what became of theirs.
//!
//! # What a crash leaves
//! | killed | left | put right by |
//! |---|---|---|
//! | before it arrived | nothing | a timeout, if there is one |
//! | having arrived, waiting or running the action | a place that names the dead | recovery breaks the round and rouses the others |
//! | having ended the round, before it called the others | sleepers | its note of the object: recovery rouses them |

use crate::lock::{Patience, is_live};
use polyproc_arena::block_on::{Outcome, block_on, sleep_on};
use polyproc_arena::blocks::{BODY_TAG, Side};
use polyproc_arena::error::{Error, Result};
use polyproc_arena::map::Offset;
use polyproc_arena::object::{self, Handle, Kind};
use polyproc_arena::primitive::Ordering::{Acquire, Relaxed, Release};
use polyproc_arena::primitive::now;
use polyproc_arena::wait::List;
use polyproc_arena::{Arena, Guard, Member, Name, names, recovery, spin};

/// Index of the kind.
pub const KIND: usize = 14;
/// The most parties.
pub const MOST: u32 = 1 << 16;

const STATE: Offset = 8;
const PAST: Offset = 16;
const TIMEOUT: Offset = 24;
const ACTION: Offset = 32;
/// The block of the action has handles.
const PINS: u64 = 1;

const BROKEN: u64 = 1;
const ACTING: u64 = 2;
const ARRIVED: u64 = 0xff_ffff;

/// The state word, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Which round; wraps.
    pub round: u32,
    /// Parties that have arrived in it.
    pub arrived: u32,
    /// It is broken.
    pub broken: bool,
    /// All have arrived, and the last one runs the action.
    pub acting: bool,
}

impl State {
    fn unpack(word: u64) -> Self {
        Self {
            round: (word >> 32) as u32,
            arrived: (word >> 8 & ARRIVED) as u32,
            broken: word & BROKEN != 0,
            acting: word & ACTING != 0,
        }
    }

    fn pack(self) -> u64 {
        u64::from(self.round) << 32
            | u64::from(self.arrived) << 8
            | if self.broken { BROKEN } else { 0 }
            | if self.acting { ACTING } else { 0 }
    }

    fn next(self) -> Self {
        Self {
            round: self.round.wrapping_add(1),
            arrived: 0,
            broken: false,
            acting: false,
        }
    }
}

/// What an arrival found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The last of the round, which is over: the place.
    Passed(u32),
    /// The last of the round: run the action, then call [`Barrier::pass`]. Round and place.
    Act(u32, u32),
    /// Others are awaited. Round and place.
    Wait(u32, u32),
    /// The round before is not over, or its action still runs: try again once something has changed.
    Later,
    /// The barrier is broken.
    Broken,
}

/// What has become of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is not over.
    Open,
    /// All arrived.
    Passed,
    /// It was broken.
    Broken,
}

/// A barrier that this process holds a handle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    /// Its handle.
    pub handle: Handle,
    at: Offset,
    places: Offset,
    parties: u32,
    acts: bool,
}

/// A block that the maker of a barrier owns, with what the last party runs.
#[derive(Debug, Clone, Copy)]
pub struct Action {
    /// The block.
    pub block: Offset,
    /// It has handles.
    pub pins: bool,
}

impl Barrier {
    /// Makes a barrier, or finds the one of that name. `timeout` in ms, infinite for none. The action's block
    /// is the barrier's once it was made, else it stays the caller's: the flag says which.
    ///
    /// # Errors
    /// `OutOfMemory`; `State` when the one of that name has other parties, or another timeout.
    pub fn create(
        arena: &Arena,
        me: &Member,
        parties: u32,
        timeout: f64,
        action: Option<Action>,
        name: Option<&str>,
    ) -> Result<(Self, bool)> {
        let make = || {
            arena.create(me, KIND, u64::from(parties) * 8, |index, _| {
                let words = arena.layout.object(index) + object::WORDS;
                arena.map.word(words)?.store(u64::from(parties), Relaxed);
                arena.map.word(words + TIMEOUT)?.store(timeout.to_bits(), Relaxed);
                if let Some(Action { block, pins }) = action {
                    // SYNC: Release: whoever destroys it after a crash reads the word first, then whose the block is.
                    let word = arena.map.word(words + ACTION)?;
                    word.store(block | if pins { PINS } else { 0 }, Release);
                    let (mine, its) = (Side::owned(me.name), Side::held(index, BODY_TAG));
                    arena.hand_over(block, mine.with_pins(pins), its.with_pins(pins))?;
                }
                Ok(())
            })
        };
        if parties == 0 || parties > MOST {
            return Err(Error::State(format!(
                "a barrier has 1 to {MOST} parties, not {parties}"
            )));
        }
        let (handle, made) = match name {
            None => (make()?, true),
            Some(name) => names::find_or_create(arena, me, KIND, name, make)?,
        };
        let barrier = Self::opened(arena, handle)?;
        let (theirs, its) = (barrier.parties, barrier.timeout(arena)?);
        if theirs != parties || its.to_bits() != timeout.to_bits() {
            arena.close(me, handle)?;
            return Err(Error::State(format!(
                "the barrier {:?} exists with {theirs} parties and timeout {its}, not {parties} and {timeout}",
                name.unwrap_or_default()
            )));
        }
        Ok((barrier, made))
    }

    /// Takes hold of the barrier that a handle stands for.
    ///
    /// # Errors
    /// `Stale` when it is gone or no barrier.
    pub fn open(arena: &Arena, me: &Member, handle: Handle) -> Result<Self> {
        arena.open(me, handle)?;
        Self::opened(arena, handle).inspect_err(|_| {
            let _ = arena.close(me, handle);
        })
    }

    fn opened(arena: &Arena, handle: Handle) -> Result<Self> {
        if arena.object_kind(handle.index)? != KIND {
            return Err(Error::Stale);
        }
        let at = arena.layout.object(handle.index);
        let places = arena.link(at + object::BODY)?;
        let parties = arena.map.word(at + object::WORDS)?.load(Relaxed);
        if parties == 0
            || parties > u64::from(MOST)
            || arena.side(places)? != Side::held(handle.index, BODY_TAG)
            || arena.place(places)?.size < parties * 8
        {
            return Err(Error::Corrupt("a barrier has lost its places"));
        }
        Ok(Self {
            handle,
            at,
            places,
            parties: parties as u32,
            acts: arena.map.word(at + object::WORDS + ACTION)?.load(Acquire) != 0,
        })
    }

    /// How many parties it takes.
    #[must_use]
    pub fn parties(&self) -> u32 {
        self.parties
    }

    /// How long a wait takes where nothing else is said, in ms.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn timeout(&self, arena: &Arena) -> Result<f64> {
        let bits = arena.map.word(self.at + object::WORDS + TIMEOUT)?.load(Relaxed);
        Ok(f64::from_bits(bits))
    }

    /// The block with the action, and whether it has handles.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn action(&self, arena: &Arena) -> Result<Option<Action>> {
        let word = arena.map.word(self.at + object::WORDS + ACTION)?.load(Acquire);
        Ok((word != 0).then_some(Action {
            block: word & !PINS,
            pins: word & PINS != 0,
        }))
    }

    /// Those who wait.
    #[must_use]
    #[inline]
    pub fn waiters(&self) -> List {
        List {
            at: self.at + object::LIST_A,
            section: self.at + object::SECTION,
        }
    }

    fn state_word(&self) -> Offset {
        self.at + object::WORDS + STATE
    }

    /// Its state now.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn state(&self, arena: &Arena) -> Result<State> {
        // SYNC: Acquire pairs with the commit that put it there: who passes sees what the others did before.
        Ok(State::unpack(arena.map.word(self.state_word())?.load(Acquire)))
    }

    fn enter<'a>(&self, arena: &'a Arena, me: &'a Member) -> Result<Guard<'a>> {
        arena.note(me, self.handle, 0)?;
        arena.enter(me, self.waiters().section)
    }

    /// The words that end a round.
    fn over(&self, arena: &Arena, state: State, broken: bool) -> Result<[(Offset, u64); 2]> {
        let past = self.at + object::WORDS + PAST;
        let bit = 1 << (state.round % 64);
        let before = arena.map.word(past)?.load(Relaxed);
        let after = if broken { before | bit } else { before & !bit };
        // In this order: who sees the next round sees what became of this one.
        Ok([(past, after), (self.state_word(), state.next().pack())])
    }

    /// Takes the next place of the round.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn arrive(&self, arena: &Arena, me: &Member) -> Result<Arrival> {
        let guard = self.enter(arena, me)?;
        let state = self.state(arena)?;
        if state.broken {
            return Ok(Arrival::Broken);
        }
        if state.acting || state.arrived >= self.parties {
            return Ok(Arrival::Later);
        }
        let place = state.arrived;
        let named = (self.places + u64::from(place) * 8, me.name.word());
        let mut now = State {
            arrived: place + 1,
            ..state
        };
        if now.arrived < self.parties {
            guard.commit(&[named, (self.state_word(), now.pack())])?;
            return Ok(Arrival::Wait(state.round, place));
        }
        if self.acts {
            now.acting = true;
            guard.commit(&[named, (self.state_word(), now.pack())])?;
            return Ok(Arrival::Act(state.round, place));
        }
        guard.commit(&self.over(arena, state, false)?)?;
        drop(guard);
        arena.wake_all(me, self.waiters())?;
        Ok(Arrival::Passed(place))
    }

    /// The action of a round has been run: lets everybody go on. False when the round was broken meanwhile.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn pass(&self, arena: &Arena, me: &Member, round: u32) -> Result<bool> {
        let guard = self.enter(arena, me)?;
        let state = self.state(arena)?;
        if state.round != round || state.broken || !state.acting {
            return Ok(false);
        }
        guard.commit(&self.over(arena, state, false)?)?;
        drop(guard);
        arena.wake_all(me, self.waiters())?;
        Ok(true)
    }

    /// What has become of a round.
    ///
    /// # Errors
    /// `Corrupt`.
    #[inline]
    pub fn fate(&self, arena: &Arena, round: u32) -> Result<Fate> {
        let state = self.state(arena)?;
        if state.round == round {
            return Ok(if state.broken { Fate::Broken } else { Fate::Open });
        }
        self.past(arena, round, state)
    }

    /// What became of a round that is over, as `now` says.
    fn past(&self, arena: &Arena, round: u32, now: State) -> Result<Fate> {
        // SYNC: Acquire pairs with the commit that ended the round: it wrote this word before the state.
        let past = arena.map.word(self.at + object::WORDS + PAST)?.load(Acquire);
        // Whoever slept through 64 rounds is not told of a reset before them.
        let recent = now.round.wrapping_sub(round) <= 64;
        let broken = recent && past >> (round % 64) & 1 == 1;
        Ok(if broken { Fate::Broken } else { Fate::Passed })
    }

    /// Waits for the end of a round in which the caller has a place, and breaks it where that takes too
    /// long. What has become of it; `None` when it was broken because `stop` said so.
    ///
    /// # Errors
    /// `Corrupt`; `OutOfMemory` when there is no room for a record.
    pub fn wait(
        &self,
        arena: &Arena,
        me: &Member,
        round: u32,
        patience: Patience<'_>,
    ) -> Result<Option<Fate>> {
        let Patience {
            deadline,
            slice,
            stop,
        } = patience;
        let ready = || Ok(self.fate(arena, round)? != Fate::Open);
        let left = deadline.map_or(u64::MAX, |deadline| deadline.saturating_sub(now()));
        let outcome = if spin::is_possible_for(self.parties.into()) {
            block_on(arena, me, self.waiters(), deadline, slice, ready, stop)?
        } else if left > 0 && spin::is_shared_by(self.parties.into()) && spin::giving_way(left, ready)? {
            Outcome::Ready
        } else {
            // Whoever has not arrived yet needs the core.
            sleep_on(arena, me, &[self.waiters()], deadline, slice, ready, stop)?
        };
        let fate = match outcome {
            Outcome::Ready => self.fate(arena, round)?,
            Outcome::TimedOut | Outcome::Stopped => self.abort(arena, me, Some(round))?,
        };
        Ok((outcome != Outcome::Stopped || fate == Fate::Passed).then_some(fate))
    }

    /// Breaks a round that is still open; `None`: whichever it is. What has become of it.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn abort(&self, arena: &Arena, me: &Member, round: Option<u32>) -> Result<Fate> {
        let guard = self.enter(arena, me)?;
        let state = self.state(arena)?;
        if let Some(round) = round
            && state.round != round
        {
            return self.past(arena, round, state);
        }
        if !state.broken {
            let broken = State {
                broken: true,
                ..state
            };
            guard.commit(&[(self.state_word(), broken.pack())])?;
            drop(guard);
            arena.wake_all(me, self.waiters())?;
        }
        Ok(Fate::Broken)
    }

    /// Begins anew: those who wait find their round broken.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn reset(&self, arena: &Arena, me: &Member) -> Result<()> {
        let guard = self.enter(arena, me)?;
        let state = self.state(arena)?;
        if state.arrived == 0 && !state.broken {
            return Ok(());
        }
        guard.commit(&self.over(arena, state, true)?)?;
        drop(guard);
        arena.wake_all(me, self.waiters())
    }

    /// Parties that wait in this round.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn waiting(&self, arena: &Arena) -> Result<u32> {
        let state = self.state(arena)?;
        Ok(if state.broken || state.acting {
            0
        } else {
            state.arrived
        })
    }

    /// True when a dead member has a place in the round that is open.
    fn has_place(&self, arena: &Arena, state: State, dead: Name) -> Result<bool> {
        for place in 0..state.arrived.min(self.parties) {
            let word = arena.map.word(self.places + u64::from(place) * 8)?;
            if word.load(Relaxed) == dead.word() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// How barriers are destroyed and recovered.
#[derive(Debug, Clone, Copy)]
pub struct BarrierKind;

impl Kind for BarrierKind {
    fn destroy(&self, arena: &Arena, me: &Member, index: u64) -> Result<()> {
        let word = arena
            .map
            .word(arena.layout.object(index) + object::WORDS + ACTION)?;
        let (block, pins) = (word.load(Acquire) & !PINS, word.load(Acquire) & PINS != 0);
        if block != 0 {
            let its = Side::held(index, BODY_TAG).with_pins(pins);
            // Whoever died destroying it may have freed the block already: then it is not ours.
            if arena
                .hand_over(block, its, Side::owned(me.name).with_pins(pins))
                .unwrap_or(false)
            {
                arena.free(me, block)?;
            }
            word.store(0, Release);
        }
        Ok(())
    }

    fn recover(&self, _: &Arena, _: &Member, _: Name, _: u64, _: u64) -> Result<()> {
        // Whoever the dead had to wake is roused by the arena; its place is found by `forsake`.
        Ok(())
    }

    fn forsake(&self, arena: &Arena, me: &Member, dead: Name, index: u64) -> Result<bool> {
        let generation = arena.object_state(index)?.generation;
        let Ok(barrier) = Barrier::opened(arena, Handle { index, generation }) else {
            return Ok(false);
        };
        if !barrier.has_place(arena, barrier.state(arena)?, dead)? {
            return Ok(false);
        }
        let guard = barrier.enter(arena, me)?;
        let state = barrier.state(arena)?;
        if !is_live(arena, barrier.handle, &[KIND])?
            || state.broken
            || !recovery::is_ended(arena, dead)
            || !barrier.has_place(arena, state, dead)?
        {
            return Ok(false);
        }
        let broken = State {
            broken: true,
            ..state
        };
        guard.commit(&[(barrier.state_word(), broken.pack())])?;
        Ok(true)
    }
}
