//! Spinning before sleeping: two threads that sleep and wake each other take some 50 µs a round trip, 250 where they have
//! a core each that has to be woken too; two that spin take well under one. So a waiter looks for a bounded time before
//! it sleeps, if that has paid lately, if the machine has a core to spare, and if fewer spin already than there are cores.
//!
//! Where it does not pay, it is tried now and then, and then for long: whoever answers sleeps too, and is not there any sooner.
//! If that answer comes in time the next waits are long as well, until the other side has tried it too: from then on
//! both are awake, and answers come at once.
//!
//! Where those who wait for each other are more than the cores, each look but the first has to wait for a core, which whoever
//! looks has: there they *give way* to each other between two looks, which takes a third of what it does to sleep and be woken.
//! So does, once, whoever has woken another and is about to sleep itself: see [`glance`].
//!
//! Spinners are counted by a row of named words in the header, one claimed by each: a count would drift
//! with every spinner that is killed.

use crate::arena::{Arena, Member};
use crate::error::Result;
use crate::layout::header;
use crate::primitive::Ordering::Relaxed;
use polyproc_sys::{clock, cpu};
use std::cell::Cell;
use std::sync::OnceLock;

/// Longest spin where it pays, in ns.
pub const BUDGET: u64 = 50_000;
/// Longest spin where it is tried whether it pays, in ns: longer than it takes to wake a thread on another core.
const TRIAL: u64 = 250_000;
/// Waits between two trials, at first; twice as many after each that was in vain.
const FEWEST_SKIPPED: u32 = 16;
/// And at most: a trial in vain costs no more than 4 µs a wait.
const MOST_SKIPPED: u32 = 64;
/// Threads that share a core by giving way to each other.
const MOST_A_CORE: u64 = 4;
/// What lies between some looks, in ns, when another thread has had the core.
const INTERRUPTED: u64 = 8_000;
/// Longest that somebody may have the core who is [given way](glance) to, in ns.
const LONGEST_GIVEN: u64 = 500_000;
/// It gives way again so long after it has, in ns.
const GIVEN_EVERY: u64 = 1_000_000;
/// And so long after somebody had the core for longer, in ns.
const NOT_GIVEN: u64 = 50_000_000;
/// Long waits after a trial with success: enough for the other side to come to a trial of its own.
const LONG_WAITS: u32 = 32;

/// Spinners that this machine bears: as many as it has cores, none under a quota of less than two.
fn places() -> u64 {
    static PLACES: OnceLock<u64> = OnceLock::new();
    *PLACES.get_or_init(|| {
        let cores = u64::from(cpu::count());
        if cpu::quota().is_some_and(|quota| quota < 2.0) || cores < 2 {
            0
        } else {
            cores.min(header::SPINNERS_LEN)
        }
    })
}

/// How well spinning has paid in this thread lately.
#[derive(Debug, Clone, Copy)]
struct Lately {
    /// 0 never … 16 always.
    score: u32,
    /// At 0: waits since it was tried.
    skipped: u32,
    /// Waits from one trial to the next.
    skips: u32,
    /// Long waits that are left of those after a trial with success.
    long: u32,
}

const UNTRIED: Lately = Lately {
    score: 12,
    skipped: 0,
    skips: FEWEST_SKIPPED,
    long: 0,
};

thread_local! {
    static LATELY: Cell<Lately> = const { Cell::new(UNTRIED) };
    /// The same of giving way.
    static GIVEN_WAY: Cell<Lately> = const { Cell::new(UNTRIED) };
    /// When it may give way before sleep again, in ns of the monotonic clock.
    static NO_WAY_BEFORE: Cell<u64> = const { Cell::new(0) };
}

impl Lately {
    /// How long to spin now, in ns; `None`: not at all.
    fn budget(&mut self) -> Option<u64> {
        if self.score > 0 {
            return Some(BUDGET);
        }
        if self.long > 0 {
            return Some(TRIAL);
        }
        self.skipped += 1;
        if self.skipped < self.skips {
            return None;
        }
        self.skipped = 0;
        Some(TRIAL)
    }

