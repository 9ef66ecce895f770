//! A populated arena is scribbled over, before its operations run and in the middle of them: no panic, no
//! access outside, no endless loop. Errors are what is wanted.
//!
//! One execution is a function of its input, so that a fuzzer can steer it and a failure can be shown
//! again. The arena is small and lies in ordinary memory (under AddressSanitizer an access outside it is
//! seen); it is set back to the same populated state before each execution. Time is simulated, and nobody
//! sleeps: a section whose holder is said to live is given up on after its turns.

use crate::family::Memory;
use crate::scribble_sync::{self, Primitives};
use polyproc_arena::block_on::block_on;
use polyproc_arena::blocks::Side;
use polyproc_arena::layout::{self, Layout};
use polyproc_arena::map::Map;
use polyproc_arena::points::{self, Access, Edge, Machine, Point};
use polyproc_arena::process::{self, Phase};
use polyproc_arena::wait::Sleeper;
use polyproc_arena::{Arena, Member, Name, Result, check, member, names, object, recovery};
use polyproc_channel::envelope;
use polyproc_channel::joinable::{Hand, Policy};
use polyproc_channel::queue::{Got, JOINABLE, KIND, Message, Options, Put, Queue, QueueKind};
use polyproc_channel::slot::INLINE;
use polyproc_pool::board::KIND as BOARD;
use polyproc_pool::{Board, BoardKind, Ticket, Worker};
use polyproc_sys::futex;
use std::cell::{Cell, RefCell};
use std::sync::Once;
use std::sync::atomic::Ordering::Relaxed;

/// Bytes of the arena: eight units of tables, and as many as that again for data.
const BYTES: usize = 2 << 20;
const PROCESSES: usize = 3;

/// All that are in it.
fn kinds() -> Vec<(usize, &'static dyn object::Kind)> {
    let own: [(usize, &dyn object::Kind); 3] =
        [(KIND, &QueueKind), (JOINABLE, &QueueKind), (BOARD, &BoardKind)];
    own.into_iter()
        .chain(scribble_sync::KINDS.iter().copied())
        .collect()
}

/// What an input scribbles where.
#[derive(Debug, Clone, Copy)]
struct Scribble {
    what: u8,
    place: u64,
    other: u64,
}

thread_local! {
    /// Simulated nanoseconds; 0: no execution on this thread.
    static NOW: Cell<u64> = const { Cell::new(0) };
    /// Accesses until the next scribble of those below.
    static UNTIL: Cell<u64> = const { Cell::new(u64::MAX) };
    static LATER: RefCell<Vec<(u64, Scribble)>> = const { RefCell::new(Vec::new()) };
    static TARGET: Cell<Option<Map>> = const { Cell::new(None) };
}

fn now() -> Option<u64> {
    let now = NOW.get();
    (now != 0).then(|| {
        NOW.set(now + 1000);
        now
    })
}

fn simulated() -> bool {
    NOW.get() != 0
}

fn hook(point: &Point) {
    if point.edge == Edge::After || !simulated() {
        return;
    }
    let until = UNTIL.get();
    if until == u64::MAX {
        return;
    }
    if until > 0 {
        UNTIL.set(until - 1);
        return;
    }
    UNTIL.set(u64::MAX);
    let next = LATER.with_borrow_mut(Vec::pop);
    if let Some((_, scribble)) = next
        && let Some(map) = TARGET.get()
    {
        // As another process: at the word that is about to be read, or anywhere.
        let near = (point.address as u64).wrapping_sub(base(&map));
        let place = if scribble.what & 0x80 != 0 && point.access == Access::Load {
            near
        } else {
            scribble.place
        };
        apply(&map, Scribble { place, ..scribble });
        arm();
    }
}

fn base(map: &Map) -> u64 {
    map.bytes(0, 0).map_or(0, |place| place.as_ptr() as u64)
}

/// Sets the count down to the next scribble in the middle of operations.
fn arm() {
    let next = LATER.with_borrow(|later| later.last().map(|(wait, _)| *wait));
    UNTIL.set(next.unwrap_or(u64::MAX));
}

fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = points::install(hook);
        let _ = points::simulate(Machine {
            now,
            relax: |_| simulated(),
            sleep: |_, _| simulated().then_some(futex::Wait::TimedOut),
            wake: |_| simulated(),
            bell: |_| simulated(),
        });
    });
}

