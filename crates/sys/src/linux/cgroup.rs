//! Where this process stands among the control groups, and what limits apply on the way up.
//!
//! A limit on any ancestor holds as well as one on the group itself. In a container without a group
//! namespace the path in `/proc/self/cgroup` is the host's while only a part of it is mounted; the mount
//! table says which part.

use std::path::{Path, PathBuf};

/// The two file layouts of control groups; a machine may use both, for different controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// What `limit` reads in each group from this process's own up to the mount's root, for version 1 (of
/// `controller`) and version 2. Empty where there are no control groups.
pub(super) fn limits<T>(controller: &str, mut limit: impl FnMut(&Path, Version) -> Option<T>) -> Vec<T> {
    let (Ok(groups), Ok(mounts)) = (
        std::fs::read_to_string("/proc/self/cgroup"),
        std::fs::read_to_string("/proc/self/mountinfo"),
    ) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for version in [Version::One, Version::Two] {
        let Some(group) = group_path(&groups, controller, version) else {
            continue;
        };
        let Some((root, point)) = mount(&mounts, controller, version) else {
            continue;
        };
        for dir in upwards(&group, &root, &point) {
            found.extend(limit(&dir, version));
        }
    }
    found
}

/// The trimmed content of a small file of a group.
pub(super) fn read(dir: &Path, file: &str) -> Option<String> {
    let text = std::fs::read_to_string(dir.join(file)).ok()?;
    Some(text.trim().to_owned())
}

/// The line of `/proc/self/cgroup` (`id:controllers:path`) for the controller.
fn group_path(groups: &str, controller: &str, version: Version) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let matches = match version {
            Version::One => controllers.split(',').any(|name| name == controller),
            Version::Two => id == "0" && controllers.is_empty(),
        };
        matches.then(|| path.to_owned())
    })
}

/// Root (within the hierarchy) and mount point of the controller's file system.
fn mount(mounts: &str, controller: &str, version: Version) -> Option<(String, PathBuf)> {
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let mut kind = kind.split(' ');
        let (fs, options) = (kind.next()?, kind.nth(1)?);
        let matches = match version {
            Version::One => fs == "cgroup" && options.split(',').any(|name| name == controller),
            Version::Two => fs == "cgroup2",
        };
        matches.then(|| (root.to_owned(), PathBuf::from(point)))
    })
}

/// The group's directory and its ancestors as far as the mount shows them. A path that the mount does not
/// show (`/../..` from outside a group namespace) leaves the mount's own root.
fn upwards(group: &str, root: &str, point: &Path) -> Vec<PathBuf> {
    let inside = group
        .strip_prefix(root.trim_end_matches('/'))
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        .filter(|rest| !rest.split('/').any(|part| part == ".."))
        .unwrap_or("");
    let mut dir = point.join(inside.trim_matches('/'));
    let mut dirs = vec![dir.clone()];
    while dir != point && dir.pop() {
        dirs.push(dir.clone());
    }
    dirs
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
30 23 0:26 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw,nsdelegate
33 30 0:29 /docker/abc /sys/fs/cgroup/memory rw shared:12 - cgroup cgroup rw,memory
34 30 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:13 - cgroup cgroup rw,cpu,cpuacct";
    const GROUPS: &str = "5:memory:/docker/abc\n4:cpu,cpuacct:/user.slice/a\n0::/user.slice/a/b";

    #[test]
    fn finds_path_and_mount_of_each_version() {
        assert_eq!(
            group_path(GROUPS, "memory", Version::One).as_deref(),
            Some("/docker/abc")
        );
        assert_eq!(
            group_path(GROUPS, "cpu", Version::Two).as_deref(),
            Some("/user.slice/a/b")
        );
        assert_eq!(group_path(GROUPS, "pids", Version::One), None);
        assert_eq!(
            mount(MOUNTS, "cpu", Version::One),
            Some(("/".into(), "/sys/fs/cgroup/cpu,cpuacct".into()))
        );
        assert_eq!(
            mount(MOUNTS, "memory", Version::Two),
            Some(("/".into(), "/sys/fs/cgroup/unified".into()))
        );
    }

    #[test]
    fn walks_up_to_the_mount_and_no_further() {
        let point = Path::new("/sys/fs/cgroup");
        let dirs = |group, root| upwards(group, root, point);
        assert_eq!(
            dirs("/a/b", "/"),
            ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"].map(PathBuf::from)
        );
        assert_eq!(dirs("/docker/abc", "/docker/abc"), [point]);
        assert_eq!(dirs("/../x", "/"), [point]);
        assert_eq!(dirs("/dockerx", "/docker"), [point]);
        assert_eq!(dirs("/", "/"), [point]);
    }
}
