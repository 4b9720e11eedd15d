//! `kubectl calico-purge node` and `sandboxes`, live: pods wedged in Terminating by each of five causes go, with their
//! sandboxes, network namespaces and interfaces, and nothing else does. Then what nobody's pods left behind.

#![cfg(all(unix, feature = "e2e"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::story::{Doctor, Host, NODE, Plugin, Pods, Ran, Snapshot, demand, nothing_of_ours};
use tests::testbed::{
    ClusterFault, ClusterLock, Error, Fault, Node, Sandbox, Testbed, wait_every, wait_until,
};

/// Pods that are deleted while a fault lasts.
const LEAVERS: [&str; 2] = ["leaver-1", "leaver-2"];
/// Pods that nobody touches.
const KEEPERS: [(&str, &str); 2] = [("keeper-1", OTHER), ("keeper-2", NODE)];
/// The node that no story is about.
const OTHER: &str = "node1";
/// As long as most of these repairs take.
const CONTROL: Duration = Duration::from_secs(30);
/// Sandboxes and interfaces count as orphaned after two minutes.
const ORPHANED: Duration = Duration::from_secs(240);

/// What is broken for as long as this lives.
enum Broken<'a> {
    /// A node.
    Node(Fault),
    /// The cluster.
    Cluster(ClusterFault<'a>),
    /// The credentials of all nodes.
    Credentials,
}

/// A cause, and what may be demanded of the repair.
struct Cause {
    name: &'static str,
    /// True when it cannot be repaired from here: pods are freed, and their cause stays.
    stays: bool,
    /// Root causes of other nodes that the report counts.
    elsewhere: u64,
}

#[test]
fn pods_that_hang_in_terminating_go_and_nothing_else_does() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("purge node")? else { return Ok(()) };
    let lock = testbed.lock_cluster()?;
    let purge = Plugin::purge(&testbed)?;
    what_is_no_node(&purge)?;
    let repaired = |name| Cause { name, stays: false, elsewhere: 0 };
    let both = Cause { elsewhere: 1, ..repaired("unauthorized") };
    story(&testbed, &purge, &both, || {
        testbed.recreate_service_account(&lock)?;
        Ok(Broken::Credentials)
    })?;
    story(&testbed, &purge, &repaired("refused"), || {
        testbed.refuse_api(testbed.node(NODE)?).map(Broken::Node)
    })?;
    let gone = Cause { stays: true, ..repaired("definitions") };
    story(&testbed, &purge, &gone, || definitions(&testbed, &lock))?;
    // They get old enough meanwhile. Not earlier: where the definition is there again and its object is not yet, CNI DEL says
    // "not found", which the runtime takes for done.
    let pods = Pods::new(&testbed, "orphaned")?;
    let left = Leftovers::make(&testbed, &pods)?;
    story(&testbed, &purge, &repaired("binary"), || {
        testbed.hide_cni_binary(testbed.node(NODE)?).map(Broken::Node)
    })?;
    story(&testbed, &purge, &repaired("conflist"), || {
        let fault = testbed.hide_conflist(testbed.node(NODE)?)?;
        wait_not_ready(&testbed)?;
        Ok(Broken::Node(fault))
    })?;
    let ran = purge.run(&["node", NODE, "--yes"])?;
    let says = ran.stdout.contains("There is nothing stale.");
    demand(ran.code == 0 && says, "a healthy node is left alone", &ran)?;
    left.go_one_kind_after_the_other(&testbed, &purge, &pods)
}

fn definitions<'a>(testbed: &'a Testbed, lock: &ClusterLock) -> Result<Broken<'a>, Error> {
    testbed.delete_cluster_information(lock).map(Broken::Cluster)
}

/// The kubelet says within seconds that the node has no network.
fn wait_not_ready(testbed: &Testbed) -> Result<(), Error> {
    wait_until("the Node is not Ready", Duration::from_secs(60), || {
        let ready = "{.status.conditions[?(@.type==\"Ready\")].status}";
        let ready = testbed.field(&["node", NODE], ready).map_err(|error| error.to_string())?;
        if ready == "False" { Ok(()) } else { Err(ready) }
    })
}

