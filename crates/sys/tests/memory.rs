//! Sealed memfds, their mappings and their pages.

mod common;

use common::{Helper, Page};
use polyproc_sys::memory::{self, Mapping, Memfd};
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

const MIB: u64 = 1 << 20;

/// Bytes of memory that the file has.
fn held(memfd: &Memfd) -> u64 {
    let stat = std::fs::metadata(format!("/proc/self/fd/{}", memfd.raw())).expect("stat");
    stat.blocks() * 512
}

#[test]
fn is_high_inherited_private_and_exactly_as_long() {
    let memfd = Memfd::create("sys-test", 3 * MIB).expect("made");
    assert!(memfd.raw() >= 48);
    // SAFETY: asks for flags only.
    let flags = unsafe { libc::fcntl(memfd.raw(), libc::F_GETFD) };
    assert_eq!(flags & libc::FD_CLOEXEC, 0);
    assert_eq!(memfd.len().expect("len"), 3 * MIB);
    let stat = std::fs::metadata(format!("/proc/self/fd/{}", memfd.raw())).expect("stat");
    assert_eq!(stat.mode() & 0o777, 0o600);
    assert_eq!(held(&memfd), 0, "nothing is used before it is touched");
}

#[test]
fn refuses_to_shrink_grow_and_unseal() {
    let memfd = Memfd::create("sys-test", MIB).expect("made");
    // SAFETY: a number that stays open; the file is let go of below without closing it.
    let file = unsafe { File::from_raw_fd(memfd.raw()) };
    for len in [0, MIB - 1, MIB + 1] {
        assert_eq!(
            file.set_len(len).expect_err("sealed").raw_os_error(),
            Some(libc::EPERM)
        );
    }
    let _ = file.into_raw_fd();
    // SAFETY: an int argument, as F_ADD_SEALS takes.
    let sealed = unsafe { libc::fcntl(memfd.raw(), libc::F_ADD_SEALS, libc::F_SEAL_WRITE) };
    assert_eq!(sealed, -1, "nobody can make it read-only under the others");
    assert!(
        memory::commit(memfd.raw(), 0, MIB + 1).is_err(),
        "nor grow it by committing"
    );
}

#[test]
fn reads_and_writes_without_a_mapping() {
    let page = Page::new();
    page.memfd.write_at(8, &7_u32.to_ne_bytes()).expect("written");
    assert_eq!(page.word(2).load(Ordering::SeqCst), 7);
    page.word(3).store(9, Ordering::SeqCst);
    let mut bytes = [0; 8];
    page.memfd.read_at(8, &mut bytes).expect("read");
    assert_eq!(bytes, [7_u32.to_ne_bytes(), 9_u32.to_ne_bytes()].concat()[..]);
    assert_eq!(
        page.memfd.read_at(4092, &mut bytes).expect_err("past").kind(),
        ErrorKind::UnexpectedEof
    );
    assert!(page.memfd.write_at(4096, &bytes).is_err());
}

#[test]
fn copies_any_number_of_bytes_to_any_place() {
    const MANY: usize = (8 << 20) + 77;
    let bytes: Vec<u8> = (0..MANY + 3).map(|k| (k * 31 + k / 251) as u8).collect();
    for (skipped, from, len) in [
        (0, 0, 0),
        (1, 0, 100),
        (0, 0, 8 << 20),
        (1, 2, 8 << 20),
        (15, 3, MANY),
        (16, 0, MANY),
    ] {
        let mut target = vec![0xee; skipped + len + 1];
        let at = NonNull::from(&mut target[skipped..]).cast();
        // SAFETY: so many bytes are there, and they are others.
        unsafe { memory::copy_past(at, &bytes[from..from + len]) };
        assert!(target[..skipped].iter().all(|byte| *byte == 0xee));
        assert_eq!(&target[skipped..skipped + len], &bytes[from..from + len]);
        assert_eq!(target[skipped + len], 0xee);
    }
}

