//! Things to do at a time, by the native thread.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Runs once, on the native thread.
pub(crate) type Action = Box<dyn FnOnce() + Send>;

/// Actions by deadline, the earliest first; those of one moment in the order in which they came.
#[derive(Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<Timer>>,
    count: u64,
}

struct Timer {
    deadline: u64,
    order: u64,
    action: Action,
}

impl Timers {
    pub(crate) fn add(&mut self, deadline: u64, action: Action) {
        self.count += 1;
        self.heap.push(Reverse(Timer {
            deadline,
            order: self.count,
            action,
        }));
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(timer)| timer.deadline)
    }

    /// Takes an action whose deadline is not after `now`.
    pub(crate) fn due(&mut self, now: u64) -> Option<Action> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(timer)| timer.action)
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.deadline, self.order).cmp(&(other.deadline, other.order))
    }
}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Timer {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn come_in_order_and_not_early() {
        let (send, receive) = mpsc::channel();
        let mut timers = Timers::default();
        for (deadline, name) in [(30, "c"), (10, "a"), (30, "d"), (20, "b")] {
            let send = send.clone();
            timers.add(deadline, Box::new(move || send.send(name).expect("sent")));
        }
        assert_eq!(timers.next(), Some(10));
        assert!(timers.due(9).is_none());
        while let Some(action) = timers.due(30) {
            action();
        }
        assert_eq!(receive.try_iter().collect::<String>(), "abcd");
        assert_eq!(timers.next(), None);
    }
}
