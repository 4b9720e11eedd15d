//! Writes a bundle from records as they come.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::{DeflateEncoder, GzEncoder};
use jiff::Timestamp;
use serde::Deserialize;

use super::{API_VERSION, BundleError, FileEntry, KIND, MANIFEST, Manifest, redact};
use crate::snapshot::{Gap, GapReason, Record, RecordKey, Sink, parse_document};

/// The folder within the archive, so that unpacking it by hand does not litter.
const LEADING: &str = "kubectl-calico-bundle";
/// Temporary names that are tried before giving up: as many runs may write the same file at once.
const ATTEMPTS: u32 = 100;

/// Collects redacted records, and writes them as one `.tar.gz` in the end. Until then only a temporary file beside the target
/// exists, which goes when the writer is dropped.
#[derive(Debug)]
pub struct Writer {
    target: PathBuf,
    temporary: Temporary,
    parts: BTreeMap<RecordKey, Vec<Part>>,
    gaps: Vec<Gap>,
}

/// A file of the bundle to be.
#[derive(Debug)]
struct Part {
    entry: FileEntry,
    /// Length of the body.
    size: u64,
    /// The body, compressed: a large cluster's lists would not fit into memory side by side.
    body: Vec<u8>,
}

impl Writer {
    /// A writer of the bundle `target`, whose temporary file is made at once, so that a folder that cannot be written to is met
    /// before anything is collected.
    ///
    /// # Errors
    /// When the temporary file cannot be made.
    pub fn create(target: &Path) -> Result<Self, BundleError> {
        let temporary = Temporary::beside(target)?;
        Ok(Self { target: target.to_owned(), temporary, parts: BTreeMap::new(), gaps: Vec::new() })
    }

    /// Writes the bundle: files sorted by path, the same records giving the same bytes. `created_at` is when the observation ended.
    ///
    /// # Errors
    /// When the file system says no. The target is then as it was before.
    pub fn finish(mut self, created_at: Timestamp, tool_version: &str) -> Result<(), BundleError> {
        let files = named(std::mem::take(&mut self.parts));
        self.gaps.sort();
        self.gaps.dedup();
        let manifest = Manifest {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            created_at: Some(created_at),
            server_version: server_version(&files),
            tool_version: Some(tool_version.to_owned()),
            gaps: self.gaps.iter().cloned().map(Into::into).collect(),
            files: files.iter().map(|(path, part)| (path.clone(), part.entry.clone())).collect(),
        };
        let manifest = crate::yaml::to_string(&manifest).map_err(BundleError::Manifest)?;
        let written = archive(&self.temporary.file, created_at, &manifest, &files);
        written.map_err(BundleError::io("write", &self.target))?;
        self.temporary.become_(&self.target)
    }

    fn part(&mut self, record: &Record, body: &[u8]) -> io::Result<()> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(body)?;
        let part = Part {
            entry: FileEntry::of(&record.extent, record.at),
            size: body.len() as u64,
            body: encoder.finish()?,
        };
        let parts = self.parts.entry(record.key.clone()).or_default();
        if !matches!(record.key, RecordKey::List(_)) {
            // Only lists have pages: of everything else, the last answer counts.
            parts.clear();
        }
        parts.push(part);
        Ok(())
    }
}

impl Sink for Writer {
    fn record(&mut self, record: &Record) {
        let path = record.key.path();
        let is_plain = |part: &str| {
            !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '\0'])
        };
        if !path.split('/').all(is_plain) || RecordKey::from_path(&path).is_none() {
            self.gap(Gap::new(
                format!("{path:?}"),
                GapReason::Undecodable,
                "its name cannot be the name of a file",
            ));
            return;
        }
        let Some(body) = redact(record) else {
            self.gap(Gap::new(path, GapReason::Redacted, "bundles hold no objects of this kind"));
            return;
        };
        if let Err(error) = self.part(record, &body) {
            self.gap(Gap::new(path, GapReason::Undecodable, error.to_string()));
        }
    }

    fn gap(&mut self, gap: Gap) {
        self.gaps.push(gap);
    }
}

/// Files by path: pages are numbered from 1 where there are several.
fn named(parts: BTreeMap<RecordKey, Vec<Part>>) -> BTreeMap<String, Part> {
    let mut files = BTreeMap::new();
    for (key, parts) in parts {
        let path = key.path();
        let several = parts.len() > 1;
        for (number, part) in parts.into_iter().enumerate() {
            let page = if several { page(&path, number + 1) } else { path.clone() };
            files.insert(page, part);
        }
    }
    files
}

fn page(path: &str, number: usize) -> String {
    let stem = path.strip_suffix(".json").unwrap_or(path);
    format!("{stem}@{number}.json")
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "gitVersion")]
    git_version: String,
}

/// `gitVersion` of the answer of `/version`, for people who look into `bundle.yaml`.
fn server_version(files: &BTreeMap<String, Part>) -> Option<String> {
    let part = files.get(&RecordKey::Api("/version".to_owned()).path())?;
    let mut body = Vec::new();
    DeflateDecoder::new(part.body.as_slice()).read_to_end(&mut body).ok()?;
    let version = parse_document(&body).ok()?;
    Version::deserialize(version).ok().map(|version| version.git_version)
}

fn archive(
    file: &File,
    at: Timestamp,
    manifest: &str,
    files: &BTreeMap<String, Part>,
) -> io::Result<()> {
    let mut tar =
        tar::Builder::new(GzEncoder::new(io::BufWriter::new(file), Compression::default()));
    append(&mut tar, at, MANIFEST, manifest.len() as u64, manifest.as_bytes())?;
    for (path, part) in files {
        append(&mut tar, at, path, part.size, DeflateDecoder::new(part.body.as_slice()))?;
    }
    tar.into_inner()?.finish()?.flush()?;
    file.sync_all()
}

fn append(
    tar: &mut tar::Builder<impl Write>,
    at: Timestamp,
    path: &str,
    size: u64,
    body: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(u64::try_from(at.as_second()).unwrap_or_default());
    tar.append_data(&mut header, format!("{LEADING}/{path}"), body)
}

/// A file that only its owner can read, and that is gone when nobody finishes it.
#[derive(Debug)]
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    fn beside(target: &Path) -> Result<Self, BundleError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            let path =
                target.with_file_name(format!(".{name}.{}.{attempt}.tmp", std::process::id()));
            match private(&path) {
                Ok(file) => return Ok(Self { path, file }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = Some(error),
                Err(error) => return Err(BundleError::io("write", target)(error)),
            }
        }
        let error = last.unwrap_or_else(|| io::ErrorKind::AlreadyExists.into());
        Err(BundleError::io("write", target)(error))
    }

    /// Takes the target's place; a device or a pipe keeps its place, and gets the content.
    fn become_(self, target: &Path) -> Result<(), BundleError> {
        let is_special = fs::metadata(target).is_ok_and(|it| !it.is_file() && !it.is_dir());
        if is_special {
            let copied = File::open(&self.path).and_then(|mut from| {
                io::copy(&mut from, &mut OpenOptions::new().write(true).open(target)?)
            });
            return copied.map(drop).map_err(BundleError::io("write", target));
        }
        fs::rename(&self.path, target).map_err(BundleError::io("write", target))?;
        sync_folder(target).map_err(BundleError::io("write", target))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove.
        drop(fs::remove_file(&self.path));
    }
}

fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Without this, a power cut may undo the rename.
#[cfg(unix)]
fn sync_folder(target: &Path) -> io::Result<()> {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_target: &Path) -> io::Result<()> {
    Ok(())
}