/// Changes one place; reading and writing go around the hook.
fn apply(map: &Map, scribble: Scribble) {
    let place = scribble.place % (BYTES as u64) / 8 * 8;
    let armed = UNTIL.replace(u64::MAX);
    if let Ok(word) = map.word(place) {
        let seen = word.load(Relaxed);
        let value = match scribble.what & 0xf {
            0..=3 => seen ^ 1 << (scribble.other & 63),
            4 => 0,
            5 => u64::MAX,
            6 => 1 << 63,
            7 => seen.wrapping_add(1),
            8 => seen.wrapping_sub(1),
            9 => BYTES as u64 - (scribble.other & 0xff),
            10 => scribble.other % (BYTES as u64) / 8 * 8,
            11 => seen.rotate_left(32),
            12 => scribble.other & 0xffff,
            13 => u64::from(u32::MAX) - (scribble.other & 3),
            _ => {
                let other = scribble.other % (BYTES as u64) / 8 * 8;
                let Ok(other) = map.word(other) else { return };
                let value = other.load(Relaxed);
                other.store(seen, Relaxed);
                value
            }
        };
        word.store(value, Relaxed);
    }
    UNTIL.set(armed);
}

/// A populated arena, and the state to which it is set back.
#[derive(Debug)]
pub struct Ground {
    memory: Memory,
    layout: Layout,
    /// The populated state.
    image: Vec<u8>,
    /// Offsets of words that are not zero in it: where a scribble hits something.
    hot: Vec<u64>,
    processes: Vec<u64>,
    members: Vec<Name>,
    queues: Vec<Queue>,
    blocks: Vec<u64>,
    /// With a task that runs, of a lane, and its worker.
    board: Option<(Board, u32, Ticket, Worker)>,
    /// One that redelivers and one that does not, each with an item in the first process's hand.
    hands: Vec<(Queue, Hand)>,
    primitives: Option<Primitives>,
}

struct World {
    arenas: Vec<Arena>,
    members: Vec<Member>,
}

