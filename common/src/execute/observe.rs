//! Looks at what a condition is about, and no further. The answers go the way of every observation: as records into a
//! snapshot builder, so that a verification reads them exactly as the checks do. What cannot be read stays unknown.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::backup;
use super::hosts::Hosts;
use super::observe_pods::{lingering, stopping};
use crate::calico::names::{MANIFEST_NAMESPACE, ROOT_CA_CONFIG_MAP};
use crate::cluster::{ApiError, Cluster, ListRequest, Page};
use crate::node;
use crate::plan::{Condition, ObjectRef, Observed, describe};
use crate::residue::ResidueFacts;
use crate::slim::Node;
use crate::snapshot::{
    Extent, Gap, GapReason, HostFacts, Known, Provenance, Record, RecordKey, Resource, Sink,
    Snapshot, SnapshotBuilder,
};

/// Selects Calico's node agents, also canal's.
const CALICO_NODE_SELECTOR: &str = "k8s-app in (calico-node,canal)";
/// Where the API server shows the keys that it verifies tokens with.
const SIGNING_KEYS_PATH: &str = "/openid/v1/jwks";

/// One look at a cluster.
pub(super) struct Observer<'a, H> {
    cluster: &'a Cluster,
    hosts: &'a H,
}

impl<'a, H: Hosts> Observer<'a, H> {
    pub(super) fn new(cluster: &'a Cluster, hosts: &'a H) -> Self {
        Self { cluster, hosts }
    }

    /// What can be seen now of what the condition is about.
    pub(super) async fn observe(&self, condition: &Condition, now: Timestamp) -> Observed {
        match condition {
            Condition::DaemonPodReady { namespace, node, .. } => {
                let request = ListRequest { namespace: Some(namespace.clone()), ..pods_on(node) };
                let pods = self.list(&request, now).await;
                pods_of(&snapshot([pods], now), now)
            }
            Condition::PodsSettled { node, .. } => {
                let pods = self.list(&pods_on(node), now).await;
                pods_of(&snapshot([pods], now), now)
            }
            Condition::CniCredentialsAccepted { node } => self.credentials(node, now).await,
            Condition::NodeNetworkReady { node } => {
                let (found, host) = tokio::join!(self.node(node), self.host(node, now));
                Observed { node: found, host, ..Observed::nothing(now) }
            }
            Condition::CalicoConfigurationFirst { node }
            | Condition::ConfigurationGone { node, .. } => {
                Observed { host: self.host(node, now).await, ..Observed::nothing(now) }
            }
            // calico-node mounts neither the plugins nor the runtime's socket.
            Condition::CniBinariesPresent { node, .. } | Condition::SandboxesGone { node, .. } => {
                Observed { host: self.seen_from_host(node).await, ..Observed::nothing(now) }
            }
            Condition::ResiduesGone { node, .. } => {
                Observed { residues: self.residues(node).await, ..Observed::nothing(now) }
            }
            Condition::ObjectGone { object, .. } => {
                Observed { object_uid: self.uid(object).await, ..Observed::nothing(now) }
            }
            Condition::Patched { object, .. } => {
                Observed { object: self.object(object).await, ..Observed::nothing(now) }
            }
            Condition::NodeSchedulable { node, .. } => {
                Observed { node: self.node(node).await, ..Observed::nothing(now) }
            }
            Condition::PodsStopped { pods, .. } => {
                let lingering = stopping(self.cluster, pods).await;
                Observed { lingering, ..Observed::nothing(now) }
            }
            Condition::PodsEnding { pods } | Condition::PodsGone { pods } => {
                let lingering = lingering(self.cluster, pods).await;
                Observed { lingering, ..Observed::nothing(now) }
            }
            Condition::BackedUp { node, directory } => {
                Observed { backup: backup::look(directory, node), ..Observed::nothing(now) }
            }
            Condition::IpamChanged { change } => {
                let left = Box::pin(super::ipam::left(self.cluster, change)).await;
                Observed { left_of_ipam: left, ..Observed::nothing(now) }
            }
            Condition::RolledOut { .. }
            | Condition::EndpointInUse { .. }
            | Condition::OnDataPlane { .. }
            | Condition::KubeProxyRulesGone { .. }
            | Condition::KubeProxyRulesKept { .. }
            | Condition::NoPods { .. }
            | Condition::ProofCleared { .. } => {
                let looking = Box::pin(super::ebpf::observe::observe(self.cluster, condition, now));
                let seen = looking.await;
                seen.unwrap_or_else(|| Observed::nothing(now))
            }
        }
    }

    /// The uid of what has the object's name now.
    async fn uid(&self, object: &ObjectRef) -> Known<String> {
        let uid = |value: Value| {
            let uid = value.pointer("/metadata/uid").and_then(Value::as_str);
            uid.unwrap_or_default().to_owned()
        };
        self.object(object).await.map(uid)
    }

