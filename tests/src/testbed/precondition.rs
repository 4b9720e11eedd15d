//! What a machine must have before a testbed can run on it.

use super::command::Invocation;
use std::fmt;
use std::path::Path;

/// Why there can be no testbed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Programs that are needed, with the Debian package that brings each.
const PROGRAMS: [(&str, &str); 12] = [
    ("apt-get", "apt"),
    ("chroot", "coreutils"),
    ("debootstrap", "debootstrap"),
    ("ip", "iproute2"),
    ("kill", "procps"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
    ("openssl", "openssl"),
    ("setsid", "util-linux"),
    ("sh", "dash"),
    ("umount", "mount"),
    ("unshare", "util-linux"),
];

/// The oldest Go that builds Kubernetes: `go 1.24.0` in go.mod.
const GO: (u32, u32) = (1, 24);

/// Whether this machine can run a testbed at all. Missing programs are no reason to skip: they are an error of [`check`].
pub fn available() -> Result<(), Skip> {
    if !cfg!(target_os = "linux") {
        return Err(Skip("the testbed needs Linux".to_owned()));
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective =
        status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1));
    if effective != Some("0") {
        return Err(Skip("the testbed needs root (namespaces, cgroups, mounts)".to_owned()));
    }
    Ok(())
}

/// Everything that is missing, all at once, each with what to do about it.
pub(crate) fn check() -> Result<(), super::Error> {
    available().map_err(|skip| super::Error::Missing(skip.0))?;
    let mut missing: Vec<String> = PROGRAMS
        .iter()
        .filter(|(program, _)| !in_path(program))
        .map(|(program, package)| format!("`{program}` (Debian package {package})"))
        .collect();
    missing.extend(go_missing());
    if missing.is_empty() {
        return Ok(());
    }
    Err(super::Error::Missing(format!(
        "the testbed needs {}; tests/testbed/packages.sh installs the Debian packages",
        missing.join(", ")
    )))
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| Path::new(&folder).join(program).is_file())
}

fn go_missing() -> Option<String> {
    let (major, minor) = GO;
    let Ok(said) = Invocation::of("go").arg("version").check() else {
        return Some(format!("Go {major}.{minor} or newer (https://go.dev/dl/)"));
    };
    match go_version(&said) {
        Some(found) if found >= GO => None,
        _ => Some(format!("Go {major}.{minor} or newer (this is {})", said.trim())),
    }
}

fn go_version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said
        .split_whitespace()
        .find_map(|word| word.strip_prefix("go1."))?
        .split(|c: char| !c.is_ascii_digit());
    Some((1, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_go_is_understood() {
        assert_eq!(go_version("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert_eq!(go_version("go version go1.19 linux/amd64"), Some((1, 19)));
        assert_eq!(go_version("go version go1.25rc1 linux/amd64"), Some((1, 25)));
        assert_eq!(go_version("gccgo"), None);
    }
}
