//! Queues that are joined: items in hand, marked done, given back, buried and lost, with kills of those who
//! have them and of those who recover them.

use crate::numbers::{EMPTY, PUT, close, put, put_block};
use polyproc_arena::block_on::block_on;
use polyproc_arena::wait::Sleeper;
use polyproc_arena::{Arena, Member, recovery};
use polyproc_channel::envelope;
use polyproc_channel::joinable::{Hand, Joined, Policy};
use polyproc_channel::queue::{Got, JOINABLE, Options, Queue};
use polyproc_channel::slot::INLINE;
use polyproc_testkit::explore::{Actor, End, Explorer, Scenario};
use polyproc_testkit::family::Family;
use std::collections::HashMap;

/// Added to the value of an item that was marked done, and of one that was given back.
const DONE: u64 = 2 << 32;
const GIVEN_BACK: u64 = 3 << 32;
const JOINED: u64 = u64::MAX - 10;
const LOST: u64 = u64::MAX - 11;

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Has items in hand, and is killed, or takes another.
    Hold(u64),
    /// Marks the item in its hand done.
    Done,
    /// Gives it back.
    Retry,
    Receive,
    Put,
    /// Waits until everything is done.
    Join,
    Recover,
}

struct Hands {
    parts: &'static [Part],
    policy: Policy,
    /// There is a queue for dead letters.
    letters: bool,
    /// Items lie in blocks.
    blocks: bool,
    /// Items in the queue, in nobody's hand.
    full: u64,
}

struct Shared {
    queue: Queue,
    letters: Option<Queue>,
    /// By process, what it has in hand.
    hands: Vec<Vec<(u64, Hand)>>,
}

fn receive(arena: &Arena, me: &Member, queue: &Queue) -> Option<(u64, Option<Hand>)> {
    let mut buffer = [0; INLINE];
    match queue.try_receive(arena, me, &mut buffer).unwrap() {
        Got::Message(received) => {
            let mut bytes = [0; 8];
            if received.block == 0 {
                bytes.copy_from_slice(&buffer[..8]);
            } else if received.kind == 2 {
                // As `numbers` puts them.
                arena.map.copy_out(received.block, &mut bytes).unwrap();
            } else {
                // Enclosed on the way to the dead letters.
                let parts = envelope::open(arena, received.block, false).unwrap();
                arena.map.copy_out(parts.message.0, &mut bytes).unwrap();
            }
            if received.hand.is_none() && received.block != 0 {
                arena.free(me, received.block).unwrap();
            }
            Some((u64::from_le_bytes(bytes), received.hand))
        }
        Got::Empty | Got::ShutDown => None,
    }
}

fn join(actor: &Actor<'_>, queue: &Queue) -> u64 {
    let (arena, me) = (actor.arena, actor.me);
    let since = queue.tail(arena).unwrap();
    loop {
        match queue.joined(arena, me, since).unwrap() {
            Joined::Finished => return JOINED,
            Joined::Lost(_) => return LOST,
            Joined::Pending => {}
        }
        let ready = || Ok(queue.joined(arena, me, since)? != Joined::Pending);
        block_on(arena, me, queue.joiners(arena), None, None, ready, || false).unwrap();
    }
}

impl Hands {
    /// Puts item number `k`.
    fn put(&self, arena: &Arena, me: &Member, queue: &Queue, value: u64) -> u64 {
        if self.blocks {
            put_block(arena, me, queue, value)
        } else {
            put(arena, me, queue, value)
        }
    }
}

impl Scenario for Hands {
    type Shared = Shared;

