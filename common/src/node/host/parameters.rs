//! What goes into an operation's script: its parameters, checked, its payload and its file.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{HostContext, RenderError, kernel_parameters};
use crate::plan::{Expected, FileContent, HostOperation, IpFamily, RulesBackend, SandboxRef};

/// Names of files on nodes that are ours hold this.
const OWN_MARK: &str = "kubectl-calico-";

/// Time for an operation on files, links, parameters and rules.
pub(super) const QUICK: Duration = Duration::from_secs(60);

/// Time for content to travel and be decoded, per 10 MiB.
const PER_TEN_MEBIBYTES: Duration = Duration::from_secs(30);

/// Time to change rules and to look at each of them before and after, per KiB of the change. A change of 122 KiB, which
/// removes 2,000 chains with 10,000 rules, takes 5 to 6 s of a processor, with either implementation.
const PER_KIBIBYTE_OF_RULES: Duration = Duration::from_millis(500);

/// Seconds that a restarted unit gets until it is active.
const RESTART_SECONDS: u64 = 90;

/// Sandboxes that are removed at the same time, as in `remove_sandboxes.sh`.
const AT_ONCE: usize = 4;

/// Time for a batch of sandboxes: 60 s each for stopping and removing.
const PER_BATCH: Duration = Duration::from_secs(120);

/// Longest time for any script: our pods do not live longer than 15 minutes.
pub(super) const LONGEST: Duration = Duration::from_secs(840);

/// The parts of a script.
pub(super) struct Parts<'a> {
    /// Shell variables and their values, in the order in which they are set.
    pub(super) parameters: Vec<(&'static str, String)>,
    /// What the script's function `payload` prints.
    pub(super) payload: Option<&'a [u8]>,
    /// The operation's file.
    pub(super) script: &'static str,
    /// How long it may take.
    pub(super) limit: Duration,
}

impl Parts<'_> {
    pub(super) fn new(
        context: &HostContext<'_>,
        script: &'static str,
    ) -> Result<Self, RenderError> {
        let run = word("run", &context.run.0)?;
        Ok(Self { parameters: vec![("run", run)], payload: None, script, limit: QUICK })
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.parameters.push((name, value.into()));
        self
    }

    fn on_file(self, path: &str, expected: &Expected, backup: &str) -> Result<Self, RenderError> {
        let beside = |it: &str| it.rsplit_once('/').map(|(directory, _)| directory.to_owned());
        absolute(path)?;
        if !backup.is_empty() {
            absolute(backup)?;
            if beside(backup) != beside(path) || backup == path {
                return bad("backup", backup, "it is not another file of the same directory");
            }
        }
        Ok(self
            .with("path", path)
            .with("expected", expected_word(expected)?)
            .with("backup", backup))
    }
}

/// Checks an operation and takes it apart.
pub(super) fn parts<'a>(
    operation: &'a HostOperation,
    context: &HostContext<'_>,
    payload: Option<&'a [u8]>,
) -> Result<Parts<'a>, RenderError> {
    let of = |script| Parts::new(context, script);
    match operation {
        HostOperation::WriteFile { path, mode, content, expected, backup } => {
            let content_given = given(path, content, payload)?;
            let parts = of(include_str!("write_file.sh"))?.on_file(path, expected, backup)?;
            Ok(write_file(parts, *mode, content, content_given))
        }
        HostOperation::MoveAside { path, expected, backup } => {
            of(include_str!("move_aside.sh"))?.on_file(path, expected, backup)
        }
        HostOperation::RestoreFile { path, expected, backup } => {
            of(include_str!("restore_file.sh"))?.on_file(path, expected, backup)
        }
        HostOperation::RemoveFile { path, expected } => {
            let is_own = path.rsplit('/').next().is_some_and(|name| name.contains(OWN_MARK));
            if !is_own && !matches!(expected, Expected::Sha256(_)) {
                return bad("path", path, "the file is not ours, and its content is not stated");
            }
            let parts = of(include_str!("remove_file.sh"))?.on_file(path, expected, "")?;
            Ok(parts.with("marker", yes_or_no(is_own)))
        }
        HostOperation::RemoveLink { name, link_kind, index } => {
            Ok(of(include_str!("remove_link.sh"))?
                .with("name", link_name(name)?)
                .with("kind", word("kind of interface", link_kind)?)
                .with("index", index.to_string()))
        }
        HostOperation::SetSysctl { key, value, expected } => Ok(of(include_str!("set_sysctl.sh"))?
            .with("key", key.clone())
            .with("entry", sysctl_entry(key)?)
            .with("value", line("value", value)?)
            .with("expected", line("expected value", expected)?)),
        HostOperation::RestartUnit { unit } => {
            let parts = of(include_str!("restart_unit.sh"))?
                .with("unit", word("unit", unit)?)
                .with("seconds", RESTART_SECONDS.to_string());
            Ok(Parts { limit: Duration::from_secs(RESTART_SECONDS) + QUICK, ..parts })
        }
        HostOperation::RestoreRules { family, backend, rules, undo: _ } => {
            let prefix = match family {
                IpFamily::V4 => "iptables",
                IpFamily::V6 => "ip6tables",
            };
            let backend = match backend {
                RulesBackend::Legacy => "legacy",
                RulesBackend::Nft => "nft",
            };
            let kibibytes = u32::try_from(rules.len() / 1024).unwrap_or(u32::MAX);
            let limit =
                QUICK.saturating_add(PER_KIBIBYTE_OF_RULES.saturating_mul(kibibytes)).min(LONGEST);
            let parts = of(include_str!("restore_rules.sh"))?
                .with("prefix", prefix)
                .with("backend", backend)
                .with("rules", no_nul("rules", rules)?);
            Ok(Parts { limit, ..parts })
        }
        HostOperation::RemoveSandboxes { sandboxes, loopback } => remove_sandboxes(
            of(include_str!("remove_sandboxes.sh"))?,
            sandboxes,
            *loopback,
            context,
        ),
        _ => kernel_parameters::parts(operation, context),
    }
}

