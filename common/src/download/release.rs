//! Fills the cache with the artefacts of one release: from the network, or from a file carried by hand.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::{self, is_plain_name};
use super::fetch::Wish;
use super::folder::{Folder, Proof, RecordedFile, make_directory};
use super::sums::PublishedSums;
use super::{Cache, DownloadError, Fetcher, ReleaseVersion, Sha256Sum, Source, Transfer};

/// Name of the file with the published sums.
const SUMS: &str = "SHA256SUMS";
/// Folder of the manifests.
const MANIFESTS: &str = "manifests/";
/// Manifests that every release has.
const REQUIRED: [&str; 2] = ["calico.yaml", "crds.yaml"];
/// Manifests that some releases have: the operator with its CRDs, and CRDs by API group (from v3.32).
const OPTIONAL: [&str; 4] = [
    "operator-crds.yaml",
    "tigera-operator.yaml",
    "v1_crd_projectcalico_org.yaml",
    "v3_projectcalico_org.yaml",
];
/// Most bytes of an archive; real ones have some 1 to 2 GB.
const ARCHIVE_LIMIT: u64 = 8 << 30;
/// Most bytes of a manifest; the largest has some 5 MB.
const MANIFEST_LIMIT: u64 = 32 << 20;
/// Most bytes of SHA256SUMS; it has some 2 KB.
const SUMS_LIMIT: u64 = 1 << 20;

/// Which artefacts are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// The archive, and the manifests out of it.
    #[default]
    All,
    /// The manifests alone: some megabytes instead of some gigabytes.
    Manifests,
}

/// What to fetch.
#[derive(Clone, Debug)]
pub struct Download {
    /// Of which release.
    pub version: ReleaseVersion,
    /// From where.
    pub source: Source,
    /// What of it.
    pub selection: Selection,
    /// Sum of the archive, if the user knows better than SHA256SUMS.
    pub sum: Option<Sha256Sum>,
}

/// What to take from a file.
#[derive(Clone, Debug)]
pub struct Import {
    /// The archive.
    pub file: PathBuf,
    /// Of which release.
    pub version: ReleaseVersion,
    /// Where SHA256SUMS may be asked for if it is neither in the cache nor beside the file.
    pub source: Source,
    /// Sum of the archive, if the user says so.
    pub sum: Option<Sha256Sum>,
}

/// How a file came to be in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// It was there, and was verified again.
    Kept,
    /// It was fetched.
    Fetched,
    /// It was taken out of the archive.
    Extracted,
    /// It was copied from the user's file.
    Imported,
}

/// A file of the cache.
#[derive(Clone, Debug)]
pub struct ReleaseFile {
    /// Path within the version's folder.
    pub name: String,
    /// What is recorded of it.
    pub recorded: RecordedFile,
    /// How it came.
    pub state: FileState,
}

/// What is in the cache now.
#[derive(Clone, Debug)]
pub struct Done {
    /// Files that were asked for, sorted by name.
    pub files: Vec<ReleaseFile>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Makes sure that the cache holds what is wanted. What is there and still verifies is not fetched again: then no connection
/// is made at all.
///
/// # Errors
/// What could not be had, and why. What is in the cache stays as it was; what has arrived stays for the next attempt.
pub async fn download(
    cache: &Cache,
    wish: &Download,
    fetcher: &Fetcher,
    progress: Arc<dyn Transfer>,
) -> Result<Done, DownloadError> {
    let folder = cache.folder(&wish.version);
    let _lock = folder.lock()?;
    let mut work = Work {
        folder,
        source: &wish.source,
        fetcher,
        progress,
        files: Vec::new(),
        notes: Vec::new(),
    };
    match wish.selection {
        Selection::All => work.archive(wish.sum.as_ref()).await?,
        Selection::Manifests => work.manifests_alone().await?,
    }
    Ok(work.done())
}

/// Takes an archive that was carried by hand into the cache, verified as if it had been fetched.
///
/// # Errors
/// When it cannot be read or is not what was published.
pub async fn import(
    cache: &Cache,
    wish: &Import,
    fetcher: &Fetcher,
    progress: Arc<dyn Transfer>,
) -> Result<Done, DownloadError> {
    let folder = cache.folder(&wish.version);
    let _lock = folder.lock()?;
    let mut work = Work {
        folder,
        source: &wish.source,
        fetcher,
        progress,
        files: Vec::new(),
        notes: Vec::new(),
    };
    work.import(&wish.file, wish.sum.as_ref()).await?;
    Ok(work.done())
}

/// What an archive must hash to.
struct Expected {
    sum: Sha256Sum,
    proof: Proof,
    /// Who says so.
    said_by: String,
}

impl Expected {
    fn given(sum: &Sha256Sum) -> Self {
        Self { sum: sum.clone(), proof: Proof::Given, said_by: "--sha256".to_owned() }
    }

