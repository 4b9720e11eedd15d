//! Asks the API server whether it would accept the steps of a plan. Its admission speaks to each, and it carries out none.

use std::time::Duration;

use super::change_object::{Change, change};
use super::cluster_operations::deleted;
use super::pods::{Farewell, Wish};
use super::{PerformError, Performed, StopSwitch, Underway, ebpf, ipam};
use crate::cluster::{Cluster, Write};
use crate::plan::{Action, Answer, DEFAULT_PARALLEL, Plan, Rehearsed};

/// Asks about every step, one after another, as the cluster is now: no step sees what those before it would have changed.
/// `writer` is the plugin's name, as for [`super::ClusterOperations::written_by`].
pub async fn rehearse(cluster: &Cluster, plan: &Plan, writer: &str) -> Vec<Rehearsed> {
    let (_switch, stop) = StopSwitch::new();
    let mut all = Vec::new();
    for step in &plan.steps {
        let underway = Underway::new(&stop);
        let (answer, said) = match ask(cluster, &step.action, writer, &underway).await {
            None => (Answer::NotAsked, None),
            Some(Ok(Performed::Acted)) => (Answer::Accepted, None),
            Some(Ok(Performed::ActedExcept(left))) => (Answer::Accepted, Some(left)),
            Some(Ok(Performed::AlreadyRight(why))) => (Answer::NothingToDo, Some(why)),
            Some(Err(error)) => (Answer::Refused, Some(error.to_string())),
        };
        all.push(Rehearsed { step: step.id.clone(), title: step.title.clone(), answer, said });
    }
    all
}

/// None when the action is no request to the API server.
async fn ask(
    cluster: &Cluster,
    action: &Action,
    writer: &str,
    underway: &Underway<'_>,
) -> Option<Result<Performed, PerformError>> {
    let farewell = |wish| Farewell::new(cluster, wish, underway).rehearsing();
    Some(match action {
        Action::Delete { object, uid } => deleted(cluster.delete(object, uid, true).await, object),
        Action::Patch { object, uid, patch, subresource } => {
            let it = Change { object, uid, patch, subresource: subresource.as_deref() };
            change(cluster, &it, Write { dry_run: true, ..Write::by(writer) }).await
        }
        Action::Evict { pods, grace_seconds, .. } => {
            // A budget that lets nobody go now is told, not waited for.
            let wish = Wish::Evict { grace_seconds: *grace_seconds, within: Duration::ZERO };
            farewell(wish).to(pods, DEFAULT_PARALLEL).await
        }
        Action::DeletePods { pods, grace_seconds, max_parallel } => {
            let wish = Wish::Delete { grace_seconds: *grace_seconds };
            farewell(wish).to(pods, *max_parallel).await
        }
        Action::Create { object, manifest } => {
            let write = Write { dry_run: true, ..Write::by(writer) };
            ebpf::create(cluster, object, manifest, write).await
        }
        Action::DeleteCreated { object, manifest } => {
            ebpf::delete_created(cluster, object, manifest, true).await
        }
        Action::Ipam { change } => {
            let write = Write { dry_run: true, ..Write::by(writer) };
            Box::pin(ipam::perform(cluster, change, write, underway)).await
        }
        Action::Sequence { actions } => return sequence(cluster, actions, writer, underway).await,
        Action::OnHost { .. }
        | Action::BackUp { .. }
        | Action::RestartPods { .. }
        | Action::ProveServices { .. }
        | Action::Hold { .. } => return None,
    })
}

/// What the server says to all of them; the first that it would refuse counts.
async fn sequence(
    cluster: &Cluster,
    actions: &[Action],
    writer: &str,
    underway: &Underway<'_>,
) -> Option<Result<Performed, PerformError>> {
    let mut ended = None;
    for action in actions {
        // No sequence holds another.
        match Box::pin(ask(cluster, action, writer, underway)).await {
            Some(Ok(Performed::AlreadyRight(_))) if ended.is_some() => {}
            Some(Err(error)) => return Some(Err(error)),
            Some(said) => ended = Some(said),
            None => {}
        }
    }
    ended
}

#[cfg(test)]
mod tests {
    use Answer::{Accepted, NotAsked, NothingToDo};

    use super::*;
    use crate::cluster::test_server::{Asked, Reply, TestServer};
    use crate::plan::{
        Applicability, JsonPatch, ObjectRef, PlanId, PodRef, Step, StepId, Target, Undo,
    };

