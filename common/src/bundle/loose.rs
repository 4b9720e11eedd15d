//! Probes without a bundle around them: a folder with nothing but `nodes/<node>/probe.txt`, or the text of one probe.
//! That is what an administrator brings who ran the probe by hand, because the API server is silent.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use jiff::Timestamp;

use super::archive::MAX_FILE;
use super::{API_VERSION, BundleError, KIND, Manifest};
use crate::snapshot::{RecordKey, parse_probe};

/// How a probe's first section begins, wherever what a login prints may end.
const FIRST: &[u8] = b"@@vantage rc=";

/// Bytes before the first section in which it is looked for: greetings of a login.
const GREETING: usize = 64 * 1024;

/// The text of a probe.
#[derive(Debug)]
pub(super) struct LooseProbe {
    /// The path that it would have in a bundle.
    pub(super) path: String,
    /// The text.
    pub(super) body: Vec<u8>,
    /// When it was made.
    pub(super) at: Option<Timestamp>,
}

/// The probe in the file `path`; none when it is something else.
pub(super) fn open(path: &Path) -> Result<Option<LooseProbe>, BundleError> {
    let mut file = fs::File::open(path).map_err(BundleError::io("open", path))?;
    let mut head = Vec::new();
    let limit = u64::try_from(GREETING).unwrap_or(u64::MAX);
    (&mut file).take(limit).read_to_end(&mut head).map_err(BundleError::io("read", path))?;
    if !is_probe(&head) {
        return Ok(None);
    }
    let mut body = head;
    file.take(MAX_FILE).read_to_end(&mut body).map_err(BundleError::io("read", path))?;
    if u64::try_from(body.len()).is_ok_and(|size| size > MAX_FILE) {
        let what = format!("a file may have {MAX_FILE} bytes");
        return Err(BundleError::TooLarge { path: path.to_owned(), what });
    }
    let stem = path.file_stem().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
    let node = node_of(&body).unwrap_or(stem);
    Ok(Some(LooseProbe { path: RecordKey::Probe(node).path(), at: made_at(&body), body }))
}

/// A line of the text begins a probe.
fn is_probe(head: &[u8]) -> bool {
    head.starts_with(FIRST)
        || head.windows(FIRST.len() + 1).any(|it| it[0] == b'\n' && &it[1..] == FIRST)
}

/// The node's name: as calico-node knows it, else as the host calls itself.
fn node_of(body: &[u8]) -> Option<String> {
    let (sections, _) = parse_probe(body);
    let text = |id: &str| {
        let section = sections.get(id).filter(|section| section.rc == 0)?;
        Some(section.text.trim().to_owned())
    };
    let host = || text("uname")?.split_whitespace().nth(1).map(str::to_owned);
    // It becomes part of a path.
    let is_name = |name: &String| {
        let is_allowed = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '.' | '_');
        name.starts_with(|it: char| it.is_ascii_alphanumeric()) && name.chars().all(is_allowed)
    };
    text("calico-nodename").filter(is_name).or_else(|| host().filter(is_name))
}

/// The node's clock when the probe ran.
pub(super) fn made_at(body: &[u8]) -> Option<Timestamp> {
    let (sections, _) = parse_probe(body);
    sections.get("time").filter(|it| it.rc == 0)?.text.trim().parse().ok()
}

/// What stands for a bundle's own description, for probes made at these times.
pub(super) fn manifest(
    path: &Path,
    times: impl Iterator<Item = Option<Timestamp>>,
) -> Result<Manifest, BundleError> {
    let created_at = times.flatten().max();
    if created_at.is_none() {
        let detail = "no probe in it says when it was made: without that nothing has an age";
        return Err(BundleError::BadManifest { path: path.to_owned(), detail: detail.to_owned() });
    }
    Ok(Manifest {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        created_at,
        ..Manifest::default()
    })
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;
    use crate::snapshot::Known;

    const PROBE: &str =
        "@@vantage rc=0 ms=0\nhost\n@@end\n@@time rc=0 ms=0\n2026-11-21T12:00:00Z\n@@end\n";
    const UNAME: &str = "@@uname rc=0 ms=0\nLinux cp1 6.1.0 x86_64\n@@end\n";

    fn nodes(path: &Path) -> Vec<String> {
        let snapshot = load(path).unwrap();
        assert_eq!(snapshot.taken, "2026-11-21T12:00:00Z".parse().unwrap());
        let known = snapshot.hosts.into_iter().filter(|(_, it)| matches!(it, Known::Known(_)));
        known.map(|(name, _)| name).collect()
    }

    #[test]
    fn a_text_of_a_probe_is_a_bundle() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("from-ssh.txt");
        let nodename = "@@calico-nodename rc=0 ms=0\nnode-a\n@@end\n";
        let hostile = "@@calico-nodename rc=0 ms=0\n../../x\n@@end\n";
        for (text, name) in [
            (PROBE.to_owned(), "from-ssh"),
            (format!("Welcome to Debian!\n{PROBE}{UNAME}"), "cp1"),
            (format!("{PROBE}{nodename}{UNAME}"), "node-a"),
            (format!("{PROBE}{hostile}{UNAME}"), "cp1"),
        ] {
            fs::write(&path, &text).unwrap();
            assert_eq!(nodes(&path), [name], "{text}");
        }
    }

    #[test]
    fn a_folder_of_probes_is_a_bundle() {
        let folder = tempfile::tempdir().unwrap();
        for node in ["a", "b"] {
            fs::create_dir_all(folder.path().join("nodes").join(node)).unwrap();
            fs::write(folder.path().join("nodes").join(node).join("probe.txt"), PROBE).unwrap();
        }
        assert_eq!(nodes(folder.path()), ["a", "b"]);
    }

    #[test]
    fn other_things_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.txt");
        for text in ["", "hello", "a @@vantage rc=0 ms=0\n"] {
            fs::write(&path, text).unwrap();
            assert!(load(&path).is_err(), "{text}");
        }
        fs::write(&path, "@@vantage rc=0 ms=0\nhost\n@@end\n").unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("says when it was made"));
        fs::create_dir_all(folder.path().join("y/nodes")).unwrap();
        assert!(load(&folder.path().join("y")).is_err());
    }
}
