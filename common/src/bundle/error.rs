//! What can be wrong with a bundle as a whole. What is wrong with one of its parts is a gap.

use std::path::{Path, PathBuf};

/// A bundle that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Neither a folder nor an archive with `bundle.yaml`, nor a probe.
    #[error(
        "{path:?} is no bundle: expected a folder, .tar.gz or .tgz that holds bundle.yaml, or the text of a probe, found {found}"
    )]
    NotABundle {
        /// What was opened.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// `bundle.yaml` makes no sense.
    #[error("cannot read bundle.yaml of {path:?}: {detail}")]
    BadManifest {
        /// The bundle.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A bundle of another version.
    #[error(
        "{path:?} is a bundle of {found:?}, this program reads \"kubectl-calico/v1\": use the version that wrote it"
    )]
    UnknownVersion {
        /// The bundle.
        path: PathBuf,
        /// The version it names.
        found: String,
    },
    /// The archive ends too early.
    #[error("{path:?} is cut short: {}", last_whole(.last.as_deref()))]
    Truncated {
        /// The archive.
        path: PathBuf,
        /// The last file that is whole.
        last: Option<String>,
    },
    /// The archive is damaged.
    #[error("{path:?} is damaged: {detail}; {}", last_whole(.last.as_deref()))]
    Damaged {
        /// The archive.
        path: PathBuf,
        /// What the decoder says.
        detail: String,
        /// The last file that is whole.
        last: Option<String>,
    },
    /// An entry that leads out of the bundle, or is no plain file.
    #[error("{path:?} holds {entry:?}, which is {what}: refused")]
    Unsafe {
        /// The bundle.
        path: PathBuf,
        /// The entry.
        entry: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More than a bundle may hold.
    #[error("{path:?} is too large: {what}")]
    TooLarge {
        /// The bundle.
        path: PathBuf,
        /// Which limit it passes.
        what: String,
    },
    /// The file system said no.
    #[error("cannot {attempt} {path:?}")]
    Io {
        /// What was attempted, e.g. `read`.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// The bundle's own description could not be written.
    #[error("cannot write bundle.yaml")]
    Manifest(#[source] crate::yaml::YamlError),
}

impl BundleError {
    pub(super) fn io(attempt: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { attempt, path, source }
    }
}

fn last_whole(last: Option<&str>) -> String {
    last.map_or_else(
        || "no file in it is whole".to_owned(),
        |last| format!("the last whole file is {last:?}"),
    )
}
