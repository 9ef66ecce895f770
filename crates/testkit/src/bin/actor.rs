//! One process of a family under test. `POLYPROC_ARENA_V1` leads it to the arena.
//!
//! ```text
//! survivor                       goes on, and obeys (see `survivor`)
//! victim OP MODE ROUND SPOT SIG  runs an operation; MODE main, worker or leave; SPOT - records
//! recoverer SPOT SIG             joins and recovers whatever there is; points of its native thread count
//! child KEY SPOT                 a child of `spawn` or `collect`
//! produce NAME LOG               puts numbered messages until it is killed, noting each
//! consume NAME LOG               takes them, noting each
//! alone BYTES                    takes as much shared memory as it gets, in a family of its own
//! guard KIND FOLDER LOG          counts under a lock (see `guarded`)
//! herd KIND N                    waits with N - 1 others until all may go (see `herd`)
//! shepherd KIND N                lets them go
//! hold BYTES PRIVATE             joins, touches memory, waits for a line, then ends as that says
//! ```
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it talks to the test over its pipes"
)]

use polyproc_arena::attach::{Family, Limits, VARIABLE};
use polyproc_arena::{Arena, Error, Member, Result};
use polyproc_channel::envelope;
use polyproc_channel::queue::Queue;
use polyproc_process::{ExitStatus, SpawnRequest, Stdio};
use polyproc_sys::{proc_info, signal};
use polyproc_testkit::family::kinds;
use polyproc_testkit::operations::{self, Operation, Shape};
use polyproc_testkit::points_run::{self, KILL, Spot};
use polyproc_testkit::{guarded, herd, roles, survivor};
use std::ffi::CString;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let Err(error) = act(&words) {
        println!("error: {error}");
        std::process::exit(1);
    }
}

fn act(words: &[&str]) -> Result<()> {
    match words {
        ["survivor"] => {
            let (arena, me) = join(None)?;
            survivor::serve(arena, &me).map_err(|error| Error::System("a pipe", error))
        }
        ["victim", name, mode, round, spot, signal] => {
            let operation =
                operations::by_name(name).ok_or_else(|| Error::State(format!("no operation {name}")))?;
            victim(operation, mode, parsed(round), spot, parsed(signal) as i32)
        }
        ["recoverer", spot, signal] => {
            hook(spot, parsed(signal) as i32)?;
            points_run::arm_all(true);
            let (arena, _me) = join(None)?;
            roles::until_recovered(arena, 2000);
            points_run::arm_all(false);
            report();
            Ok(())
        }
        ["child", key, spot] => child(parsed(key), spot),
        ["produce", name, log] => {
            let (arena, me) = join(None)?;
            roles::produce(arena, &me, name, log)
        }
        ["consume", name, log] => {
            let (arena, me) = join(None)?;
            roles::consume(arena, &me, name, log)
        }
        ["guard", kind, folder, log] => {
            let (arena, me) = join(None)?;
            guarded::guard(arena, &me, kind, folder.as_ref(), log)
        }
        ["herd", kind, most] => {
            let (arena, me) = join(None)?;
            herd::stand(arena, &me, kind, parsed(most))
        }
        ["shepherd", kind, most] => {
            let (arena, me) = join(None)?;
            herd::lead(arena, &me, kind, parsed(most))
        }
        ["hold", shared, private] => roles::hold(join, parsed(shared), parsed(private)),
        ["alone", most] => roles::alone(parsed(most)),
        _ => Err(Error::State(format!("no such role: {words:?}"))),
    }
}

fn parsed(word: &str) -> u64 {
    word.parse().unwrap_or_default()
}

fn join(child: Option<u64>) -> Result<(&'static Arena, Member)> {
    let variable = std::env::var(VARIABLE).map_err(|_| Error::State(format!("{VARIABLE} is not set")))?;
    Family::find(Some(&variable))?.join(Limits::default(), child, &kinds())
}

fn hook(spot: &str, signal: i32) -> Result<()> {
    let target = match spot {
        "-" => None,
        spot => Some((spot.parse::<Spot>().map_err(Error::State)?, signal)),
    };
    points_run::prepare(target).map_err(Error::State)
}

/// Says which points were passed, and that the operation has returned.
fn report() {
    for spot in points_run::recorded() {
        println!("point {spot}");
    }
    println!("done");
}

