//! `download`: fetches, verifies and keeps the artefacts of a release, for repairs without a network.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use common::checks::Need;
use common::cli::{Exit, Failure, Kind, OutputFormat, interrupted};
use common::collect::{Quiet, Want, collect_live};
use common::download::{
    Bar, Cache, Done, Download, DownloadError, Fetcher, FileState, Import, Proof, ReleaseFile,
    ReleaseVersion, Selection, Sha256Sum, Source, download, import,
};
use common::report::{DownloadReport, DownloadedFile, json, yaml};
use common::snapshot::{Known, SnapshotBuilder};

use common::verbs::Session;
use common::verbs::look;

/// How to use a mirror, below the flags.
const MIRROR_HELP: &str = "A mirror holds one folder per version, with the names that Calico gives:
  URL/v3.28.4/SHA256SUMS
  URL/v3.28.4/release-v3.28.4.tgz
  URL/v3.28.4/manifests/calico.yaml, crds.yaml, …

What is in the cache and still verifies is not fetched again: then no
connection is made. An interrupted download goes on where it ended.";

#[derive(Args, Clone, Debug)]
#[command(after_help = MIRROR_HELP)]
pub(crate) struct DownloadFlags {
    /// Version of Calico, e.g. v3.28.4; if not given, the one that the cluster runs
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Fetch from this mirror instead of github.com; https only
    #[arg(long, value_name = "URL", conflicts_with = "from")]
    mirror: Option<String>,
    /// File with the authority of the mirror's certificate, trusted beside the system's
    #[arg(long, value_name = "FILE")]
    mirror_ca: Option<PathBuf>,
    /// Take the release archive from this file instead of the network; SHA256SUMS may lie beside it
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// SHA-256 sum that the release archive must have, instead of what SHA256SUMS says
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// Which artefacts: all, or the manifests alone (megabytes instead of gigabytes)
    #[arg(long, value_enum, default_value_t = Only::All, value_name = "WHAT")]
    only: Only,
}

/// Values of `--only`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    /// The release archive, and the manifests out of it
    All,
    /// The manifests alone
    Manifests,
}

pub(crate) async fn run(session: &Session, flags: &DownloadFlags) -> Result<Exit, Failure> {
    if flags.only == Only::Manifests && (flags.from.is_some() || flags.sha256.is_some()) {
        return Err(Failure::usage("--from and --sha256 are about the release archive")
            .hint("leave out --only manifests"));
    }
    let wrong = |error| failure(session, error);
    let sum = flags.sha256.as_deref().map(str::parse::<Sha256Sum>).transpose().map_err(wrong)?;
    let source = match &flags.mirror {
        Some(address) => Source::mirror(address).map_err(wrong)?,
        None => Source::Public,
    };
    let fetcher = Fetcher::new(authority(flags.mirror_ca.as_deref())?.as_deref()).map_err(wrong)?;
    let version = version(session, flags).await?;
    let cache = Cache::of_user().map_err(wrong)?;
    let stderr = session.printer.stderr;
    let bar = Arc::new(Bar::new(stderr.is_terminal, stderr.unicode));
    let work = async {
        if let Some(file) = &flags.from {
            let wish = Import { file: file.clone(), version: version.clone(), source, sum };
            return import(&cache, &wish, &fetcher, bar.clone()).await;
        }
        let selection = match flags.only {
            Only::All => Selection::All,
            Only::Manifests => Selection::Manifests,
        };
        let wish = Download { version: version.clone(), source, selection, sum };
        download(&cache, &wish, &fetcher, bar.clone()).await
    };
    let done = until_interrupted(session, &version, work).await?.map_err(wrong)?;
    print(session, &version, &cache, done)?;
    Ok(Exit::Good)
}

/// What was interrupted goes on next time.
async fn until_interrupted<T>(
    session: &Session,
    version: &ReleaseVersion,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    tokio::select! {
        done = Box::pin(work) => Ok(done),
        () = interrupted() => Err(Failure::new(
            Kind::Interrupted,
            format!("interrupted; what has arrived of {version} is kept"),
        )
        .hint(format!("{} download --version {version} goes on from there", session.program))),
    }
}