    /// It paid, after so many ns.
    fn paid(&mut self, took: u64) {
        if self.score > 0 || took <= BUDGET {
            self.score = (self.score + 2).min(16);
            self.skips = FEWEST_SKIPPED;
            self.long = 0;
        } else if self.long == 0 {
            self.long = LONG_WAITS;
        } else {
            self.long -= 1;
            if self.long == 0 {
                self.in_vain();
            }
        }
    }

    /// It did not pay.
    fn in_vain(&mut self) {
        if self.score > 0 {
            self.score -= 1;
        } else {
            self.long = 0;
            self.skips = (self.skips * 2).min(MOST_SKIPPED);
        }
    }
}

/// True where a thread that spins leaves a core for others.
#[must_use]
#[inline]
pub fn is_possible() -> bool {
    places() > 0
}

/// True where so many threads can each have a core.
#[must_use]
pub fn is_possible_for(threads: u64) -> bool {
    places() >= threads
}

/// True where so many threads are few enough to share the cores by giving way to each other.
#[must_use]
pub fn is_shared_by(threads: u64) -> bool {
    places() * MOST_A_CORE >= threads
}

/// As [`until`], and lets others run between two looks: for what is done by more threads than have a core.
///
/// # Errors
/// What `ready` returns.
pub fn giving_way(budget: u64, mut ready: impl FnMut() -> Result<bool>) -> Result<bool> {
    #[cfg(feature = "points")]
    if crate::points::is_simulated() {
        return Ok(false);
    }
    let mut lately = GIVEN_WAY.get();
    let longest = lately.budget();
    GIVEN_WAY.set(lately);
    let Some(longest) = longest else {
        return Ok(false);
    };
    let begun = clock::now();
    let longest = budget.min(longest);
    let (outcome, took) = loop {
        clock::yield_now();
        let looked = ready();
        let took = clock::now().saturating_sub(begun);
        if !matches!(looked, Ok(false)) || took >= longest {
            break (looked, took);
        }
    };
    // Somebody with something else to do may have had the core for long.
    if matches!(outcome, Ok(true)) && took < longest {
        lately.paid(took);
    } else {
        lately.in_vain();
    }
    GIVEN_WAY.set(lately);
    outcome
}

/// Looks with `ready` for at most `budget` ns. True when it became so.
///
/// # Errors
/// What `ready` returns.
pub fn until(
    arena: &Arena,
    me: &Member,
    budget: u64,
    mut ready: impl FnMut() -> Result<bool>,
) -> Result<bool> {
    #[cfg(feature = "points")]
    if crate::points::is_simulated() {
        // Whoever is simulated has no time to spend: it sleeps at once.
        return Ok(false);
    }
    let mut lately = LATELY.get();
    let longest = lately.budget();
    LATELY.set(lately);
    let Some(longest) = longest else {
        return Ok(false);
    };
    let Some(place) = claim(arena, me)? else {
        return Ok(false);
    };
    let begun = clock::now();
    let end = begun + budget.min(longest);
    let mut last = begun;
    let mut alone = true;
    let outcome = loop {
        let looked = look(&mut ready);
        let now = clock::now();
        alone &= now.saturating_sub(last) < INTERRUPTED;
        last = now;
        if !matches!(looked, Ok(false)) || now >= end {
            break looked;
        }
    };
    arena.map.word(place)?.store(0, Relaxed);
    // What came while another thread had this core would have come sooner had this one slept.
    if matches!(outcome, Ok(true)) && alone {
        lately.paid(last.saturating_sub(begun));
    } else {
        lately.in_vain();
    }
    LATELY.set(lately);
    outcome
}

/// Some looks, between two of which as little passes as may.
fn look(ready: &mut impl FnMut() -> Result<bool>) -> Result<bool> {
    for _ in 0..16 {
        if ready()? {
            return Ok(true);
        }
        clock::cpu_relax();
    }
    Ok(false)
}

