//! The order of questions to a living cluster.

use futures::stream::{self, StreamExt};
use serde::Deserialize;

use super::ask::{Answer, Ask};
use super::probes;
use super::want::Addresses;
use super::{HostProbes, Progress, Want, addresses};
use crate::calico::names::{
    CRD_GROUP, LEASE_NAME, LEASE_NAMESPACE, MANIFEST_NAMESPACE, OPERATOR_NAMESPACE,
    ROOT_CA_CONFIG_MAP, V3_GROUP,
};
use crate::cluster::{ApiError, Cluster, ListRequest};
use crate::node::pod::NodePodError;
use crate::snapshot::{
    Gap, GapReason, Known, RecordKey, Resource, Sink, Snapshot, SnapshotBuilder,
};

/// Requests under way at once.
const CONCURRENCY: usize = 8;

/// Path that lists the served API groups.
const API_GROUPS: &str = "/apis";

/// Calico's workloads, by the label that every install method gives them.
const CALICO_LABEL: &str = "k8s-app in (calico-node,calico-kube-controllers,calico-typha,canal)";

/// Reasons of the events that matter; the API knows no "or", so each is a list of its own.
const EVENT_REASONS: [&str; 5] =
    ["FailedCreatePodSandBox", "FailedKillPod", "SandboxChanged", "Unhealthy", "NetworkNotReady"];

/// How the collection went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The API server did not answer, or does not accept the user at all: nothing else was asked.
    pub unreachable: Option<ApiError>,
    /// Nodes on which the probe was run.
    pub probed: usize,
    /// Hosts that were to be looked at and could not be, sorted by node.
    pub missed: Vec<MissedHost>,
}

/// A host that was to be looked at, and what stood in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissedHost {
    /// The node.
    pub node: String,
    /// Why.
    pub why: NodePodError,
}

/// Reads what is wanted from a living cluster and pours it into `sink`: records and gaps, in a stable order. It creates
/// nothing, and may be dropped at any point.
pub async fn collect_live(
    cluster: &Cluster,
    want: Want,
    sink: &mut dyn Sink,
    progress: &dyn Progress,
) -> Outcome {
    collect(cluster, want, None, sink, progress).await
}

/// As [`collect_live`], and looks at hosts through node pods. It may be dropped at any point, too, but only closing the
/// pods' owner deletes them.
pub async fn collect_with_hosts(
    cluster: &Cluster,
    want: Want,
    hosts: &HostProbes,
    sink: &mut dyn Sink,
    progress: &dyn Progress,
) -> Outcome {
    collect(cluster, want, Some(hosts), sink, progress).await
}

async fn collect(
    cluster: &Cluster,
    want: Want,
    hosts: Option<&HostProbes>,
    sink: &mut dyn Sink,
    progress: &dyn Progress,
) -> Outcome {
    progress.stage("asking the API server for its version", None);
    let version = Ask::Raw("/version").send(cluster).await;
    if let Some(error) = version.error.clone().filter(ApiError::is_fatal) {
        version.pour(sink);
        progress.done();
        return Outcome { unreachable: Some(error), ..Outcome::default() };
    }
    // A second picture, of lists only, tells what else to ask.
    let mut draft = Draft { sink, builder: SnapshotBuilder::new() };
    version.pour(&mut draft);
    progress.stage("reading the cluster", None);
    if want.addresses != Addresses::None {
        let served = Groups::of(&[Ask::Raw(API_GROUPS).send(cluster).await]);
        // Boxed: few looks need it, and it is large.
        let reading =
            addresses::collect(cluster, want.addresses, want.pods, served, draft.sink, progress);
        Box::pin(reading).await;
    }
    let answers = all(cluster, first_questions(want), progress).await;
    let groups = Groups::of(&answers);
    for answer in answers {
        answer.pour(&mut draft);
    }
    let Draft { sink, builder } = draft;
    let seen = builder.finish(cluster.now());
    for answer in all(cluster, second_questions(want, &seen, groups), progress).await {
        answer.pour(sink);
    }
    not_served(want, groups, sink);
    let mut probed = 0;
    let mut missed = Vec::new();
    if want.probes {
        for mut answer in probes::run(cluster, &seen, hosts, progress).await {
            probed += usize::from(answer.text.is_some());
            missed.extend(answer.missed.take());
            answer.pour(sink);
        }
    }
    progress.done();
    Outcome { unreachable: None, probed, missed }
}

/// Pours into the caller's sink and into a picture of our own.
struct Draft<'a> {
    sink: &'a mut dyn Sink,
    builder: SnapshotBuilder,
}

impl Sink for Draft<'_> {
    fn record(&mut self, record: &crate::snapshot::Record) {
        self.sink.record(record);
        self.builder.record(record);
    }

    fn gap(&mut self, gap: Gap) {
        self.sink.gap(gap.clone());
        self.builder.gap(gap);
    }
}

/// Asks all questions, a few at a time; the answers come in the order of the questions.
async fn all(cluster: &Cluster, questions: Vec<Ask>, progress: &dyn Progress) -> Vec<Answer> {
    let ask = |question: Ask| async move {
        let answer = question.send(cluster).await;
        progress.step(&question.describe());
        answer
    };
    stream::iter(questions.into_iter().map(ask)).buffered(CONCURRENCY).collect().await
}

