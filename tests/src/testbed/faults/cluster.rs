//! Faults of the cluster as a whole.

use crate::testbed::error::Error;
use crate::testbed::wait::wait_until;
use crate::testbed::{ClusterLock, Testbed, lifecycle};
use std::time::Duration;

/// The definition without which Calico's plugin can do nothing.
pub(crate) const CLUSTER_INFORMATION: &str = "clusterinformations.crd.projectcalico.org";

/// The label by which namespaces refuse privileged pods.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

/// Something broken in the cluster, put right when dropped, also by a panicking test.
#[derive(Debug)]
#[must_use = "the fault is undone when this is dropped"]
pub struct ClusterFault<'a> {
    testbed: &'a Testbed,
    undo: Option<Undo>,
}

#[derive(Debug)]
enum Undo {
    ApplyManifests,
    StartApi,
    Unlabel(Vec<String>),
}

impl ClusterFault<'_> {
    /// Puts right what was broken; says if that fails.
    pub fn undo(mut self) -> Result<(), Error> {
        self.heal()
    }

    fn heal(&mut self) -> Result<(), Error> {
        match self.undo.take() {
            None => Ok(()),
            Some(Undo::ApplyManifests) => lifecycle::apply_manifests(&self.testbed.control_plane()),
            Some(Undo::StartApi) => {
                self.testbed.control_plane().start_api()?;
                self.testbed.wait_ready()
            }
            Some(Undo::Unlabel(namespaces)) => {
                namespaces.iter().try_for_each(|it| self.testbed.label(it, &format!("{ENFORCE}-")))
            }
        }
    }
}

impl Drop for ClusterFault<'_> {
    fn drop(&mut self) {
        // The next one to lock the cluster repairs what this could not.
        drop(self.heal());
    }
}

impl Testbed {
    /// Deletes the definition of ClusterInformation, and with it the object: no sandbox of any node can be made or stopped.
    pub fn delete_cluster_information(
        &self,
        _lock: &ClusterLock,
    ) -> Result<ClusterFault<'_>, Error> {
        let fault = ClusterFault { testbed: self, undo: Some(Undo::ApplyManifests) };
        self.kubectl(&["delete", "customresourcedefinition", CLUSTER_INFORMATION])?;
        wait_until("ClusterInformation is not served any more", Duration::from_secs(30), || {
            let path = "/apis/crd.projectcalico.org/v1/clusterinformations";
            match self.kubectl_output(&["get", "--raw", path]) {
                Ok(output) if output.is_success() => Err(output.stdout),
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })?;
        Ok(fault)
    }

    /// Stops the API server, and the controllers that live by it. Nodes and their pods go on, and so does etcd.
    pub fn stop_api_server(&self, _lock: &ClusterLock) -> Result<ClusterFault<'_>, Error> {
        let fault = ClusterFault { testbed: self, undo: Some(Undo::StartApi) };
        self.control_plane().stop_api()?;
        Ok(fault)
    }

    /// Stops Kubernetes' controllers: no owner makes pods, and nobody collects those of nodes that are gone.
    pub fn stop_controllers(&self, _lock: &ClusterLock) -> Result<ClusterFault<'_>, Error> {
        let fault = ClusterFault { testbed: self, undo: Some(Undo::StartApi) };
        self.control_plane().stop_controllers()?;
        Ok(fault)
    }

    /// Lets every namespace but kube-system refuse pods that want anything of the node (Pod Security Standard `restricted`).
    pub fn restrict_pods(&self, _lock: &ClusterLock) -> Result<ClusterFault<'_>, Error> {
        let names = self.field(&["namespaces"], "{.items[*].metadata.name}")?;
        let names = names.split_whitespace().filter(|name| *name != "kube-system");
        let names: Vec<String> = names.map(|name| format!("namespace/{name}")).collect();
        let fault = ClusterFault { testbed: self, undo: Some(Undo::Unlabel(names.clone())) };
        for name in &names {
            self.label(name, &format!("{ENFORCE}=restricted"))?;
        }
        Ok(fault)
    }

    /// Undoes what a killed test could not: definitions are there, Felix has its settings, namespaces take any pod, and no doctor that died has left
    /// pods or a Lease.
    pub(crate) fn repair_cluster(&self) -> Result<(), Error> {
        let wanted = ["get", "customresourcedefinition", CLUSTER_INFORMATION, "--output=name"];
        if !self.kubectl_output(&wanted)?.is_success() {
            lifecycle::apply_manifests(&self.control_plane())?;
        }
        self.restore_felix()?;
        let ours = "--selector=app.kubernetes.io/managed-by=kubectl-calico";
        let delete =
            ["delete", "pods,leases", "--namespace=kube-system", ours, "--ignore-not-found"];
        self.kubectl(&[&delete[..], &["--grace-period=0", "--force"]].concat())?;
        let labelled = ["get", "namespaces", "--output=name", "--selector", ENFORCE];
        for name in self.kubectl(&labelled)?.lines() {
            self.label(name, &format!("{ENFORCE}-"))?;
        }
        Ok(())
    }

    /// Labels a namespace; one that its test has deleted by now needs no label.
    fn label(&self, namespace: &str, label: &str) -> Result<(), Error> {
        let output = self.kubectl_output(&["label", "--overwrite", namespace, label])?;
        if output.is_success() || output.stderr.contains("NotFound") {
            return Ok(());
        }
        Err(Error::Odd { what: format!("label {namespace} {label}"), why: output.stderr })
    }
}
