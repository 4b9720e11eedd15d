//! The executor's view of a real cluster: guards and actions by the API, work on hosts through whoever reaches them,
//! observations by the API, by the probe in the node's own calico-node pod, and from the host.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::change_object::{Change, change};
use super::hold::hold;
use super::hosts::{Hosts, NoHosts};
use super::observe::Observer;
use super::pods::{Farewell, Wish};
use super::prove::prove;
use super::{
    GuardFailure, ObserveError, Operations, PerformError, Performed, Prepared, Underway, backup,
    ebpf, ipam, kubeconfig, mirror,
};
use crate::cluster::{ApiError, Cluster, Unreachable, Write};
use crate::plan::{
    Action, Condition, DEFAULT_PARALLEL, FileContent, Guard, HostOperation, ObjectRef, Observed,
    PlanId, describe,
};
use crate::slim::Metadata;

/// Time between two tries while the API server is away.
const RETRY: Duration = Duration::from_secs(2);

/// Looks at a cluster and changes it.
#[derive(Debug)]
pub struct ClusterOperations<'a, H = NoHosts> {
    cluster: &'a Cluster,
    hosts: &'a H,
    field_manager: String,
    /// How long the API server may be away before a step that needs it fails.
    patience: Duration,
    /// Whether the journal is copied into the cluster.
    is_mirrored: bool,
}

impl<'a> ClusterOperations<'a> {
    /// Operations on this cluster, none on its hosts.
    pub fn new(cluster: &'a Cluster) -> Self {
        Self::with_hosts(cluster, &NoHosts)
    }
}

impl<'a, H: Hosts> ClusterOperations<'a, H> {
    /// Operations on this cluster and on its hosts.
    pub fn with_hosts(cluster: &'a Cluster, hosts: &'a H) -> Self {
        let field_manager = "kubectl-calico".to_owned();
        Self { cluster, hosts, field_manager, patience: Duration::ZERO, is_mirrored: false }
    }

    /// The same, noted by the API server as written by this program: `kubectl-calico-purge`. A version behind a slash, as
    /// plans have it, is left out: the server would take every version for another manager.
    #[must_use]
    pub fn written_by(self, made_by: &str) -> Self {
        let name = made_by.split('/').next().unwrap_or(made_by).to_owned();
        Self { field_manager: name, ..self }
    }

    /// The same, but an API server that is away for no longer than this fails no step.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The same, and the journal is copied into the cluster while it is not at its end.
    #[must_use]
    pub fn mirrored(self, is_mirrored: bool) -> Self {
        Self { is_mirrored, ..self }
    }

    /// As [`Self::single`], again while nobody answers.
    async fn patiently(
        &self,
        action: &Action,
        prepared: &Prepared,
        underway: &Underway<'_>,
    ) -> Result<Performed, PerformError> {
        let began = std::time::Instant::now();
        loop {
            match self.single(action, prepared, underway).await {
                Err(PerformError::Unsent(why)) if began.elapsed() < self.patience => {
                    underway.tell(format!("waiting for the API server: {why}"));
                    tokio::select! {
                        biased;
                        () = underway.stop().requested() => return Err(PerformError::Unsent(why)),
                        () = tokio::time::sleep(RETRY) => {}
                    }
                }
                ended => return ended,
            }
        }
    }

    /// What the file is to hold.
    async fn content(&self, node: &str, content: &FileContent) -> Result<Prepared, PerformError> {
        let bytes = match content {
            FileContent::Text { text } => text.clone().into_bytes(),
            FileContent::CniKubeconfig { server, namespace, service_account } => {
                kubeconfig::fresh(self.cluster, server, namespace, service_account).await?
            }
            FileContent::Binary { name, source } => self.hosts.binary(node, name, source).await?,
        };
        Ok(Prepared::content(bytes))
    }