    fn published(sum: &Sha256Sum, said_by: String) -> Self {
        Self { sum: sum.clone(), proof: Proof::Published, said_by }
    }
}

/// One run over one folder, which it has locked.
struct Work<'a> {
    folder: Folder,
    source: &'a Source,
    fetcher: &'a Fetcher,
    progress: Arc<dyn Transfer>,
    files: Vec<ReleaseFile>,
    notes: Vec<String>,
}

impl Work<'_> {
    fn done(mut self) -> Done {
        self.files.sort_by(|a, b| a.name.cmp(&b.name));
        Done { files: self.files, notes: self.notes }
    }

    fn add(&mut self, name: &str, recorded: RecordedFile, state: FileState) {
        self.files.push(ReleaseFile { name: name.to_owned(), recorded, state });
    }

    async fn archive(&mut self, given: Option<&Sha256Sum>) -> Result<(), DownloadError> {
        if self.keep_archive(given).await? {
            return Ok(());
        }
        let name = self.folder.version.archive_name();
        let expected = match given {
            Some(sum) => Expected::given(sum),
            None => self.published_sum(&name).await?,
        };
        let from = self.fetch(&name, ARCHIVE_LIMIT).await?;
        self.take_archive(&expected, from, FileState::Fetched).await
    }

    /// True when archive and manifests are here and whole. Manifests that are not are taken out of the archive again.
    async fn keep_archive(&mut self, given: Option<&Sha256Sum>) -> Result<bool, DownloadError> {
        let name = self.folder.version.archive_name();
        if !self.folder.place(&name).is_file() {
            return Ok(false);
        }
        let Some(recorded) = self.verified(&name).await? else {
            self.notes.push(format!("{name} in the cache was damaged"));
            return Ok(false);
        };
        if given.is_some_and(|sum| *sum != recorded.sha256) {
            self.notes.push(format!("{name} in the cache had another sum than --sha256 says"));
            return Ok(false);
        }
        let mut manifests = Vec::new();
        for name in self.folder.names()?.into_iter().filter(|name| name.starts_with(MANIFESTS)) {
            let of_archive = |it: &RecordedFile| it.proof == Proof::Archive;
            let Some(recorded) = self.verified(&name).await?.filter(of_archive) else {
                manifests.clear();
                break;
            };
            manifests.push((name, recorded));
        }
        if manifests.is_empty() {
            let (_, members) = self.read(self.folder.place(&name)).await?;
            self.install_manifests(members?)?;
        }
        for (name, recorded) in manifests {
            self.add(&name, recorded, FileState::Kept);
        }
        self.add(&name, recorded, FileState::Kept);
        if let Some(sums) = self.verified(SUMS).await? {
            self.add(SUMS, sums, FileState::Kept);
        }
        Ok(true)
    }

    /// The sum of the archive in the release's SHA256SUMS.
    async fn published_sum(&mut self, name: &str) -> Result<Expected, DownloadError> {
        let (recorded, state) = match self.verified(SUMS).await? {
            Some(recorded) => (recorded, FileState::Kept),
            None => (self.fetch_unproven(SUMS, SUMS_LIMIT).await?, FileState::Fetched),
        };
        let path = self.folder.place(SUMS);
        let text = fs::read(&path).map_err(DownloadError::disk("read", &path))?;
        let said_by = format!("SHA256SUMS of {}", recorded.from);
        self.add(SUMS, recorded, state);
        let sums = PublishedSums::parse(&String::from_utf8_lossy(&text));
        match sums.of(name) {
            Some(sum) => Ok(Expected::published(sum, said_by)),
            None => Err(DownloadError::NoSum {
                name: name.to_owned(),
                why: "SHA256SUMS of the release does not name it".to_owned(),
            }),
        }
    }

    async fn import(
        &mut self,
        file: &Path,
        given: Option<&Sha256Sum>,
    ) -> Result<(), DownloadError> {
        let name = self.folder.version.archive_name();
        let expected = match given {
            Some(sum) => Expected::given(sum),
            None => self.sum_for_import(file, &name).await?,
        };
        let part = self.folder.part(&name);
        let (from, to, progress) = (file.to_owned(), part, self.progress.clone());
        self.folder.discard(&name)?;
        blocking(move || copy(&from, &to, &*progress)).await??;
        self.take_archive(&expected, file.display().to_string(), FileState::Imported).await
    }

    /// Of the cache's SHA256SUMS, which came over https; else of the one beside the file; else of the network.
    async fn sum_for_import(&mut self, file: &Path, name: &str) -> Result<Expected, DownloadError> {
        let beside = file.with_file_name(SUMS);
        if self.verified(SUMS).await?.is_none() && beside.is_file() {
            let text = fs::read(&beside).map_err(DownloadError::disk("read", &beside))?;
            let sums = PublishedSums::parse(&String::from_utf8_lossy(&text));
            return match sums.of(name) {
                Some(sum) => Ok(Expected::published(sum, beside.display().to_string())),
                None => Err(DownloadError::NoSum {
                    name: name.to_owned(),
                    why: format!("{} does not name it", beside.display()),
                }),
            };
        }
        self.published_sum(name).await.map_err(|error| match error {
            DownloadError::Request { .. }
            | DownloadError::Status { .. }
            | DownloadError::BrokeOff { .. } => DownloadError::NoSum {
                name: name.to_owned(),
                why: format!("there is no SHA256SUMS beside it, and {error}"),
            },
            other => other,
        })
    }

    /// Verifies an archive that has arrived as `.part`, and takes it and its manifests into the cache.
    async fn take_archive(
        &mut self,
        expected: &Expected,
        from: String,
        state: FileState,
    ) -> Result<(), DownloadError> {
        let name = self.folder.version.archive_name();
        let ((sha256, size), members) = self.read(self.folder.part(&name)).await?;
        if sha256 != expected.sum {
            self.folder.discard(&name)?;
            return Err(DownloadError::WrongSum {
                name,
                found: sha256,
                expected: expected.sum.clone(),
                proof: expected.said_by.clone(),
            });
        }
        let members = match members {
            Ok(members) => members,
            Err(error) => {
                self.folder.discard(&name)?;
                return Err(error);
            }
        };
        let recorded = RecordedFile { sha256, size, proof: expected.proof, from };
        self.folder.install(&name, recorded.clone())?;
        self.add(&name, recorded, state);
        self.install_manifests(members)
    }

    /// Sum, size and manifests of an archive.
    async fn read(&self, path: PathBuf) -> Result<((Sha256Sum, u64), Members), DownloadError> {
        let (version, progress) = (self.folder.version.clone(), self.progress.clone());
        let reading =
            blocking(move || archive::read(&path, &version, &is_manifest, &*progress)).await??;
        Ok(((reading.sum, reading.size), reading.members))
    }

    fn install_manifests(
        &mut self,
        members: BTreeMap<String, Vec<u8>>,
    ) -> Result<(), DownloadError> {
        let archive = self.folder.version.archive_name();
        for (name, bytes) in members {
            let before = self.folder.recorded(&name)?;
            let file = self.folder.install_bytes(&name, &bytes, Proof::Archive, &archive)?;
            if before.is_some_and(|it| it.proof == Proof::NotPublished && it.sha256 != file.sha256)
            {
                self.notes.push(format!(
                    "{name} was fetched before and was not the one of the release: it was replaced"
                ));
            }
            self.add(&name, file, FileState::Extracted);
        }
        Ok(())
    }

    async fn manifests_alone(&mut self) -> Result<(), DownloadError> {
        for name in REQUIRED {
            self.manifest(name).await?;
        }
        for name in OPTIONAL {
            if self.folder.is_absent(name)? {
                continue;
            }
            match self.manifest(name).await {
                Err(DownloadError::Status { status: 404, .. }) => {
                    self.folder.record_absent(name)?;
                }
                other => other?,
            }
        }
        Ok(())
    }

    async fn manifest(&mut self, file: &str) -> Result<(), DownloadError> {
        let name = format!("{MANIFESTS}{file}");
        if let Some(recorded) = self.verified(&name).await? {
            self.add(&name, recorded, FileState::Kept);
            return Ok(());
        }
        let recorded = self.fetch_unproven(&name, MANIFEST_LIMIT).await?;
        self.add(&name, recorded, FileState::Fetched);
        Ok(())
    }

    /// Fetches a file whose sum nobody publishes. If it was here before, it must be the same again.
    async fn fetch_unproven(&self, name: &str, limit: u64) -> Result<RecordedFile, DownloadError> {
        let before = self.folder.recorded(name)?;
        let from = self.fetch(name, limit).await?;
        let part = self.folder.part(name);
        let (sha256, size) =
            Sha256Sum::of_file(&part).map_err(DownloadError::disk("read", &part))?;
        if let Some(before) = before
            && before.sha256 != sha256
        {
            self.folder.discard(name)?;
            return Err(DownloadError::WrongSum {
                name: name.to_owned(),
                found: sha256,
                expected: before.sha256,
                proof: format!("the record of its first download from {}", before.from),
            });
        }
        let recorded = RecordedFile { sha256, size, proof: Proof::NotPublished, from };
        self.folder.install(name, recorded.clone())?;
        Ok(recorded)
    }

    /// Fetches a file into its `.part`; gives the address it came from.
    async fn fetch(&self, name: &str, limit: u64) -> Result<String, DownloadError> {
        let address = self.source.address(&self.folder.version, name)?;
        let part = self.folder.part(name);
        let wish = Wish { address: &address, part: &part, limit, name };
        self.fetcher.get(&wish, &*self.progress).await?;
        Ok(address.to_string())
    }

    async fn verified(&self, name: &str) -> Result<Option<RecordedFile>, DownloadError> {
        let (folder, name) = (self.folder.clone(), name.to_owned());
        blocking(move || folder.verified(&name)).await?
    }
}

