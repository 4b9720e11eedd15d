//! Looks at a cluster or a bundle: the first half of every verb.

use std::path::PathBuf;

use clap::Args;
use common::bundle;
use common::cli::{Exit, Failure, Kind};
use common::cluster::Cluster;
use common::collect::{Addresses, Want};
use common::report::escape;
use common::snapshot::{Coverage, Gap, Listing, Snapshot};
use common::verbs::{Session, look};

/// Where to look.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct SourceFlags {
    /// Look at this bundle (a folder, .tar.gz or .tgz) instead of a cluster
    #[arg(long, value_name = "PATH")]
    pub(crate) bundle: Option<PathBuf>,
}

impl SourceFlags {
    /// The bundle, for the first line of a report.
    pub(crate) fn name(&self) -> Option<String> {
        self.bundle.as_ref().map(|path| path.display().to_string())
    }

    /// What is wanted, of the cluster or of the bundle.
    ///
    /// # Errors
    /// When the API server does not answer at all, the bundle is none, or the user interrupts.
    pub(crate) async fn look(
        &self,
        session: &Session,
        addresses: Addresses,
        people: bool,
    ) -> Result<Snapshot, Failure> {
        match &self.bundle {
            Some(path) => bundle::load(path).map_err(look::bundle_failure),
            None => at_cluster(session, addresses, people).await,
        }
    }
}

/// `people`: nodes and pods as well, who use the addresses.
async fn at_cluster(
    session: &Session,
    addresses: Addresses,
    people: bool,
) -> Result<Snapshot, Failure> {
    let cluster = look::connect(session).await?;
    at(session, &cluster, addresses, people).await
}

/// The same of a cluster that is connected to already.
pub(crate) async fn at(
    session: &Session,
    cluster: &Cluster,
    addresses: Addresses,
    people: bool,
) -> Result<Snapshot, Failure> {
    let want = Want { nodes: people, pods: people, install: true, addresses, ..Want::of([]) };
    look::snapshot(session, cluster, want).await
}

/// Why a list is not whole; none when it is.
fn lacks<T>(listing: &Listing<T>, what: &str) -> Option<Gap> {
    use common::snapshot::GapReason::NotAsked;
    match (&listing.gap, &listing.coverage) {
        (Some(gap), _) => Some(gap.clone()),
        (None, Coverage::All) => None,
        (None, _) => Some(Gap::new(what, NotAsked, "only a part was read")),
    }
}

/// Says what of pools and blocks could not be read: then no number is right.
///
/// # Errors
/// When no block was read at all: there is nothing to tell.
pub(crate) fn judge(session: &Session, snapshot: &Snapshot) -> Result<Exit, Failure> {
    let lists = [
        lacks(&snapshot.ip_pools, "cluster/ippools.crd.projectcalico.org.json"),
        lacks(&snapshot.addresses.blocks, "cluster/ipamblocks.crd.projectcalico.org.json"),
    ];
    let mut exit = Exit::Good;
    for gap in lists.into_iter().flatten() {
        exit = Exit::Incomplete;
        session.printer.talk(&escape(&format!("not seen: {}: {}", gap.what, gap.detail)));
    }
    if snapshot.addresses.blocks.coverage == Coverage::None {
        let gap = snapshot.addresses.blocks.gap.clone();
        let why = gap.map(|gap| gap.detail).unwrap_or_default();
        return Err(Failure::new(
            Kind::Incomplete,
            format!("blocks of addresses could not be read: {why}"),
        )
        .hint("they are ipamblocks.crd.projectcalico.org, or of group projectcalico.org in releases that store them there"));
    }
    Ok(exit)
}