fn authority(file: Option<&Path>) -> Result<Option<Vec<u8>>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let text = std::fs::read(file).map_err(|error| {
        Failure::new(Kind::NotFound, format!("cannot read {}: {error}", file.display()))
    })?;
    Ok(Some(text))
}

/// The version that was asked for, else that of the file's name, else that of the cluster.
async fn version(session: &Session, flags: &DownloadFlags) -> Result<ReleaseVersion, Failure> {
    if let Some(text) = &flags.version {
        return text.parse().map_err(|error| failure(session, error));
    }
    if let Some(file) = &flags.from {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        return ReleaseVersion::of_archive_name(&name).ok_or_else(|| {
            Failure::usage(format!(
                "{} does not name its version, as release-v3.28.4.tgz does",
                file.display()
            ))
            .hint("say --version v3.28.4")
        });
    }
    let hint = "say which one: --version v3.28.4";
    let text = cluster_version(session).await.map_err(|failure| failure.hint(hint))?;
    let version: ReleaseVersion =
        text.parse().map_err(|error| Failure::new(Kind::NotFound, error).hint(hint))?;
    session.printer.talk(&format!("The cluster runs Calico {version}."));
    Ok(version)
}

/// ClusterInformation's version, else that of calico-node's image.
async fn cluster_version(session: &Session) -> Result<String, Failure> {
    let cluster = look::connect(session).await?;
    let mut builder = SnapshotBuilder::new();
    let want = Want::of([Need::Install]);
    let outcome =
        look::interruptible(Box::pin(collect_live(&cluster, want, &mut builder, &Quiet))).await?;
    if let Some(error) = outcome.unreachable {
        return Err(Failure::new(Kind::Access, error));
    }
    match builder.finish(cluster.now()).install {
        Known::Known(install) => install.version.ok_or_else(|| {
            Failure::new(
                Kind::NotFound,
                "neither ClusterInformation nor calico-node's image tells a version",
            )
        }),
        Known::Absent => {
            Err(Failure::new(Kind::NotFound, "Calico is not installed in this cluster"))
        }
        Known::Unknown(gap) => {
            Err(Failure::new(Kind::Access, format!("cannot read {}: {}", gap.what, gap.detail)))
        }
    }
}

/// What went wrong, with what to do next.
fn failure(session: &Session, error: DownloadError) -> Failure {
    let kind = match &error {
        DownloadError::Version(_) | DownloadError::Sum(_) | DownloadError::Mirror(_) => Kind::Usage,
        DownloadError::Request { .. }
        | DownloadError::BrokeOff { .. }
        | DownloadError::Status { .. } => Kind::Access,
        _ => Kind::Internal,
    };
    let hint = error.hint(&session.program);
    let mut failure = Failure::new(kind, error);
    failure.hints.extend(hint);
    failure
}

fn print(
    session: &Session,
    version: &ReleaseVersion,
    cache: &Cache,
    done: Done,
) -> Result<(), Failure> {
    let files = done.files.into_iter().map(line).collect();
    let directory = cache.directory(version).display().to_string();
    let report = DownloadReport::new(version.to_string(), directory, files, done.notes);
    session.printer.data(&match session.format {
        OutputFormat::Text => report.text(&session.text_options()),
        OutputFormat::Json => json(&report),
        OutputFormat::Yaml => yaml(&report),
    })
}

fn line(file: ReleaseFile) -> DownloadedFile {
    let ReleaseFile { name, recorded, state } = file;
    DownloadedFile {
        name,
        size: recorded.size,
        sha256: recorded.sha256.to_string(),
        proof: match recorded.proof {
            Proof::Published => "published",
            Proof::Given => "given",
            Proof::Archive => "archive",
            Proof::NotPublished => "not-published",
        },
        state: match state {
            FileState::Kept => "kept",
            FileState::Fetched => "fetched",
            FileState::Extracted => "extracted",
            FileState::Imported => "imported",
        },
        from: recorded.from,
    }
}