    fn plan(actions: Vec<Action>) -> Plan {
        let step = |(n, action)| Step {
            id: StepId(format!("s{n}")),
            title: format!("step {n}"),
            node: None,
            action,
            guards: Vec::new(),
            undo: Undo::NotNeeded { why: "a test".into() },
            verify: Vec::new(),
            after: Vec::new(),
            resolves: Vec::new(),
            applicability: Applicability::Ask,
        };
        Plan {
            id: PlanId("P".into()),
            made_by: "test".into(),
            target: Target {
                cluster_uid: "c".into(),
                context: "c".into(),
                cluster_name: "c".into(),
                server: "s".into(),
                user: "u".into(),
            },
            taken: jiff::Timestamp::UNIX_EPOCH,
            steps: actions.into_iter().enumerate().map(step).collect(),
            left_out: Vec::new(),
            max_failures: 1,
        }
    }

    fn pods() -> Vec<PodRef> {
        let pod = |n: usize| PodRef {
            namespace: "shop".into(),
            name: format!("web-{n}"),
            uid: format!("u{n}"),
        };
        (0..2).map(pod).collect()
    }

    fn actions() -> Vec<Action> {
        let node = || ObjectRef {
            group: String::new(),
            version: "v1".into(),
            plural: "nodes".into(),
            namespace: String::new(),
            name: "n1".into(),
        };
        let patch = |to: Option<bool>| {
            let from = to.is_none().then(|| true.into());
            JsonPatch::default().change("/spec/unschedulable", from, to.map(Into::into))
        };
        let patched = |to| Action::Patch {
            object: node(),
            uid: "u1".into(),
            patch: patch(to),
            subresource: None,
        };
        vec![
            patched(Some(true)),
            Action::Evict { pods: pods(), grace_seconds: None, within_seconds: 600 },
            Action::DeletePods { pods: pods(), grace_seconds: None, max_parallel: 4 },
            Action::BackUp { node: "n1".into(), directory: "/d".into() },
            Action::Delete { object: node(), uid: "u1".into() },
            patched(None),
        ]
    }

    /// Every request that would change something says that it must not.
    fn only_tries(asked: &Asked) -> bool {
        asked.line.starts_with("GET")
            || asked.line.contains("dryRun=All")
            || asked.body.contains(r#""dryRun":["All"]"#)
    }

    async fn answers(
        answer: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static,
    ) -> (Vec<Rehearsed>, Vec<Asked>) {
        let server = TestServer::start(answer).await;
        let cluster = server.cluster(Duration::from_secs(5)).await;
        let said = rehearse(&cluster, &plan(actions()), "kubectl-calico-purge").await;
        (said, server.asked())
    }

    const NODE: &str = r#"{"metadata":{"uid":"u1","resourceVersion":"7"},"spec":{}}"#;

    #[tokio::test]
    async fn each_request_is_only_tried() {
        let (said, asked) = answers(|_, _| Reply::Body(200, NODE.into())).await;
        let got: Vec<Answer> = said.iter().map(|it| it.answer).collect();
        assert_eq!(got, [Accepted, Accepted, Accepted, NotAsked, Accepted, NothingToDo]);
        assert_eq!(said[0].title, "step 0");
        assert!(asked.iter().all(only_tries), "{asked:?}");
        let count = |word: &str| asked.iter().filter(|it| it.line.starts_with(word)).count();
        assert_eq!((count("PATCH"), count("POST"), count("DELETE")), (1, 2, 3));
        let evicted = asked.iter().find(|it| it.line.starts_with("POST")).unwrap();
        assert!(evicted.line.contains("dryRun=All"), "admission must know it: {evicted:?}");
    }

    #[tokio::test]
    async fn what_the_server_objects_to_is_told_and_the_rest_is_asked_all_the_same() {
        let (said, _) = answers(|_, asked| match asked.line.split(' ').next() {
            Some("GET") => Reply::Body(200, NODE.into()),
            Some("PATCH") => Reply::Body(
                403,
                r#"{"message":"admission webhook \"policy\" denied the request"}"#.into(),
            ),
            Some("POST") => Reply::Body(
                429,
                r#"{"details":{"causes":[{"reason":"DisruptionBudget","message":"needs 2"}]}}"#
                    .into(),
            ),
            _ => Reply::Body(200, "{}".into()),
        })
        .await;
        let refused = |at: usize, words: &str| {
            let it = &said[at];
            let why = it.said.clone().unwrap_or_default();
            assert!(it.answer == Answer::Refused && why.contains(words), "{it:?}");
        };
        refused(0, "admission webhook");
        refused(1, "needs 2");
        assert_eq!(said[2].answer, Answer::Accepted);
    }
}