impl Ground {
    /// Makes and populates an arena: queues of each kind, one with a name, with messages in slots, in
    /// blocks and with handles; waiters; a member that left; one process that is dead.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn new() -> Self {
        install();
        let memory = Memory::new(BYTES);
        let layout = Layout::with(BYTES as u64, 4, 32, 16, 64);
        let mut ground = Self {
            memory,
            layout,
            image: Vec::new(),
            hot: Vec::new(),
            processes: Vec::new(),
            members: Vec::new(),
            queues: Vec::new(),
            blocks: Vec::new(),
            board: None,
            hands: Vec::new(),
            primitives: None,
        };
        NOW.set(1);
        ground.populate().expect("populated");
        NOW.set(0);
        ground.image = vec![0; BYTES];
        // SAFETY: both are `BYTES` long, and nobody else is at the memory.
        unsafe {
            std::ptr::copy_nonoverlapping(ground.memory.base().as_ptr(), ground.image.as_mut_ptr(), BYTES)
        };
        let words = ground.image.chunks_exact(8).enumerate();
        ground.hot = words
            .filter(|(_, word)| word.iter().any(|byte| *byte != 0))
            .map(|(k, _)| k as u64 * 8)
            .collect();
        ground
    }

    fn map(&self) -> Map {
        // SAFETY: the memory lives as long as the ground, and maps are used only by executions on it.
        unsafe { Map::new(self.memory.base(), BYTES as u64) }
    }

    fn populate(&mut self) -> Result<()> {
        let pid = std::process::id();
        let mut arenas = Vec::new();
        let mut members = Vec::new();
        for _ in 0..PROCESSES {
            let arena = Arena::over(self.map(), self.layout, 1, None, &kinds());
            let name = process::claim(&arena, Phase::Starting, pid, 0)?;
            process::advance(&arena, name, Phase::Starting, Phase::Live, pid)?;
            arena.set_process(name);
            self.processes.push(name);
            let me = arena.join_member()?;
            self.members.push(me.name);
            arenas.push(arena);
            members.push(me);
        }
        let (arena, me) = (&arenas[0], &members[0]);
        let plain = Queue::create(arena, me, 0, None)?;
        let bounded = Queue::create(arena, me, 4, Some("bounded"))?;
        for queue in [plain, bounded] {
            self.queues.push(queue);
            for (arena, me) in arenas.iter().zip(&members).skip(1) {
                arena.open(me, queue.handle)?;
            }
        }
        for value in 0..40_u64 {
            put(arena, me, &plain, value)?;
        }
        for value in 0..4 {
            put(arena, me, &bounded, value)?;
        }
        let handle = sealed(arena, me, bounded)?;
        plain.try_put(arena, me, handle)?;
        for _ in 0..5 {
            get(&arenas[1], &members[1], &plain)?;
        }
        for size in [100, 3000, 30_000, 100_000] {
            self.blocks.push(arena.alloc(me, size)?);
        }
        arenas[1].enter_list(&members[1], plain.getters(arena), Sleeper::Thread, 1)?;
        arenas[2].enter_list(&members[2], bounded.putters(arena), Sleeper::Isolate, 2)?;
        let board = Board::create(arena, me, &[bounded.handle], &[1; 50])?;
        let mut lane = board.lane(arena, me, plain.handle)?;
        let ticket = lane.submit(arena, me, 3)?;
        lane.submit(arena, me, 1)?;
        for (arena, me) in arenas.iter().zip(&members).skip(1) {
            Board::open(arena, me, board.handle)?;
            board.enter(arena, me, Some(plain.handle))?;
        }
        let worker = Worker::of(members[1].name);
        board.claim(arena, lane.number, ticket, worker)?;
        self.board = Some((board, lane.number, ticket, worker));
        for redeliver in [true, false] {
            let queue = joinable(arena, me, redeliver, plain)?;
            for value in 0..4 {
                put(arena, me, &queue, value)?;
            }
            Queue::open(&arenas[1], &members[1], queue.handle)?;
            if let Some(hand) = receive(arena, me, &queue)? {
                self.hands.push((queue, hand));
            }
            receive(&arenas[1], &members[1], &queue)?;
        }
        self.primitives = Some(Primitives::new((arena, me), (&arenas[1], &members[1]))?);
        let other = arena.join_member()?;
        arena.alloc(&other, 500)?;
        arena.leave(&other)?;
        // The third process is dead, in the middle of a get.
        let (arena, me) = (&arenas[2], &members[2]);
        arena.alloc(me, 700)?;
        Queue::create(arena, me, 0, Some("gone"))?;
        let slot = arena.process_slot();
        let life = arena.map.flag(self.layout.process(slot) + process::LIFE)?;
        life.store(polyproc_sys::robust::OWNER_DIED, Relaxed);
        Ok(())
    }

    /// One execution.
    pub fn run(&self, input: &[u8]) {
        // SAFETY: both are `BYTES` long; no arena of an earlier execution is left.
        unsafe {
            std::ptr::copy_nonoverlapping(self.image.as_ptr(), self.memory.base().as_ptr(), BYTES);
        }
        let world = World {
            arenas: self
                .processes
                .iter()
                .map(|name| {
                    let arena = Arena::over(self.map(), self.layout, 1, None, &kinds());
                    arena.set_process(*name);
                    arena
                })
                .collect(),
            members: self
                .members
                .iter()
                .map(|name| {
                    let me = Member::of(&self.layout, *name);
                    // A section whose holder is alive, as a scribbled one may seem, is waited for without end.
                    me.hurry();
                    me
                })
                .collect(),
        };
        let mut bytes = Bytes(input);
        NOW.set(1);
        TARGET.set(Some(self.map()));
        for _ in 0..bytes.small(8) {
            apply(&self.map(), self.scribble(&mut bytes));
        }
        let later = (0..bytes.small(4))
            .map(|_| (u64::from(bytes.byte()) * 4, self.scribble(&mut bytes)))
            .collect();
        LATER.set(later);
        arm();
        for _ in 0..=bytes.small(8) {
            // Every outcome is right that is one.
            let _ = self.operate(&world, &mut bytes);
        }
        UNTIL.set(u64::MAX);
        LATER.set(Vec::new());
        let _ = check::check(&world.arenas[0]);
        TARGET.set(None);
        NOW.set(0);
    }

    fn scribble(&self, bytes: &mut Bytes<'_>) -> Scribble {
        let what = bytes.byte();
        let place = u64::from(bytes.word());
        let place = if what & 0x40 == 0 {
            self.hot[place as usize % self.hot.len()]
        } else {
            place * 8
        };
        let other = u64::from(bytes.word()) << 16 | u64::from(bytes.word());
        Scribble { what, place, other }
    }

    fn operate(&self, world: &World, bytes: &mut Bytes<'_>) -> Result<()> {
        let which = bytes.byte();
        let k = usize::from(bytes.byte()) % 2;
        let (arena, me) = (&world.arenas[k], &world.members[k]);
        let queue = self.queues[usize::from(bytes.byte()) % self.queues.len()];
        match which % 38 {
            26..=29 => self.task(arena, me, bytes),
            30..=33 => self.hand(arena, me, bytes),
            34..=37 => {
                let deadline = NOW.get() + 100_000;
                let operate = |all: &Primitives| all.operate(arena, me, bytes.byte(), deadline);
                self.primitives.as_ref().map_or(Ok(()), operate)
            }
            0 | 1 => put(arena, me, &queue, 9).map(drop),
            2 | 3 => get(arena, me, &queue).map(drop),
            4 => {
                let block = arena.alloc(me, u64::from(bytes.word()) * 4)?;
                arena.free(me, block)
            }
            5 => self.blocks.iter().try_for_each(|block| arena.free(me, *block)),
            6 => queue.len(arena).map(drop),
            7 => queue
                .is_readable(arena)
                .and(queue.is_writable(arena, me))
                .map(drop),
            8 => queue.shut_down(arena, me),
            9 | 10 => recovery::round(arena, me).map(drop),
            11 => {
                let message = sealed(arena, me, queue)?;
                queue.try_put(arena, me, message).map(drop)
            }
            12 => {
                let own = Queue::create(arena, me, 0, None)?;
                put(arena, me, &own, 1)?;
                arena.close(me, own.handle)
            }
            13 => Queue::create(arena, me, 4, Some("bounded")).map(drop),
            14 => Queue::create(arena, me, 0, Some("new")).map(drop),
            15 => {
                Queue::open(arena, me, queue.handle)?;
                arena.close(me, queue.handle)
            }
            16 => {
                let ready = || queue.is_readable(arena);
                let list = queue.getters(arena);
                block_on(arena, me, list, Some(NOW.get() + 100_000), None, ready, || false).map(drop)
            }
            17 => arena.wake_one(me, queue.getters(arena)),
            18 => arena.wake_all(me, queue.putters(arena)),
            19 => {
                let other = arena.join_member()?;
                arena.leave(&other)?;
                recovery::recover_member(arena, me, other.name)
            }
            20 => check::usage(arena).map(drop),
            21 => {
                let first = self.layout.data / layout::UNIT;
                for unit in first..self.layout.units_len {
                    let _ = arena.retire_class(me, unit);
                }
                arena.trim(me, 0).map(drop)
            }
            22 => {
                let block = arena.alloc(me, 600)?;
                polyproc_family::boot::deposit(arena, me, arena.process_slot(), block, false)?;
                polyproc_family::boot::collect(arena, me).map(drop)
            }
            23 => arena.sweep(me, world.members[1].name),
            24 => {
                names::text(arena, queue.handle.index)?;
                let block = self.blocks[usize::from(bytes.byte()) % self.blocks.len()];
                let _ = arena.hand_over(block, arena.side(block)?, Side::owned(me.name).with_pins(true));
                let _ = arena.pinned(block);
                let _ = envelope::open(arena, block, true);
                arena.free(me, block)
            }
            _ => {
                arena.park(me)?;
                arena.ring(me.name)?;
                arena.take_dirty(me)?;
                arena.unpark(me)?;
                arena.leave(me)?;
                arena.map.word(me.slot + member::STATE).map(drop)
            }
        }
    }
}

