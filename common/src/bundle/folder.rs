//! Finds the files of a bundle that is a folder.

use std::fs;
use std::path::{Path, PathBuf};

use super::archive::{MAX_ENTRIES, MAX_FILE, MAX_TOTAL};
use super::{BundleError, MANIFEST};
use crate::snapshot::RecordKey;

/// Only these hold records: whatever else lies beside them is not looked at.
const FOLDERS: [&str; 3] = ["cluster", "nodes", "logs"];

/// The folder of probes.
const PROBES: &str = "nodes";

/// A bundle's folder and the files in it that are part of a bundle, by their paths there, sorted.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    /// False for a folder that holds probes only, and no description of itself.
    pub(super) has_manifest: bool,
    pub(super) paths: Vec<String>,
}

impl Folder {
    /// Looks through `path`, or through the only folder in it when that one holds the bundle.
    pub(super) fn open(path: &Path) -> Result<Self, BundleError> {
        let loose = !path.join(MANIFEST).is_file() && path.join(PROBES).is_dir();
        let root = if loose { path.to_owned() } else { root(path)? };
        let mut walk = Walk { root: &root, seen: 0, total: 0, paths: Vec::new() };
        walk.enter("")?;
        let mut paths = walk.paths;
        paths.sort();
        if loose {
            paths.retain(|it| matches!(RecordKey::from_path(it), Some((RecordKey::Probe(_), _))));
            if paths.is_empty() {
                let found = "a folder without bundle.yaml and without nodes/NODE/probe.txt";
                return Err(BundleError::NotABundle {
                    path: path.to_owned(),
                    found: found.to_owned(),
                });
            }
        }
        Ok(Self { root, has_manifest: !loose, paths })
    }

    pub(super) fn read(&self, path: &str) -> Result<Vec<u8>, BundleError> {
        let file = self.root.join(path);
        let size = fs::metadata(&file).map_err(BundleError::io("read", &file))?.len();
        if size > MAX_FILE {
            return Err(BundleError::TooLarge {
                path: self.root.clone(),
                what: format!("{path:?} has {size} bytes, a file may have {MAX_FILE}"),
            });
        }
        fs::read(&file).map_err(BundleError::io("read", &file))
    }
}

fn root(path: &Path) -> Result<PathBuf, BundleError> {
    if path.join(MANIFEST).is_file() {
        return Ok(path.to_owned());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(BundleError::io("read", path))? {
        names.push(entry.map_err(BundleError::io("read", path))?.file_name());
    }
    names.sort();
    match names.as_slice() {
        [only] if path.join(only).join(MANIFEST).is_file() => Ok(path.join(only)),
        [] => Err(BundleError::NotABundle {
            path: path.to_owned(),
            found: "an empty folder".to_owned(),
        }),
        names => {
            let shown: Vec<_> =
                names.iter().take(5).map(|name| format!("{:?}", name.to_string_lossy())).collect();
            Err(BundleError::NotABundle {
                path: path.to_owned(),
                found: format!("a folder with {}", shown.join(", ")),
            })
        }
    }
}

struct Walk<'a> {
    root: &'a Path,
    seen: usize,
    /// Bytes of all records.
    total: u64,
    paths: Vec<String>,
}

impl Walk<'_> {
    fn enter(&mut self, inside: &str) -> Result<(), BundleError> {
        let folder = self.root.join(inside);
        for entry in fs::read_dir(&folder).map_err(BundleError::io("read", &folder))? {
            let entry = entry.map_err(BundleError::io("read", &folder))?;
            // A name that is no UTF-8 is none of ours.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if inside.is_empty() { name } else { format!("{inside}/{name}") };
            self.count()?;
            let kind = entry.file_type().map_err(BundleError::io("read", &entry.path()))?;
            let holds_records = FOLDERS.contains(&path.split('/').next().unwrap_or_default());
            if kind.is_dir() && holds_records {
                self.enter(&path)?;
            } else if kind.is_symlink() && (holds_records || path == MANIFEST) {
                return Err(self.refuse(path, "a link"));
            } else if RecordKey::from_path(&path).is_some() {
                if !kind.is_file() {
                    return Err(self.refuse(path, "no plain file"));
                }
                self.weigh(&entry)?;
                self.paths.push(path);
            }
        }
        Ok(())
    }

    fn refuse(&self, entry: String, what: &'static str) -> BundleError {
        BundleError::Unsafe { path: self.root.to_owned(), entry, what }
    }

    fn weigh(&mut self, entry: &fs::DirEntry) -> Result<(), BundleError> {
        let size = entry.metadata().map_err(BundleError::io("read", &entry.path()))?.len();
        self.total = self.total.saturating_add(size);
        if self.total > MAX_TOTAL {
            let what = format!("it has more than {MAX_TOTAL} bytes");
            return Err(BundleError::TooLarge { path: self.root.to_owned(), what });
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), BundleError> {
        self.seen += 1;
        if self.seen > MAX_ENTRIES {
            let what = format!("it has more than {MAX_ENTRIES} files");
            return Err(BundleError::TooLarge { path: self.root.to_owned(), what });
        }
        Ok(())
    }
}