fn what_is_no_node(purge: &Plugin) -> Result<(), Error> {
    for verb in ["node", "sandboxes"] {
        let ran = purge.run(&[verb, "no-such-node", "--yes"])?;
        let says = ran.stderr.contains("there is no node no-such-node")
            && ran.stderr.contains("kubectl get nodes");
        demand(ran.code == 1 && says, "a node that does not exist is told", &ran)?;
    }
    Ok(())
}

/// A node with pods that hang, before anything is done about them.
struct Wedged<'a> {
    pods: Pods<'a>,
    before: BTreeMap<String, Snapshot>,
    hosts: BTreeMap<String, Host>,
    stuck: Vec<Sandbox>,
    /// Containers of the node that may end: those of the pods that hang, and calico-node's.
    mortal: BTreeSet<String>,
}

fn story<'a>(
    testbed: &'a Testbed,
    purge: &Plugin,
    cause: &Cause,
    fault: impl FnOnce() -> Result<Broken<'a>, Error>,
) -> Result<(), Error> {
    let began = Instant::now();
    let (broken, wedged) = wedge(testbed, cause, fault)?;
    control(testbed, purge, cause, &wedged)?;
    let acted = Instant::now();
    let ran = purge.run(&["node", NODE, "--yes", "-o", "json"])?;
    // What cannot be repaired from here is still said when the pods are free.
    let code = if cause.stays { 3 } else { 0 };
    demand(ran.code == code, &format!("{}: purge node exits {code}", cause.name), &ran)?;
    let took = acted.elapsed().as_secs();
    says_what_it_did(cause, &wedged.stuck, &ran)?;
    let counted = wedged.is_free(testbed)?;
    nothing_of_ours(testbed)?;
    match broken {
        Broken::Node(fault) => fault.undo()?,
        Broken::Cluster(fault) => fault.undo()?,
        Broken::Credentials => testbed.heal_credentials()?,
    }
    testbed.repair_node(testbed.node(NODE)?)?;
    // While the next fault lasts, they could not go.
    wedged.pods.kubectl(&["delete", "pods", "--all", "--timeout=60s"])?;
    println!(
        "{}: purge node: free after {took} s; {counted}; {} s in all",
        cause.name,
        began.elapsed().as_secs()
    );
    Ok(())
}

fn wedge<'a>(
    testbed: &'a Testbed,
    cause: &Cause,
    fault: impl FnOnce() -> Result<Broken<'a>, Error>,
) -> Result<(Broken<'a>, Wedged<'a>), Error> {
    let pods = Pods::new(testbed, &format!("purge-{}", cause.name))?;
    KEEPERS.iter().try_for_each(|(name, node)| pods.create(name, node))?;
    LEAVERS.iter().try_for_each(|name| pods.create(name, NODE))?;
    pods.wait_running(&[&LEAVERS[..], &["keeper-1", "keeper-2"]].concat())?;
    let broken = fault()?;
    let before = pods.snapshot()?;
    LEAVERS.iter().try_for_each(|name| pods.delete(name))?;
    pods.wait_hanging(&[], &LEAVERS)?;
    let node = testbed.node(NODE)?;
    let mut stuck = Vec::new();
    for name in LEAVERS {
        stuck.extend(testbed.sandboxes(node, &before[name].uid)?);
    }
    demand(stuck.len() == LEAVERS.len(), "one sandbox each", &stuck)?;
    let of_system = r#"labels."io.kubernetes.pod.namespace"==kube-system"#;
    let system =
        node.check(&["/usr/bin/ctr", "-n", "k8s.io", "containers", "ls", "-q", of_system])?;
    let mut mortal: BTreeSet<String> = system.lines().map(ToOwned::to_owned).collect();
    for sandbox in &stuck {
        mortal.extend(testbed.containers_in(node, sandbox)?);
        mortal.insert(sandbox.id.clone());
    }
    let mut hosts = BTreeMap::new();
    for node in testbed.nodes() {
        hosts.insert(node.name().to_owned(), Host::settled(node)?);
    }
    Ok((broken, Wedged { pods, before, hosts, stuck, mortal }))
}

