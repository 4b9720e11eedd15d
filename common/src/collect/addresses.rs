//! What Calico IPAM stores: lists that grow with the cluster, so each page is handed on as it comes.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde_json::Value;

use super::want::Addresses;
use super::{Progress, live::Groups};
use crate::calico::names::{CRD_GROUP, V3_GROUP};
use crate::cluster::{ApiError, Cluster, ListRequest};
use crate::plan::ipam::IpamApi;
use crate::snapshot::{Extent, Gap, GapReason, Provenance, Record, RecordKey, Resource, Sink};

/// Kinds of Calico's groups in the order in which they are read. Handles come before blocks: an allocation writes its handle
/// first, so that a handle that no block knows is not one that was just made.
const KINDS: [(&str, Addresses); 6] = [
    ("ipreservations", Addresses::Blocks),
    ("kubecontrollersconfigurations", Addresses::All),
    ("blockaffinities", Addresses::All),
    ("ipamhandles", Addresses::All),
    ("ipamblocks", Addresses::Blocks),
    ("CONFIGURATION", Addresses::Blocks),
];

/// Blocks that are asked for at once.
const PARALLEL: usize = 16;

/// Reads what is wanted, and pods where they are: in an order in which nothing that happens meanwhile looks like a leak. What was
/// given back after the pods were listed is given back in the blocks, and what was taken since is too young to be judged. The
/// caller lists nodes after it: a node that joins meanwhile takes an address that tells no time.
pub(super) async fn collect(
    cluster: &Cluster,
    want: Addresses,
    pods: bool,
    groups: Groups,
    sink: &mut dyn Sink,
    progress: &dyn Progress,
) {
    let (group, version, configuration) = match groups {
        Groups { crd: true, .. } => (CRD_GROUP, "v1", "ipamconfigs"),
        Groups { v3: true, .. } => (V3_GROUP, "v3", "ipamconfigurations"),
        _ => return,
    };
    let mut before = Vec::new();
    if pods {
        before.push("pods");
    }
    if want == Addresses::All {
        before.extend(["services", "namespaces"]);
    }
    for plural in before {
        list(cluster, &ListRequest::all(Resource::new(plural, ""), "v1"), sink, progress).await;
    }
    for (plural, level) in KINDS {
        if want < level {
            continue;
        }
        let plural = if plural == "CONFIGURATION" { configuration } else { plural };
        list(cluster, &ListRequest::all(Resource::new(plural, group), version), sink, progress)
            .await;
    }
}

/// Blocks as they are stored, with what this program does not know, by name. Those that are gone are not among them.
///
/// # Errors
/// When one could not be read.
pub async fn blocks_as_stored(
    cluster: &Cluster,
    api: &IpamApi,
    names: impl IntoIterator<Item = String>,
) -> Result<BTreeMap<String, Value>, ApiError> {
    let ask = |name: String| async move {
        let found = cluster.get_json(&api.block(&name)).await?;
        Ok(found.map(|it| (name, it)))
    };
    let asked = stream::iter(names.into_iter().map(ask)).buffer_unordered(PARALLEL);
    asked.try_filter_map(|it| std::future::ready(Ok(it))).try_collect().await
}

async fn list(
    cluster: &Cluster,
    request: &ListRequest,
    sink: &mut dyn Sink,
    progress: &dyn Progress,
) {
    let key = RecordKey::List(request.resource.clone());
    let mut pages = 0_u32;
    let mut anew = false;
    let result = cluster
        .list(request, &mut |page| {
            anew |= page.is_first && pages > 0;
            pages += 1;
            let extent = Extent { resource_version: page.resource_version, ..Extent::default() };
            sink.record(&Record {
                key: key.clone(),
                body: page.body,
                at: Timestamp::now(),
                from: Provenance::Api(request.path()),
                extent,
            });
            progress.step(&request.resource.to_string());
        })
        .await;
    if let Err(error) = result {
        sink.gap(Gap::new(key.path(), error.gap_reason(), error.to_string()));
    } else if anew {
        // What was read first, and is gone since, cannot be told from what is there.
        let why = GapReason::Other("Incomplete".to_owned());
        sink.gap(Gap::new(key.path(), why, "the list expired while it was read"));
    }
}
