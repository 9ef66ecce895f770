//! Objects, names and blocks: nothing is used after its end, nothing is left behind.

use polyproc_arena::error::Error;
use polyproc_arena::object::{self, Handle};
use polyproc_arena::{Arena, Member, check, names, recovery};
use polyproc_testkit::explore::{Actor, End, Explorer, Scenario};
use polyproc_testkit::family::Family;
use std::sync::atomic::Ordering::Relaxed;

/// No kind of that number is known, so the body is all there is to an object.
const KIND: usize = 7;

fn create(arena: &Arena, me: &Member, body: u64) -> Handle {
    arena.create(me, KIND, body, |_, _| Ok(())).unwrap()
}

/// A message's block of `me` that carries a copy of the handle.
fn carry(arena: &Arena, me: &Member, handle: Handle) -> u64 {
    let block = arena.alloc(me, 128).unwrap();
    arena.begin_pins(me, block, 1).unwrap();
    arena.pin(me, block, 0, handle).unwrap();
    block
}

fn nothing_left(family: &Family) -> Result<(), String> {
    let report = check::check(&family.arenas[0]).map_err(|error| error.to_string())?;
    match (report.objects, report.owned_blocks, report.held_blocks) {
        (0, 0, 0) => Ok(()),
        left => Err(format!("(objects, owned blocks, held blocks) left: {left:?}")),
    }
}

/// One lets go of what another takes hold of, while a message that carries it is thrown away.
struct Lifetime;

impl Scenario for Lifetime {
    type Shared = (Handle, u64);

    fn setup(&self, family: &Family) -> Self::Shared {
        let handle = create(&family.arenas[0], &family.members[0], 256);
        family.arenas[2].open(&family.members[2], handle).unwrap();
        let block = carry(&family.arenas[2], &family.members[2], handle);
        family.arenas[2].close(&family.members[2], handle).unwrap();
        (handle, block)
    }

    fn run(&self, actor: &Actor<'_>, (handle, block): &Self::Shared) {
        let (arena, me) = (actor.arena, actor.me);
        match actor.p {
            0 => arena.close(me, *handle).unwrap(),
            1 => match arena.open(me, *handle) {
                Ok(()) => {
                    // What is held is there.
                    let state = arena.object_state(handle.index).unwrap();
                    assert_eq!(
                        (state.phase, state.generation),
                        (object::Phase::Live, handle.generation)
                    );
                    arena.close(me, *handle).unwrap();
                }
                Err(Error::Stale) => {}
                Err(error) => panic!("{error}"),
            },
            _ => arena.free(me, *block).unwrap(),
        }
    }

    fn at_rest(&self, family: &Family, _: &Self::Shared, _: &End) -> Result<(), String> {
        nothing_left(family)
    }
}

#[test]
fn the_last_one_destroys_it() {
    Explorer::new("objects, lifetime", 3)
        .kills(1)
        .preemptions(2)
        .run(&Lifetime);
}

#[test]
fn the_last_one_destroys_it_though_two_die() {
    Explorer::new("objects, lifetime and two deaths", 3)
        .kills(2)
        .preemptions(1)
        .run(&Lifetime);
}

/// A handle is put into a message while its last holder lets go.
struct Sending;

impl Scenario for Sending {
    type Shared = (Handle, u64);

    fn setup(&self, family: &Family) -> Self::Shared {
        let handle = create(&family.arenas[0], &family.members[0], 0);
        family.arenas[1].open(&family.members[1], handle).unwrap();
        let block = family.arenas[1].alloc(&family.members[1], 128).unwrap();
        (handle, block)
    }

    fn run(&self, actor: &Actor<'_>, (handle, block): &Self::Shared) {
        let (arena, me) = (actor.arena, actor.me);
        if actor.p == 0 {
            arena.close(me, *handle).unwrap();
        } else {
            arena.begin_pins(me, *block, 1).unwrap();
            arena.pin(me, *block, 0, *handle).unwrap();
            arena.close(me, *handle).unwrap();
            // The copy alone keeps it.
            assert_eq!(
                arena.object_state(handle.index).unwrap().phase,
                object::Phase::Live
            );
            arena.free(me, *block).unwrap();
        }
    }

    fn at_rest(&self, family: &Family, _: &Self::Shared, _: &End) -> Result<(), String> {
        nothing_left(family)
    }
}

#[test]
fn a_copy_on_its_way_keeps_it() {
    Explorer::new("objects, a copy on its way", 2)
        .kills(2)
        .preemptions(4)
        .run(&Sending);
}

/// Two make what has the same name, and let go of it again or not.
struct Named {
    close: bool,
}

impl Scenario for Named {
    type Shared = ();

    fn setup(&self, family: &Family) {
        // Pages and blocks are there already: allocation has a scenario of its own.
        for (arena, me) in family.arenas.iter().zip(&family.members) {
            let handle = create(arena, me, 128);
            arena.close(me, handle).unwrap();
        }
    }