    /// Every action but a sequence of them.
    async fn single(
        &self,
        action: &Action,
        prepared: &Prepared,
        underway: &Underway<'_>,
    ) -> Result<Performed, PerformError> {
        match action {
            Action::Delete { object, uid } => {
                deleted(self.cluster.delete(object, uid, false).await, object)
            }
            Action::OnHost { node, operation } => {
                self.hosts.operate(node, operation, prepared.bytes()).await
            }
            Action::Patch { object, uid, patch, subresource } => {
                let it = Change { object, uid, patch, subresource: subresource.as_deref() };
                change(self.cluster, &it, Write::by(&self.field_manager)).await
            }
            Action::Evict { pods, grace_seconds, within_seconds } => {
                let within = Duration::from_secs(*within_seconds);
                let wish = Wish::Evict { grace_seconds: *grace_seconds, within };
                Farewell::new(self.cluster, wish, underway).to(pods, DEFAULT_PARALLEL).await
            }
            Action::DeletePods { pods, grace_seconds, max_parallel } => {
                let wish = Wish::Delete { grace_seconds: *grace_seconds };
                Farewell::new(self.cluster, wish, underway).to(pods, *max_parallel).await
            }
            Action::Create { object, manifest } => {
                ebpf::create(self.cluster, object, manifest, Write::by(&self.field_manager)).await
            }
            Action::DeleteCreated { object, manifest } => {
                ebpf::delete_created(self.cluster, object, manifest, false).await
            }
            Action::RestartPods { workload } => ebpf::restart_pods(self.cluster, workload).await,
            Action::ProveServices { proof } => {
                let write = Write::by(&self.field_manager);
                Box::pin(prove(self.cluster, proof, write, underway)).await
            }
            Action::Hold { condition, seconds } => {
                let time = Duration::from_secs(*seconds);
                Box::pin(hold(self.cluster, self.hosts, (condition, time), underway)).await
            }
            Action::Ipam { change } => {
                let write = Write::by(&self.field_manager);
                Box::pin(ipam::perform(self.cluster, change, write, underway)).await
            }
            Action::Sequence { .. } => {
                Err(PerformError::Rejected("a sequence within a sequence".to_owned()))
            }
            Action::BackUp { node, directory } => {
                let archive = self.hosts.back_up(node).await?;
                let kept = backup::keep(directory, node, &archive);
                let why =
                    |error| PerformError::Rejected(format!("keep it in {directory}: {error}"));
                kept.map(|()| Performed::Acted).map_err(why)
            }
        }
    }

    async fn metadata(&self, object: &ObjectRef) -> Result<Option<Metadata>, GuardFailure> {
        let unreadable = |error: String| GuardFailure::Unreadable(error);
        let found = self.cluster.get_json(object).await.map_err(|it| unreadable(it.to_string()))?;
        found.map(|value| metadata_of(&value)).transpose().map_err(|error| {
            unreadable(format!(
                "get {}: the answer makes no sense: {error}",
                describe::object(object)
            ))
        })
    }
}

impl<H: Hosts> ClusterOperations<'_, H> {
    async fn looked_at(&self, guard: &Guard) -> Result<(), GuardFailure> {
        match guard {
            Guard::SameCluster { uid } => {
                let found = self.metadata(&kube_system()).await?;
                same_cluster(found.as_ref(), uid, &self.cluster.target_info().server)
            }
            Guard::SameUid { object, uid } => {
                same_uid(self.metadata(object).await?.as_ref(), object, uid)
            }
            Guard::OwnerExists { object, uid } => {
                owner_exists(self.metadata(object).await?.as_ref(), object, uid)
            }
            Guard::DatastoreReady { information } => {
                ipam::datastore_ready(self.cluster, information).await
            }
            Guard::ObjectAbsent { object } => match self.metadata(object).await? {
                None => Ok(()),
                Some(_) => Err(GuardFailure::Refused(format!(
                    "{} exists (again)",
                    describe::object(object)
                ))),
            },
        }
    }
}

