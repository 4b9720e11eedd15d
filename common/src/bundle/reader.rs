//! Reads a bundle into records and gaps.

use std::path::Path;

use jiff::Timestamp;

use super::archive::{self, Files, Limits};
use super::folder::Folder;
use super::loose::{self, LooseProbe};
use super::{API_VERSION, BundleError, KIND, MANIFEST, Manifest};
use crate::snapshot::{
    Gap, GapReason, KINDS, Provenance, Record, RecordKey, Resource, Sink, Snapshot,
    SnapshotBuilder, gap_matches,
};

/// Pours the bundle `path` (a folder, .tar.gz or .tgz, in a leading folder of its own or not) into `sink`: records sorted by path and page,
/// and a gap for what the bundle says it lacks and for each kind of which it holds nothing. The text of a single probe, and a
/// folder with nothing but `nodes/<node>/probe.txt`, are bundles as well.
/// Files that are no part of a bundle are ignored.
///
/// # Errors
/// When `path` is no bundle, of another version, cut short, damaged, unsafe or too large.
pub fn read(path: &Path, sink: &mut dyn Sink) -> Result<Manifest, BundleError> {
    let source = Source::open(path)?;
    let manifest = source.manifest(path)?;
    let created_at = created_at(path, &manifest)?;
    let mut keys = source.keys();
    keys.sort();
    for (key, _, file) in &keys {
        let entry = manifest.files.get(file);
        sink.record(&Record {
            key: key.clone(),
            body: source.read(file)?,
            at: entry.and_then(|entry| entry.at).unwrap_or(created_at),
            from: Provenance::Bundle(file.clone()),
            extent: entry.map(super::FileEntry::extent).unwrap_or_default(),
        });
    }
    let has = |key: &RecordKey| keys.iter().any(|(its, _, _)| its == key);
    if let Some(record) = server_version(&manifest, created_at).filter(|record| !has(&record.key)) {
        sink.record(&record);
    }
    for gap in &manifest.gaps {
        sink.gap(gap.clone().into());
    }
    for (plural, group) in KINDS {
        let resource = Resource::new(plural, group);
        let path = resource.path();
        let told = manifest.gaps.iter().any(|gap| gap_matches(&gap.what, &path));
        if !told && group != crate::calico::names::V3_GROUP && !has(&RecordKey::List(resource)) {
            sink.gap(Gap::new(path, GapReason::NotAsked, "the bundle does not hold it"));
        }
    }
    Ok(manifest)
}

/// The snapshot that the bundle `path` holds.
///
/// # Errors
/// As [`read`].
pub fn load(path: &Path) -> Result<Snapshot, BundleError> {
    let mut builder = SnapshotBuilder::new();
    let manifest = read(path, &mut builder)?;
    let taken = created_at(path, &manifest)?;
    Ok(builder.finish(taken))
}

enum Source {
    Folder(Folder),
    Archive(Files),
    Probe(LooseProbe),
}

impl Source {
    fn open(path: &Path) -> Result<Self, BundleError> {
        let kind = std::fs::metadata(path).map_err(BundleError::io("open", path))?;
        if kind.is_dir() {
            Folder::open(path).map(Self::Folder)
        } else if let Some(probe) = loose::open(path)? {
            Ok(Self::Probe(probe))
        } else {
            archive::unpack(path, Limits::default()).map(Self::Archive)
        }
    }

    fn manifest(&self, path: &Path) -> Result<Manifest, BundleError> {
        match self {
            Self::Probe(probe) => loose::manifest(path, std::iter::once(probe.at)),
            Self::Folder(folder) if !folder.has_manifest => {
                let mut times = Vec::new();
                for file in &folder.paths {
                    times.push(loose::made_at(&folder.read(file)?));
                }
                loose::manifest(path, times.into_iter())
            }
            Self::Folder(_) | Self::Archive(_) => manifest(path, &self.read(MANIFEST)?),
        }
    }

    fn keys(&self) -> Vec<(RecordKey, u32, String)> {
        let key =
            |path: &String| RecordKey::from_path(path).map(|(key, page)| (key, page, path.clone()));
        match self {
            Self::Folder(folder) => folder.paths.iter().filter_map(key).collect(),
            Self::Archive(files) => files.keys().filter_map(key).collect(),
            Self::Probe(probe) => key(&probe.path).into_iter().collect(),
        }
    }

    fn read(&self, file: &str) -> Result<Vec<u8>, BundleError> {
        match self {
            Self::Folder(folder) => folder.read(file),
            Self::Archive(files) => Ok(files.get(file).cloned().unwrap_or_default()),
            Self::Probe(probe) => Ok(probe.body.clone()),
        }
    }
}

fn manifest(path: &Path, body: &[u8]) -> Result<Manifest, BundleError> {
    let bad = |detail: String| BundleError::BadManifest { path: path.to_owned(), detail };
    let text = std::str::from_utf8(body).map_err(|_| bad("not UTF-8 text".to_owned()))?;
    let manifest: Manifest = crate::yaml::from_str(text).map_err(|error| bad(error.to_string()))?;
    if manifest.kind != KIND {
        return Err(bad(format!("expected kind {KIND:?}, found {:?}", manifest.kind)));
    }
    if manifest.api_version != API_VERSION {
        return Err(BundleError::UnknownVersion {
            path: path.to_owned(),
            found: manifest.api_version,
        });
    }
    Ok(manifest)
}

fn created_at(path: &Path, manifest: &Manifest) -> Result<Timestamp, BundleError> {
    let missing = || BundleError::BadManifest {
        path: path.to_owned(),
        detail: "createdAt is missing: without it nothing has an age".to_owned(),
    };
    manifest.created_at.ok_or_else(missing)
}

/// What `bundle.yaml` says of the server's version, for bundles that hold no answer of `/version`.
fn server_version(manifest: &Manifest, at: Timestamp) -> Option<Record> {
    let version = manifest.server_version.as_ref()?;
    Some(Record {
        key: RecordKey::Api("/version".to_owned()),
        body: serde_json::json!({ "gitVersion": version }).to_string().into_bytes(),
        at,
        from: Provenance::Bundle(MANIFEST.to_owned()),
        extent: crate::snapshot::Extent::default(),
    })
}