/// As [`until`], for those who have something else to do before they sleep, and can spin then: only where it has paid lately,
/// and never for a trial. Where it has not paid (`None`: it is not there, and this thread did not spin), whoever is to answer
/// often sleeps, and has been woken on this very core: it is given the core, and answers before this thread has gone to sleep.
/// Not often: two that go on for longer should each have a core, and would not come to look for one.
///
/// # Errors
/// What `ready` returns.
pub fn glance(arena: &Arena, me: &Member, ready: impl FnMut() -> Result<bool>) -> Result<Option<bool>> {
    if LATELY.get().score > 0 {
        return until(arena, me, BUDGET, ready).map(Some);
    }
    // Whoever is to be killed at a point has nobody to give way to.
    if cfg!(feature = "points") {
        return Ok(None);
    }
    give_way(ready)
}

fn give_way(mut ready: impl FnMut() -> Result<bool>) -> Result<Option<bool>> {
    let begun = clock::now();
    if begun < NO_WAY_BEFORE.get() {
        return Ok(None);
    }
    clock::yield_now();
    let ended = clock::now();
    let was_long = ended.saturating_sub(begun) > LONGEST_GIVEN;
    NO_WAY_BEFORE.set(ended + if was_long { NOT_GIVEN } else { GIVEN_EVERY });
    Ok(ready()?.then_some(true))
}

/// True when somebody spins.
///
/// # Errors
/// `Corrupt`.
pub(crate) fn is_anybody(arena: &Arena) -> Result<bool> {
    for k in 0..places() {
        // SYNC: Relaxed: it only saves a look.
        if arena.map.word(header::SPINNERS + k * 8)?.load(Relaxed) != 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn claim(arena: &Arena, me: &Member) -> Result<Option<u64>> {
    for k in 0..places() {
        let word = header::SPINNERS + k * 8;
        let place = arena.map.word(word)?;
        if place.load(Relaxed) == 0 && place.cas(0, me.name.word()).is_ok() {
            return Ok(Some(word));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits until the next trial; how many were without.
    fn skipped(lately: &mut Lately) -> u32 {
        (0..)
            .take_while(|_| lately.budget().is_none())
            .count()
            .try_into()
            .expect("few")
    }

    #[test]
    fn a_thread_gives_way_now_and_then() {
        let later = || NO_WAY_BEFORE.set(clock::now());
        assert!(matches!(give_way(|| Ok(true)), Ok(Some(true))));
        let pause = NO_WAY_BEFORE.get().saturating_sub(clock::now());
        assert!(pause <= NOT_GIVEN, "{pause}");
        NO_WAY_BEFORE.set(u64::MAX);
        let unseen = || -> Result<bool> { unreachable!("it has given way") };
        assert!(matches!(give_way(unseen), Ok(None)));
        later();
        assert!(matches!(give_way(|| Ok(false)), Ok(None)));
        later();
        assert!(matches!(give_way(|| Ok(true)), Ok(Some(true))));
    }

    #[test]
    fn where_it_never_pays_it_is_tried_ever_more_seldom() {
        let mut lately = UNTRIED;
        for _ in 0..12 {
            assert_eq!(lately.budget(), Some(BUDGET));
            lately.in_vain();
        }
        for skips in [16, 32, 64, 64] {
            assert_eq!(skipped(&mut lately), skips - 1);
            lately.in_vain();
        }
    }

    #[test]
    fn after_a_late_answer_it_waits_long_for_the_other_side_to_try_it() {
        let mut lately = Lately { score: 0, ..UNTRIED };
        skipped(&mut lately);
        lately.paid(TRIAL / 2);
        for _ in 0..LONG_WAITS {
            assert_eq!(lately.budget(), Some(TRIAL));
            lately.paid(TRIAL / 2);
        }
        // The other side never did.
        assert_eq!(lately.budget(), None);
        assert_eq!(lately.skips, 2 * FEWEST_SKIPPED);
    }

    #[test]
    fn a_prompt_answer_makes_it_pay_again() {
        let mut lately = Lately { score: 0, ..UNTRIED };
        skipped(&mut lately);
        lately.paid(BUDGET / 2);
        assert_eq!(lately.budget(), Some(BUDGET));
        lately.in_vain();
        lately.in_vain();
        assert_eq!(skipped(&mut lately), FEWEST_SKIPPED - 1);
    }
}
