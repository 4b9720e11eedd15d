//! Files, network configurations and mounts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::reader::Reader;
use crate::snapshot::{GapReason, Known, parse_listing};

/// Something in the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathEntry {
    /// Absolute path.
    pub path: String,
    /// First column of `ls -l`.
    pub mode: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 in hex, of regular files that may be Calico's.
    pub sha256: Option<String>,
}

impl PathEntry {
    /// The directory it is in, and its name there.
    pub fn place(&self) -> (&str, &str) {
        self.path.rsplit_once('/').unwrap_or(("", &self.path))
    }
}

/// A network configuration, as far as it tells whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// `name`: that of the network.
    pub network: String,
    /// `type` of each plugin, in the order in which they are called.
    pub plugins: Vec<String>,
}

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mount {
    /// Where.
    pub path: String,
    /// Its type: `cgroup2`, `bpf`.
    pub file_system: String,
}

/// Files and directories, with the hashes of those that have one.
pub(super) fn read(reader: &Reader<'_>) -> Known<Vec<PathEntry>> {
    let sums = reader.content("sha256").known().map(|text| sums(text)).unwrap_or_default();
    reader.content("paths").map(|text| {
        let mut entries: Vec<PathEntry> = parse_listing(text)
            .into_iter()
            .filter(|file| is_plain(&file.name))
            .map(|file| PathEntry {
                sha256: sums.get(&file.name).cloned(),
                path: file.name,
                mode: file.mode,
                size: file.size,
            })
            .collect();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries.dedup_by(|a, b| a.path == b.path);
        entries
    })
}

/// An absolute path without anything in it that could be read as another one.
fn is_plain(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|below| {
        !path.contains(char::is_control)
            && below.split('/').all(|it| !matches!(it, "" | "." | ".."))
    })
}

/// `<hex>  <path>` lines. Lines that begin with a backslash escape characters that no sane name holds.
fn sums(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (hex, path) = line.split_once(' ')?;
        let is_sum = hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_hexdigit());
        // A star stands there where the file was read as binary.
        let path = path.strip_prefix([' ', '*'])?;
        is_sum.then(|| (path.to_owned(), hex.to_ascii_lowercase()))
    };
    text.lines().filter_map(line).collect()
}

/// Configurations by the path whose section they stand in. Two paths that lead to one section give none.
pub(super) fn configurations(reader: &Reader<'_>) -> BTreeMap<String, Known<Configuration>> {
    let Known::Known(entries) = read(reader) else { return BTreeMap::new() };
    let mut ids: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for entry in &entries {
        ids.entry(section_id(&entry.path)).or_default().push(&entry.path);
    }
    let known: BTreeSet<&String> = reader.sections().keys().collect();
    let mut found = BTreeMap::new();
    for (id, paths) in ids.iter().filter(|(id, _)| known.contains(id)) {
        let content = match paths.as_slice() {
            [_] => reader.json(id, configuration),
            _ => reader.gap(id, GapReason::Undecodable, "another file's name looks the same"),
        };
        for path in paths {
            found.insert((*path).to_owned(), content.clone());
        }
    }
    found
}

/// The section with the file's content.
fn section_id(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    format!("conf-{}", path.chars().map(|c| if plain(c) { c } else { '_' }).collect::<String>())
}

fn configuration(text: &str) -> Result<Configuration, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let word = |value: &Value| value.as_str().map(str::to_owned);
    let single = [value.clone()];
    let plugins = value["plugins"].as_array().map_or(&single[..], Vec::as_slice);
    Ok(Configuration {
        network: word(&value["name"]).unwrap_or_default(),
        plugins: plugins.iter().filter_map(|plugin| word(&plugin["type"])).collect(),
    })
}

/// Lines of /proc/self/mounts: device, place, type, options.
pub(super) fn mounts(text: &str) -> Vec<Mount> {
    let line = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let (path, file_system) = (words.next()?, words.next()?);
        // The kernel writes blanks and newlines in paths as octal numbers; no path of Calico's has any.
        let is_plain = is_plain(path) && !path.contains('\\');
        is_plain.then(|| Mount { path: path.to_owned(), file_system: file_system.to_owned() })
    };
    let mut mounts: Vec<Mount> = text.lines().filter_map(line).collect();
    mounts.sort();
    mounts.dedup();
    mounts
}
