//! One version's folder of the cache: only verified files have names in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{DownloadError, ReleaseVersion, Sha256Sum};

/// File with what is known of the others.
const RECORD: &str = "record.json";
/// File whose lock says that a process changes the folder.
const LOCK: &str = ".lock";

/// Why the bytes of a file are believed to be the right ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// SHA256SUMS of the release names its sum.
    Published,
    /// The user named its sum.
    Given,
    /// It was in a verified archive.
    Archive,
    /// It came over https; nobody publishes its sum, which was recorded then.
    NotPublished,
}

/// What is recorded of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedFile {
    /// Its sum.
    pub sha256: Sha256Sum,
    /// Bytes.
    pub size: u64,
    /// Why it is believed.
    pub proof: Proof,
    /// Where it came from: an address without credentials, a path, or an archive's name.
    pub from: String,
}

/// All that is recorded, by path within the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    files: BTreeMap<String, RecordedFile>,
    /// Files that this release was found not to have, so that nobody asks again.
    absent: BTreeSet<String>,
}

/// The folder of one version.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) version: ReleaseVersion,
    pub(super) path: PathBuf,
}

impl Folder {
    pub(super) fn new(root: &Path, version: &ReleaseVersion) -> Self {
        Self { version: version.clone(), path: root.join(version.to_string()) }
    }

    /// Makes the folder, and keeps others from changing it as long as the result lives.
    pub(super) fn lock(&self) -> Result<File, DownloadError> {
        make_directory(&self.path)?;
        let path = self.path.join(LOCK);
        let file = create(&path, false)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(DownloadError::Busy(self.version.clone())),
            Err(fs::TryLockError::Error(source)) => Err(DownloadError::disk("lock", &path)(source)),
        }
    }

    /// Path of a file.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Path of a file that is still arriving.
    pub(super) fn part(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.part"))
    }

    /// Names of recorded files, sorted.
    pub(super) fn names(&self) -> Result<Vec<String>, DownloadError> {
        Ok(self.record()?.files.into_keys().collect())
    }

    /// What is recorded of a file, whether or not that is still so.
    pub(super) fn recorded(&self, name: &str) -> Result<Option<RecordedFile>, DownloadError> {
        Ok(self.record()?.files.remove(name))
    }

    /// What is recorded of a file, if it is on disk and its bytes are still those.
    pub(super) fn verified(&self, name: &str) -> Result<Option<RecordedFile>, DownloadError> {
        let Some(recorded) = self.recorded(name)? else { return Ok(None) };
        let path = self.place(name);
        match Sha256Sum::of_file(&path) {
            Ok((sum, size)) if sum == recorded.sha256 && size == recorded.size => {
                Ok(Some(recorded))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DownloadError::disk("read", &path)(error)),
        }
    }

    /// True when the release was found not to have this file.
    pub(super) fn is_absent(&self, name: &str) -> Result<bool, DownloadError> {
        Ok(self.record()?.absent.contains(name))
    }

    /// Records that the release does not have this file.
    pub(super) fn record_absent(&self, name: &str) -> Result<(), DownloadError> {
        let mut record = self.record()?;
        record.absent.insert(name.to_owned());
        self.write_record(&record)
    }

    /// Gives a verified `.part` its name. The record comes first: a file that is named is always recorded.
    pub(super) fn install(&self, name: &str, file: RecordedFile) -> Result<(), DownloadError> {
        let (part, place) = (self.part(name), self.place(name));
        File::open(&part)
            .and_then(|it| it.sync_all())
            .map_err(DownloadError::disk("write", &part))?;
        let mut record = self.record()?;
        record.files.insert(name.to_owned(), file);
        self.write_record(&record)?;
        fs::rename(&part, &place).map_err(DownloadError::disk("rename to", &place))?;
        remove(&origin_of(&part))
    }

    /// Removes what arrived of a file and must not be used.
    pub(super) fn discard(&self, name: &str) -> Result<(), DownloadError> {
        let part = self.part(name);
        remove(&part)?;
        remove(&origin_of(&part))
    }

    /// Writes bytes that are verified already.
    pub(super) fn install_bytes(
        &self,
        name: &str,
        bytes: &[u8],
        proof: Proof,
        from: &str,
    ) -> Result<RecordedFile, DownloadError> {
        let part = self.part(name);
        if let Some(parent) = part.parent() {
            make_directory(parent)?;
        }
        let mut file = create(&part, true)?;
        file.write_all(bytes).map_err(DownloadError::disk("write", &part))?;
        let recorded = RecordedFile {
            sha256: Sha256Sum::of(bytes),
            size: bytes.len() as u64,
            proof,
            from: from.to_owned(),
        };
        self.install(name, recorded.clone())?;
        Ok(recorded)
    }

    /// A record that cannot be read proves nothing: everything is fetched again.
    fn record(&self) -> Result<Record, DownloadError> {
        let path = self.path.join(RECORD);
        match fs::read(&path) {
            Ok(text) => Ok(serde_json::from_slice(&text).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Record::default()),
            Err(error) => Err(DownloadError::disk("read", &path)(error)),
        }
    }

    fn write_record(&self, record: &Record) -> Result<(), DownloadError> {
        let (path, part) = (self.path.join(RECORD), self.part(RECORD));
        let text = crate::report::json(record);
        let mut file = create(&part, true)?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(DownloadError::disk("write", &part))?;
        fs::rename(&part, &path).map_err(DownloadError::disk("rename to", &path))
    }
}

