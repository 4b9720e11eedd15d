//! Starting and stopping a whole testbed.

use super::artefacts::Artefacts;
use super::command::Invocation;
use super::control_plane::{self, ControlPlane};
use super::error::{Error, FileContext};
use super::install::{self, Install};
use super::kubeconfig::write_private;
use super::layout::{Layout, node_names};
use super::node::Node;
use super::process;
use super::progress::Progress;
use super::wait::{wait_every, wait_until};
use super::{Cni, Options, cgroup, inventory, network, proxy, sysctl};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// How long nodes may take to register, and how long to get Ready after that. Usually 3 s and 10 s.
const NODES_LIMIT: Duration = Duration::from_secs(120);

/// What a running testbed was started with. Written last: a testbed without it is half started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) artefacts: String,
    pub(crate) manifests: Vec<String>,
    pub(crate) options: Options,
}

fn running_file(layout: &Layout) -> PathBuf {
    layout.run().join("running.json")
}

impl Running {
    pub(crate) fn would_be(
        layout: &Layout,
        artefacts: &Artefacts,
        options: Options,
    ) -> Result<Self, Error> {
        let manifests = install::manifests(layout, options.install)?;
        Ok(Self { artefacts: artefacts.fingerprint(), manifests, options })
    }

    /// What runs now, if it was started to the end.
    pub(crate) fn read(layout: &Layout) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(running_file(layout)).ok()?).ok()
    }

    /// Whether a test that asks for `wanted` can use this.
    pub(crate) fn serves(&self, wanted: &Self) -> bool {
        self.artefacts == wanted.artefacts
            && self.manifests == wanted.manifests
            && self.options.cni == wanted.options.cni
            && self.options.install == wanted.options.install
            && self.options.workers >= wanted.options.workers
    }
}

/// Starts everything and waits until all nodes are Ready, and calico-node on each.
pub(crate) fn up(
    layout: &Layout,
    artefacts: &Artefacts,
    options: Options,
    progress: Progress,
) -> Result<(), Error> {
    let control_plane = ControlPlane { layout, artefacts };
    let names = node_names(options.workers);
    let run = layout.run();
    progress.phase("network and cgroups", || {
        fs::create_dir_all(&run).file("make", &run)?;
        // Keys, etcd's data and whatever pods keep on their nodes.
        fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).file("protect", &run)?;
        sysctl::save(layout)?;
        network::make_bridge(layout)
    })?;
    progress.phase("certificates", || control_plane.prepare(&names))?;
    let nodes =
        names.iter().map(|name| Node::named(layout, name)).collect::<Result<Vec<_>, _>>()?;
    progress.phase("nodes and control plane start", || {
        // Nodes read images while the control plane starts; kubelet goes on trying until the API server answers.
        nodes.iter().try_for_each(|node| node.start(artefacts))?;
        control_plane.start()
    })?;
    progress.phase("kube-proxy and definitions are applied", || {
        apply_kube_proxy(&control_plane)?;
        apply(&control_plane, "Calico's definitions are applied", &install::definitions(layout)?)
    })?;
    progress.phase("nodes register", || {
        nodes.iter().try_for_each(|node| route_to_pods(&control_plane, node))
    })?;
    progress.phase("kube-proxy serves", || nodes.iter().try_for_each(proxy::wait_served))?;
    if options.cni == Cni::Calico {
        progress.phase("Calico's stand-in is applied", || {
            apply_manifests(&control_plane, options.install)
        })?;
    }
    match options.cni {
        Cni::None => progress.line("testbed: no CNI was asked for: nodes stay NotReady"),
        Cni::Calico => progress.phase("nodes and calico-node are Ready", || {
            wait_ready(&control_plane, options.install, nodes.len())
        })?,
    }
    let text = serde_json::to_string(&Running::would_be(layout, artefacts, options)?).map_err(
        |error| Error::Odd { what: "the testbed's state".to_owned(), why: error.to_string() },
    )?;
    write_private(&running_file(layout), text.as_bytes())
}

/// Waits for the node's object and its pod addresses, and makes the pods reachable from the machine.
fn route_to_pods(control_plane: &ControlPlane<'_>, node: &Node) -> Result<(), Error> {
    let query = ["get", "node", node.name(), "--output=jsonpath={.spec.podCIDR}"];
    let what = format!("{} registers and gets pod addresses", node.name());
    let cidr = wait_until(&what, NODES_LIMIT, || match control_plane.kubectl(&query) {
        Ok(output) if output.is_success() && !output.stdout.is_empty() => Ok(output.stdout),
        Ok(output) => Err(output.stderr),
        Err(error) => Err(error.to_string()),
    })?;
    network::route_to_pods(control_plane.layout, node.name(), &cidr)
}