#[test]
fn commits_and_gives_back() {
    let memfd = Memfd::create("sys-test", 256 * MIB).expect("made");
    memory::commit(memfd.raw(), 0, 80 * MIB).expect("more than one step");
    assert_eq!(held(&memfd), 80 * MIB);
    memfd.write_at(MIB, b"kept").expect("written");
    memory::commit(memfd.raw(), 0, 2 * MIB).expect("again");
    memory::punch(memfd.raw(), 2 * MIB, 78 * MIB).expect("punched");
    assert_eq!(held(&memfd), 2 * MIB);
    let mut bytes = [0; 4];
    memfd.read_at(MIB, &mut bytes).expect("read");
    assert_eq!(&bytes, b"kept");
    memory::punch(memfd.raw(), MIB, MIB).expect("punched");
    memfd.read_at(MIB, &mut bytes).expect("read");
    assert_eq!(bytes, [0; 4]);
    assert!(memory::commit(memfd.raw(), 0, 0).is_err());
    assert!(memory::commit(-1, 0, 1).is_err());
}

#[test]
fn is_left_out_of_core_dumps() {
    let page = Page::new();
    let start = format!("{:x}-", page.map.base().as_ptr() as usize);
    let maps = std::fs::read_to_string("/proc/self/smaps").expect("smaps");
    let flags = maps
        .lines()
        .skip_while(|line| !line.starts_with(&start))
        .find(|line| line.starts_with("VmFlags:"))
        .expect("the mapping is listed");
    assert!(flags.split(' ').any(|flag| flag == "dd"), "{flags}");
    assert!(flags.split(' ').any(|flag| flag == "sh"), "{flags}");
}

#[test]
fn maps_no_further_than_the_file() {
    let memfd = Memfd::create("sys-test", 4096).expect("made");
    for len in [0, 4097] {
        assert_eq!(
            Mapping::of(&memfd, len).expect_err("refused").kind(),
            ErrorKind::InvalidInput
        );
    }
}

#[test]
fn a_child_adopts_the_inherited_number() {
    let page = Page::new();
    assert!(
        Helper::start(&["adopt", &page.memfd.raw().to_string()])
            .wait()
            .success()
    );
}

#[test]
fn adopts_nothing_else_and_leaves_it_open() {
    let (pipe, _end) = polyproc_sys::doorbell::pipe().expect("pipe");
    let file = File::open("/proc/self/exe").expect("open");
    for fd in [pipe.as_raw_fd(), file.as_raw_fd()] {
        // SAFETY: no sealed memfd is there.
        let error = unsafe { Memfd::adopt(fd) }.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        // SAFETY: asks for flags only.
        assert_ne!(unsafe { libc::fcntl(fd, libc::F_GETFD) }, -1, "still open");
    }
    // SAFETY: nothing is there.
    let error = unsafe { Memfd::adopt(900_000) }.expect_err("refused");
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    // SAFETY: a new memfd without seals, which adopt must refuse.
    let bare = unsafe { libc::memfd_create(c"bare".as_ptr(), libc::MFD_ALLOW_SEALING) };
    // SAFETY: as above.
    let refused = unsafe { Memfd::adopt(bare) };
    assert_eq!(refused.expect_err("no seals").kind(), ErrorKind::InvalidData);
}

#[test]
fn opens_the_memfd_of_another_process() {
    let page = Page::new();
    let helper = page.helper("live", "wait");
    let other = Memfd::open_of(helper.pid(), page.memfd.raw()).expect("opened");
    assert!(other.raw() >= 48 && other.raw() != page.memfd.raw());
    let map = Mapping::of(&other, 4096).expect("mapped");
    assert_ne!(map.base(), page.map.base());
    page.memfd.write_at(2048, b"seen").expect("written");
    let mut bytes = [0; 4];
    other.read_at(2048, &mut bytes).expect("read");
    assert_eq!(&bytes, b"seen");

    assert_eq!(
        Memfd::open_of(helper.pid(), 0).expect_err("not a memfd").kind(),
        ErrorKind::InvalidData
    );
    assert_eq!(
        Memfd::open_of(helper.pid(), 777).expect_err("nothing").kind(),
        ErrorKind::NotFound
    );
    let pid = helper.pid();
    drop(helper);
    assert_eq!(
        Memfd::open_of(pid, page.memfd.raw()).expect_err("gone").kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn limits_are_errors() {
    for what in ["file-limit", "few-descriptors", "address-limit"] {
        let status = Helper::start(&[what, "-1"]).wait();
        assert!(status.success(), "{what}: {status}");
    }
}

#[test]
fn knows_the_machine() {
    assert!(memory::page_size().is_power_of_two());
    assert!(memory::limit_bytes() > 64 * MIB);
    let info = std::fs::read_to_string("/proc/meminfo").expect("meminfo");
    let total = info
        .split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse::<u64>().ok())
        .expect("MemTotal");
    assert!(memory::limit_bytes() <= total * 1024 + MIB);
}
