//! In the test: an arena that the test itself is no member of, and the actors that are.

use crate::operations::{self, Beside, OWN, On, Operation};
use crate::points_run::{KILL, Place, Spot};
use polyproc_arena::attach::{Family, VARIABLE};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Nothing takes longer, or the test has failed.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// How long a sleeper may sleep on with work to do.
pub const PROMPT: Duration = Duration::from_millis(500);

/// True in the long form of the tests.
#[must_use]
pub fn chaos() -> bool {
    std::env::var("POLYPROC_CHAOS").is_ok_and(|value| value == "1")
}

/// What the books say in a `usage` line: objects and blocks, without the time and the committed bytes, which grow with luck.
///
/// # Panics
/// When the line says anything else, as what is wrong with the books.
#[must_use]
pub fn books_in(answer: &str) -> String {
    let words: Vec<&str> = answer.split(' ').collect();
    assert_eq!(words.first(), Some(&"usage"), "{answer}");
    words[2..words.len() - 1].join(" ")
}

/// A shared memory without members.
#[derive(Debug)]
pub struct Ground {
    family: Family,
    actor: &'static str,
}

/// An actor with its pipes.
#[derive(Debug)]
pub struct Actor {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

/// How a victim ended.
#[derive(Debug)]
pub struct Ended {
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// Its operation returned.
    pub done: bool,
    /// What it recorded.
    pub points: Vec<Spot>,
    /// Anything else that it said.
    pub said: Vec<String>,
}

impl Ground {
    /// Makes an arena; `actor` is the path of the actors' program.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(actor: &'static str) -> Self {
        // The empty text: a family of its own, whatever other tests of this process have open.
        let family = Family::find(Some("")).expect("an arena");
        Self { family, actor }
    }

    /// The command that starts an actor.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.actor);
        command
            .args(words)
            .env_clear()
            .env(VARIABLE, self.family.variable());
        command
    }

    /// The value of the variable that leads to the arena.
    #[must_use]
    pub fn variable(&self) -> String {
        self.family.variable()
    }

    /// Starts an actor.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(&self, words: &[&str]) -> Actor {
        Actor::of(&mut self.command(words))
    }

    /// Starts a survivor and waits until it has joined.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn survivor(&self) -> Actor {
        let survivor = self.start(&["survivor"]);
        assert_eq!(survivor.hear(PATIENCE).as_deref(), Some("ready"));
        survivor
    }
}

impl Actor {
    /// Starts a command with pipes.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn of(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("an actor");
        let output = child.stdout.take().expect("piped");
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { break };
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let input = child.stdin.take();
        Self { child, input, lines }
    }

    /// Kills it and waits for its end.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().expect("waited for");
    }

    /// True while it runs.
    ///
    /// # Panics
    /// When it cannot be asked.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("asked").is_none()
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line, `None` when none comes in time or its output has ended.
    #[must_use]
    pub fn hear(&self, within: Duration) -> Option<String> {
        self.lines.recv_timeout(within).ok()
    }

    /// Gives a command, without waiting for the answer.
    pub fn tell(&mut self, command: &str) {
        if let Some(input) = &mut self.input {
            let _ = writeln!(input, "{command}");
        }
    }

    /// Gives a command and returns the answer.
    ///
    /// # Panics
    /// When there is none.
    pub fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.hear(PATIENCE)
            .unwrap_or_else(|| panic!("no answer to {command:?}: {:?}", self.child.try_wait()))
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the actor is gone.
    pub fn signal(&self, signal: i32) {
        polyproc_sys::signal::kill(self.pid(), signal).expect("signalled");
    }

    /// Waits until it is in one of the states of `/proc/<pid>/stat`.
    ///
    /// # Panics
    /// When it never is.
    pub fn until_state(&self, states: &str) {
        let start = Instant::now();
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
            let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
            if state.is_some_and(|state| states.contains(state)) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "never in {states}: {stat}");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Waits for its end, and for all it said.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn finish(mut self) -> Ended {
        drop(self.input.take());
        let mut ended = Ended {
            signal: None,
            done: false,
            points: Vec::new(),
            said: Vec::new(),
        };
        let end = Instant::now() + PATIENCE;
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) if line == "done" => ended.done = true,
                Ok(line) => match line.strip_prefix("point ").map(str::parse) {
                    Some(Ok(spot)) => ended.points.push(spot),
                    _ => ended.said.push(line),
                },
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("an actor does not end; it said {:?}", ended.said),
            }
        }
        let status = self.child.wait().expect("waited for");
        ended.signal = status.signal();
        ended
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two survivors, and the books as they were when only they were there.
#[derive(Debug)]
pub struct Stage {
    /// The arena.
    pub ground: Ground,
    /// The survivors.
    pub survivors: [Actor; 2],
    round: u64,
    books: String,
}

