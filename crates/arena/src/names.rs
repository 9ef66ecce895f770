//! Names of objects: a hash table of chains, changed in one section.
//!
//! A bucket holds the index of the first object of its chain; each header the index of the next, the
//! hash and a block with the name. Finding or making an object of a name happens inside the section, so
//! two processes never make two.
//!
//! # What a crash leaves
//! A maker killed before the commit that links the object leaves one that nobody can find: it is held
//! by the dead process alone and goes with it. Unlinking is one commit.

use crate::arena::{Arena, Member};
use crate::blocks::{BODY_TAG, Side};
use crate::error::{Error, Result};
use crate::layout::header;
use crate::map::Offset;
use crate::object::{self, Handle, Phase};
use crate::primitive::Ordering::{Acquire, Relaxed};

/// The longest name, in bytes of UTF-8.
pub const LONGEST: usize = 1024;

fn hash(kind: usize, name: &str) -> u64 {
    // FNV-1a: short keys, no adversary inside a family.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ kind as u64;
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

/// Finds the object of that kind and name and opens it, or makes it with `make`. The flag is true when
/// it was made.
///
/// # Errors
/// `State` for a name that is too long; what `make` returns.
pub fn find_or_create(
    arena: &Arena,
    me: &Member,
    kind: usize,
    name: &str,
    make: impl FnOnce() -> Result<Handle>,
) -> Result<(Handle, bool)> {
    if name.is_empty() || name.len() > LONGEST {
        return Err(Error::State(format!(
            "a name has 1 to {LONGEST} bytes of UTF-8, not {}",
            name.len()
        )));
    }
    let hash = hash(kind, name);
    let bucket = bucket(arena, hash)?;
    let guard = arena.enter(me, header::NAMES_SECTION)?;
    let mut index = arena.map.word(bucket)?.load(Relaxed);
    for _ in 0..arena.layout.objects_len {
        if index == 0 {
            break;
        }
        let at = arena.layout.object(index);
        let state = arena.object_state(index)?;
        if state.phase == Phase::Live
            && arena.map.word(at + object::HASH)?.load(Relaxed) == hash
            && arena.object_kind(index)? == kind
            && text(arena, index)? == Some(name.to_owned())
        {
            let handle = Handle {
                index,
                generation: state.generation,
            };
            match arena.open(me, handle) {
                Ok(()) => return Ok((handle, false)),
                // Its last holder let go this moment: it will unlink itself; ours is a new one.
                Err(Error::Stale) => {}
                Err(error) => return Err(error),
            }
        }
        index = arena.map.word(at + object::NEXT)?.load(Relaxed);
    }
    let block = arena.alloc(me, 8 + name.len() as u64)?;
    let handle = match make() {
        Ok(handle) => handle,
        Err(error) => {
            arena.free(me, block)?;
            return Err(error);
        }
    };
    let at = arena.layout.object(handle.index);
    arena.map.word(block)?.store(name.len() as u64, Relaxed);
    arena.map.copy_in(block + 8, name.as_bytes())?;
    arena.map.word(at + object::NAME)?.store(block, Relaxed);
    arena.hand_over(block, Side::owned(me.name), Side::held(handle.index, BODY_TAG))?;
    let first = arena.map.word(bucket)?.load(Relaxed);
    guard.commit(&[
        (at + object::HASH, hash),
        (at + object::NEXT, first),
        (bucket, handle.index),
    ])?;
    Ok((handle, true))
}

/// The name of an object.
///
/// # Errors
/// `Corrupt`.
pub fn text(arena: &Arena, index: u64) -> Result<Option<String>> {
    let block = arena
        .map
        .word(arena.layout.object(index) + object::NAME)?
        .load(Acquire);
    if block == 0 {
        return Ok(None);
    }
    let len = arena.map.word(block)?.load(Relaxed) as usize;
    if len > LONGEST {
        return Err(Error::Corrupt("a name is longer than it can be"));
    }
    let mut bytes = vec![0; len];
    arena.map.copy_out(block + 8, &mut bytes)?;
    Ok(String::from_utf8(bytes).ok())
}

/// Takes a dying object out of its chain; nothing if it is in none.
pub(crate) fn unlink(arena: &Arena, me: &Member, index: u64) -> Result<()> {
    let hash = arena
        .map
        .word(arena.layout.object(index) + object::HASH)?
        .load(Relaxed);
    let bucket = bucket(arena, hash)?;
    let guard = arena.enter(me, header::NAMES_SECTION)?;
    let mut link = bucket;
    for _ in 0..arena.layout.objects_len {
        let next = arena.map.word(link)?.load(Relaxed);
        if next == 0 {
            break;
        }
        if next >= arena.layout.objects_len {
            return Err(Error::Corrupt("a name chain leaves the table"));
        }
        let after = arena.layout.object(next) + object::NEXT;
        if next == index {
            let rest = arena.map.word(after)?.load(Relaxed);
            return guard.commit(&[(link, rest)]);
        }
        link = after;
    }
    Ok(())
}

fn bucket(arena: &Arena, hash: u64) -> Result<Offset> {
    let at = arena.layout.names + hash % arena.layout.names_len * 8;
    arena.ensure_table(at, 8)?;
    Ok(at)
}