/// Members of an archive, or why it is none.
type Members = Result<BTreeMap<String, Vec<u8>>, DownloadError>;

/// The YAML files of folder `manifests` itself.
fn is_manifest(name: &str) -> bool {
    let file = name.strip_prefix(MANIFESTS).filter(|file| is_plain_name(file));
    file.is_some_and(|file| Path::new(file).extension().is_some_and(|it| it == "yaml"))
}

/// Copies the user's file. Only a plain file ends.
fn copy(from: &Path, to: &Path, progress: &dyn Transfer) -> Result<(), DownloadError> {
    let metadata = fs::metadata(from).map_err(DownloadError::disk("read", from))?;
    if !metadata.is_file() {
        return Err(DownloadError::Archive {
            path: from.to_owned(),
            why: "it is no plain file".to_owned(),
        });
    }
    if metadata.len() > ARCHIVE_LIMIT {
        return Err(DownloadError::TooLarge {
            what: from.display().to_string(),
            limit: ARCHIVE_LIMIT,
        });
    }
    if let Some(parent) = to.parent() {
        make_directory(parent)?;
    }
    progress.begin(&format!("copying {}", from.display()), 0, Some(metadata.len()));
    let mut input = fs::File::open(from).map_err(DownloadError::disk("read", from))?;
    let mut output = super::folder::create(to, true)?;
    let copied = std::io::copy(&mut input, &mut output).map_err(DownloadError::disk("write", to));
    progress.end();
    copied.map(drop)
}

/// Runs what blocks where it hinders nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, DownloadError> {
    tokio::task::spawn_blocking(work).await.map_err(DownloadError::Task)
}