    /// What has the object's name now.
    async fn object(&self, object: &ObjectRef) -> Known<Value> {
        match self.cluster.get_json(object).await {
            Ok(None) => Known::Absent,
            Ok(Some(value)) => Known::Known(value),
            Err(error) => Known::Unknown(gap(&describe::object(object), &error)),
        }
    }

    /// The node's credentials, and what the cluster would accept.
    async fn credentials(&self, node: &str, now: Timestamp) -> Observed {
        let host = self.host(node, now).await;
        let mut seen = Observed { host, ..Observed::nothing(now) };
        let Some(file) = seen.host.known().and_then(|it| it.cni_kubeconfig.known()) else {
            return seen;
        };
        let account = file.token.known().and_then(|token| token.namespace.clone());
        let accounts = ListRequest {
            namespace: account.clone(),
            ..ListRequest::all(Resource::new("serviceaccounts", ""), "v1")
        };
        let namespace = account.as_deref().unwrap_or(MANIFEST_NAMESPACE);
        let (accounts, ca, keys) = tokio::join!(
            self.list(&accounts, now),
            self.root_ca(namespace, now),
            self.signing_keys(now)
        );
        seen.credentials = snapshot([accounts, ca, keys], now).credentials_for(file);
        seen
    }

    /// What the probe sees from the node's calico-node pod, else from the node's host.
    async fn host(&self, node: &str, now: Timestamp) -> Known<HostFacts> {
        match self.seen_from_calico_node(node, now).await {
            Known::Unknown(gap) => match self.seen_from_host(node).await {
                Known::Unknown(other) if other.why == GapReason::NotAsked => Known::Unknown(gap),
                seen => seen,
            },
            seen => seen,
        }
    }

    async fn seen_from_host(&self, node: &str) -> Known<HostFacts> {
        match self.hosts.probe(node).await {
            Ok(body) => Known::Known(HostFacts::from_probe(node, &body).0),
            Err(gap) => Known::Unknown(gap),
        }
    }

    async fn residues(&self, node: &str) -> Known<ResidueFacts> {
        match self.hosts.residues(node).await {
            Ok(body) => Known::Known(ResidueFacts::from_scan(node, &body)),
            Err(gap) => Known::Unknown(gap),
        }
    }

    async fn seen_from_calico_node(&self, node: &str, now: Timestamp) -> Known<HostFacts> {
        let request =
            ListRequest { label_selector: Some(CALICO_NODE_SELECTOR.to_owned()), ..pods_on(node) };
        let seen = snapshot([self.list(&request, now).await], now);
        let path = RecordKey::Probe(node.to_owned()).path();
        if let Known::Unknown(gap) = seen.pods.get() {
            return Known::Unknown(gap);
        }
        let running = |pod: &&crate::slim::Pod| pod.status.phase == "Running";
        let Some(pod) = seen.calico_node_on(node).filter(running) else {
            let detail = "no calico-node pod runs on the node";
            return Known::Unknown(Gap::new(path, GapReason::Unreachable, detail));
        };
        match node::probe(self.cluster, pod).await {
            Ok(body) => Known::Known(HostFacts::from_probe(node, &body).0),
            Err(error) => Known::Unknown(gap(&path, &error)),
        }
    }

    async fn node(&self, name: &str) -> Known<Node> {
        let object = ObjectRef {
            group: String::new(),
            version: "v1".to_owned(),
            plural: "nodes".to_owned(),
            namespace: String::new(),
            name: name.to_owned(),
        };
        match self.cluster.get_json(&object).await {
            Ok(None) => Known::Absent,
            Ok(Some(value)) => Node::deserialize(&value).map_or_else(
                |error| {
                    let why = GapReason::Undecodable;
                    Known::Unknown(Gap::new(format!("node {name}"), why, error.to_string()))
                },
                Known::Known,
            ),
            Err(error) => Known::Unknown(gap(&format!("node {name}"), &error)),
        }
    }

    async fn list(&self, request: &ListRequest, at: Timestamp) -> Answer {
        let key = RecordKey::List(request.resource.clone());
        let mut pages: Vec<Page> = Vec::new();
        let listed = self
            .cluster
            .list(request, &mut |page| {
                if page.is_first {
                    pages.clear();
                }
                pages.push(page);
            })
            .await;
        if let Err(error) = listed {
            return Err(gap(&key.path(), &error));
        }
        let record = |page: Page| Record {
            key: key.clone(),
            body: page.body,
            at,
            from: Provenance::Api(request.path()),
            extent: Extent {
                selector: request.selector(),
                resource_version: page.resource_version,
                ..Extent::default()
            },
        };
        Ok(pages.into_iter().map(record).collect())
    }