    fn setup(&self, family: &Family) -> Shared {
        let (arena, me) = (&family.arenas[0], &family.members[0]);
        let letters = self.letters.then(|| Queue::create(arena, me, 1, None).unwrap());
        let options = Options {
            policy: Some(self.policy),
            letters: letters.map(|queue| queue.handle),
            ..Options::default()
        };
        let queue = Queue::create_kind(arena, me, JOINABLE, &options).unwrap();
        for (arena, me) in family.arenas.iter().zip(&family.members).skip(1) {
            Queue::open(arena, me, queue.handle).unwrap();
            if let Some(letters) = letters {
                Queue::open(arena, me, letters.handle).unwrap();
            }
        }
        let mut hands = Vec::new();
        let mut value = 50;
        for (p, part) in self.parts.iter().enumerate() {
            let count = match part {
                Part::Hold(count) => *count,
                Part::Done | Part::Retry => 1,
                _ => 0,
            };
            let mut mine = Vec::new();
            for _ in 0..count {
                self.put(arena, me, &queue, value);
                let (found, hand) = receive(&family.arenas[p], &family.members[p], &queue).unwrap();
                assert_eq!(found, value);
                mine.push((value, hand.unwrap()));
                value += 1;
            }
            hands.push(mine);
        }
        for _ in 0..self.full {
            self.put(arena, me, &queue, value);
            value += 1;
        }
        if self.parts.contains(&Part::Join) {
            // Records are allocated at the first wait: let that be behind them.
            for (arena, me) in family.arenas.iter().zip(&family.members) {
                let record = arena
                    .enter_list(me, queue.joiners(arena), Sleeper::Thread, 0)
                    .unwrap();
                arena.leave_list(me, record).unwrap();
            }
        }
        Shared {
            queue,
            letters,
            hands,
        }
    }

    fn run(&self, actor: &Actor<'_>, shared: &Shared) {
        let (arena, me, queue) = (actor.arena, actor.me, &shared.queue);
        actor.note(match self.parts[actor.p] {
            Part::Hold(_) | Part::Receive => receive(arena, me, queue).map_or(EMPTY, |(value, _)| value),
            Part::Done => {
                let (value, hand) = shared.hands[actor.p][0];
                assert!(queue.done(arena, me, &hand).unwrap());
                DONE + value
            }
            Part::Retry => {
                let (value, hand) = shared.hands[actor.p][0];
                assert!(queue.retry(arena, me, &hand).unwrap());
                GIVEN_BACK + value
            }
            Part::Put => put(arena, me, queue, actor.p as u64),
            Part::Join => join(actor, queue),
            Part::Recover => {
                recovery::round(arena, me).unwrap();
                return;
            }
        });
    }

    fn may_sleep(&self, family: &Family, shared: &Shared, p: usize) -> bool {
        let (warden, me) = (
            &family.arenas[self.parts.len()],
            &family.members[self.parts.len()],
        );
        let since = shared.queue.tail(warden).unwrap();
        self.parts[p] == Part::Join && shared.queue.joined(warden, me, since).unwrap() == Joined::Pending
    }

    fn at_rest(&self, family: &Family, shared: &Shared, end: &End) -> Result<(), String> {
        if end.asleep.contains(&true) {
            // Rightly, as `may_sleep` has said: something is not done.
            return Ok(());
        }
        let warden = end.killed.len();
        let (arena, me, queue) = (&family.arenas[warden], &family.members[warden], &shared.queue);
        // Where each item is.
        let mut places: HashMap<u64, Vec<&str>> = HashMap::new();
        let initial: u64 = shared.hands.iter().map(|hands| hands.len() as u64).sum::<u64>() + self.full;
        for value in 50..50 + initial {
            places.insert(value, Vec::new());
        }
        // Those of which the killed did not say what they did with them.
        let mut unsure = 0;
        for (p, part) in self.parts.iter().enumerate() {
            let outcome = end.outcomes[p].first().copied();
            let said = |value: u64, place: &'static str, places: &mut HashMap<u64, Vec<&str>>| {
                places.entry(value).or_default().push(place);
            };
            match (part, outcome) {
                (Part::Done, Some(done)) => said(done - DONE, "done", &mut places),
                (Part::Put, Some(put)) if put >= PUT => {
                    places.entry(put - PUT).or_default();
                }
                (Part::Hold(_) | Part::Receive, Some(value)) if value != EMPTY && !end.killed[p] => {
                    said(value, "in hand", &mut places);
                }
                (Part::Done, None) => unsure += 1,
                _ => {}
            }
            if matches!(part, Part::Hold(_)) && !end.killed[p] {
                for (value, _) in &shared.hands[p] {
                    said(*value, "in hand", &mut places);
                }
            }
        }
        let mut last = 0;
        while let Some((value, hand)) = receive(arena, me, queue) {
            places.entry(value).or_default().push("queue");
            if value >= 50 {
                if value < last {
                    return Err(format!("{value} came after {last}"));
                }
                last = value;
            }
            let hand = hand.ok_or("no hand")?;
            if !queue.done(arena, me, &hand).map_err(|error| error.to_string())? {
                return Err(format!("{value} cannot be marked"));
            }
        }
        while let Some((value, _)) = shared.letters.and_then(|letters| receive(arena, me, &letters)) {
            places.entry(value).or_default().push("letters");
        }
        let missing = places.values().filter(|places| places.is_empty()).count() as u64;
        if let Some(twice) = places.iter().find(|(_, places)| places.len() > 1) {
            return Err(format!("an item is in more than one place: {twice:?}"));
        }
        let lost = match queue.joined(arena, me, 1).map_err(|error| error.to_string())? {
            Joined::Lost(lost) => lost.count,
            _ => 0,
        };
        // Without a queue for dead letters they are dropped.
        let dropped = if self.policy.most_deliveries == 1 && !self.letters {
            initial
        } else {
            0
        };
        if missing < lost || missing > lost + unsure + dropped {
            return Err(format!(
                "{missing} items are missing, {lost} are said to be lost: {places:?}"
            ));
        }
        let in_hand = places.values().flatten().any(|place| *place == "in hand");
        let since = queue.tail(arena).map_err(|error| error.to_string())?;
        let joined = queue
            .joined(arena, me, since)
            .map_err(|error| error.to_string())?;
        if lost == 0 && (joined == Joined::Finished) == in_hand {
            return Err(format!("{joined:?} with {places:?}"));
        }
        if let Some(letters) = &shared.letters {
            for p in (0..family.arenas.len()).filter(|p| !end.killed.get(*p).is_some_and(|killed| *killed)) {
                let closed = family.arenas[p].close(&family.members[p], letters.handle);
                closed.map_err(|error| error.to_string())?;
            }
        }
        close(family, queue, end)
    }
}

