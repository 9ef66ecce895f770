//! The word of a task under loom: a claim, a stop, a loss and a settlement that meet come to one thing, and
//! an older use of the row changes nothing in the next.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use polyproc_arena::map::Map;
use polyproc_arena::member::Name;
use polyproc_arena::model::{die_after, expect_failure, run};
use polyproc_pool::row::{Claim, Phase, Row, Stop, Worker};

const SOURCE: (&str, &str) = ("src/row.rs", include_str!("../src/row.rs"));

struct World {
    map: Map,
    /// What a task does.
    work: UnsafeCell<u32>,
}

// SAFETY: `work` is touched only by whoever has claimed the row, which is what the model checks.
unsafe impl Sync for World {}
// SAFETY: nothing in it belongs to a thread.
unsafe impl Send for World {}

/// A row with one task, and its generation.
fn world(attempts: u32) -> (Arc<World>, u32) {
    let world = Arc::new(World {
        map: Map::model(64),
        work: UnsafeCell::new(0),
    });
    let generation = row(&world).submit(attempts).unwrap();
    (world, generation)
}

fn row(world: &World) -> Row<'_> {
    Row {
        map: &world.map,
        at: 0,
    }
}

fn worker(slot: u64) -> Worker {
    Worker::of(Name::new(slot, 1))
}

/// Has the item in hand: claims, works, settles.
fn work(world: &World, generation: u32, me: u64) -> (Claim, bool) {
    let claim = row(world).claim(generation, worker(me)).unwrap();
    let mut settled = false;
    if matches!(claim, Claim::Run(_)) {
        // SAFETY: loom fails if another thread touches it at the same time, or without having synchronized.
        world.work.with_mut(|work| unsafe { *work += 1 });
        settled = row(world).settle(generation, worker(me)).unwrap();
    }
    (claim, settled)
}

fn a_stop_and_a_claim() {
    run(0, || {
        let (world, generation) = world(1);
        let other = world.clone();
        let running = thread::spawn(move || work(&other, generation, 1));
        let stop = row(&world).stop(generation).unwrap();
        if stop == Stop::Over {
            // What the worker did before it settled is seen by who sees that.
            // SAFETY: loom fails if the worker may still touch it.
            assert_eq!(world.work.with(|work| unsafe { *work }), 1);
        }
        let (claim, settled) = running.join().unwrap();
        let state = row(&world).look().unwrap();
        match stop {
            Stop::Cancelled => assert_eq!((claim, state.phase), (Claim::Drop, Phase::Cancelled)),
            // It is asked, and may settle all the same.
            Stop::Running(who) => assert_eq!((who, claim, settled), (worker(1), Claim::Run(1), true)),
            Stop::Over => assert!(settled && state.phase == Phase::Done && !state.stop),
        }
    });
}

/// A worker dies anywhere. The item goes to another, while the submitter looks for the loss.
fn a_worker_dies() {
    for attempts in 1..3 {
        for accesses in 0..6 {
            run(2, move || {
                let (world, generation) = world(attempts);
                let dying = world.clone();
                let dead = thread::spawn(move || {
                    die_after(accesses);
                    let _ = row(&dying).claim(generation, worker(1));
                    let _ = row(&dying).settle(generation, worker(1));
                });
                dead.join().unwrap();
                let before = row(&world).look().unwrap();
                let next = world.clone();
                let next = thread::spawn(move || work(&next, generation, 2));
                let lost = row(&world).lose(generation, |who| who == worker(1)).unwrap();
                let (claim, settled) = next.join().unwrap();
                let state = row(&world).look().unwrap();
                match before.phase {
                    Phase::Queued => {
                        assert_eq!((claim, settled, lost), (Claim::Run(1), true, None));
                    }
                    Phase::Done => assert_eq!((claim, lost), (Claim::Drop, None)),
                    _ if attempts == 1 => {
                        // Both tell, or who came later does; it is not begun a second time.
                        assert_eq!((claim, state.phase), (Claim::Lost(1), Phase::Lost));
                        assert_eq!(lost, Some(1));
                    }
                    _ => assert_eq!((claim, settled, lost), (Claim::Run(2), true, None)),
                }
            });
        }
    }
}

/// A worker that is late, of the last use of a row, while the submitter uses it again.
fn the_next_use() {
    run(0, || {
        let (world, old) = world(1);
        let late = world.clone();
        let late = thread::spawn(move || {
            let claim = row(&late).claim(old, worker(1)).unwrap();
            (claim, row(&late).settle(old, worker(1)).unwrap())
        });
        assert!(row(&world).release(old).unwrap());
        let new = row(&world).submit(7).unwrap();
        late.join().unwrap();
        let state = row(&world).look().unwrap();
        assert_eq!(
            (state.generation, state.phase, state.attempt),
            (new, Phase::Queued, 0)
        );
        assert_eq!(row(&world).claim(new, worker(2)).unwrap(), Claim::Run(1));
    });
}

#[test]
fn a_stop_and_a_claim_come_to_one_thing() {
    a_stop_and_a_claim();
}

#[test]
fn what_the_dead_ran_is_run_again_or_lost_once() {
    a_worker_dies();
}

#[test]
fn a_late_worker_changes_nothing_in_the_next_use() {
    the_next_use();
}

#[test]
fn mutant_settling_releases_nothing() {
    expect_failure(SOURCE, ("fn change<T>", ".cas("), a_stop_and_a_claim);
}
