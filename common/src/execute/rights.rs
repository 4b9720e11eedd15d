//! What the steps of a plan take of the API server, asked before the first of them: a run that ends half way for lack of a
//! right leaves half of the work, a node cordoned or a DaemonSet changed.
//!
//! Node pods are not among it. Whoever makes one asks by itself, and so does whoever takes the Lease.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};

use super::ipam;
use super::observe_pods::FEW;
use crate::cluster::{Cluster, Question};
use crate::plan::{Action, Condition, Guard, ObjectRef, PodRef, Step};

/// Questions under way at once.
const CONCURRENCY: usize = 8;

/// What carrying out these steps takes, sorted.
pub fn of_steps<'a>(steps: impl IntoIterator<Item = &'a Step>) -> BTreeSet<Question> {
    let mut all = BTreeSet::new();
    for step in steps {
        of_action(&step.action, &mut all);
        step.guards.iter().for_each(|guard| of_guard(guard, &mut all));
        step.verify.iter().for_each(|it| of_condition(&it.condition, &mut all));
    }
    all
}

/// What taking these steps back takes, sorted.
pub fn of_undoing<'a>(steps: impl IntoIterator<Item = &'a Step>) -> BTreeSet<Question> {
    let mut all = BTreeSet::new();
    for action in steps.into_iter().filter_map(|step| step.undo.action()) {
        of_action(&action, &mut all);
    }
    all
}

/// Those of `wanted` that the API server denies, sorted. Where nobody answers, trying tells.
pub async fn denied(cluster: &Cluster, wanted: BTreeSet<Question>) -> BTreeSet<Question> {
    // Who may do something everywhere needs not be asked about each of a thousand namespaces.
    let everywhere = wanted.iter().filter(|it| it.name.is_empty()).map(in_all_namespaces);
    let narrower = refused(cluster, everywhere.collect()).await;
    let left = |it: &Question| !it.name.is_empty() || narrower.contains(&in_all_namespaces(it));
    refused(cluster, wanted.into_iter().filter(left).collect()).await
}

async fn refused(cluster: &Cluster, questions: BTreeSet<Question>) -> BTreeSet<Question> {
    let ask = |question: Question| async move {
        let answer = cluster.can_i(&question).await;
        (answer == Ok(false)).then_some(question)
    };
    let answers = stream::iter(questions.into_iter().map(ask)).buffer_unordered(CONCURRENCY);
    answers.filter_map(std::future::ready).collect().await
}

fn in_all_namespaces(question: &Question) -> Question {
    Question { namespace: String::new(), ..question.clone() }
}

fn of_action(action: &Action, all: &mut BTreeSet<Question>) {
    match action {
        Action::Delete { object, .. } => {
            all.insert(about("delete", object));
        }
        Action::Patch { object, subresource, .. } => {
            all.insert(about("get", object));
            let subresource = subresource.clone().unwrap_or_default();
            all.insert(Question { subresource, ..about("patch", object) });
        }
        Action::Evict { pods, .. } => {
            let eviction =
                |it| Question { subresource: "eviction".to_owned(), ..of_pods("create", it) };
            all.extend(namespaces(pods).into_iter().map(eviction));
        }
        Action::DeletePods { pods, .. } => {
            all.extend(namespaces(pods).into_iter().map(|it| of_pods("delete", it)));
        }
        Action::Create { object, .. } => {
            all.insert(about("get", object));
            // A creation has no name that anybody could be asked about.
            all.insert(Question { name: String::new(), ..about("create", object) });
        }
        Action::DeleteCreated { object, .. } => {
            all.extend(["get", "delete"].map(|verb| about(verb, object)));
        }
        Action::RestartPods { workload } => {
            all.insert(about("get", workload));
            all.extend(["list", "delete"].map(|verb| of_pods(verb, &workload.namespace)));
        }
        Action::ProveServices { proof } => of_proof(&proof.agent, all),
        Action::Ipam { change } => ipam::rights(change, all),
        Action::Hold { condition, .. } => of_condition(condition, all),
        Action::Sequence { actions } => actions.iter().for_each(|it| of_action(it, all)),
        Action::OnHost { .. } | Action::BackUp { .. } => {}
    }
}

/// A proof makes pods, a Service and an EndpointSlice beside calico-node, and runs commands in pods.
fn of_proof(agent: &ObjectRef, all: &mut BTreeSet<Question>) {
    let namespace = agent.namespace.as_str();
    all.insert(about("get", agent));
    for (group, resource) in
        [("", "pods"), ("", "services"), ("discovery.k8s.io", "endpointslices")]
    {
        for verb in ["create", "delete", "list"] {
            let group = group.to_owned();
            all.insert(Question {
                group,
                resource: resource.to_owned(),
                ..of_pods(verb, namespace)
            });
        }
    }
    let exec = Question { subresource: "exec".to_owned(), ..of_pods("get", namespace) };
    all.insert(exec);
}

fn of_guard(guard: &Guard, all: &mut BTreeSet<Question>) {
    match guard {
        Guard::SameUid { object, .. }
        | Guard::OwnerExists { object, .. }
        | Guard::ObjectAbsent { object } => {
            all.insert(about("get", object));
        }
        Guard::DatastoreReady { information } => {
            all.insert(about("get", information));
        }
        // Without it no plan could have been made.
        Guard::SameCluster { .. } => {}
    }
}