/// What a run of a victim showed.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// What is wrong, if anything.
    pub fault: Option<String>,
}

impl Stage {
    /// Sets up an arena with two survivors and lets them warm up.
    ///
    /// # Panics
    /// When they do not come up, or the books do not balance from the beginning.
    #[must_use]
    pub fn new(actor: &'static str) -> Self {
        Self::on(Ground::new(actor))
    }

    /// The same in an arena that is there already.
    ///
    /// # Panics
    /// As [`Stage::new`].
    #[must_use]
    pub fn on(ground: Ground) -> Self {
        let survivors = [ground.survivor(), ground.survivor()];
        let mut stage = Self {
            ground,
            survivors,
            round: 0,
            books: String::new(),
        };
        for _ in 0..2 {
            // Both sides of each wait: the first one takes memory that stays.
            stage.begin(PLAIN_ROUND);
            stage.survivors[0].ask("drain");
            for survivor in &mut stage.survivors {
                assert_eq!(survivor.ask("wait 1"), "timeout");
                assert!(matches!(survivor.ask("wait-put 1").as_str(), "done" | "timeout"));
            }
            assert_eq!(stage.go_on(), None);
            stage.books = stage.settle().expect("settled");
        }
        stage
    }

    /// Objects and blocks that are in use while nothing goes on.
    #[must_use]
    pub fn books(&self) -> &str {
        &self.books
    }

    /// Opens the queues of the next round.
    ///
    /// # Panics
    /// When that fails.
    pub fn begin(&mut self, operation: &Operation) {
        self.round += 1;
        for survivor in &mut self.survivors {
            assert_eq!(survivor.ask(&format!("begin {}", self.round)), "begun");
        }
        let fill = format!("fill {} {}", operation.before, operation.name);
        assert_eq!(self.survivors[0].ask(&fill), "filled");
        if operation.beside == Beside::Putter {
            assert_eq!(self.survivors[0].ask("fill-b"), "Done");
        }
    }

    /// Starts the victim of an operation.
    #[must_use]
    pub fn victim(&self, operation: &Operation, mode: &str, spot: &str, signal: i32) -> Actor {
        let round = self.round.to_string();
        self.ground
            .start(&["victim", operation.name, mode, &round, spot, &signal.to_string()])
    }

    /// Waits until only the survivors are left and the books balance; what they say, or the faults.
    ///
    /// # Errors
    /// The faults.
    pub fn settle(&mut self) -> Result<String, String> {
        let answer = self.survivors[0].ask("settled 2 4000");
        if answer.starts_with("usage ") {
            Ok(books_in(&answer))
        } else {
            Err(answer)
        }
    }