/// A dry run makes no pod and changes nothing; for as long as a repair takes, the same demands fail.
fn control(
    testbed: &Testbed,
    purge: &Plugin,
    cause: &Cause,
    wedged: &Wedged<'_>,
) -> Result<(), Error> {
    let made = pods_of_ours(testbed)?;
    let ran = purge.run(&["node", NODE, "--dry-run"])?;
    // Without a look at the host some can only be told to need one.
    let is_told = ran.code == 3 && ran.stdout.contains("seen from the host only; --probe");
    demand(ran.code == 0 || is_told, "a dry run prints the plan", &ran)?;
    demand(pods_of_ours(testbed)? == made, "a dry run makes no pod", &ran)?;
    let failed = wait_every("the control to fail", CONTROL, Duration::from_secs(3), || {
        wedged.is_free_now(testbed).map_err(|error| error.to_string())
    });
    match failed {
        Ok(_) => Err(Error::Unmet {
            what: format!("{}: the demands fail where nothing was done", cause.name),
            seen: "all of them are met".to_owned(),
        }),
        Err(why) => {
            let why = why.to_string();
            println!("{}: control: {}", cause.name, why.lines().next().unwrap_or_default());
            Ok(())
        }
    }
}

/// Names of node pods that events tell of: they outlive the pods.
fn pods_of_ours(testbed: &Testbed) -> Result<BTreeSet<String>, Error> {
    let names =
        testbed.field(&["events", "--all-namespaces"], "{.items[*].involvedObject.name}")?;
    let ours = names.split_whitespace().filter(|name| name.starts_with("kubectl-calico-"));
    Ok(ours.map(ToOwned::to_owned).collect())
}

