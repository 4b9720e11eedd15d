//! Reads a release archive: its sum, and the few members that are wanted. Nothing is unpacked by the names in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use tar::{Archive, EntryType};

use super::sums::RunningSum;
use super::{DownloadError, ReleaseVersion, Sha256Sum, Transfer};

/// Most bytes that an archive may unpack to; real ones stay below 4 GiB.
const UNPACKED: u64 = 32 << 30;
/// Most bytes of a wanted member; the largest plugin has some 80 MB.
const MEMBER: u64 = 256 << 20;
/// Most bytes of all wanted members; manifests together have some 30 MB.
const MEMBERS: u64 = 1 << 30;

/// What was read from a file that is said to be an archive.
pub(super) struct Reading {
    /// Sum of the file.
    pub(super) sum: Sha256Sum,
    /// Its size in bytes.
    pub(super) size: u64,
    /// The wanted members by their path below the archive's one folder; or why it is no archive. Not to be used before the sum
    /// was found right.
    pub(super) members: Result<BTreeMap<String, Vec<u8>>, DownloadError>,
}

/// Reads the whole file at `path` once. `wanted` gets the paths of plain files below the archive's one folder:
/// `manifests/calico.yaml`, `bin/cni/amd64/calico`.
pub(super) fn read(
    path: &Path,
    version: &ReleaseVersion,
    wanted: &dyn Fn(&str) -> bool,
    progress: &dyn Transfer,
) -> Result<Reading, DownloadError> {
    let file = File::open(path).map_err(DownloadError::disk("read", path))?;
    let total = file.metadata().ok().map(|it| it.len());
    progress.begin(&format!("verifying {}", version.archive_name()), 0, total);
    let mut hashed = Hashed { file, sum: RunningSum::default(), size: 0, fault: None, progress };
    let members = members(&mut hashed, version, wanted);
    // Also what follows the archive, or what stands behind a fault, belongs to the sum.
    let rest = io::copy(&mut hashed, &mut io::sink());
    progress.end();
    if let Some(fault) = hashed.fault.take().or(rest.err()) {
        return Err(DownloadError::disk("read", path)(fault));
    }
    let wrong = |why: String| DownloadError::Archive { path: path.to_owned(), why };
    Ok(Reading { sum: hashed.sum.finish(), size: hashed.size, members: members.map_err(wrong) })
}

fn members(
    file: &mut dyn Read,
    version: &ReleaseVersion,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut found = BTreeMap::new();
    let mut taken = 0;
    let mut archive = Archive::new(GzDecoder::new(file).take(UNPACKED));
    for entry in archive.entries().map_err(in_words)? {
        let mut entry = entry.map_err(in_words)?;
        if !matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous) {
            continue;
        }
        let Some(name) = inner_path(&entry.path_bytes(), version)? else { continue };
        if !wanted(&name) {
            continue;
        }
        let mut bytes = Vec::new();
        let got = entry.by_ref().take(MEMBER + 1).read_to_end(&mut bytes).map_err(in_words)?;
        taken += got as u64;
        if got as u64 > MEMBER || taken > MEMBERS {
            return Err(format!("{name} is larger than any such file"));
        }
        if found.insert(name.clone(), bytes).is_some() {
            return Err(format!("{name} is in it twice"));
        }
    }
    Ok(found)
}

/// The path below the archive's one folder. None for what lies elsewhere, and for every name that could lead out of a folder.
fn inner_path(path: &[u8], version: &ReleaseVersion) -> Result<Option<String>, String> {
    let Ok(path) = std::str::from_utf8(path) else { return Ok(None) };
    let path = path.strip_prefix("./").unwrap_or(path);
    let Some((top, inner)) = path.split_once('/') else { return Ok(None) };
    if let Some(other) = ReleaseVersion::of_archive_name(&format!("{top}.tgz"))
        && other != *version
    {
        return Err(format!("it is the archive of {other}, not of {version}"));
    }
    let inside = !top.is_empty() && top != ".." && inner.split('/').all(is_plain_name);
    Ok(inside.then(|| inner.to_owned()))
}

/// True for a name that is a file's or folder's on every system, and hides in no listing.
pub(super) fn is_plain_name(name: &str) -> bool {
    let is_plain =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    !name.is_empty() && !name.starts_with('.') && name.chars().all(is_plain)
}

#[expect(clippy::needless_pass_by_value, reason = "map_err gives it by value")]
fn in_words(error: io::Error) -> String {
    error.to_string()
}