    /// What is wrong with the books once only the survivors are left, if anything.
    ///
    /// # Panics
    /// When a survivor does not answer.
    pub fn balance(&mut self) -> Option<String> {
        let start = Instant::now();
        loop {
            let books = match self.settle() {
                Err(faults) => return Some(faults),
                Ok(books) => books,
            };
            if books == self.books {
                return None;
            }
            // Of two that recover the same one, the slower may have a block in hand still that it is about to free.
            if start.elapsed() > PROMPT {
                return Some(format!("objects and blocks were {} and are {books}", self.books));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// A thousand operations of the survivors, and the end of the round. What is wrong, if anything.
    ///
    /// # Panics
    /// When one does not answer.
    pub fn go_on(&mut self) -> Option<String> {
        let start = Instant::now();
        for (k, survivor) in self.survivors.iter_mut().enumerate() {
            survivor.tell(&format!("work {}", k + 1));
        }
        let answers: Vec<Option<String>> = self.survivors.iter().map(|s| s.hear(PATIENCE)).collect();
        let took = start.elapsed();
        let worked = |answer: &Option<String>| answer.as_ref().is_some_and(|text| text.starts_with("worked"));
        if !answers.iter().all(worked) {
            return Some(format!("the survivors' work: {answers:?}"));
        }
        for survivor in &mut self.survivors {
            let answer = survivor.ask("end");
            if answer != "ended" {
                return Some(answer);
            }
        }
        (took > Duration::from_secs(2)).then(|| format!("a thousand operations took {took:?}"))
    }

    /// One round: the victim runs and is killed at `spot` (`-`: it records), the survivors take stock.
    ///
    /// # Panics
    /// When an actor does not answer.
    pub fn run(&mut self, operation: &Operation, mode: &str, spot: &str) -> Outcome {
        self.begin(operation);
        self.beside(operation);
        let ended = self.victim(operation, mode, spot, KILL).finish();
        let fault = self.take_stock(operation, &ended);
        Outcome { ended, fault }
    }

    /// Lets a survivor wait for what the victim is to do.
    pub fn beside(&mut self, operation: &Operation) {
        let command = match operation.beside {
            Beside::Nothing => return,
            Beside::Getter => "wait 20000",
            Beside::Putter => "wait-put 20000",
            Beside::Joiner => "join 20000",
        };
        self.survivors[1].tell(command);
        // Past its spinning.
        std::thread::sleep(Duration::from_millis(2));
    }

    /// After the victim: what is wrong, if anything.
    ///
    /// # Panics
    /// When an actor does not answer.
    pub fn take_stock(&mut self, operation: &Operation, ended: &Ended) -> Option<String> {
        if let Some(said) = ended.said.first() {
            return Some(format!("the victim said {said:?}"));
        }
        if operation.on != On::Plain {
            // What the victim had in hand is where it belongs once it has been recovered.
            if let Err(faults) = self.settle() {
                return Some(faults);
            }
        }
        let woken = match self.wake_up(operation) {
            Ok(woken) => woken,
            Err(fault) => return Some(fault),
        };
        let drain = match operation.on {
            On::Losing => format!("drain {}", operation.before),
            On::Plain | On::Redelivering => "drain".to_owned(),
        };
        let drained = self.survivors[1].ask(&drain);
        if drained.starts_with("error") {
            return Some(drained);
        }
        let mut found = values(&drained);
        found.extend(woken);
        if let Some(fault) = operations::judge(operation, ended.done, &found) {
            return Some(fault);
        }
        if let Some(fault) = self.go_on() {
            return Some(fault);
        }
        self.balance()
    }

    /// Sees to it that whoever waited beside is woken if there is something for it.
    fn wake_up(&mut self, operation: &Operation) -> Result<Vec<u64>, String> {
        if operation.beside == Beside::Nothing {
            return Ok(Vec::new());
        }
        let [first, second] = &mut self.survivors;
        // What was killed is recovered before anything is asked.
        if let Some(answer) = second.hear(Duration::from_millis(20)) {
            return Ok(values(&answer));
        }
        if operation.beside == Beside::Joiner {
            // The victim has not marked it: when another does, the joiner must go on.
            let drained = first.ask("drain");
            return match second.hear(PROMPT) {
                Some(_) => Ok(values(&drained)),
                None => Err(format!("a joiner sleeps on after {drained:?} was marked done")),
            };
        }
        let question = if operation.beside == Beside::Getter {
            "len"
        } else {
            "room"
        };
        if matches!(first.ask(question).as_str(), "0" | "false") {
            // Nothing has happened, or a shutdown was begun: another attempt must come through.
            if operation.beside == Beside::Getter {
                let answer = first.ask("put 8888");
                let woken = second
                    .hear(PROMPT)
                    .ok_or_else(|| format!("a getter sleeps on after a put that was {answer}"))?;
                return match (answer.as_str(), woken.as_str()) {
                    ("done", "8888") | ("shut", "shut") => Ok(Vec::new()),
                    ("done", got) if values(got) == [OWN] => {
                        // It had taken what the victim put, and not come to saying so.
                        match first.ask("drain").as_str() {
                            "8888" => Ok(vec![OWN]),
                            rest => Err(format!("8888 was put, {rest:?} is there")),
                        }
                    }
                    _ => Err(format!("a put was {answer}, the getter got {woken}")),
                };
            }
            // The victim has not taken the message: when another takes it, the putter must go on.
            let taken = first.ask("get-b");
            return match second.hear(PROMPT) {
                Some(_) => Ok(Vec::new()),
                None => Err(format!("a putter sleeps on after a get that was {taken}")),
            };
        }
        match second.hear(PROMPT) {
            Some(answer) => Ok(values(&answer)),
            None => Err(format!("{:?} sleeps on though it could go on", operation.beside)),
        }
    }
}

/// The numbers in an answer.
fn values(answer: &str) -> Vec<u64> {
    answer
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

const PLAIN_ROUND: &Operation = &operations::ALL[2];

/// The points to kill at: every place, the first passages of each, the last, and some between.
#[must_use]
pub fn choose(points: &[Spot], most: usize) -> Vec<Spot> {
    let mut places: BTreeMap<Place, Vec<&Spot>> = BTreeMap::new();
    for spot in points {
        places.entry(spot.place()).or_default().push(spot);
    }
    let mut chosen = Vec::new();
    for passages in places.values() {
        let count = passages.len();
        let take = count.min(most);
        // Evenly spread, the first and the last among them.
        for k in 0..take {
            let at = if take == 1 {
                0
            } else {
                k * (count - 1) / (take - 1)
            };
            chosen.push(passages[at].clone());
        }
    }
    chosen
}