/// The content of a file: that of the plan, or what was given.
fn given<'a>(
    path: &str,
    content: &'a FileContent,
    payload: Option<&'a [u8]>,
) -> Result<&'a [u8], RenderError> {
    match (content, payload) {
        (FileContent::Text { text }, _) => Ok(text.as_bytes()),
        (_, Some(payload)) => Ok(payload),
        (_, None) => Err(RenderError::NoPayload { path: path.to_owned() }),
    }
}

fn write_file<'a>(
    parts: Parts<'a>,
    mode: u32,
    content: &FileContent,
    payload: &'a [u8],
) -> Parts<'a> {
    let wanted: String = Sha256::digest(payload).iter().map(|byte| format!("{byte:02x}")).collect();
    let is_fresh = matches!(content, FileContent::CniKubeconfig { .. });
    let tens = u32::try_from(payload.len() / (10 * 1024 * 1024)).unwrap_or(u32::MAX);
    let parts = parts
        .with("mode", format!("{:04o}", mode & 0o7777))
        .with("wanted", wanted)
        .with("fresh", yes_or_no(is_fresh));
    let limit = QUICK.saturating_add(PER_TEN_MEBIBYTES.saturating_mul(tens)).min(LONGEST);
    Parts { payload: Some(payload), limit, ..parts }
}

fn remove_sandboxes<'a>(
    parts: Parts<'a>,
    sandboxes: &[SandboxRef],
    loopback: bool,
    context: &HostContext<'_>,
) -> Result<Parts<'a>, RenderError> {
    let line = |it: &SandboxRef| {
        let [id, uid] = [word("sandbox id", &it.id)?, word("pod uid", &it.uid)?];
        let [namespace, name] = [word("namespace", &it.namespace)?, word("pod", &it.name)?];
        Ok(format!("{id} {uid} {} {namespace}/{name}", yes_or_no(it.ready)))
    };
    let lines = sandboxes.iter().map(line).collect::<Result<Vec<_>, _>>()?;
    if lines.is_empty() {
        return bad("list of sandboxes", "", "it is empty");
    }
    let batches = u32::try_from(lines.len().div_ceil(AT_ONCE)).unwrap_or(u32::MAX);
    let limit = Duration::from_secs(context.loopback_seconds)
        .saturating_add(QUICK)
        .saturating_add(PER_BATCH.saturating_mul(batches))
        .min(LONGEST);
    let parts = parts
        .with("sandboxes", lines.join("\n"))
        .with("loopback", yes_or_no(loopback))
        .with("seconds", context.loopback_seconds.to_string());
    Ok(Parts { limit, ..parts })
}

fn yes_or_no(it: bool) -> &'static str {
    if it { "yes" } else { "no" }
}

pub(super) fn bad<T>(what: &'static str, value: &str, why: &'static str) -> Result<T, RenderError> {
    Err(RenderError::BadValue { what, value: value.to_owned(), why })
}

fn no_nul(what: &'static str, value: &str) -> Result<String, RenderError> {
    if value.contains('\0') {
        return bad(what, value, "no shell can hold a NUL");
    }
    Ok(value.to_owned())
}

fn line(what: &'static str, value: &str) -> Result<String, RenderError> {
    if value.is_empty() || value.contains(['\0', '\n', '\r']) {
        return bad(what, value, "it is not one line");
    }
    Ok(value.to_owned())
}

/// A name as Kubernetes, systemd and the container runtime have them. It begins with no hyphen: it is no option.
pub(super) fn word(what: &'static str, value: &str) -> Result<String, RenderError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | ':');
    if value.is_empty() || value.starts_with('-') || !value.chars().all(plain) {
        return bad(what, value, "it is not a name");
    }
    Ok(value.to_owned())
}

/// The kernel takes up to 15 bytes without slashes and blanks, and neither `.` nor `..`.
pub(super) fn link_name(value: &str) -> Result<String, RenderError> {
    let name = word("interface", value)?;
    if name.len() > 15 || name.starts_with('.') {
        return bad("interface", value, "no interface can be called so");
    }
    Ok(name)
}

pub(super) fn absolute(path: &str) -> Result<(), RenderError> {
    let below = path.strip_prefix('/').unwrap_or_default();
    if path.contains(['\0', '\n']) || below.split('/').any(|it| matches!(it, "" | "." | "..")) {
        return bad("path", path, "it is not the plain absolute path of a file");
    }
    Ok(())
}

fn expected_word(expected: &Expected) -> Result<String, RenderError> {
    match expected {
        Expected::Absent => Ok("absent".to_owned()),
        Expected::Any => Ok("any".to_owned()),
        Expected::Sha256(sum) => {
            let is_sum = sum.len() == 64 && sum.bytes().all(|c| c.is_ascii_hexdigit());
            if is_sum { Ok(sum.to_ascii_lowercase()) } else { bad("hash", sum, "it is no SHA-256") }
        }
    }
}

/// The path below /proc/sys: dots of the key are slashes there, and slashes in it (of an interface's name) are dots.
fn sysctl_entry(key: &str) -> Result<String, RenderError> {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '@' | ':');
    let is_key = key.chars().all(plain)
        && key.split('.').all(|part| !part.is_empty() && part.chars().any(|c| c != '/'));
    if !is_key {
        return bad("kernel parameter", key, "it is not the name of one");
    }
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    Ok(key.chars().map(swap).collect())
}

#[cfg(test)]
#[path = "parameters_tests.rs"]
mod tests;
