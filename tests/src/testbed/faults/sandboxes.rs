//! Sandboxes that do not go, and sandboxes whose pod is gone.

use super::{Fault, Undo};
use crate::testbed::Testbed;
use crate::testbed::error::Error;
use crate::testbed::node::Node;
use crate::testbed::wait::wait_until;
use std::time::Duration;

/// Holds a file for each sandbox whose DEL the stand-in for Calico's plugin is to fail (standin/README.md).
pub(crate) const STUCK: &str = "/var/run/calico/standin-del-fails";

/// How long the kubelet may take to end the containers of a pod.
const LIMIT: Duration = Duration::from_secs(60);

/// A pod's sandbox, as the runtime knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sandbox {
    /// Its id.
    pub id: String,
    /// Uid of its pod.
    pub uid: String,
}

/// Ids of the runtime's containers with the labels `$@` (`name==value`, all of them).
const FIND: &str =
    r#"filter=$(IFS=,; echo "$*"); exec /usr/bin/ctr -n k8s.io containers ls -q "$filter""#;

impl Testbed {
    /// The sandboxes of a pod on its node.
    pub fn sandboxes(&self, node: &Node, uid: &str) -> Result<Vec<Sandbox>, Error> {
        let ids = containers(node, uid, "sandbox")?;
        Ok(ids.into_iter().map(|id| Sandbox { id, uid: uid.to_owned() }).collect())
    }

    /// Ids of the containers in a sandbox, running or not.
    pub fn containers_in(&self, node: &Node, sandbox: &Sandbox) -> Result<Vec<String>, Error> {
        containers(node, &sandbox.uid, "container")
    }

    /// From now on these pods' sandboxes cannot be stopped, though the node's network works: their CNI DEL fails.
    pub fn stick(
        &self,
        node: &Node,
        namespace: &str,
        pods: &[&str],
    ) -> Result<(Fault, Vec<Sandbox>), Error> {
        let mut found = Vec::new();
        for pod in pods {
            let uid = self.field(&["pod", pod, "--namespace", namespace], "{.metadata.uid}")?;
            found.extend(self.sandboxes(node, &uid)?);
        }
        found.sort();
        let files: Vec<String> = found.iter().map(|it| format!("{STUCK}/{}", it.id)).collect();
        let fault = Fault { node: node.clone(), undo: Some(Undo::RemoveAll(files.clone())) };
        node.check(&["/usr/bin/mkdir", "-p", STUCK])?;
        for file in &files {
            node.write(file, b"", "0644")?;
        }
        Ok((fault, found))
    }

    /// Leaves the sandboxes of these pods without a pod: they cannot be stopped, and somebody has lost patience and deleted the
    /// pods by force. Undone, the kubelet removes them by and by.
    pub fn orphan_sandboxes(
        &self,
        node: &Node,
        namespace: &str,
        pods: &[&str],
    ) -> Result<(Fault, Vec<Sandbox>), Error> {
        let (fault, found) = self.stick(node, namespace, pods)?;
        let delete = ["delete", "pod", "--namespace", namespace, "--force", "--grace-period=0"];
        self.kubectl(&[&delete, pods].concat())?;
        wait_until("the kubelet has ended the containers", LIMIT, || {
            let left: Result<Vec<_>, _> = found.iter().map(|it| running(node, &it.uid)).collect();
            let left = left.map_err(|error| error.to_string())?.concat();
            if left.is_empty() { Ok(()) } else { Err(left.join(" ")) }
        })?;
        Ok((fault, found))
    }
}

fn containers(node: &Node, uid: &str, kind: &str) -> Result<Vec<String>, Error> {
    let labels = [
        format!(r#"labels."io.kubernetes.pod.uid"=={uid}"#),
        format!(r#"labels."io.cri-containerd.kind"=={kind}"#),
    ];
    let found = node.script(FIND, &[&labels[0], &labels[1]])?;
    Ok(found.lines().map(ToOwned::to_owned).collect())
}

/// The pod's containers, its sandbox aside, that have a running process.
fn running(node: &Node, uid: &str) -> Result<Vec<String>, Error> {
    let tasks = node.check(&["/usr/bin/ctr", "-n", "k8s.io", "tasks", "ls"])?;
    let runs = |id: &String| {
        tasks.lines().any(|line| line.starts_with(id.as_str()) && line.ends_with("RUNNING"))
    };
    Ok(containers(node, uid, "container")?.into_iter().filter(runs).collect())
}