fn victim(operation: &Operation, mode: &str, round: u64, spot: &str, signal: i32) -> Result<()> {
    if operation.joins {
        hook(spot, signal)?;
        points_run::arm_all(true);
        let (arena, me) = join(None)?;
        if operation.name == "found" {
            // The first of everything: tables are committed, marks raised from nothing.
            let queue = Queue::create(arena, &me, 0, Some("first"))?;
            operations::put(arena, &me, &queue, 1, Shape::Large)?;
            operations::put(arena, &me, &queue, 2, Shape::Block)?;
            operations::get(arena, &me, &queue)?;
        }
        points_run::arm_all(false);
        report();
        return Ok(());
    }
    let (arena, me) = join(None)?;
    // Points of `collect` count in the child.
    let here = operation.name != "collect";
    if here {
        hook(spot, signal)?;
    }
    let run = |me: &Member| -> Result<()> {
        let start = |role: &str| start_child(arena, me, role, spot, round);
        let step = operations::prepare(operation, arena, me, round, &start)?;
        if here && mode != "leave" {
            points_run::arm();
        }
        let outcome = step();
        points_run::disarm();
        outcome
    };
    match mode {
        "main" => run(&me)?,
        "worker" | "leave" => std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let me = arena.join_member()?;
                let outcome = run(&me);
                if mode == "leave" {
                    // As a worker thread does that is terminated: the call it is in ends, then it goes.
                    arena.leave(&me)?;
                }
                outcome
            });
            worker
                .join()
                .map_err(|_| Error::State("the worker thread panicked".into()))?
        })?,
        other => return Err(Error::State(format!("no mode {other}"))),
    }
    report();
    Ok(())
}

/// Starts a child of this process and waits for its end; dies as it died.
fn start_child(arena: &'static Arena, me: &Member, role: &str, spot: &str, round: u64) -> Result<()> {
    let text = |text: &str| CString::new(text).map_err(|_| Error::State("a NUL".into()));
    let exec = std::env::current_exe().map_err(|error| Error::System("current_exe", error))?;
    let exec = text(&exec.to_string_lossy())?;
    let variable = std::env::var(VARIABLE).unwrap_or_default();
    let variable = text(&format!("{VARIABLE}={variable}"))?;
    let t = Queue::create(arena, me, 0, Some(&format!("t{round}")))?;
    let boot = envelope::seal(arena, me, &[5; 100], &[], &[t.handle])?;
    let spot = text(if role == "collector" { spot } else { "none" })?;
    let keep = arena.descriptor().into_iter().collect();
    let started = polyproc_family::start(arena, me, boot.block, true, |key| SpawnRequest {
        exec,
        argv: vec![
            c"polyproc-actor".into(),
            c"child".into(),
            CString::new(key.name().to_string()).unwrap_or_default(),
            spot,
        ],
        env: vec![variable],
        cwd: None,
        stdio: [Stdio::Null, Stdio::Inherit, Stdio::Inherit],
        keep_fds: keep,
        die_with_parent: true,
    })?;
    // What the operation covers ends here; the rest is only to see that the child does.
    points_run::disarm();
    let end = polyproc_sys::clock::now() + 5_000_000_000;
    while polyproc_sys::clock::now() < end {
        if let Some(exit) = polyproc_family::children::exit_of(arena, started.key)? {
            polyproc_family::children::forget(started.key);
            return match exit.status {
                ExitStatus::Code(0) => Ok(()),
                status if status.code() == -KILL => {
                    let _ = signal::kill(proc_info::pid(), KILL);
                    Ok(())
                }
                status => Err(Error::State(format!("the child ended with {}", status.code()))),
            };
        }
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
    Err(Error::State("the child has not ended for 5 s".into()))
}

fn child(key: u64, spot: &str) -> Result<()> {
    if spot != "none" {
        hook(spot, KILL)?;
    }
    let (arena, me) = join(Some(key))?;
    points_run::arm();
    let collected = polyproc_family::boot::collect(arena, &me);
    if let Some((block, _)) = collected? {
        arena.free(&me, block)?;
    }
    points_run::disarm();
    for spot in points_run::recorded() {
        println!("point {spot}");
    }
    Ok(())
}