/// Beside a `.part`: where it comes from, for going on with it.
pub(super) fn origin_of(part: &Path) -> PathBuf {
    let mut path = part.as_os_str().to_owned();
    path.push(".origin");
    PathBuf::from(path)
}

/// A file of mode 0644, emptied when `anew`.
pub(super) fn create(path: &Path, anew: bool) -> Result<File, DownloadError> {
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(anew);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o644);
    options.open(path).map_err(DownloadError::disk("create", path))
}

/// A directory of mode 0700, with those above it.
pub(super) fn make_directory(path: &Path) -> Result<(), DownloadError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(DownloadError::disk("create", path))
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> Result<(), DownloadError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DownloadError::disk("remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(root: &Path) -> Folder {
        Folder::new(root, &"v3.28.4".parse().unwrap())
    }

    #[test]
    fn damage_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        let _lock = folder.lock().unwrap();
        let written =
            folder.install_bytes("manifests/a.yaml", b"one", Proof::Archive, "x").unwrap();
        assert_eq!(folder.verified("manifests/a.yaml").unwrap(), Some(written));
        fs::write(folder.place("manifests/a.yaml"), b"two").unwrap();
        assert_eq!(folder.verified("manifests/a.yaml").unwrap(), None);
        fs::remove_file(folder.place("manifests/a.yaml")).unwrap();
        assert_eq!(folder.verified("manifests/a.yaml").unwrap(), None);
        // A file that nobody recorded proves nothing, and a record of garbage neither.
        fs::write(folder.place("b.yaml"), b"x").unwrap();
        assert_eq!(folder.verified("b.yaml").unwrap(), None);
        fs::write(folder.place(RECORD), b"{garbage").unwrap();
        assert_eq!(folder.names().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn one_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        let lock = folder.lock().unwrap();
        assert!(matches!(folder.lock(), Err(DownloadError::Busy(_))));
        drop(lock);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_change_the_cache() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let folder = folder(&root.path().join("kubectl-calico"));
        let _lock = folder.lock().unwrap();
        folder.install_bytes("manifests/a.yaml", b"one", Proof::Archive, "x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.path), 0o700);
        assert_eq!(mode(&folder.place("manifests")), 0o700);
        assert_eq!(mode(&folder.place("manifests/a.yaml")) & 0o022, 0);
        assert_eq!(mode(&folder.place("manifests/a.yaml")) & 0o600, 0o600);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_disk_says_is_passed_on() {
        let root = tempfile::tempdir().unwrap();
        let blocked = Folder::new(&root.path().join("file"), &"v3.28.4".parse().unwrap());
        fs::write(root.path().join("file"), b"").unwrap();
        assert!(matches!(blocked.lock(), Err(DownloadError::Disk { .. })));
        let folder = folder(root.path());
        let _lock = folder.lock().unwrap();
        std::os::unix::fs::symlink("/dev/full", folder.part("a")).unwrap();
        let full = folder.install_bytes("a", b"one", Proof::Archive, "x").unwrap_err();
        assert!(full.to_string().starts_with("cannot write "), "{full}");
        assert!(!folder.place("a").exists());
    }
}