impl Ground {
    /// Everything that is done with what is in hand.
    fn hand(&self, arena: &Arena, me: &Member, bytes: &mut Bytes<'_>) -> Result<()> {
        let (queue, hand) = &self.hands[usize::from(bytes.byte()) % self.hands.len()];
        match bytes.byte() % 6 {
            0 => receive(arena, me, queue).map(drop),
            1 => queue.done(arena, me, hand).map(drop),
            2 => queue.retry(arena, me, hand).map(drop),
            3 => {
                let since = queue.tail(arena)?;
                queue.joined(arena, me, since).map(drop)
            }
            4 => put(arena, me, queue, 2).map(drop),
            _ => arena.close(me, queue.handle),
        }
    }

    /// Everything that is done with a board.
    fn task(&self, arena: &Arena, me: &Member, bytes: &mut Bytes<'_>) -> Result<()> {
        let Some((board, lane, ticket, worker)) = self.board else {
            return Ok(());
        };
        match bytes.byte() % 12 {
            0 => board.claim(arena, lane, ticket, worker).map(drop),
            1 => board.settle(arena, lane, ticket, worker).map(drop),
            2 => board.stop(arena, lane, ticket).map(drop),
            3 => board.lose(arena, lane, ticket).map(drop),
            4 => {
                let mut own = board.lane(arena, me, self.queues[0].handle)?;
                for _ in 0..600 {
                    own.submit(arena, me, 2)?;
                }
                own.release(arena, ticket)?;
                board.leave_lane(arena, me)
            }
            5 => board.enter(arena, me, None).map(drop),
            6 => board.leave(arena, me),
            7 => {
                board.workers(arena)?;
                board.set_state(arena, worker, None, 5)?;
                board.inbox_of(arena, worker).map(drop)
            }
            8 => {
                board.handles(arena)?;
                board.note(arena).map(drop)
            }
            9 => {
                board.death_of(arena, worker)?;
                board.results_of(arena, lane)?;
                board.runner_of(arena, lane, ticket).map(drop)
            }
            10 => board.give_up(arena, me),
            _ => {
                Board::open(arena, me, board.handle)?;
                let own = Board::create(arena, me, &[self.queues[0].handle], &[2; 9])?;
                own.enter(arena, me, None)?;
                own.lane(arena, me, self.queues[0].handle)?.submit(arena, me, 1)?;
                arena.close(me, own.handle)?;
                arena.close(me, board.handle)
            }
        }
    }
}

