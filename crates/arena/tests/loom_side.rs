//! Side words under loom: a block changes hands with its contents, and never has two owners.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use polyproc_arena::member::Name;
use polyproc_arena::model::{expect_failure, run};
use polyproc_arena::primitive::Ordering::Relaxed;
use polyproc_arena::primitive::Word;
use polyproc_arena::side::Side;

const SOURCE: (&str, &str) = ("src/side.rs", include_str!("../src/side.rs"));

/// A side word, and what stands in the block.
struct Block {
    side: Word,
    contents: Word,
}

fn block(side: Side) -> Arc<Block> {
    Arc::new(Block {
        side: Word::new(side.pack()),
        contents: Word::new(0),
    })
}

fn contents_go_with_the_block() {
    run(0, || {
        let sender = Side::owned(Name::new(1, 1));
        let queues = Side::held(9, 5);
        let block = block(Side::Free);
        let other = block.clone();
        let thread = thread::spawn(move || {
            assert!(Side::Free.pass(&other.side, sender));
            other.contents.store(42, Relaxed);
            assert!(sender.pass(&other.side, queues));
        });
        let receiver = Side::owned(Name::new(2, 1));
        if queues.pass(&block.side, receiver) {
            assert_eq!(
                block.contents.load(Relaxed),
                42,
                "the block came without its contents"
            );
        }
        thread.join().unwrap();
    });
}

fn one_owner() {
    run(0, || {
        let block = block(Side::Free);
        let claim = |block: &Block, slot: u64| {
            let mine = Side::owned(Name::new(slot, 1));
            if !Side::Free.pass(&block.side, mine) {
                return false;
            }
            block.contents.store(slot, Relaxed);
            assert_eq!(block.contents.load(Relaxed), slot, "a block has two owners");
            assert_eq!(Side::of(&block.side), mine);
            assert!(mine.pass(&block.side, Side::Free));
            true
        };
        let other = block.clone();
        let thread = thread::spawn(move || claim(&other, 1));
        let first = claim(&block, 2);
        let second = thread.join().unwrap();
        assert!(first || second);
        assert_eq!(Side::of(&block.side), Side::Free);
    });
}

#[test]
fn a_block_comes_with_its_contents() {
    contents_go_with_the_block();
}

#[test]
fn a_block_has_one_owner() {
    one_owner();
}

#[test]
fn mutant_passing_on_does_not_release() {
    expect_failure(SOURCE, ("pub fn pass", "word.cas("), contents_go_with_the_block);
}
