//! What checks ask about calico-node on a node: whether it runs, and whether it would come up again.

use jiff::Timestamp;

use super::Context;
use crate::plan::RemedyName;
use crate::slim::Pod;

impl<'a> Context<'a> {
    /// The calico-node pod of `node`, when its main container runs.
    pub(super) fn running_calico_node(&self, node: &str) -> Option<&'a Pod> {
        let pod = self.snapshot.calico_node_on(node)?;
        let runs = pod.status.container_statuses.iter().any(|it| it.state.running.is_some());
        (runs && !pod.is_terminating()).then_some(pod)
    }

    /// Since when the main container of calico-node runs on `node`.
    pub(super) fn calico_node_runs_since(&self, node: &str) -> Option<Timestamp> {
        let pod = self.running_calico_node(node)?;
        let running =
            pod.status.container_statuses.iter().filter_map(|it| it.state.running.as_ref());
        running.filter_map(|it| it.started_at).max()
    }

    /// Whether calico-node would come up on `node` if its pod were deleted now; else why not.
    pub(super) fn calico_node_can_start(&self, node: &str) -> Result<(), String> {
        self.snapshot.calico_node_cannot_start(node).map_or(Ok(()), Err)
    }

    /// What rewrites a file that calico-node's init container writes: a restart where calico-node can start, else `instead`;
    /// and why a restart is of no use, if it is not. Where Calico is not installed there is nothing to rewrite.
    pub(super) fn rewriting(
        &self,
        node: &str,
        instead: RemedyName,
    ) -> (Option<RemedyName>, Option<String>) {
        match self.calico_node_can_start(node) {
            Ok(()) => (Some(RemedyName::RestartCalicoNode), None),
            Err(why) => {
                let installed = self.snapshot.install.known().is_some();
                (installed.then_some(instead), Some(why))
            }
        }
    }

    /// True when pods of the pod network have worked on `node`: something set them up.
    pub(super) fn has_had_a_network(&self, node: &str) -> bool {
        let named = self.snapshot.host(node).and_then(|facts| facts.nodename.as_ref());
        named.known().is_some()
            || self.snapshot.pods.items.iter().any(|pod| {
                pod.spec.node_name == node
                    && !pod.spec.host_network
                    && !pod.status.pod_ip.is_empty()
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slim::{ContainerState, ContainerStatus, DaemonSet, OwnerReference, StateDetail};
    use crate::snapshot::{Coverage, Listing, Snapshot, SnapshotBuilder};

    fn waiting(name: &str, reason: &str) -> ContainerStatus {
        ContainerStatus {
            name: name.into(),
            state: ContainerState {
                waiting: Some(StateDetail { reason: reason.into(), ..StateDetail::default() }),
                ..ContainerState::default()
            },
            ..ContainerStatus::default()
        }
    }

    fn cluster() -> Snapshot {
        let mut pod = Pod::default();
        pod.metadata.name = "calico-node-x".into();
        pod.metadata.namespace = "kube-system".into();
        pod.metadata.labels.insert("k8s-app".into(), "calico-node".into());
        pod.metadata.owner_references.push(OwnerReference {
            kind: "DaemonSet".into(),
            name: "calico-node".into(),
            uid: "uid-ds".into(),
            controller: true,
            ..OwnerReference::default()
        });
        pod.spec.node_name = "n1".into();
        let mut set = DaemonSet::default();
        set.metadata.uid = "uid-ds".into();
        let mut snapshot = SnapshotBuilder::new().finish(Timestamp::UNIX_EPOCH);
        snapshot.pods.items = vec![pod];
        snapshot.daemon_sets =
            Listing { items: vec![set], coverage: Coverage::All, ..Listing::default() };
        snapshot
    }

    fn can_start(snapshot: &Snapshot) -> Result<(), String> {
        Context { snapshot, now: snapshot.taken }.calico_node_can_start("n1")
    }

    #[test]
    fn a_pod_that_is_on_its_way_can_start() {
        let mut snapshot = cluster();
        assert_eq!(can_start(&snapshot), Ok(()));
        let status = &mut snapshot.pods.items[0].status;
        status.init_container_statuses = vec![waiting("install-cni", "PodInitializing")];
        status.container_statuses = vec![waiting("calico-node", "ContainerCreating")];
        assert_eq!(can_start(&snapshot), Ok(()));
    }

    #[test]
    fn what_cannot_come_up_is_said() {
        for reason in ["ErrImageNeverPull", "ImagePullBackOff", "CrashLoopBackOff"] {
            let mut snapshot = cluster();
            let status = &mut snapshot.pods.items[0].status;
            status.init_container_statuses = vec![waiting("install-cni", reason)];
            status.container_statuses = vec![waiting("calico-node", "PodInitializing")];
            let why = can_start(&snapshot).unwrap_err();
            assert!(why.contains("install-cni") && why.contains(reason), "{why}");
            snapshot.pods.items[0].status.init_container_statuses.clear();
            snapshot.pods.items[0].status.container_statuses = vec![waiting("calico-node", reason)];
            assert!(can_start(&snapshot).unwrap_err().contains(reason));
        }
    }

    #[test]
    fn nobody_puts_back_what_belongs_to_no_daemon_set() {
        let mut snapshot = cluster();
        snapshot.daemon_sets.items[0].metadata.deletion_timestamp = Some(Timestamp::UNIX_EPOCH);
        assert!(can_start(&snapshot).unwrap_err().contains("is being deleted"));
        snapshot.daemon_sets.items.clear();
        assert!(can_start(&snapshot).unwrap_err().contains("no longer exists"));
        snapshot.daemon_sets.coverage = Coverage::None;
        assert_eq!(can_start(&snapshot), Ok(()), "not to be seen is not gone");
        snapshot.pods.items[0].metadata.owner_references.clear();
        assert!(can_start(&snapshot).unwrap_err().contains("belongs to no DaemonSet"));
        snapshot.pods.items.clear();
        assert!(can_start(&snapshot).unwrap_err().contains("no calico-node pod"));
        let context = Context { snapshot: &snapshot, now: snapshot.taken };
        let (remedy, _) = context.rewriting("n1", RemedyName::RestoreConflist);
        assert_eq!(remedy, None, "Calico may not even be installed");
    }
}
