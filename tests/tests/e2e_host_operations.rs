//! Rendered host operations against a real container runtime: what it notices, what it removes, and what it leaves alone.
#![cfg(all(unix, feature = "e2e"))]

use std::time::Duration;

use common::node::host::{HostContext, HostResult, parse, render};
use common::plan::host::backup_path;
use common::plan::{Expected, FileContent, HostOperation, PlanId, SandboxRef};
use sha2::{Digest as _, Sha256};
use tests::story::{Pods, demand};
use tests::testbed::{CONFLIST, Error, Node, NodeLease, Sandbox, Service, Testbed, wait_until};

/// How long containerd may take to notice a file, and the kubelet to end a container.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a control watches that nothing happens.
const PATIENCE: Duration = Duration::from_secs(4);

/// Carries out an operation on a node, as a run of this name.
fn perform(node: &Node, run: &str, operation: &HostOperation) -> Result<HostResult, Error> {
    let run = PlanId(run.to_owned());
    let script = render(operation, &HostContext::new(&run), None)
        .map_err(|error| Error::Odd { what: "the operation".to_owned(), why: error.to_string() })?;
    let shell = node.command(&["/bin/sh", "-s"])?.input(script.as_bytes()).limit(script.limit());
    let output = shell.output()?;
    let result = parse(output.stdout.as_bytes(), output.status.unwrap_or(-1));
    demand(
        output.stderr.is_empty(),
        "a script has nothing to say but its protocol",
        &output.stderr,
    )?;
    Ok(result)
}

fn changed(result: &HostResult) -> Result<(), Error> {
    demand(matches!(result, HostResult::Changed { .. }), "it is done", result)
}

fn sum(text: &str) -> Expected {
    let digest = Sha256::digest(text.as_bytes());
    Expected::Sha256(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn backup(run: &str) -> String {
    backup_path(CONFLIST, &PlanId(run.to_owned()))
}

/// Whether containerd calls the node's network ready.
fn network_ready(node: &Node) -> Result<bool, Error> {
    let text = node.check(&["/usr/local/bin/crictl", "info"])?;
    let info: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| Error::Odd { what: "crictl info".to_owned(), why: error.to_string() })?;
    let conditions = info["status"]["conditions"].as_array();
    let network = conditions.into_iter().flatten().find(|it| it["type"] == "NetworkReady");
    Ok(network.is_some_and(|it| it["status"] == true))
}

fn wait_network(node: &Node, wanted: bool) -> Result<(), Error> {
    wait_until(&format!("containerd's network is ready: {wanted}"), LIMIT, || match network_ready(
        node,
    )
    .map_err(|error| error.to_string())?
    {
        now if now == wanted => Ok(()),
        now => Err(format!("{now}")),
    })
}

fn names(node: &Node) -> Result<String, Error> {
    node.check(&["/usr/bin/ls", "-A", "/etc/cni/net.d"])
}

#[test]
fn a_configuration_that_is_written_is_noticed_and_can_be_taken_back() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("a_configuration_that_is_written")? else {
        return Ok(());
    };
    let node = testbed.lease_node()?;
    let (text, before) = (node.read_text(CONFLIST)?, names(&node)?);
    let aside = HostOperation::MoveAside {
        path: CONFLIST.to_owned(),
        expected: sum(&text),
        backup: backup("01ASIDE"),
    };
    changed(&perform(&node, "01ASIDE", &aside)?)?;
    wait_network(&node, false)?;

    // Control: the same file, renamed into the directory from elsewhere, is not noticed.
    node.write("/etc/cni/elsewhere", text.as_bytes(), "0600")?;
    node.rename("/etc/cni/elsewhere", CONFLIST)?;
    let noticed = wait_until("containerd notices", PATIENCE, || {
        if network_ready(&node).map_err(|error| error.to_string())? {
            Ok(())
        } else {
            Err("not".to_owned())
        }
    });
    demand(noticed.is_err(), "a file moved in from elsewhere is not noticed", &noticed.is_ok())?;
    node.remove(CONFLIST)?;

    let write = HostOperation::WriteFile {
        path: CONFLIST.to_owned(),
        mode: 0o600,
        content: FileContent::Text { text: text.clone() },
        expected: Expected::Absent,
        backup: backup("01WRITE"),
    };
    changed(&perform(&node, "01WRITE", &write)?)?;
    wait_network(&node, true)?;
    let again = perform(&node, "01WRITE", &write)?;
    demand(
        matches!(again, HostResult::AlreadyRight(_)),
        "the second time nothing is done",
        &again,
    )?;

    let back = |run: &str, expected: Expected| HostOperation::RestoreFile {
        path: CONFLIST.to_owned(),
        expected,
        backup: backup(run),
    };
    changed(&perform(&node, "01WRITE", &back("01WRITE", sum(&text)))?)?;
    wait_network(&node, false)?;
    changed(&perform(&node, "01ASIDE", &back("01ASIDE", Expected::Absent))?)?;
    wait_network(&node, true)?;
    demand(names(&node)? == before, "net.d is as it was", &names(&node)?)?;
    demand(node.read_text(CONFLIST)? == text, "the conflist is as it was", &())
}

