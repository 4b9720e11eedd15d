//! The cache of all versions, and what repairs take out of it.

use std::path::{Path, PathBuf};

use super::archive::{self, is_plain_name};
use super::folder::{Folder, Proof, RecordedFile};
use super::{DownloadError, ReleaseVersion, Sha256Sum, Transfer};

/// Folder in the user's cache directory.
const NAME: &str = "kubectl-calico";

/// The user's cache of release artefacts.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// A CNI plugin from a verified archive. Its bytes were verified when this was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniBinary {
    /// Where it is in the cache.
    pub path: PathBuf,
    /// Its sum.
    pub sha256: Sha256Sum,
    /// Bytes.
    pub size: u64,
}

impl Cache {
    /// The cache in the user's cache directory (`$XDG_CACHE_HOME` or `~/.cache` on Linux). Nothing is made yet.
    ///
    /// # Errors
    /// When no such directory is known.
    pub fn of_user() -> Result<Self, DownloadError> {
        dirs::cache_dir().map(|it| Self::at(it.join(NAME))).ok_or(DownloadError::NoDirectory)
    }

    /// A cache in this directory.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory of one version.
    pub fn directory(&self, version: &ReleaseVersion) -> PathBuf {
        self.folder(version).path
    }

    pub(super) fn folder(&self, version: &ReleaseVersion) -> Folder {
        Folder::new(&self.root, version)
    }

    /// True when the archive of `version` is here. It is verified when it is used.
    pub fn has_archive(&self, version: &ReleaseVersion) -> bool {
        self.folder(version).place(&version.archive_name()).is_file()
    }

    /// The CNI plugin `name` (`calico`, `calico-ipam`) for the processor `architecture` (`amd64`, as a Node's
    /// `status.nodeInfo.architecture` has it), verified. It is taken out of the archive once, which reads all of it: some
    /// seconds. This blocks.
    ///
    /// # Errors
    /// [`DownloadError::NotCached`] when there is no archive, [`DownloadError::NotInArchive`] when it lacks the plugin (all
    /// from v3.33 on do), [`DownloadError::WrongSum`] when the archive was damaged since it was verified.
    pub fn cni_binary(
        &self,
        version: &ReleaseVersion,
        architecture: &str,
        name: &str,
        progress: &dyn Transfer,
    ) -> Result<CniBinary, DownloadError> {
        for part in [architecture, name] {
            if !is_plain_name(part) {
                return Err(DownloadError::Name(part.to_owned()));
            }
        }
        let folder = self.folder(version);
        let place = format!("cni/{architecture}/{name}");
        let recorded = match folder.verified(&place)? {
            Some(recorded) => recorded,
            None => take_out(&folder, &format!("bin/{place}"), &place, progress)?,
        };
        Ok(CniBinary { path: folder.place(&place), sha256: recorded.sha256, size: recorded.size })
    }
}

/// Takes the member `inner` out of the folder's archive, which must still be what was verified once.
fn take_out(
    folder: &Folder,
    inner: &str,
    place: &str,
    progress: &dyn Transfer,
) -> Result<RecordedFile, DownloadError> {
    let archive = folder.version.archive_name();
    let path = folder.place(&archive);
    let recorded = match folder.recorded(&archive)? {
        Some(recorded) if path.is_file() => recorded,
        _ => return Err(DownloadError::NotCached(folder.version.clone())),
    };
    let _lock = folder.lock()?;
    let wanted = |name: &str| name == inner;
    let mut members = read_verified(&path, folder, &recorded.sha256, &wanted, progress)?;
    let Some(bytes) = members.remove(inner) else {
        return Err(DownloadError::NotInArchive {
            archive,
            name: inner.to_owned(),
            by_design: !folder.version.ships_plugins(),
        });
    };
    folder.install_bytes(place, &bytes, Proof::Archive, &archive)
}

