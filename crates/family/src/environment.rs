//! What a child finds in its environment: what its parent says, without what is the parent's alone, and the
//! ways to the family's memory and to its place there.

use polyproc_arena::attach::VARIABLE;
use std::ffi::CString;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Name of the variable in which a child finds its place, as `slot:generation`, or `slot:generation:descriptor` where
/// there is a file of compiled code.
pub const PLACE: &str = "POLYPROC_PLACE";

/// Variables that tell Node, or a child of ours, what this very process is.
const OWN: [&str; 7] = [
    "NODE_CHANNEL_FD",
    "NODE_CHANNEL_SERIALIZATION_MODE",
    "NODE_UNIQUE_ID",
    "NODE_TEST_CONTEXT",
    "WATCH_REPORT_DEPENDENCIES",
    PLACE,
    VARIABLE,
];

fn is_inherited(name: &[u8]) -> bool {
    OWN.iter().all(|own| own.as_bytes() != name)
}

/// The environment of this process, as a child inherits it. Reads the process's own variables: not while
/// another thread may change them.
#[must_use]
pub fn inherited() -> Vec<CString> {
    std::env::vars_os()
        .filter(|(name, _)| is_inherited(name.as_bytes()))
        .filter_map(|(name, value)| {
            let mut text = OsStringExt::into_vec(name);
            text.reserve_exact(value.len() + 2);
            text.push(b'=');
            text.extend_from_slice(value.as_bytes());
            // What comes out of the environment has no NUL in it.
            CString::new(text).ok()
        })
        .collect()
}

/// Of variables given as `NAME=value`, those that a child inherits.
#[must_use]
pub fn without_own(mut variables: Vec<CString>) -> Vec<CString> {
    variables.retain(|text| {
        let name = text.as_bytes().split(|byte| *byte == b'=').next();
        is_inherited(name.unwrap_or_default())
    });
    variables
}

/// The variable that leads a child to the family's memory; `value` is what
/// [`variable`](polyproc_arena::attach::Family::variable) gave.
#[must_use]
pub fn way(value: &str) -> CString {
    // Numbers and colons: no NUL.
    CString::new(format!("{VARIABLE}={value}")).unwrap_or_default()
}

/// The variable that tells a child its place.
#[must_use]
pub fn place(name: u64, code: Option<RawFd>) -> CString {
    let mut text = format!("{PLACE}={}:{}", name & 0xffff_ffff, name >> 32);
    if let Some(fd) = code {
        text = format!("{text}:{fd}");
    }
    CString::new(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_parents_alone_stays_with_it() {
        let given = [
            "A=1",
            "NODE_CHANNEL_FD=3",
            "POLYPROC_PLACE=1:1",
            "NODE_CHANNEL_FDS=x",
            "EMPTY=",
        ];
        let given = given.map(|text| CString::new(text).expect("no NUL")).to_vec();
        let left: Vec<_> = without_own(given)
            .into_iter()
            .map(|text| text.into_string().expect("UTF-8"))
            .collect();
        assert_eq!(left, ["A=1", "NODE_CHANNEL_FDS=x", "EMPTY="]);
        assert_eq!(place(2 << 32 | 7, None).to_str(), Ok("POLYPROC_PLACE=7:2"));
        assert_eq!(place(2 << 32 | 7, Some(40)).to_str(), Ok("POLYPROC_PLACE=7:2:40"));
    }
}
