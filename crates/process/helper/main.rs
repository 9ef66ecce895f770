//! A parent for the tests: starts what its arguments say, prints the pids, and waits to be killed.

use polyproc_process::{SpawnRequest, Stdio, spawn};
use polyproc_sys::clock;
use std::ffi::CString;
use std::io::Write;
use std::process::exit;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        // Two daemons, one of which never rests and one of which has a daemon of its own, and a child that is
        // none.
        Some("family") => {
            report(start("/bin/sh", &["sh", "-c", "while :; do :; done"], true));
            report(start(&own_path(), &["helper", "daemon"], true));
            // Told with a minus, since it cannot be told from the others until it runs its program.
            report(-i64::from(start("/bin/sleep", &["sleep", "30"], false)));
        }
        // The same from a thread that ends at once, while the process goes on.
        Some("thread") => {
            let daemon = || report(start("/bin/sleep", &["sleep", "30"], true));
            if std::thread::spawn(daemon).join().is_err() {
                exit(104);
            }
            report(0);
        }
        Some("cost") => cost(),
        Some("daemon") => report(start("/bin/sleep", &["sleep", "30"], true)),
        _ => exit(100),
    }
    std::thread::sleep(std::time::Duration::from_secs(30));
}

fn own_path() -> String {
    std::env::current_exe().map_or_else(|_| exit(101), |path| path.to_string_lossy().into_owned())
}

fn start(exec: &str, argv: &[&str], die_with_parent: bool) -> u32 {
    let c = |text: &str| CString::new(text).unwrap_or_default();
    let request = SpawnRequest {
        exec: c(exec),
        argv: argv.iter().map(|text| c(text)).collect(),
        env: Vec::new(),
        cwd: None,
        stdio: [Stdio::Null, Stdio::Inherit, Stdio::Inherit],
        keep_fds: Vec::new(),
        die_with_parent,
    };
    spawn(request, |_| ()).map_or_else(|_| exit(102), |child| child.pid)
}

/// What a start costs the main thread in microseconds, the middle of 30, with a small heap and with 1 GiB of
/// it in use.
fn cost() -> ! {
    let median = || {
        let mut times: Vec<u64> = (0..30)
            .map(|_| {
                let before = clock::now();
                let pid = start("/bin/true", &["true"], true);
                let took = clock::now() - before;
                while polyproc_process::signal(pid, 0).is_ok() {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                took / 1000
            })
            .collect();
        times.sort_unstable();
        times[times.len() / 2] as u32
    };
    median();
    report(median());
    let mut heap = vec![0_u8; 1 << 30];
    for page in heap.chunks_mut(4096) {
        page[0] = 1;
    }
    report(median());
    std::hint::black_box(heap);
    exit(0);
}

fn report(pid: impl std::fmt::Display) {
    if writeln!(std::io::stdout(), "{pid}").is_err() {
        exit(103);
    }
}
