//! Spinning before sleeping: two threads that sleep and wake each other take some 50 µs a round trip,
//! two that spin well under one. So a waiter looks for a bounded time before it sleeps, if that has
//! paid lately, if the machine has a core to spare, and if fewer spin already than there are cores.
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

/// Longest spin, in ns.
pub const BUDGET: u64 = 50_000;

/// Spinners that this machine bears: one less than the cores, none under a quota of less than two.
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

thread_local! {
    /// How well spinning has paid here lately: 0 never … 16 always.
    static SCORE: Cell<u32> = const { Cell::new(12) };
    /// Waits since spinning was last tried, where it does not pay.
    static SKIPPED: Cell<u32> = const { Cell::new(0) };
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
    // Where it does not pay it is tried now and then: one time in sixteen.
    let score = SCORE.get();
    if score == 0 {
        SKIPPED.set((SKIPPED.get() + 1) % 16);
        if SKIPPED.get() != 0 {
            return Ok(false);
        }
    }
    let Some(place) = claim(arena, me)? else {
        return Ok(false);
    };
    let end = clock::now() + budget.min(BUDGET);
    let mut outcome = Ok(false);
    'spin: loop {
        for _ in 0..16 {
            match ready() {
                Ok(false) => clock::cpu_relax(),
                other => {
                    outcome = other;
                    break 'spin;
                }
            }
        }
        if clock::now() >= end {
            break;
        }
    }
    arena.map.word(place)?.store(0, Relaxed);
    SCORE.set(match outcome {
        Ok(true) => (score + 2).min(16),
        _ => score.saturating_sub(1),
    });
    outcome
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