fn says_what_it_did(cause: &Cause, stuck: &[Sandbox], ran: &Ran) -> Result<(), Error> {
    let odd = |error: serde_json::Error| Error::Odd {
        what: format!("purge's document: {}{}", ran.stdout, ran.stderr),
        why: error.to_string(),
    };
    let document: Value = serde_json::from_str(&ran.stdout).map_err(odd)?;
    let made_by = document["plan"]["madeBy"].as_str().unwrap_or_default();
    demand(made_by.starts_with("kubectl-calico-purge/"), "purge made the plan", &made_by)?;
    let steps = document["plan"]["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let elsewhere = |step: &&Value| step["node"] != NODE;
    demand(!steps.iter().any(|step| elsewhere(&step)), "only that node is touched", &steps)?;
    // Records of pods that went a minute ago may be removed beside them.
    let is_stuck = |one: &Value| stuck.iter().any(|it| one["id"] == it.id.as_str());
    let frees = |step: &Value| {
        let sandboxes = step["action"]["operation"]["sandboxes"].as_array();
        sandboxes.is_some_and(|all| all.iter().any(is_stuck))
    };
    let freed = steps.iter().any(frees);
    demand(freed == cause.stays, "sandboxes are freed where nothing else helps", &steps)?;
    let scope = &document["after"]["scope"];
    let roots = document["after"]["roots"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_named = roots.iter().any(|it| it["finding"]["code"] == "CAL-INS-004");
    demand(is_named == cause.stays, "definitions that are gone are named", &document["after"])?;
    let is_right = scope["nodes"] == serde_json::json!([NODE])
        && scope["elsewhere"].as_u64() == Some(cause.elsewhere);
    demand(is_right, "other nodes are counted, not judged", scope)
}

impl Wedged<'_> {
    /// Waits a moment for what the kubelet tidies up after a pod is gone.
    fn is_free(&self, testbed: &Testbed) -> Result<String, Error> {
        wait_until("everything is as it is to be", Duration::from_secs(15), || {
            self.is_free_now(testbed).map_err(|error| error.to_string())
        })
    }

    /// The pods are gone with their sandboxes, namespaces and interfaces; everything else is as it was.
    fn is_free_now(&self, testbed: &Testbed) -> Result<String, Error> {
        let now = self.pods.snapshot()?;
        for name in LEAVERS {
            demand(!now.contains_key(name), &format!("{name} is gone"), &now.get(name))?;
        }
        for (name, _) in KEEPERS {
            let same = now.get(name) == self.before.get(name);
            demand(same, &format!("{name} was not touched"), &now.get(name))?;
        }
        let node = testbed.node(NODE)?;
        let (before, host) = (&self.hosts[NODE], Host::of(node)?);
        // The kubelet removes the record of a sandbox that is no more within a minute.
        let left: Vec<&Sandbox> =
            self.stuck.iter().filter(|it| host.tasks.contains_key(&it.id)).collect();
        demand(left.is_empty(), "their sandboxes are gone", &left)?;
        let count = self.stuck.len();
        let met =
            before.namespaces - host.namespaces == count && before.links - host.links == count;
        demand(met, "one namespace and one interface each are gone", &(before, &host))?;
        self.others_run_on(&host)?;
        let other = Host::of(testbed.node(OTHER)?)?;
        demand(other.runs_as(&self.hosts[OTHER]), "the other node was not touched", &other)?;
        Ok(format!(
            "{count} sandboxes gone, namespaces {} → {}, interfaces {} → {}",
            before.namespaces, host.namespaces, before.links, host.links
        ))
    }

    /// Every process of the node but those of the freed sandboxes and of calico-node is the one that it was.
    fn others_run_on(&self, now: &Host) -> Result<(), Error> {
        let old = self.hosts[NODE].tasks.iter();
        let ended: Vec<&String> = old
            .filter(|(id, pid)| !self.mortal.contains(*id) && now.tasks.get(*id) != Some(*pid))
            .map(|(id, _)| id)
            .collect();
        demand(ended.is_empty(), "no other process ended", &ended)
    }
}

/// Sandboxes and an interface that belong to no pod, on [`OTHER`].
struct Leftovers {
    fault: Fault,
    orphans: Vec<Sandbox>,
}

/// Made as the CNI plugin makes them, for a pod that never was: interface, and namespace.
const LEAKED: [&str; 2] = ["cali0123456789a", "cni-11111111-2222-3333-4444-555555555555"];
/// The same with a process that lives in the namespace.
const INHABITED: [&str; 2] = ["caliba987654321", "cni-66666666-7777-8888-9999-000000000000"];
/// A bridge of an administrator's, by a name like Calico's.
const BRIDGE: &str = "calideadbeef012";
const ORPHANS: [&str; 2] = ["forced-1", "forced-2"];

const LEAK: &str = r#"ip netns add "$2" && ip link add "$1" type veth peer name eth0 netns "$2" && ip link set "$1" up"#;
const INHABIT: &str =
    r#"setsid ip netns exec "$1" sleep 3600 >/dev/null 2>&1 </dev/null & sleep 0.2"#;

impl Leftovers {
    fn make(testbed: &Testbed, pods: &Pods<'_>) -> Result<Self, Error> {
        let node = testbed.node(OTHER)?;
        Self::clear(node)?;
        node.script(LEAK, &LEAKED)?;
        node.script(LEAK, &INHABITED)?;
        node.script(INHABIT, &[INHABITED[1]])?;
        node.script(r#"ip link add "$1" type bridge"#, &[BRIDGE])?;
        ORPHANS.iter().chain(&["resident"]).try_for_each(|name| pods.create(name, OTHER))?;
        pods.wait_running(&[&ORPHANS[..], &["resident"]].concat())?;
        let (fault, orphans) = testbed.orphan_sandboxes(node, pods.namespace(), &ORPHANS)?;
        Ok(Self { fault, orphans })
    }

    fn clear(node: &Node) -> Result<(), Error> {
        let script = r#"for it; do ip link delete "$it"; for pid in $(ip netns pids "$it"); do kill "$pid"; done; ip netns delete "$it"; done 2>/dev/null; true"#;
        node.script(script, &[LEAKED[0], LEAKED[1], INHABITED[0], INHABITED[1], BRIDGE]).map(drop)
    }

    fn go_one_kind_after_the_other(
        self,
        testbed: &Testbed,
        purge: &Plugin,
        pods: &Pods<'_>,
    ) -> Result<(), Error> {
        let node = testbed.node(OTHER)?;
        let resident = pods.snapshot()?.remove("resident");
        self.are_named(testbed)?;
        let before = Host::settled(node)?;
        let ran = purge.run(&["sandboxes", OTHER, "--dry-run"])?;
        demand(ran.code == 0 && ran.stdout.contains("2 pod sandboxes"), "a plan", &ran)?;
        demand(Host::settled(node)?.runs_as(&before), "a dry run removes nothing", &before)?;

        let ran = purge.run(&["sandboxes", OTHER, "--yes"])?;
        demand(ran.code == 0, "purge sandboxes exits 0", &ran)?;
        let ids: Vec<&str> = self.orphans.iter().map(|it| it.id.as_str()).collect();
        let wanted = before.without(&ids, &[]);
        let now = Host::becomes(node, &wanted)?;
        let all = ids.iter().all(|id| before.containers.contains(*id));
        demand(all && before.links - now.links == 2, "both were there", &before)?;
        println!(
            "sandboxes: 2 gone, namespaces {} → {}, interfaces {} → {}",
            before.namespaces, now.namespaces, before.links, now.links
        );
        let ran = purge.run(&["sandboxes", OTHER, "--yes"])?;
        let says = ran.stdout.contains("There are no orphaned sandboxes.");
        demand(ran.code == 0 && says, "none is left", &ran)?;

        interfaces(node, purge)?;
        demand(pods.snapshot()?.remove("resident") == resident, "the resident stays", &resident)?;
        nothing_of_ours(testbed)?;
        Self::clear(node)?;
        self.fault.undo()
    }

    /// They count once they are old enough.
    fn are_named(&self, testbed: &Testbed) -> Result<(), Error> {
        let doctor = Doctor::new(testbed)?;
        wait_every("the check names them", ORPHANED, Duration::from_secs(5), || {
            let (code, report) =
                doctor.check(&["--probe", "--node", OTHER]).map_err(|error| error.to_string())?;
            let all = report.findings();
            let named = |code: &str| -> usize {
                all.iter().filter(|it| it.code == code).map(|it| it.subject.names.len()).sum()
            };
            let met = named("CAL-POD-003") == self.orphans.len() && named("CAL-POD-004") == 2;
            if met { Ok(()) } else { Err(format!("{code} {:?}", report.summary())) }
        })
    }
}

/// The interface that nobody uses goes; the one at whose other end somebody lives, and the bridge, stay.
fn interfaces(node: &Node, purge: &Plugin) -> Result<(), Error> {
    let is_there = |name: &str| node.has(&format!("/sys/class/net/{name}"));
    let ran = purge.run(&["node", OTHER, "--yes"])?;
    let refused = ran.stdout.contains("lives in namespace");
    demand(ran.code != 0 && refused, "an interface in use is refused, and told", &ran)?;
    demand(is_there(INHABITED[0])?, "it stays", &ran)?;
    let script = r#"for pid in $(ip netns pids "$1"); do kill "$pid"; done"#;
    node.script(script, &[INHABITED[1]])?;
    let ran = purge.run(&["node", OTHER, "--yes"])?;
    demand(ran.code == 0, "purge node exits 0 once nobody lives there", &ran)?;
    for (name, stays) in [(LEAKED[0], false), (INHABITED[0], false), (BRIDGE, true)] {
        demand(is_there(name)? == stays, &format!("{name} stays: {stays}"), &ran)?;
    }
    println!("interfaces: 2 of no pod gone, a bridge of such a name stays");
    Ok(())
}