fn read_verified(
    path: &Path,
    folder: &Folder,
    expected: &Sha256Sum,
    wanted: &dyn Fn(&str) -> bool,
    progress: &dyn Transfer,
) -> Result<std::collections::BTreeMap<String, Vec<u8>>, DownloadError> {
    let reading = archive::read(path, &folder.version, wanted, progress)?;
    if reading.sum != *expected {
        return Err(DownloadError::WrongSum {
            name: path.display().to_string(),
            found: reading.sum,
            expected: expected.clone(),
            proof: "the record of its download".to_owned(),
        });
    }
    reading.members
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::super::test_release::{Member, archive, good_archive, noise};
    use super::super::{Fetcher, FileState, Import, Silent, Source, import};
    use super::*;

    fn version() -> ReleaseVersion {
        "v3.28.4".parse().unwrap()
    }

    /// A cache with this archive, imported with the sum it has or another one.
    async fn filled(
        root: &Path,
        version: &ReleaseVersion,
        bytes: &[u8],
        sum: Option<Sha256Sum>,
    ) -> (Cache, Result<super::super::Done, DownloadError>) {
        let cache = Cache::at(root.join("cache"));
        let file = root.join("carried.tgz");
        fs::write(&file, bytes).unwrap();
        let sum = Some(sum.unwrap_or_else(|| Sha256Sum::of(bytes)));
        let wish = Import { file, version: version.clone(), source: Source::Public, sum };
        let fetcher = Fetcher::new(None).unwrap();
        let done = import(&cache, &wish, &fetcher, Arc::new(Silent)).await;
        (cache, done)
    }

    fn plugin(cache: &Cache, architecture: &str, name: &str) -> Result<Vec<u8>, DownloadError> {
        let binary = cache.cni_binary(&version(), architecture, name, &Silent)?;
        let bytes = fs::read(&binary.path).unwrap();
        assert_eq!((Sha256Sum::of(&bytes), bytes.len() as u64), (binary.sha256, binary.size));
        Ok(bytes)
    }

    #[tokio::test]
    async fn plugins_come_out_of_a_verified_archive() {
        let root = tempfile::tempdir().unwrap();
        let (cache, done) = filled(root.path(), &version(), &good_archive(), None).await;
        let files: Vec<_> = done
            .unwrap()
            .files
            .into_iter()
            .map(|it| (it.name, it.state, it.recorded.proof))
            .collect();
        let out = (FileState::Extracted, Proof::Archive);
        let expected = [
            ("manifests/calico.yaml", out.0, out.1),
            ("manifests/crds.yaml", out.0, out.1),
            ("release-v3.28.4.tgz", FileState::Imported, Proof::Given),
        ];
        assert_eq!(files, expected.map(|(name, state, proof)| (name.to_owned(), state, proof)));
        assert_eq!(plugin(&cache, "amd64", "calico").unwrap(), b"\x7fELF calico amd64");
        assert_eq!(plugin(&cache, "arm64", "calico").unwrap(), b"\x7fELF calico arm64");
        // From now on it does not need the archive, unless the copy is damaged.
        let archive = cache.directory(&version()).join("release-v3.28.4.tgz");
        fs::rename(&archive, root.path().join("away")).unwrap();
        assert!(plugin(&cache, "amd64", "calico").is_ok());
        let copy = cache.directory(&version()).join("cni/amd64/calico");
        fs::write(&copy, b"\x7fELF something else").unwrap();
        assert!(matches!(plugin(&cache, "amd64", "calico"), Err(DownloadError::NotCached(_))));
        fs::rename(root.path().join("away"), &archive).unwrap();
        assert_eq!(plugin(&cache, "amd64", "calico").unwrap(), b"\x7fELF calico amd64");
    }

    #[tokio::test]
    async fn what_is_not_there_is_said() {
        let root = tempfile::tempdir().unwrap();
        let empty = Cache::at(root.path());
        assert!(matches!(plugin(&empty, "amd64", "calico"), Err(DownloadError::NotCached(_))));
        assert!(!empty.has_archive(&version()) && !empty.directory(&version()).exists());
        let (cache, done) = filled(root.path(), &version(), &good_archive(), None).await;
        done.unwrap();
        assert!(cache.has_archive(&version()));
        let absent = plugin(&cache, "s390x", "calico").unwrap_err();
        assert_eq!(absent.to_string(), "release-v3.28.4.tgz holds no bin/cni/s390x/calico");
        assert_eq!(absent.hint("doctor"), None);
        for (architecture, name) in
            [("../..", "calico"), ("amd64", ".."), ("", "calico"), ("amd64", "a/b")]
        {
            let error = plugin(&cache, architecture, name).unwrap_err();
            assert!(matches!(error, DownloadError::Name(_)), "{error}");
        }
    }

    #[tokio::test]
    async fn newer_archives_hold_no_plugins() {
        let root = tempfile::tempdir().unwrap();
        let version: ReleaseVersion = "v3.33.0".parse().unwrap();
        let bytes = archive(&[
            Member::File("release-v3.33.0/bin/calico-bpf", b"\x7fELF"),
            Member::File("release-v3.33.0/manifests/calico.yaml", b"kind: DaemonSet\n"),
        ]);
        let (cache, done) = filled(root.path(), &version, &bytes, None).await;
        done.unwrap();
        let error = cache.cni_binary(&version, "amd64", "calico", &Silent).unwrap_err();
        assert!(error.hint("doctor").unwrap().contains("inside of the image"), "{error}");
    }

    #[tokio::test]
    async fn an_archive_that_changed_on_disk_gives_nothing() {
        let root = tempfile::tempdir().unwrap();
        let (cache, done) = filled(root.path(), &version(), &good_archive(), None).await;
        done.unwrap();
        let path = cache.directory(&version()).join("release-v3.28.4.tgz");
        let other = archive(&[Member::File("release-v3.28.4/bin/cni/amd64/calico", b"evil")]);
        fs::write(&path, other).unwrap();
        assert!(matches!(plugin(&cache, "amd64", "calico"), Err(DownloadError::WrongSum { .. })));
        assert!(!cache.directory(&version()).join("cni/amd64/calico").exists());
    }

    #[tokio::test]
    async fn nothing_is_kept_of_a_file_with_another_sum_or_of_no_archive() {
        let root = tempfile::tempdir().unwrap();
        let wrong = Sha256Sum::of(b"something else");
        let (cache, done) = filled(root.path(), &version(), &good_archive(), Some(wrong)).await;
        let error = done.unwrap_err();
        assert!(error.to_string().contains("but --sha256 says"), "{error}");
        let (_, done) = filled(root.path(), &version(), &noise(1000), None).await;
        assert!(matches!(done, Err(DownloadError::Archive { .. })));
        let left: Vec<_> = fs::read_dir(cache.directory(&version()))
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(left, [".lock"]);
    }
}