    fn run(&self, actor: &Actor<'_>, (): &Self::Shared) {
        let (arena, me) = (actor.arena, actor.me);
        let make = || arena.create(me, KIND, 0, |_, _| Ok(()));
        let (handle, _) = names::find_or_create(arena, me, KIND, "jobs", make).unwrap();
        actor.note(handle.word());
        assert_eq!(
            arena.object_state(handle.index).unwrap().generation,
            handle.generation
        );
        if self.close {
            arena.close(me, handle).unwrap();
        }
    }

    fn at_rest(&self, family: &Family, (): &Self::Shared, end: &End) -> Result<(), String> {
        if !self.close {
            let mut handles = Vec::new();
            for p in 0..end.killed.len() {
                if let (false, Some(word)) = (end.killed[p], end.outcomes[p].first()) {
                    let handle = Handle::from_word(*word).ok_or("no handle")?;
                    handles.push((p, handle));
                }
            }
            if handles.windows(2).any(|pair| pair[0].1 != pair[1].1) {
                return Err(format!("two objects of one name: {handles:?}"));
            }
            for (p, handle) in handles {
                family.arenas[p]
                    .close(&family.members[p], handle)
                    .map_err(|error| error.to_string())?;
            }
        }
        nothing_left(family)
    }
}

#[test]
fn a_name_means_one_object() {
    Explorer::new("names, two makers", 2)
        .kills(1)
        .preemptions(3)
        .run(&Named { close: false });
}

#[test]
fn a_name_is_made_again() {
    Explorer::new("names, made and let go", 2)
        .kills(2)
        .preemptions(1)
        .run(&Named { close: true });
}

/// Blocks of one class and runs of units, taken and given back.
struct Blocks {
    bytes: &'static [u64],
}

impl Scenario for Blocks {
    type Shared = ();

    fn setup(&self, _: &Family) {}

    fn run(&self, actor: &Actor<'_>, (): &Self::Shared) {
        let (arena, me) = (actor.arena, actor.me);
        let bytes = self.bytes[actor.p];
        let block = arena.alloc(me, bytes).unwrap();
        // Whoever had it too would see this change.
        let word = arena.map.word(block).unwrap();
        word.store(actor.p as u64 + 1, Relaxed);
        assert_eq!(word.load(Relaxed), actor.p as u64 + 1, "a block has two owners");
        arena.free(me, block).unwrap();
    }

    fn at_rest(&self, family: &Family, (): &Self::Shared, _: &End) -> Result<(), String> {
        nothing_left(family)
    }
}

#[test]
fn small_blocks() {
    // 32 KiB: two of them make a unit, so that they meet.
    Explorer::new("blocks, small", 2)
        .kills(2)
        .preemptions(2)
        .run(&Blocks {
            bytes: &[32 << 10, 32 << 10],
        });
}

#[test]
fn runs_of_units() {
    Explorer::new("blocks, runs", 2)
        .kills(2)
        .preemptions(2)
        .run(&Blocks {
            bytes: &[100_000, 100_000],
        });
}

#[test]
fn a_run_and_a_class() {
    Explorer::new("blocks, a run and a class", 3)
        .kills(1)
        .preemptions(1)
        .run(&Blocks {
            bytes: &[100_000, 32 << 10, 70_000],
        });
}

/// One dies, two recover it, and a newcomer gets its slot: the recoverer that is late does it no harm.
struct Reissue;

impl Scenario for Reissue {
    type Shared = Handle;

    fn setup(&self, family: &Family) -> Handle {
        let handle = create(&family.arenas[4], &family.members[4], 0);
        family.arenas[0].open(&family.members[0], handle).unwrap();
        family.kill(0);
        handle
    }

    fn run(&self, actor: &Actor<'_>, handle: &Handle) {
        match actor.p {
            0 => {}
            3 => {
                let (arena, me) = actor.family.another();
                actor.note(arena.process_slot());
                arena.open(&me, *handle).unwrap();
                let slot = arena.process_slot();
                let word = arena.layout.object(handle.index) + object::HOLDERS + slot / 64 * 8;
                for _ in 0..2 {
                    let bits = arena.map.word(word).unwrap().load(Relaxed);
                    assert!(
                        bits >> (slot % 64) & 1 == 1,
                        "a late recoverer cleared a living holder's bit"
                    );
                }
                arena.close(&me, *handle).unwrap();
            }
            _ => {
                recovery::round(actor.arena, actor.me).unwrap();
            }
        }
    }

    fn at_rest(&self, family: &Family, handle: &Handle, end: &End) -> Result<(), String> {
        let warden = end.killed.len();
        family.arenas[warden]
            .close(&family.members[warden], *handle)
            .map_err(|error| error.to_string())?;
        nothing_left(family)
    }
}

#[test]
fn a_slot_is_issued_again_while_a_recoverer_is_stopped() {
    Explorer::new("recovery, a slot issued again", 4)
        .kills(1)
        .only(&[1])
        .hurried(&[1, 2])
        .tires(1)
        .preemptions(1)
        .run(&Reissue);
}
