//! Reads a `.tar.gz` without believing it: sizes, names and kinds of its entries are checked before they are used.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Component, Path};

use flate2::read::MultiGzDecoder;
use tar::EntryType;

use super::{BundleError, MANIFEST};
use crate::snapshot::RecordKey;

/// Bytes of one file.
pub(super) const MAX_FILE: u64 = 256 << 20;
/// Bytes of all files together, unpacked.
pub(super) const MAX_TOTAL: u64 = 2 << 30;
/// Number of entries.
pub(super) const MAX_ENTRIES: usize = 100_000;
/// First bytes of every gzip stream (RFC 1952, 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The files of an archive that are part of a bundle, by their paths in the bundle.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// Limits of one reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) file: u64,
    pub(super) total: u64,
    pub(super) entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file: MAX_FILE, total: MAX_TOTAL, entries: MAX_ENTRIES }
    }
}

/// Unpacks the archive `path` into memory.
pub(super) fn unpack(path: &Path, limits: Limits) -> Result<Files, BundleError> {
    let mut file = BufReader::new(File::open(path).map_err(BundleError::io("open", path))?);
    let head = io::BufRead::fill_buf(&mut file).map_err(BundleError::io("read", path))?;
    if !head.starts_with(&GZIP) {
        let found =
            if head.is_empty() { "an empty file" } else { "a file that is not compressed by gzip" };
        return Err(BundleError::NotABundle { path: path.to_owned(), found: found.to_owned() });
    }
    let unpacked = Counted { inner: MultiGzDecoder::new(file), left: limits.total, spent: false };
    let mut reading =
        Reading { path, limits, last: None, files: BTreeMap::new(), others: Vec::new() };
    let mut archive = tar::Archive::new(unpacked);
    reading.entries(&mut archive)?;
    // The checksum comes last: what follows the end mark of tar is read as well.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(|error| reading.failed(&error, rest.spent))?;
    reading.finish()
}

/// Stops a reader that gives more than it may.
struct Counted<R> {
    inner: R,
    left: u64,
    spent: bool,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let Some(left) = self.left.checked_sub(count as u64) else {
            self.spent = true;
            return Err(io::Error::other(TOO_MUCH));
        };
        self.left = left;
        Ok(count)
    }
}

/// Marks the error that [`Counted`] makes, also after tar has wrapped it.
const TOO_MUCH: &str = "more bytes than a bundle may have";

struct Reading<'a> {
    path: &'a Path,
    limits: Limits,
    /// The last entry that was whole.
    last: Option<String>,
    files: Files,
    /// Some names of entries that are no part of a bundle, to tell what was found.
    others: Vec<String>,
}

impl Reading<'_> {
    fn entries<R: Read>(&mut self, archive: &mut tar::Archive<R>) -> Result<(), BundleError> {
        let entries = archive.entries().map_err(|error| self.failed(&error, false))?;
        for (number, entry) in entries.enumerate() {
            let entry = entry.map_err(|error| self.failed(&error, false))?;
            if number >= self.limits.entries {
                return Err(
                    self.too_large(format!("it has more than {} entries", self.limits.entries))
                );
            }
            self.entry(entry)?;
        }
        Ok(())
    }

    fn entry<R: Read>(&mut self, mut entry: tar::Entry<'_, R>) -> Result<(), BundleError> {
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = self.safe(&name)?;
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {}
            EntryType::Directory | EntryType::XGlobalHeader => return Ok(()),
            EntryType::Symlink | EntryType::Link => return Err(self.refuse(name, "a link")),
            _ => return Err(self.refuse(name, "no plain file")),
        }
        if entry.size() > self.limits.file {
            let what = format!(
                "{name:?} has {} bytes, a file may have {}",
                entry.size(),
                self.limits.file
            );
            return Err(self.too_large(what));
        }
        if is_wanted(&path) {
            let mut body = Vec::new();
            entry.read_to_end(&mut body).map_err(|error| self.failed(&error, false))?;
            if (body.len() as u64) < entry.size() {
                return Err(BundleError::Truncated {
                    path: self.path.to_owned(),
                    last: self.last.take(),
                });
            }
            self.files.insert(path.clone(), body);
        } else {
            if self.others.len() < 5 {
                self.others.push(path.clone());
            }
            io::copy(&mut entry, &mut io::sink()).map_err(|error| self.failed(&error, false))?;
        }
        self.last = Some(path);
        Ok(())
    }

    /// The path of an entry, relative and without detours.
    fn safe(&self, name: &str) -> Result<String, BundleError> {
        let mut parts = Vec::new();
        if name.contains('\\') || name.contains('\0') {
            return Err(
                self.refuse(name.to_owned(), "a path with characters that no file of a bundle has")
            );
        }
        for part in Path::new(name).components() {
            match part {
                Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
                Component::CurDir => {}
                Component::ParentDir => {
                    return Err(self.refuse(name.to_owned(), "a path that leads out of the bundle"));
                }
                Component::RootDir | Component::Prefix(_) => {
                    return Err(self.refuse(name.to_owned(), "an absolute path"));
                }
            }
        }
        Ok(parts.join("/"))
    }

    /// Cuts the leading folder, if the bundle is in one.
    fn finish(self) -> Result<Files, BundleError> {
        if self.files.contains_key(MANIFEST) {
            return Ok(self.files.into_iter().filter(|(path, _)| is_in_bundle(path)).collect());
        }
        let leading = self
            .files
            .keys()
            .find_map(|path| path.strip_suffix(MANIFEST).filter(|it| it.matches('/').count() == 1));
        let Some(leading) = leading.map(str::to_owned) else {
            let names: Vec<_> = self
                .files
                .keys()
                .take(5)
                .chain(&self.others)
                .take(5)
                .map(|it| format!("{it:?}"))
                .collect();
            let found = if names.is_empty() {
                "an empty archive".to_owned()
            } else {
                format!("an archive with {}", names.join(", "))
            };
            return Err(BundleError::NotABundle { path: self.path.to_owned(), found });
        };
        let inside =
            |(path, body): (String, Vec<u8>)| Some((path.strip_prefix(&leading)?.to_owned(), body));
        Ok(self
            .files
            .into_iter()
            .filter_map(inside)
            .filter(|(path, _)| is_in_bundle(path))
            .collect())
    }

    fn failed(&self, error: &io::Error, spent: bool) -> BundleError {
        let detail = error.to_string();
        if spent || detail.contains(TOO_MUCH) {
            return self.too_large(format!("it unpacks to more than {} bytes", self.limits.total));
        }
        let (path, last) = (self.path.to_owned(), self.last.clone());
        match error.kind() {
            io::ErrorKind::UnexpectedEof => BundleError::Truncated { path, last },
            _ => BundleError::Damaged { path, detail, last },
        }
    }

    fn too_large(&self, what: String) -> BundleError {
        BundleError::TooLarge { path: self.path.to_owned(), what }
    }

    fn refuse(&self, entry: String, what: &'static str) -> BundleError {
        BundleError::Unsafe { path: self.path.to_owned(), entry, what }
    }
}

fn is_in_bundle(path: &str) -> bool {
    path == MANIFEST || RecordKey::from_path(path).is_some()
}

/// Also true below one leading folder.
fn is_wanted(path: &str) -> bool {
    is_in_bundle(path) || path.split_once('/').is_some_and(|(_, path)| is_in_bundle(path))
}