/// Applies kube-proxy's manifest, and with it gives its DaemonSet back what it had.
pub(crate) fn apply_kube_proxy(control_plane: &ControlPlane<'_>) -> Result<(), Error> {
    let proxy = install::kube_proxy(control_plane.layout)?;
    apply(control_plane, "kube-proxy's manifest is applied", &proxy)
}

/// Applies Calico's manifests until all of them is there: objects of a kind come to grief while its definition is not yet served.
pub(crate) fn apply_manifests(
    control_plane: &ControlPlane<'_>,
    install: Install,
) -> Result<(), Error> {
    install::calico(control_plane.layout, install)?
        .iter()
        .try_for_each(|manifest| apply(control_plane, "Calico's manifest is applied", manifest))
}

fn apply(control_plane: &ControlPlane<'_>, what: &str, manifest: &str) -> Result<(), Error> {
    wait_until(what, NODES_LIMIT, || {
        let apply = control_plane.kubectl_invocation(apply_line(manifest)).input(manifest);
        apply.check().map(drop).map_err(|error| error.to_string())
    })
}

/// kubectl's own apply keeps the text in an annotation, which the definitions of a release are too long for.
fn apply_line(manifest: &str) -> &'static [&'static str] {
    const IN_AN_ANNOTATION: usize = 200_000;
    if manifest.len() < IN_AN_ANNOTATION {
        &["apply", "--filename=-"]
    } else {
        &["apply", "--server-side", "--force-conflicts", "--filename=-"]
    }
}

/// Waits until all nodes are Ready, and an up-to-date calico-node on each.
pub(crate) fn wait_ready(
    control_plane: &ControlPlane<'_>,
    install: Install,
    nodes: usize,
) -> Result<(), Error> {
    // Not `rollout status`: it is content with no pod at all before the DaemonSet's controller has seen the nodes.
    let counts = "--output=jsonpath={.status.updatedNumberScheduled} and {.status.numberReady}";
    let namespace = format!("--namespace={}", install.namespace());
    let query = [namespace.as_str(), "get", "daemonset", "calico-node", counts];
    let wanted = format!("{nodes} and {nodes}");
    wait_until("calico-node is Ready on all nodes", NODES_LIMIT, || {
        match control_plane.kubectl_invocation(&query).check() {
            Ok(seen) if seen == wanted => Ok(()),
            Ok(seen) => Err(format!("updated and ready: {seen}")),
            Err(error) => Err(error.to_string()),
        }
    })?;
    let limit = format!("--timeout={}s", NODES_LIMIT.as_secs());
    let ready = ["wait", "--for=condition=Ready", "node", "--all", &limit];
    control_plane.kubectl_invocation(&ready).check().map(drop)
}

/// Whether the API server answers.
pub(crate) fn is_alive(control_plane: &ControlPlane<'_>) -> bool {
    let look = control_plane
        .kubectl_invocation(&["get", "--raw", "/readyz"])
        .limit(Duration::from_secs(5));
    look.check().is_ok()
}

/// Ends everything that a started, half started or killed testbed has on the machine, and removes its files.
pub(crate) fn down(layout: &Layout, progress: Progress) -> Result<(), Error> {
    progress.phase("processes end", || end_processes(layout))?;
    progress.phase("network, mounts, cgroups and files go", || {
        network::remove(layout)?;
        for mount in inventory::mounts_below(&layout.run())? {
            Invocation::of("umount").arg(&mount).check()?;
        }
        cgroup::remove(layout)?;
        sysctl::restore(layout)?;
        remove_files(layout)
    })
}

/// First those with a record, because with them ends whatever they would start anew; then what is left of the others.
fn end_processes(layout: &Layout) -> Result<(), Error> {
    let recorded = process::all_recorded(layout);
    for (_, process) in &recorded {
        process.signal("KILL")?;
    }
    for name in control_plane::PROGRAMS {
        control_plane::stop(layout, name)?;
    }
    for (name, process) in recorded {
        process.wait_gone(Duration::from_secs(10))?;
        process::forget(layout, &name)?;
    }
    wait_every(
        "the testbed's processes end",
        Duration::from_secs(20),
        Duration::from_millis(50),
        || {
            let left = inventory::processes(layout).map_err(|error| error.to_string())?;
            for process in &left {
                process.signal("KILL").map_err(|error| error.to_string())?;
            }
            if left.is_empty() { Ok(()) } else { Err(format!("{} processes", left.len())) }
        },
    )
}

fn remove_files(layout: &Layout) -> Result<(), Error> {
    let run = layout.run();
    // The kernel may still be writing back what a killed node had open; the second attempt then finds nothing new.
    for attempt in 0.. {
        match fs::remove_dir_all(&run) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if attempt == 5 => return Err(error).file("remove", &run),
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
    Ok(())
}