use Part::{Done, Hold, Join, Put, Receive, Recover, Retry};

const REDELIVER: Policy = Policy {
    redeliver: true,
    most_deliveries: 0,
};
const LOSE: Policy = Policy {
    redeliver: false,
    most_deliveries: 0,
};
const ONCE: Policy = Policy {
    redeliver: true,
    most_deliveries: 1,
};

fn hands(parts: &'static [Part], policy: Policy) -> Hands {
    Hands {
        parts,
        policy,
        letters: false,
        blocks: false,
        full: 0,
    }
}

#[test]
fn the_last_two_are_marked_while_somebody_joins() {
    let hands = hands(&[Done, Done, Join], REDELIVER);
    Explorer::new("joinable, the last two", 3)
        .kills(1)
        .preemptions(2)
        .run(&hands);
}

#[test]
fn more_is_put_while_somebody_joins() {
    let hands = hands(&[Done, Put, Join], REDELIVER);
    Explorer::new("joinable, a put beside", 3)
        .kills(1)
        .preemptions(1)
        .run(&hands);
}

#[test]
fn joiners_hear_of_a_loss() {
    let hands = hands(&[Hold(1), Join, Recover], LOSE);
    Explorer::new("joinable, a loss", 3)
        .kills(2)
        .only(&[0, 2])
        .hurried(&[2])
        .preemptions(1)
        .run(&hands);
}

#[test]
fn losses_are_counted_once() {
    for blocks in [false, true] {
        let hands = Hands {
            blocks,
            ..hands(&[Hold(2), Recover, Recover], LOSE)
        };
        Explorer::new("joinable, two losses", 3)
            .kills(2)
            .only(&[0, 1])
            .hurried(&[1, 2])
            .tires(1)
            .preemptions(1)
            .run(&hands);
    }
}

#[test]
fn what_was_in_hand_comes_back_once() {
    for blocks in [false, true] {
        let hands = Hands {
            blocks,
            ..hands(&[Hold(2), Recover, Receive], REDELIVER)
        };
        Explorer::new("joinable, redelivered", 3)
            .kills(2)
            .only(&[0, 1])
            .hurried(&[1])
            .preemptions(1)
            .run(&hands);
    }
}