impl Default for Ground {
    fn default() -> Self {
        Self::new()
    }
}

fn put(arena: &Arena, me: &Member, queue: &Queue, value: u64) -> Result<Put> {
    let bytes = value.to_le_bytes();
    let message = if value % 3 == 2 {
        let block = envelope::seal(arena, me, &[7; 300], &[&[3; 1000]], &[])?;
        Message::Block {
            kind: 2,
            block: block.block,
            len: block.len,
            pins: false,
        }
    } else {
        Message::Inline {
            kind: 1,
            bytes: &bytes,
        }
    };
    queue.try_put(arena, me, message)
}

fn joinable(arena: &Arena, me: &Member, redeliver: bool, letters: Queue) -> Result<Queue> {
    let options = Options {
        policy: Some(Policy {
            redeliver,
            most_deliveries: 2,
        }),
        letters: redeliver.then_some(letters.handle),
        bytes: 4096,
        ..Options::default()
    };
    Queue::create_kind(arena, me, JOINABLE, &options)
}

fn receive(arena: &Arena, me: &Member, queue: &Queue) -> Result<Option<Hand>> {
    Ok(match queue.try_receive(arena, me, &mut [0; INLINE])? {
        Got::Message(received) => received.hand,
        _ => None,
    })
}

fn sealed(arena: &Arena, me: &Member, queue: Queue) -> Result<Message<'static>> {
    let block = envelope::seal(arena, me, &[7; 50], &[], &[queue.handle])?;
    Ok(Message::Block {
        kind: 3,
        block: block.block,
        len: block.len,
        pins: true,
    })
}

fn get(arena: &Arena, me: &Member, queue: &Queue) -> Result<()> {
    let mut buffer = [0; INLINE];
    if let Got::Message(received) = queue.try_get(arena, me, &mut buffer)?
        && received.block != 0
    {
        if received.pins {
            let _ = arena.pinned(received.block);
        }
        let parts = envelope::open(arena, received.block, received.pins)?;
        for (at, len) in parts.buffers.iter().chain([&parts.message]) {
            let mut target = vec![0; (*len).min(BYTES as u64) as usize];
            arena.map.copy_out(*at, &mut target)?;
        }
        arena.free(me, received.block)?;
    }
    Ok(())
}

/// The input, read from the front; zeroes when it has run out.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u16 {
        u16::from(self.byte()) << 8 | u16::from(self.byte())
    }

    fn small(&mut self, most: u8) -> u8 {
        self.byte() % (most + 1)
    }
}