impl<H: Hosts> Operations for ClusterOperations<'_, H> {
    async fn guard(&self, guard: &Guard) -> Result<(), GuardFailure> {
        let began = std::time::Instant::now();
        loop {
            match self.looked_at(guard).await {
                Err(GuardFailure::Unreadable(_)) if began.elapsed() < self.patience => {
                    tokio::time::sleep(RETRY).await;
                }
                answer => return answer,
            }
        }
    }

    async fn mirror(&self, run: &PlanId, journal: &Path) {
        if !self.is_mirrored {
            return;
        }
        let write = Write::by(&self.field_manager);
        if let Err(error) = mirror::write(self.cluster, run, journal, write).await {
            tracing::warn!("the journal of run {run} is not in the cluster: {error}");
        }
    }

    async fn prepare(&self, action: &Action) -> Result<Prepared, PerformError> {
        match action {
            Action::OnHost { node, operation: HostOperation::WriteFile { content, .. } } => {
                self.content(node, content).await
            }
            _ => Ok(Prepared::default()),
        }
    }

    async fn perform(
        &self,
        action: &Action,
        prepared: &Prepared,
        underway: &Underway<'_>,
    ) -> Result<Performed, PerformError> {
        let Action::Sequence { actions } = action else {
            return Box::pin(self.patiently(action, prepared, underway)).await;
        };
        let mut ended = Performed::AlreadyRight("all of it is so already".to_owned());
        for action in actions {
            match Box::pin(self.patiently(action, prepared, underway)).await {
                Ok(Performed::Acted) if matches!(ended, Performed::ActedExcept(_)) => {}
                Ok(it @ (Performed::Acted | Performed::ActedExcept(_))) => ended = it,
                Ok(Performed::AlreadyRight(_)) => {}
                // Refused means that nothing was changed, and a part of it was.
                Err(PerformError::Refused(why)) if !matches!(ended, Performed::AlreadyRight(_)) => {
                    return Err(PerformError::Rejected(why));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(ended)
    }

    async fn observe(&self, condition: &Condition) -> Result<Observed, ObserveError> {
        Ok(Observer::new(self.cluster, self.hosts).observe(condition, self.cluster.now()).await)
    }
}

/// The part of any object that guards read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AnyObject {
    metadata: Metadata,
}

fn metadata_of(value: &serde_json::Value) -> Result<Metadata, serde_json::Error> {
    AnyObject::deserialize(value).map(|it| it.metadata)
}

fn kube_system() -> ObjectRef {
    ObjectRef {
        group: String::new(),
        version: "v1".to_owned(),
        plural: "namespaces".to_owned(),
        namespace: String::new(),
        name: "kube-system".to_owned(),
    }
}

fn same_cluster(
    found: Option<&Metadata>,
    expected: &str,
    server: &str,
) -> Result<(), GuardFailure> {
    match found {
        Some(found) if found.uid == expected && !expected.is_empty() => Ok(()),
        _ => Err(GuardFailure::Refused(format!(
            "{server} is not the cluster that the plan was made for"
        ))),
    }
}

/// The object still is the one that was diagnosed; otherwise somebody was faster, and there is nothing to do.
fn same_uid(
    found: Option<&Metadata>,
    object: &ObjectRef,
    expected: &str,
) -> Result<(), GuardFailure> {
    let object = describe::object(object);
    match found {
        Some(found) if found.uid == expected => Ok(()),
        Some(_) => Err(GuardFailure::AlreadyRight(format!("{object} was replaced already"))),
        None => Err(GuardFailure::AlreadyRight(format!("{object} is gone already"))),
    }
}

fn owner_exists(
    found: Option<&Metadata>,
    object: &ObjectRef,
    expected: &str,
) -> Result<(), GuardFailure> {
    let object = describe::object(object);
    let refused = |what: &str| Err(GuardFailure::Refused(format!("{object} {what}")));
    match found {
        None => refused("no longer exists: nothing would put the pod back"),
        Some(found) if found.uid != expected => {
            refused("was recreated since the diagnosis; diagnose again")
        }
        Some(found) if found.deletion_timestamp.is_some() => {
            refused("is being deleted: nothing would put the pod back")
        }
        Some(_) => Ok(()),
    }
}

/// What a deletion's answer means.
pub(super) fn deleted(
    answer: Result<(), ApiError>,
    object: &ObjectRef,
) -> Result<Performed, PerformError> {
    let object = describe::object(object);
    match answer {
        Ok(()) => Ok(Performed::Acted),
        Err(ApiError::NotFound { .. }) => {
            Ok(Performed::AlreadyRight(format!("{object} is gone already")))
        }
        // The precondition was its uid: another pod has the name now.
        Err(ApiError::Conflict { .. }) => {
            Ok(Performed::AlreadyRight(format!("{object} was replaced already")))
        }
        Err(error) => Err(unsuccessful(&error)),
    }
}

/// What became of a request that changes something, and that did not succeed.
pub(super) fn unsuccessful(error: &ApiError) -> PerformError {
    match error {
        ApiError::Unreachable { .. } if was_not_carried_out(error) => {
            PerformError::Unsent(error.to_string())
        }
        error if was_not_carried_out(error) => PerformError::Rejected(error.to_string()),
        error => PerformError::Unclear(error.to_string()),
    }
}

/// The same of one that only reads.
pub(super) fn unread(error: &ApiError) -> PerformError {
    match error {
        ApiError::Unreachable { .. } | ApiError::TimedOut { .. } | ApiError::Busy { .. } => {
            PerformError::Unsent(error.to_string())
        }
        error => PerformError::Rejected(error.to_string()),
    }
}

/// True when the answer, or the way in which none came, proves that the server did not act.
pub(super) fn was_not_carried_out(error: &ApiError) -> bool {
    use Unreachable::{ConnectTimeout, Dns, NoRoute, Proxy, Refused};
    match error {
        ApiError::Forbidden { .. }
        | ApiError::Unauthorized { .. }
        | ApiError::Invalid { .. }
        | ApiError::CertificateNotTrusted { .. } => true,
        ApiError::Unreachable { how, .. } => {
            matches!(how, Refused | Dns | NoRoute | ConnectTimeout | Proxy)
        }
        // A webhook that fails closed is asked before anything is stored.
        ApiError::Other { message, .. } => message.contains("failed calling webhook"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn pod() -> ObjectRef {
        ObjectRef {
            plural: "pods".into(),
            namespace: "n".into(),
            name: "p".into(),
            ..kube_system()
        }
    }

    fn with_uid(uid: &str) -> Metadata {
        Metadata { uid: uid.into(), ..Metadata::default() }
    }

    #[test]
    fn only_the_cluster_of_the_plan_is_changed() {
        assert_eq!(same_cluster(Some(&with_uid("u1")), "u1", "s"), Ok(()));
        for (found, expected) in
            [(Some(with_uid("u2")), "u1"), (None, "u1"), (Some(with_uid("")), "")]
        {
            let refused = same_cluster(found.as_ref(), expected, "https://s");
            assert!(matches!(refused, Err(GuardFailure::Refused(_))), "{refused:?}");
        }
    }

    #[test]
    fn a_replaced_pod_is_right_already() {
        assert_eq!(same_uid(Some(&with_uid("u1")), &pod(), "u1"), Ok(()));
        let replaced = same_uid(Some(&with_uid("u2")), &pod(), "u1");
        assert_eq!(
            replaced,
            Err(GuardFailure::AlreadyRight("pod n/p was replaced already".into()))
        );
        assert!(matches!(same_uid(None, &pod(), "u1"), Err(GuardFailure::AlreadyRight(_))));
    }

    #[test]
    fn without_its_owner_no_pod_is_deleted() {
        assert_eq!(owner_exists(Some(&with_uid("u1")), &pod(), "u1"), Ok(()));
        let going = Metadata { deletion_timestamp: Some(Timestamp::UNIX_EPOCH), ..with_uid("u1") };
        for found in [None, Some(with_uid("u2")), Some(going)] {
            let refused = owner_exists(found.as_ref(), &pod(), "u1");
            assert!(matches!(refused, Err(GuardFailure::Refused(_))), "{refused:?}");
        }
    }

    #[test]
    fn an_answer_that_proves_nothing_is_unclear() {
        let (attempted, message, server) = (String::new(), String::new(), String::new());
        let said = |error: ApiError| deleted(Err(error), &pod());
        let gone =
            said(ApiError::NotFound { attempted: attempted.clone(), message: message.clone() });
        assert_eq!(gone, Ok(Performed::AlreadyRight("pod n/p is gone already".into())));
        let other =
            said(ApiError::Conflict { attempted: attempted.clone(), message: message.clone() });
        assert_eq!(other, Ok(Performed::AlreadyRight("pod n/p was replaced already".into())));
        let forbidden =
            said(ApiError::Forbidden { attempted: attempted.clone(), message: message.clone() });
        assert!(matches!(forbidden, Err(PerformError::Rejected(_))));
        let unreachable = |how| {
            let (attempted, server, message) = (attempted.clone(), server.clone(), message.clone());
            said(ApiError::Unreachable { attempted, server, how, message })
        };
        assert!(matches!(unreachable(Unreachable::Refused), Err(PerformError::Unsent(_))));
        assert!(matches!(unreachable(Unreachable::Reset), Err(PerformError::Unclear(_))));
        let late = said(ApiError::TimedOut {
            attempted: attempted.clone(),
            server: server.clone(),
            seconds: 30,
        });
        assert!(matches!(late, Err(PerformError::Unclear(_))));
        assert_eq!(deleted(Ok(()), &pod()), Ok(Performed::Acted));
    }
}