/// Hashes and counts what is read through it.
struct Hashed<'a> {
    file: File,
    sum: RunningSum,
    size: u64,
    /// What the disk said: a decoder would call it a fault of the archive.
    fault: Option<io::Error>,
    progress: &'a dyn Transfer,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read(buffer) {
            Ok(got) => {
                self.sum.add(buffer.get(..got).unwrap_or_default());
                self.size += got as u64;
                self.progress.advance(got as u64);
                Ok(got)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.fault = Some(io::Error::new(error.kind(), error.to_string()));
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Silent;
    use super::super::test_release::{Member, archive};
    use super::*;

    fn read_all(members: &[Member<'_>]) -> Result<BTreeMap<String, Vec<u8>>, DownloadError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("release.tgz");
        let bytes = archive(members);
        std::fs::write(&path, &bytes).unwrap();
        let reading = read(&path, &"v3.28.4".parse().unwrap(), &|_| true, &Silent).unwrap();
        assert_eq!((reading.sum, reading.size), (Sha256Sum::of(&bytes), bytes.len() as u64));
        reading.members
    }

    #[test]
    fn members_are_found_below_the_one_folder() {
        let found = read_all(&[
            Member::File("release-v3.28.4/manifests/calico.yaml", b"kind: DaemonSet"),
            Member::File("./release-v3.28.4/bin/cni/amd64/calico", b"\x7fELF"),
            Member::Folder("release-v3.28.4/images/"),
        ])
        .unwrap();
        let names: Vec<_> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["bin/cni/amd64/calico", "manifests/calico.yaml"]);
        assert_eq!(found["bin/cni/amd64/calico"], b"\x7fELF");
    }

    #[test]
    fn no_name_leads_out_of_the_cache() {
        let found = read_all(&[
            Member::File("release-v3.28.4/manifests/../../../etc/passwd", b"x"),
            Member::File("../manifests/a.yaml", b"x"),
            Member::File("/etc/manifests/b.yaml", b"x"),
            Member::File("release-v3.28.4/manifests/.hidden.yaml", b"x"),
            Member::File("release-v3.28.4//manifests/c.yaml", b"x"),
            Member::File("release-v3.28.4/manifests/d\\..\\e.yaml", b"x"),
            Member::File("release-v3.28.4/manifests/f\u{1b}[2J.yaml", b"x"),
            Member::Link("release-v3.28.4/manifests/g.yaml", "/etc/shadow"),
            Member::HardLink("release-v3.28.4/manifests/h.yaml", "/etc/shadow"),
            Member::File("loose.yaml", b"x"),
            Member::File("release-v3.28.4/manifests/good.yaml", b"x"),
        ])
        .unwrap();
        assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), ["manifests/good.yaml"]);
    }

    #[test]
    fn an_archive_that_contradicts_itself_is_refused() {
        let twice = Member::File("release-v3.28.4/manifests/a.yaml", b"x");
        let error = read_all(&[twice, twice]).unwrap_err();
        assert!(error.to_string().ends_with("manifests/a.yaml is in it twice"), "{error}");
        let other =
            read_all(&[Member::File("release-v3.27.0/manifests/a.yaml", b"x")]).unwrap_err();
        assert!(other.to_string().contains("of v3.27.0, not of v3.28.4"), "{other}");
    }

    #[test]
    fn the_sum_is_that_of_the_whole_file_whatever_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("release.tgz");
        let whole = archive(&[Member::File("release-v3.28.4/manifests/a.yaml", &[7; 5000])]);
        let cut = whole.get(..whole.len() / 2).unwrap().to_vec();
        let longer = [whole.as_slice(), b"trailing"].concat();
        for (bytes, is_archive) in
            [(whole, true), (longer, true), (cut, false), (b"<html>".to_vec(), false)]
        {
            std::fs::write(&path, &bytes).unwrap();
            let reading = read(&path, &"v3.28.4".parse().unwrap(), &|_| true, &Silent).unwrap();
            assert_eq!((reading.sum, reading.size), (Sha256Sum::of(&bytes), bytes.len() as u64));
            assert_eq!(reading.members.is_ok(), is_archive);
        }
    }

    #[test]
    fn a_directory_is_no_archive() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(folder.path(), &"v3.28.4".parse().unwrap(), &|_| true, &Silent);
        assert!(matches!(error.err(), Some(DownloadError::Disk { .. })));
    }
}