    /// The cluster's CA, as every namespace has it. It is read by its name, as whoever collects reads it: the right to list
    /// `ConfigMap`s is not needed.
    async fn root_ca(&self, namespace: &str, at: Timestamp) -> Answer {
        let scope = ListRequest {
            namespace: Some(namespace.to_owned()),
            field_selector: Some(format!("metadata.name={ROOT_CA_CONFIG_MAP}")),
            ..ListRequest::all(Resource::new("configmaps", ""), "v1")
        };
        let path = format!("{}/{ROOT_CA_CONFIG_MAP}", scope.path());
        let key = RecordKey::List(scope.resource.clone());
        let item = match self.cluster.get_raw(&path).await {
            Ok(body) => body,
            Err(error) if error.is_not_found() => Vec::new(),
            Err(error) => return Err(gap(&key.path(), &error)),
        };
        let body = [br#"{"kind":"List","items":["#.as_slice(), &item, b"]}"].concat();
        let extent = Extent { selector: scope.selector(), ..Extent::default() };
        Ok(vec![Record { key, body, at, from: Provenance::Api(path), extent }])
    }

    async fn signing_keys(&self, at: Timestamp) -> Answer {
        let key = RecordKey::Api(SIGNING_KEYS_PATH.to_owned());
        match self.cluster.get_raw(SIGNING_KEYS_PATH).await {
            Ok(body) => {
                let from = Provenance::Api(SIGNING_KEYS_PATH.to_owned());
                Ok(vec![Record { key, body, at, from, extent: Extent::default() }])
            }
            Err(error) => Err(gap(&key.path(), &error)),
        }
    }
}

/// Records, or why there are none.
type Answer = Result<Vec<Record>, Gap>;

fn snapshot(answers: impl IntoIterator<Item = Answer>, now: Timestamp) -> Snapshot {
    let mut builder = SnapshotBuilder::new();
    for answer in answers {
        match answer {
            Ok(records) => records.iter().for_each(|record| builder.record(record)),
            Err(gap) => builder.gap(gap),
        }
    }
    builder.finish(now)
}

fn pods_of(snapshot: &Snapshot, now: Timestamp) -> Observed {
    // A pod that could not be decoded would look like one that is gone.
    let pods = match &snapshot.pods.gap {
        Some(gap) => Known::Unknown(gap.clone()),
        None => snapshot.pods.get().map(<[_]>::to_vec),
    };
    Observed { pods, ..Observed::nothing(now) }
}

fn pods_on(node: &str) -> ListRequest {
    ListRequest {
        field_selector: Some(format!("spec.nodeName={node}")),
        ..ListRequest::all(Resource::new("pods", ""), "v1")
    }
}

fn gap(what: &str, error: &ApiError) -> Gap {
    Gap::new(what, error.gap_reason(), error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{PodRef, Verdict, judge};

    fn pods_record(items: &str) -> Vec<Record> {
        let request = pods_on("node2");
        vec![Record {
            key: RecordKey::List(request.resource.clone()),
            body: format!("{{\"kind\":\"PodList\",\"items\":[{items}]}}").into_bytes(),
            at: Timestamp::UNIX_EPOCH,
            from: Provenance::Api(request.path()),
            extent: Extent { selector: request.selector(), ..Extent::default() },
        }]
    }

    fn settled(answer: Answer) -> Verdict {
        let now = Timestamp::UNIX_EPOCH;
        let pod = PodRef { namespace: "shop".into(), name: "web".into(), uid: "u1".into() };
        let condition = Condition::PodsSettled { node: "node2".into(), pods: vec![pod] };
        judge(&condition, &pods_of(&snapshot([answer], now), now))
    }

    #[test]
    fn an_empty_list_of_a_node_proves_that_its_pods_are_gone() {
        assert_eq!(settled(Ok(pods_record(""))), Verdict::Met);
        let hung = r#"{"metadata":{"namespace":"shop","name":"web","uid":"u1"},"status":{"phase":"Pending"}}"#;
        assert!(matches!(settled(Ok(pods_record(hung))), Verdict::NotYet(_)));
    }

    #[test]
    fn what_could_not_be_read_proves_nothing() {
        let forbidden = Err(Gap::new("cluster/pods.json", GapReason::Forbidden, "forbidden"));
        assert!(matches!(settled(forbidden), Verdict::Forbidden(_)));
        let late = Err(Gap::new("cluster/pods.json", GapReason::TimedOut, "no answer"));
        assert!(matches!(settled(late), Verdict::NotYet(_)));
        // A pod that makes no sense may be the one that hangs.
        assert!(matches!(settled(Ok(pods_record(r#"{"metadata":7}"#))), Verdict::NotYet(_)));
    }
}
