//! The testbed's faults of hosts and of the whole cluster: each breaks what it says, leaves alone what it does not, and is undone.
#![cfg(all(unix, feature = "e2e"))]

use std::time::Duration;

use tests::story::{Pods, demand};
use tests::testbed::{Error, Foreign, Node, Service, Testbed, wait_until};

/// How long the kubelet may take to try again.
const LIMIT: Duration = Duration::from_secs(90);

/// Waits for an event of the pod with these words.
fn wait_event(pods: &Pods<'_>, pod: &str, words: &str) -> Result<(), Error> {
    let select = format!("--field-selector=involvedObject.name={pod}");
    wait_until(&format!("an event of {pod} says {words:?}"), LIMIT, || {
        let said = pods.kubectl(&["get", "events", &select, "-o", "jsonpath={.items[*].message}"]);
        let said = said.map_err(|error| error.to_string())?;
        if said.contains(words) { Ok(()) } else { Err(said) }
    })
}

#[test]
fn a_calico_node_without_images() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("a_calico_node_without_images")? else { return Ok(()) };
    let node = testbed.lease_node()?;
    let fault = testbed.remove_calico_image(&node)?;
    let images = testbed.field(&["node", node.name()], "{.status.images[*].names}")?;
    let pods = Pods::new(&testbed, "no-image")?;
    pods.create("other", node.name())?;
    pods.wait_running(&["other"])?;
    wait_until("the Node no longer lists the images", LIMIT, || {
        let now = testbed.field(&["node", node.name()], "{.status.images[*].names}");
        match now.map_err(|error| error.to_string())? {
            now if now.contains("calico") => Err(format!("{now}, at first {images}")),
            _ => Ok(()),
        }
    })?;
    fault.undo()?;
    testbed.restart_calico_node(&node)
}

#[test]
fn a_foreign_configuration_of_a_plugin_that_is_gone() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("a_foreign_configuration")? else { return Ok(()) };
    let node = testbed.lease_node()?;
    let fault = testbed.foreign_conflist(&node, Foreign::Uninstalled)?;
    let pods = Pods::new(&testbed, "foreign-gone")?;
    pods.create("comer", node.name())?;
    wait_event(&pods, "comer", r#"failed to find plugin "weave-net" in path [/opt/cni/bin]"#)?;
    fault.undo()?;
    pods.wait_running(&["comer"])
}

#[test]
fn a_foreign_configuration_of_a_plugin_that_works() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("a_foreign_plugin")? else { return Ok(()) };
    let node = testbed.lease_node()?;
    let pods = Pods::new(&testbed, "foreign-bridge")?;
    let address = |pod: &str| pods.kubectl(&["get", "pod", pod, "-o", "jsonpath={.status.podIP}"]);
    let fault = testbed.foreign_conflist(&node, Foreign::Bridge)?;
    pods.create("astray", node.name())?;
    pods.wait_running(&["astray"])?;
    demand(address("astray")?.starts_with("10.88.0."), "foreign address", &address("astray")?)?;
    fault.undo()?;
    pods.create("home", node.name())?;
    pods.wait_running(&["home"])?;
    demand(!address("home")?.starts_with("10.88.0."), "address of the pool", &address("home")?)
}

/// The ids of all sandboxes and containers on a node.
fn containers(node: &Node) -> Result<Vec<String>, Error> {
    let ids = node.check(&["/usr/bin/ctr", "-n", "k8s.io", "containers", "ls", "-q"])?;
    Ok(ids.lines().map(ToOwned::to_owned).collect())
}

#[test]
fn orphaned_sandboxes_stay_and_others_come_and_go() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("orphaned_sandboxes")? else { return Ok(()) };
    let node = testbed.lease_node()?;
    let pods = Pods::new(&testbed, "orphans")?;
    for name in ["one", "two", "keeper"] {
        pods.create(name, node.name())?;
    }
    pods.wait_running(&["one", "two", "keeper"])?;
    let (fault, orphans) = testbed.orphan_sandboxes(&node, "orphans", &["one", "two"])?;
    demand(orphans.len() == 2, "two sandboxes", &orphans)?;
    let left = pods.snapshot()?;
    demand(left.keys().eq(["keeper"]), "their pods are gone", &left)?;
    // What has no marker comes and goes meanwhile, also after a new start of the kubelet.
    node.restart_service(Service::Kubelet)?;
    pods.create("passer", node.name())?;
    pods.wait_running(&["passer"])?;
    pods.kubectl(&["delete", "pod", "passer", "--timeout=60s"])?;
    let there = containers(&node)?;
    demand(orphans.iter().all(|it| there.contains(&it.id)), "orphans stay", &(&orphans, &there))?;
    fault.undo()?;
    wait_until("the kubelet removes what it can", Duration::from_secs(150), || {
        let there = containers(&node).map_err(|error| error.to_string())?;
        if orphans.iter().any(|it| there.contains(&it.id)) { Err(there.join(" ")) } else { Ok(()) }
    })
}

#[test]
fn without_cluster_information_pods_neither_come_nor_go() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("no ClusterInformation")? else { return Ok(()) };
    let lock = testbed.lock_cluster()?;
    let pods = Pods::new(&testbed, "no-crd")?;
    pods.create("leaver", "node1")?;
    pods.wait_running(&["leaver"])?;
    let fault = testbed.delete_cluster_information(&lock)?;
    pods.create("comer", "node1")?;
    pods.delete("leaver")?;
    pods.wait_hanging(&["comer"], &["leaver"])?;
    wait_event(&pods, "leaver", "resource does not exist: ClusterInformation(default)")?;
    fault.undo()?;
    pods.wait_running(&["comer"])?;
    pods.kubectl(&["wait", "--for=delete", "pod/leaver", "--timeout=60s"]).map(drop)
}

#[test]
fn the_api_server_stops_and_the_nodes_go_on() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("API server stops")? else { return Ok(()) };
    let lock = testbed.lock_cluster()?;
    let pods = Pods::new(&testbed, "no-api")?;
    pods.create("keeper", "node1")?;
    pods.wait_running(&["keeper"])?;
    let before = pods.snapshot()?;
    let panicked = std::panic::catch_unwind(|| {
        let _fault = testbed.stop_api_server(&lock);
        let answer = testbed.kubectl_output(&["get", "nodes", "--request-timeout=5s"]);
        assert!(answer.is_ok_and(|it| !it.is_success()), "nobody answers");
        // Not by the macro: nobody needs to read about this one.
        std::panic::resume_unwind(Box::new(()));
    });
    demand(panicked.is_err(), "the test above panics", &())?;
    testbed.wait_ready()?;
    let after = pods.snapshot()?;
    demand(after == before, "the same container", &(&before, &after))
}

#[test]
fn restricted_namespaces_refuse_pods_of_the_host() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("restricted namespaces")? else { return Ok(()) };
    let lock = testbed.lock_cluster()?;
    let create = |namespace: &str| {
        let overrides = r#"--overrides={"spec":{"hostNetwork":true}}"#;
        let run =
            ["run", "of-the-host", "--image=none", "-n", namespace, "--dry-run=server", overrides];
        testbed.kubectl_output(&run)
    };
    let fault = testbed.restrict_pods(&lock)?;
    let refused = create("default")?;
    demand(refused.stderr.contains("violates PodSecurity \"restricted"), "refused", &refused)?;
    demand(create("kube-system")?.is_success(), "kube-system takes it", &())?;
    fault.undo()?;
    demand(create("default")?.is_success(), "and so does default after the undo", &())
}