fn of_condition(condition: &Condition, all: &mut BTreeSet<Question>) {
    match condition {
        Condition::ObjectGone { object, .. } | Condition::Patched { object, .. } => {
            all.insert(about("get", object));
        }
        Condition::NodeSchedulable { node, .. } => {
            all.insert(about(
                "get",
                &ObjectRef {
                    group: String::new(),
                    version: "v1".to_owned(),
                    plural: "nodes".to_owned(),
                    namespace: String::new(),
                    name: node.clone(),
                },
            ));
        }
        Condition::PodsEnding { pods } | Condition::PodsGone { pods } => {
            for namespace in namespaces(pods) {
                let here = pods.iter().filter(|pod| pod.namespace == namespace).count();
                let verb = if here <= FEW { "get" } else { "list" };
                all.insert(of_pods(verb, namespace));
            }
        }
        Condition::RolledOut { workload, .. } => {
            all.insert(about("get", workload));
        }
        Condition::NoPods { workload } => {
            all.insert(about("get", workload));
            all.insert(of_pods("list", &workload.namespace));
        }
        Condition::EndpointInUse { agent, .. }
        | Condition::OnDataPlane { agent, .. }
        | Condition::KubeProxyRulesGone { agent, .. }
        | Condition::KubeProxyRulesKept { agent, .. } => {
            let namespace = agent.namespace.as_str();
            all.insert(about("get", agent));
            all.insert(of_pods("list", namespace));
            all.insert(Question { subresource: "exec".to_owned(), ..of_pods("get", namespace) });
        }
        // The rights of the action itself.
        Condition::ProofCleared { .. } | Condition::IpamChanged { .. } => {}
        // Their containers are in no list of metadata: each is asked for by its name.
        Condition::PodsStopped { pods, .. } => {
            all.extend(namespaces(pods).into_iter().map(|namespace| of_pods("get", namespace)));
        }
        // A look at Calico or at a host, as those are that the plan was made from.
        Condition::DaemonPodReady { .. }
        | Condition::CniCredentialsAccepted { .. }
        | Condition::NodeNetworkReady { .. }
        | Condition::PodsSettled { .. }
        | Condition::CniBinariesPresent { .. }
        | Condition::CalicoConfigurationFirst { .. }
        | Condition::ConfigurationGone { .. }
        | Condition::SandboxesGone { .. }
        | Condition::ResiduesGone { .. }
        | Condition::BackedUp { .. } => {}
    }
}

fn namespaces(pods: &[PodRef]) -> BTreeSet<&str> {
    pods.iter().map(|pod| pod.namespace.as_str()).collect()
}

fn about(verb: &str, object: &ObjectRef) -> Question {
    Question {
        verb: verb.to_owned(),
        group: object.group.clone(),
        resource: object.plural.clone(),
        subresource: String::new(),
        namespace: object.namespace.clone(),
        name: object.name.clone(),
    }
}

fn of_pods(verb: &str, namespace: &str) -> Question {
    Question {
        verb: verb.to_owned(),
        resource: "pods".to_owned(),
        namespace: namespace.to_owned(),
        ..Question::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::test_server::{Asked, Reply, TestServer};

    fn pod(namespace: &str, name: &str) -> PodRef {
        PodRef { namespace: namespace.into(), name: name.into(), uid: "u".into() }
    }

    fn node() -> ObjectRef {
        ObjectRef {
            group: String::new(),
            version: "v1".into(),
            plural: "nodes".into(),
            namespace: String::new(),
            name: "n1".into(),
        }
    }

    fn named(all: &BTreeSet<Question>) -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn actions_and_what_is_looked_at_around_them_are_asked_about() {
        let mut all = BTreeSet::new();
        let patch = Action::Patch {
            object: node(),
            uid: "u".into(),
            patch: crate::plan::JsonPatch::default(),
            subresource: Some("status".into()),
        };
        of_action(&patch, &mut all);
        of_guard(&Guard::ObjectAbsent { object: node() }, &mut all);
        assert_eq!(named(&all), ["get nodes n1", "patch nodes/status n1"]);

        let (few, many) = (vec![pod("shop", "a")], vec![pod("shop", "a"); FEW + 1]);
        let mut all = BTreeSet::new();
        of_action(
            &Action::Evict { pods: few.clone(), grace_seconds: None, within_seconds: 1 },
            &mut all,
        );
        of_condition(&Condition::PodsGone { pods: few }, &mut all);
        assert_eq!(
            named(&all),
            ["create pods/eviction in namespace shop", "get pods in namespace shop"]
        );
        let mut all = BTreeSet::new();
        of_condition(&Condition::PodsGone { pods: many }, &mut all);
        assert_eq!(named(&all), ["list pods in namespace shop"]);
    }

    /// Allows what is said about all namespaces, denies or does not answer the rest.
    fn answer(allowed: &'static str) -> impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static {
        move |_, asked| {
            let is = asked.body.contains(allowed);
            Reply::Body(200, format!(r#"{{"status":{{"allowed":{is}}}}}"#))
        }
    }

    fn deletions() -> BTreeSet<Question> {
        ["shop", "bank"].map(|it| of_pods("delete", it)).into()
    }

    #[tokio::test]
    async fn who_may_everywhere_is_asked_once_and_others_by_namespace() {
        let server = TestServer::start(answer(r#""namespace":"""#)).await;
        let cluster = server.cluster(Duration::from_secs(5)).await;
        assert!(denied(&cluster, deletions()).await.is_empty());
        assert_eq!(server.lines().len(), 1, "{:?}", server.lines());

        let server = TestServer::start(answer(r#""namespace":"shop""#)).await;
        let cluster = server.cluster(Duration::from_secs(5)).await;
        let no = denied(&cluster, deletions()).await;
        assert_eq!(named(&no), ["delete pods in namespace bank"]);
    }

    #[tokio::test]
    async fn where_nobody_answers_trying_tells() {
        let server = TestServer::start(|_, _| Reply::Body(403, "{}".into())).await;
        let cluster = server.cluster(Duration::from_secs(5)).await;
        assert!(denied(&cluster, deletions()).await.is_empty());
    }
}
