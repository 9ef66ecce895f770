//! A parent for the tests: starts what its arguments say, prints the pids, and waits to be killed.

use polyproc_process::{SpawnRequest, Stdio, spawn};
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
            report(start("/bin/sleep", &["sleep", "30"], false));
        }
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

fn report(pid: u32) {
    if writeln!(std::io::stdout(), "{pid}").is_err() {
        exit(103);
    }
}
