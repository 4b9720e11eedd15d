//! What can go wrong with release artefacts.

use std::io;
use std::path::{Path, PathBuf};

use super::{ReleaseVersion, Sha256Sum};

/// A release artefact could not be had. Nothing that was not verified is left in the cache but `.part` files.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// Not a version.
    #[error("{0:?} is no version of a Calico release")]
    Version(String),
    /// Not a SHA-256 sum.
    #[error("{0:?} is no SHA-256 sum: it has 64 hex digits")]
    Sum(String),
    /// Not an address for a mirror.
    #[error("{0:?} is no https address of a mirror")]
    Mirror(String),
    /// The certificates that were given cannot be read as such.
    #[error("the mirror's certificate authority is no PEM text with certificates")]
    Authority(#[source] reqwest::Error),
    /// The same, when there is not even a part of one.
    #[error("the mirror's certificate authority holds no certificate")]
    NoCertificate,
    /// The client cannot be set up.
    #[error("cannot set up a https client")]
    Client(#[source] reqwest::Error),
    /// No answer, or no trust.
    #[error("cannot get {address}")]
    Request {
        /// What was asked for, without credentials.
        address: String,
        /// What the client said.
        #[source]
        source: reqwest::Error,
    },
    /// Another answer than the file.
    #[error("cannot get {address}: the server answered {status}")]
    Status {
        /// What was asked for, without credentials.
        address: String,
        /// Status code.
        status: u16,
    },
    /// A part of the file that does not fit to what is there already.
    #[error("cannot go on with {address}: the server's part does not begin at byte {have}")]
    WrongPart {
        /// What was asked for, without credentials.
        address: String,
        /// Bytes that are there.
        have: u64,
    },
    /// The connection ended before the file did.
    #[error("{address} broke off after {have} {}", of_total(*.total))]
    BrokeOff {
        /// What was asked for, without credentials.
        address: String,
        /// Bytes that are there, and stay for the next attempt.
        have: u64,
        /// Bytes of the whole, when the server said.
        total: Option<u64>,
        /// What the client said, when it said anything.
        #[source]
        source: Option<reqwest::Error>,
    },
    /// More than such a file can have.
    #[error("{what} is larger than {limit} bytes, which no such file of a release is")]
    TooLarge {
        /// Address or path.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// The bytes are not those that were published.
    #[error("{name} has the sum {found}, but {proof} says {expected}")]
    WrongSum {
        /// File.
        name: String,
        /// Sum of the bytes.
        found: Sha256Sum,
        /// Sum that they should have.
        expected: Sha256Sum,
        /// Who says so.
        proof: String,
    },
    /// Nobody says what the bytes should be.
    #[error("no sum is known for {name}: {why}")]
    NoSum {
        /// File.
        name: String,
        /// Where it was looked for.
        why: String,
    },
    /// The disk refused.
    #[error("cannot {attempt} {path}")]
    Disk {
        /// What was attempted.
        attempt: &'static str,
        /// Path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No user's cache directory is known.
    #[error("no cache directory of the user is known")]
    NoDirectory,
    /// Somebody else fills the same folder.
    #[error("another download of {0} is under way")]
    Busy(ReleaseVersion),
    /// A file that is said to be a release archive is none.
    #[error("{path} is no archive of a Calico release: {why}")]
    Archive {
        /// Path.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The archive lacks what was looked for.
    #[error("{archive} holds no {name}")]
    NotInArchive {
        /// Name of the archive.
        archive: String,
        /// What was looked for.
        name: String,
        /// True when no archive of that release line can hold it.
        by_design: bool,
    },
    /// The cache has no archive of this version.
    #[error("the archive of {0} is not in the cache")]
    NotCached(ReleaseVersion),
    /// A processor or file name that no release has.
    #[error("{0:?} is no name that could be in a release")]
    Name(String),
    /// A piece of work of this program did not end well.
    #[error("a background task failed")]
    Task(#[source] tokio::task::JoinError),
}

fn of_total(total: Option<u64>) -> String {
    total.map_or_else(|| "bytes".to_owned(), |total| format!("of {total} bytes"))
}

impl DownloadError {
    /// Wraps what the system said about `path`.
    pub(super) fn disk(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { attempt, path, source }
    }

    /// What to do next, for a person; `program` is how the user calls this one.
    pub fn hint(&self, program: &str) -> Option<String> {
        Some(match self {
            Self::Version(_) => "versions look like v3.28.4".to_owned(),
            Self::Mirror(_) => "a mirror's address looks like https://mirror.example/calico; see --help for what it must hold".to_owned(),
            Self::Request { .. } | Self::Client(_) => format!(
                "HTTPS_PROXY and NO_PROXY are respected; --mirror URL asks another place, --mirror-ca FILE trusts its certificate; on another machine: download release-vX.Y.Z.tgz and SHA256SUMS, and {program} download --from FILE here"
            ),
            Self::Status { status: 404, .. } => {
                "is there such a release? https://github.com/projectcalico/calico/releases".to_owned()
            }
            Self::BrokeOff { .. } => "what has arrived is kept: the same command goes on from there".to_owned(),
            Self::WrongSum { .. } => {
                "nothing was kept; if the file came from a mirror, compare it with the published one".to_owned()
            }
            Self::NoSum { .. } => {
                "put SHA256SUMS of the same release beside the file, or say --sha256 HEX from a source that you trust".to_owned()
            }
            Self::NotInArchive { by_design: true, .. } => {
                "releases from v3.33 on ship the CNI plugins inside of the image calico/calico only".to_owned()
            }
            Self::NotCached(version) => format!("{program} download --version {version}"),
            _ => return None,
        })
    }
}
