//! Asks what guards of a removal need to know besides a snapshot. What may not be read is unknown, never none.

use serde::de::DeserializeOwned;

use crate::calico::FelixConfiguration;
use crate::calico::names::{CRD_GROUP, V3_GROUP};
use crate::cluster::{ApiError, Cluster, ListRequest};
use crate::plan::ObjectRef;
use crate::plan::safeguards::{Circumstances, NodeAgent};
use crate::snapshot::{Flavour, Gap, GapReason, Known, RecordKey, Resource, Snapshot};

/// Reads the circumstances of the cluster that `snapshot` shows.
pub async fn circumstances(cluster: &Cluster, snapshot: &Snapshot) -> Circumstances {
    let (daemon_sets, node_agent, budgets, felix, installations, helm_charts, services) = tokio::join!(
        list(cluster, "daemonsets", "apps", "v1"),
        node_agent(cluster, snapshot),
        list(cluster, "poddisruptionbudgets", "policy", "v1"),
        felix_configurations(cluster, snapshot),
        list(cluster, "installations", "operator.tigera.io", "v1"),
        list(cluster, "helmcharts", "helm.cattle.io", "v1"),
        list(cluster, "services", "", "v1"),
    );
    Circumstances { daemon_sets, node_agent, budgets, felix, installations, helm_charts, services }
}

/// All objects of a kind; absent when the API server does not serve it.
async fn list<T: DeserializeOwned>(
    cluster: &Cluster,
    plural: &str,
    group: &str,
    version: &str,
) -> Known<Vec<T>> {
    let resource = Resource::new(plural, group);
    match cluster.list_as(&ListRequest::all(resource.clone(), version)).await {
        Ok(items) => Known::Known(items),
        Err(error) if error.is_not_found() => Known::Absent,
        Err(error) => Known::Unknown(gap(resource, &error)),
    }
}

fn gap(resource: Resource, error: &ApiError) -> Gap {
    Gap::new(RecordKey::List(resource).path(), error.gap_reason(), error.to_string())
}

/// All FelixConfigurations, of the group that holds Calico's objects; absent when none of them is served.
pub async fn felix_configurations(
    cluster: &Cluster,
    snapshot: &Snapshot,
) -> Known<Vec<FelixConfiguration>> {
    const PLURAL: &str = "felixconfigurations";
    match &snapshot.flavour {
        Known::Known(Flavour::NativeV3) => list(cluster, PLURAL, V3_GROUP, "v3").await,
        Known::Known(Flavour::CrdV1 | Flavour::Migrating) => {
            list(cluster, PLURAL, CRD_GROUP, "v1").await
        }
        Known::Absent => Known::Absent,
        Known::Unknown(gap) => Known::Unknown(gap.clone()),
    }
}

async fn node_agent(cluster: &Cluster, snapshot: &Snapshot) -> Known<NodeAgent> {
    let install = match &snapshot.install {
        Known::Known(install) => install,
        Known::Absent => return Known::Absent,
        Known::Unknown(gap) => return Known::Unknown(gap.clone()),
    };
    let object = ObjectRef {
        group: "apps".to_owned(),
        version: "v1".to_owned(),
        plural: "daemonsets".to_owned(),
        namespace: install.namespace.clone(),
        name: install.daemon_set.clone(),
    };
    let resource = Resource::new(&object.plural, &object.group);
    match cluster.get_json(&object).await {
        Ok(None) => Known::Absent,
        Ok(Some(value)) => NodeAgent::of(&value).map_or_else(
            || {
                let path = RecordKey::List(resource).path();
                let why = "it has no name";
                Known::Unknown(Gap::new(path, GapReason::Undecodable, why))
            },
            Known::Known,
        ),
        Err(error) => Known::Unknown(gap(resource, &error)),
    }
}