fn first_questions(want: Want) -> Vec<Ask> {
    let mut questions = vec![
        Ask::Raw(API_GROUPS),
        Ask::One {
            resource: Resource::new("namespaces", ""),
            version: "v1",
            namespace: String::new(),
            name: MANIFEST_NAMESPACE,
        },
    ];
    if want.pods && want.addresses == Addresses::None {
        questions.push(Ask::all("pods", "", "v1"));
    }
    if want.lease {
        // A run of this tool that changes the cluster holds it.
        questions.push(Ask::One {
            resource: Resource::new("leases", "coordination.k8s.io"),
            version: "v1",
            namespace: LEASE_NAMESPACE.to_owned(),
            name: LEASE_NAME,
        });
    }
    if want.nodes {
        questions.push(Ask::all("nodes", "", "v1"));
    }
    if want.events {
        let event = |reason: &&str| Ask::by_field("events", "", "v1", format!("reason={reason}"));
        questions.extend(EVENT_REASONS.iter().map(event));
    }
    // Probes need to know where Calico is.
    if want.install || want.probes || want.credentials {
        questions.push(Ask::labelled("daemonsets", "apps", "v1", CALICO_LABEL));
        questions.push(Ask::labelled("deployments", "apps", "v1", CALICO_LABEL));
        let operator = "metadata.name=tigera-operator".to_owned();
        questions.push(Ask::by_field("deployments", "apps", "v1", operator));
    }
    if want.credentials {
        questions.push(Ask::Raw("/openid/v1/jwks"));
    }
    questions
}

/// What depends on where Calico is and which API group holds its objects.
fn second_questions(want: Want, seen: &Snapshot, groups: Groups) -> Vec<Ask> {
    let mut questions = Vec::new();
    if want.credentials {
        for namespace in calico_namespaces(seen) {
            let accounts = ListRequest::all(Resource::new("serviceaccounts", ""), "v1");
            questions
                .push(Ask::List(ListRequest { namespace: Some(namespace.clone()), ..accounts }));
            questions.push(Ask::One {
                resource: Resource::new("configmaps", ""),
                version: "v1",
                namespace,
                name: ROOT_CA_CONFIG_MAP,
            });
        }
    }
    if want.install {
        if groups.crd {
            questions.push(Ask::all("clusterinformations", CRD_GROUP, "v1"));
            questions.push(Ask::all("ippools", CRD_GROUP, "v1"));
        }
        if groups.v3 && !groups.crd {
            questions.push(Ask::all("clusterinformations", V3_GROUP, "v3"));
            questions.push(Ask::all("ippools", V3_GROUP, "v3"));
        }
        // Both groups are served: by Calico's own API server, or because a migration is under way.
        if groups.v3 && groups.crd {
            questions.push(Ask::One {
                resource: Resource::new("customresourcedefinitions", "apiextensions.k8s.io"),
                version: "v1",
                namespace: String::new(),
                name: "clusterinformations.projectcalico.org",
            });
        }
    }
    questions
}

/// Namespaces of calico-node; those that install methods use when there is none to be seen.
fn calico_namespaces(seen: &Snapshot) -> Vec<String> {
    match &seen.install {
        Known::Known(install) => install.namespaces.clone(),
        Known::Absent | Known::Unknown(_) => {
            let mut namespaces: Vec<_> =
                seen.calico_node_pods().map(|pod| pod.metadata.namespace.clone()).collect();
            if namespaces.is_empty() {
                namespaces = vec![OPERATOR_NAMESPACE.to_owned(), MANIFEST_NAMESPACE.to_owned()];
            }
            namespaces.sort();
            namespaces.dedup();
            namespaces
        }
    }
}

/// Which groups of Calico the server serves. When it does not say, the usual one is tried.
#[derive(Clone, Copy)]
pub(super) struct Groups {
    pub(super) crd: bool,
    pub(super) v3: bool,
}

impl Groups {
    fn of(answers: &[Answer]) -> Self {
        let apis = RecordKey::Api(API_GROUPS.to_owned());
        let body = answers.iter().flat_map(|answer| &answer.records).find(|it| it.key == apis);
        match body.and_then(|record| serde_json::from_slice::<GroupList>(&record.body).ok()) {
            Some(list) => {
                let serves = |name: &str| list.groups.iter().any(|group| group.name == name);
                Self { crd: serves(CRD_GROUP), v3: serves(V3_GROUP) }
            }
            None => Self { crd: true, v3: false },
        }
    }
}

/// Answer of [`API_GROUPS`].
#[derive(Deserialize)]
struct GroupList {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
}

/// Without either group there is nothing to ask for, which is a fact of its own.
fn not_served(want: Want, groups: Groups, sink: &mut dyn Sink) {
    if !want.install || groups.crd || groups.v3 {
        return;
    }
    for plural in ["clusterinformations", "ippools"] {
        let path = RecordKey::List(Resource::new(plural, CRD_GROUP)).path();
        let detail = format!("the API server serves no group {CRD_GROUP}");
        sink.gap(Gap::new(path, GapReason::NotServed, detail));
    }
}