/// Pods `goes` and `stays` on a node whose kubelet is held back, and `goes` deleted from the API.
struct Orphaned<'a> {
    node: &'a NodeLease,
    pods: Pods<'a>,
    goes: Sandbox,
    stays: String,
    _kubelet: tests::testbed::Fault,
}

fn orphaned<'a>(
    testbed: &'a Testbed,
    node: &'a NodeLease,
    namespace: &str,
) -> Result<Orphaned<'a>, Error> {
    let pods = Pods::new(testbed, namespace)?;
    for name in ["goes", "stays"] {
        pods.create(name, node.name())?;
    }
    pods.wait_running(&["goes", "stays"])?;
    let sandbox = |name: &str| -> Result<Sandbox, Error> {
        let uid = pods.kubectl(&["get", "pod", name, "-o", "jsonpath={.metadata.uid}"])?;
        let found = testbed.sandboxes(node, uid.trim())?;
        found.into_iter().next().ok_or_else(|| Error::Missing(format!("{name} has no sandbox")))
    };
    let (goes, stays) = (sandbox("goes")?, sandbox("stays")?.id);
    let kubelet = testbed.stop_service(node, Service::Kubelet)?;
    pods.kubectl(&["delete", "pod", "goes", "--force", "--grace-period=0"])?;
    Ok(Orphaned { node, pods, goes, stays, _kubelet: kubelet })
}

impl Orphaned<'_> {
    fn remove(&self, ready: bool, loopback: bool) -> HostOperation {
        HostOperation::RemoveSandboxes {
            sandboxes: vec![SandboxRef {
                id: self.goes.id.clone(),
                namespace: self.pods.namespace().to_owned(),
                name: "goes".to_owned(),
                uid: self.goes.uid.clone(),
                ready,
            }],
            loopback,
        }
    }

    fn lists(&self, id: &str) -> Result<bool, Error> {
        Ok(self.node.check(&["/usr/local/bin/crictl", "pods", "-q"])?.lines().any(|it| it == id))
    }

    /// How many network namespaces and host sides of pods the node has.
    fn counts(&self) -> Result<(usize, usize), Error> {
        let namespaces = self.node.check(&["/usr/bin/ls", "/run/netns"])?.lines().count();
        let links = self.node.check(&["/usr/sbin/ip", "-o", "link", "show", "type", "veth"])?;
        Ok((namespaces, links.lines().filter(|it| it.contains(" cali")).count()))
    }

    /// One sandbox less, and everything else as before.
    fn is_freed(&self, before: (usize, usize), net_d: &str) -> Result<(), Error> {
        demand(!self.lists(&self.goes.id)?, "the sandbox is gone", &self.goes)?;
        demand(self.lists(&self.stays)?, "the other one stays", &self.stays)?;
        let (namespaces, links) = before;
        let after = self.counts()?;
        demand(
            after == (namespaces - 1, links - 1),
            "one namespace and one veth less",
            &(before, after),
        )?;
        demand(names(self.node)? == net_d, "nothing of ours is in net.d", &names(self.node)?)
    }
}

#[test]
fn an_orphaned_sandbox_is_removed_by_the_plugin_where_the_plugin_works() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("an_orphaned_sandbox")? else { return Ok(()) };
    let node = testbed.lease_node()?;
    let orphaned = orphaned(&testbed, &node, "orphan-plain")?;
    let (before, net_d) = (orphaned.counts()?, names(&node)?);
    // Control: a sandbox that is ready is left alone unless the plan says otherwise.
    let refused = perform(&node, "01PLAIN", &orphaned.remove(false, true))?;
    demand(matches!(refused, HostResult::Refused(_)), "it is ready", &refused)?;
    demand(orphaned.counts()? == before, "nothing was done", &before)?;
    let result = perform(&node, "01PLAIN", &orphaned.remove(true, true))?;
    changed(&result)?;
    demand(!format!("{result:?}").contains("loopback"), "DEL did it", &result)?;
    orphaned.is_freed(before, &net_d)?;
    let again = perform(&node, "01PLAIN", &orphaned.remove(true, true))?;
    demand(matches!(again, HostResult::AlreadyRight(_)), "it is gone already", &again)
}

#[test]
fn an_orphaned_sandbox_is_removed_also_where_the_plugin_cannot() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("an_orphaned_sandbox_without_plugin")? else {
        return Ok(());
    };
    let node = testbed.lease_node()?;
    let orphaned = orphaned(&testbed, &node, "orphan-loopback")?;
    let fault = testbed.hide_cni_binary(&node)?;
    let (before, net_d) = (orphaned.counts()?, names(&node)?);
    // Control: without the loopback configuration it cannot be removed.
    let failed = perform(&node, "01LOOPBACK", &orphaned.remove(true, false))?;
    let words = "failed to find plugin";
    demand(
        matches!(&failed, HostResult::Failed(why) if why.contains(words)),
        "DEL cannot succeed",
        &failed,
    )?;
    demand(orphaned.lists(&orphaned.goes.id)?, "it is still there", &failed)?;
    let result = perform(&node, "01LOOPBACK", &orphaned.remove(true, true))?;
    changed(&result)?;
    demand(format!("{result:?}").contains("loopback"), "with the loopback", &result)?;
    orphaned.is_freed(before, &net_d)?;
    fault.undo()
}