#[test]
fn two_recoverers_of_what_was_in_hand() {
    for blocks in [false, true] {
        let hands = Hands {
            blocks,
            ..hands(&[Done, Recover, Recover], REDELIVER)
        };
        Explorer::new("joinable, recovered twice", 3)
            .kills(2)
            .only(&[0, 1])
            .hurried(&[1, 2])
            .tires(1)
            .preemptions(1)
            .run(&hands);
    }
}

#[test]
fn given_back_while_others_receive() {
    for blocks in [false, true] {
        let hands = Hands {
            blocks,
            full: 1,
            ..hands(&[Retry, Receive, Retry], REDELIVER)
        };
        Explorer::new("joinable, given back", 3)
            .kills(1)
            .preemptions(1)
            .run(&hands);
    }
}

#[test]
fn buried_by_its_taker() {
    for blocks in [false, true] {
        let hands = Hands {
            blocks,
            letters: true,
            ..hands(&[Retry, Recover, Recover], ONCE)
        };
        Explorer::new("joinable, a dead letter", 3)
            .kills(2)
            .only(&[0, 1])
            .hurried(&[1, 2])
            .tires(1)
            .preemptions(0)
            .run(&hands);
    }
}

#[test]
fn buried_by_recovery() {
    for blocks in [false, true] {
        let hands = Hands {
            blocks,
            letters: true,
            ..hands(&[Hold(1), Recover, Recover], ONCE)
        };
        Explorer::new("joinable, a dead letter of the dead", 3)
            .kills(2)
            .only(&[0, 1])
            .hurried(&[1, 2])
            .tires(1)
            .preemptions(0)
            .run(&hands);
    }
}

#[test]
fn dropped_after_the_last_delivery() {
    let hands = Hands {
        blocks: true,
        ..hands(&[Retry, Recover, Join], ONCE)
    };
    Explorer::new("joinable, dropped", 3)
        .kills(2)
        .only(&[0, 1])
        .hurried(&[1])
        .preemptions(1)
        .run(&hands);
}

/// A getter walks to an item that came back, along segments of which one is taken out and used again.
struct Walks;

impl Scenario for Walks {
    type Shared = Queue;

    fn setup(&self, family: &Family) -> Queue {
        let (arena, me) = (&family.arenas[0], &family.members[0]);
        let options = Options {
            policy: Some(REDELIVER),
            ..Options::default()
        };
        let queue = Queue::create_kind(arena, me, JOINABLE, &options).unwrap();
        for (arena, me) in family.arenas.iter().zip(&family.members).skip(1) {
            Queue::open(arena, me, queue.handle).unwrap();
        }
        // Segments of 31, 63 and 127 slots: one item in hand in the first, none in the second, one that came
        // back in the third, and no room for the next.
        let mut back = Vec::new();
        let mut last = None;
        for k in 1..=31 + 63 + 127_u64 {
            put(arena, me, &queue, k);
            let (_, hand) = receive(arena, me, &queue).unwrap();
            let hand = hand.unwrap();
            match k {
                1 => back.push(hand),
                2 => {}
                200 => back.push(hand),
                50 => last = Some(hand),
                _ => assert!(queue.done(arena, me, &hand).unwrap()),
            }
        }
        for hand in back {
            assert!(queue.retry(arena, me, &hand).unwrap());
        }
        // Only now the second segment is over: whoever needs a new one finds it.
        assert!(queue.done(arena, me, &last.unwrap()).unwrap());
        // The first of them again: the next getter begins behind it.
        let (value, hand) = receive(arena, me, &queue).unwrap();
        assert_eq!(value, 1);
        assert!(queue.done(arena, me, &hand.unwrap()).unwrap());
        queue
    }

    fn run(&self, actor: &Actor<'_>, queue: &Queue) {
        actor.note(if actor.p == 0 {
            put(actor.arena, actor.me, queue, 900)
        } else {
            receive(actor.arena, actor.me, queue).map_or(EMPTY, |(value, _)| value)
        });
    }

    fn at_rest(&self, family: &Family, queue: &Queue, end: &End) -> Result<(), String> {
        let got = end.outcomes[1].first().copied();
        if !end.killed[1] && got != Some(200) {
            return Err(format!("the getter got {got:?} in place of what came back"));
        }
        close(family, queue, end)
    }
}

#[test]
fn a_segment_is_taken_out_while_a_getter_walks() {
    Explorer::new("joinable, a walk", 2).kills(1).run(&Walks);
}
