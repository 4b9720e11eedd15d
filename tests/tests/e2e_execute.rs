//! A plan on a real cluster: the executor repairs what checks found, and leaves alone what is not the plan's.

#![cfg(all(unix, feature = "e2e"))]

use common::calico::names::{CRD_GROUP, ROOT_CA_CONFIG_MAP};
use common::checks::diagnose;
use common::cluster::{Cluster, ConnectOptions, ListRequest};
use common::execute::lease::Tenure;
use common::execute::{
    ClusterOperations, Consent, Executor, GuardFailure, Journal, Operations, Performed, Prepared,
    Silent, StopSwitch, SystemClock, Underway, new_plan_id,
};
use common::findings::Code;
use common::node;
use common::plan::{
    Action, Condition, Guard, Order, Outcome, Plan, RunResult, StepState, Target, Verdict, judge,
    plan_for,
};
use common::snapshot::{
    Extent, Provenance, Record, RecordKey, Resource, Sink, Snapshot, SnapshotBuilder,
};
use jiff::Timestamp;
use std::error::Error;
use std::io::Write;
use std::time::Duration;
use tests::testbed::{Renewal, Testbed, wait_until};

/// The CNI plugin's credentials are rejected.
const REJECTED: &str = "CAL-CNI-006";
/// The CNI configuration is missing.
const NO_CONFIGURATION: &str = "CAL-CNI-001";

type Done = Result<(), Box<dyn Error>>;

/// A namespace that goes with the test.
struct Scratch<'a>(&'a Testbed, &'static str);

impl<'a> Scratch<'a> {
    fn new(testbed: &'a Testbed, name: &'static str) -> Result<Self, Box<dyn Error>> {
        // What a killed run left would make the creation fail.
        testbed.kubectl(&["delete", "namespace", name, "--ignore-not-found", "--wait"])?;
        testbed.kubectl(&["create", "namespace", name])?;
        Ok(Self(testbed, name))
    }

    /// A pod on `node`; its ServiceAccount may take a moment to exist.
    fn pod(&self, name: &str, node: &str) -> Done {
        let overrides = format!("--overrides={{\"spec\":{{\"nodeName\":\"{node}\"}}}}");
        let run = ["run", name, "--image=registry.k8s.io/pause:3.10", "-n", self.1, &overrides];
        wait_until("the pod is created", Duration::from_secs(30), || {
            self.0.kubectl(&run).map_err(|error| error.to_string())
        })?;
        Ok(())
    }

    /// Waits until the kubelet says that a pod cannot get its network.
    fn wait_until_it_hangs(&self) -> Done {
        let failed = "--field-selector=reason=FailedCreatePodSandBox";
        wait_until("the pod hangs", Duration::from_secs(60), || {
            let found = self.0.kubectl(&["get", "events", "-n", self.1, "-o", "name", failed]);
            let found = found.map_err(|error| error.to_string())?;
            if found.trim().is_empty() { Err("no event".to_owned()) } else { Ok(()) }
        })?;
        Ok(())
    }

    /// Waits until all of it is gone: what still terminates when the next fault comes hangs for good.
    fn remove(self) -> Done {
        self.0.kubectl(&["delete", "namespace", self.1, "--wait", "--timeout=60s"])?;
        Ok(())
    }

    fn field(&self, pod: &str, path: &str) -> Result<String, Box<dyn Error>> {
        Ok(self.0.field(&["pod", pod, "-n", self.1], path)?)
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if let Err(error) =
            self.0.kubectl(&["delete", "namespace", self.1, "--wait=false", "--ignore-not-found"])
        {
            let line = format!("namespace {} is left: {error}", self.1);
            drop(writeln!(std::io::stderr(), "{line}"));
        }
    }
}

async fn connect(testbed: &Testbed) -> Result<Cluster, Box<dyn Error>> {
    let options =
        ConnectOptions { kubeconfig: Some(testbed.kubeconfig()), ..ConnectOptions::default() };
    Ok(Cluster::connect(&options).await?)
}

/// Everything that the checks of a node's credentials look at.
async fn look(cluster: &Cluster) -> Result<Snapshot, Box<dyn Error>> {
    let mut builder = SnapshotBuilder::new();
    let named = |plural: &str, group: &str, version: &str| {
        ListRequest::all(Resource::new(plural, group), version)
    };
    let mut requests = vec![
        named("namespaces", "", "v1"),
        named("nodes", "", "v1"),
        named("pods", "", "v1"),
        named("events", "", "v1"),
        named("serviceaccounts", "", "v1"),
        named("daemonsets", "apps", "v1"),
        named("deployments", "apps", "v1"),
        named("clusterinformations", CRD_GROUP, "v1"),
    ];
    requests.push(ListRequest {
        field_selector: Some(format!("metadata.name={ROOT_CA_CONFIG_MAP}")),
        ..named("configmaps", "", "v1")
    });
    for request in requests {
        let mut pages = Vec::new();
        cluster.list(&request, &mut |page| pages.push(page)).await?;
        for page in pages {
            let extent = Extent { selector: request.selector(), ..Extent::default() };
            let key = RecordKey::List(request.resource.clone());
            builder.record(&record(key, page.body, extent));
        }
    }
    let keys = "/openid/v1/jwks";
    let body = cluster.get_raw(keys).await?;
    builder.record(&record(RecordKey::Api(keys.to_owned()), body, Extent::default()));
    let pods = builder_pods(cluster).await?;
    for pod in pods.calico_node_pods().filter(|pod| pod.is_ready()) {
        let body = node::probe(cluster, pod).await?;
        let key = RecordKey::Probe(pod.spec.node_name.clone());
        builder.record(&record(key, body, Extent::default()));
    }
    Ok(builder.finish(Timestamp::now()))
}

async fn builder_pods(cluster: &Cluster) -> Result<Snapshot, Box<dyn Error>> {
    let mut builder = SnapshotBuilder::new();
    let request = ListRequest::all(Resource::new("pods", ""), "v1");
    let key = RecordKey::List(request.resource.clone());
    let mut pages = Vec::new();
    cluster.list(&request, &mut |page| pages.push(page)).await?;
    for page in pages {
        builder.record(&record(key.clone(), page.body, Extent::default()));
    }
    Ok(builder.finish(Timestamp::now()))
}

fn record(key: RecordKey, body: Vec<u8>, extent: Extent) -> Record {
    Record { key, body, at: Timestamp::now(), from: Provenance::Api("test".to_owned()), extent }
}

async fn plan(
    cluster: &Cluster,
    snapshot: &Snapshot,
    code: &'static str,
) -> Result<Plan, Box<dyn Error>> {
    let info = cluster.target_info();
    let target = Target {
        cluster_uid: snapshot.cluster.uid.known().cloned().ok_or("no uid of the cluster")?,
        context: info.context.clone(),
        cluster_name: info.cluster_name.clone(),
        server: info.server.clone(),
        user: cluster.who_am_i().await?,
    };
    let only = &[Code(code)];
    let order = Order { id: new_plan_id(), made_by: "e2e", target, only, nodes: None };
    Ok(plan_for(order, snapshot, &diagnose(snapshot)))
}

async fn carry_out(cluster: &Cluster, plan: &Plan) -> Result<(Outcome, String), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let mut journal = Journal::create(directory.path(), plan, Timestamp::now())?;
    let path = journal.path().to_owned();
    let (_switch, stop) = StopSwitch::new();
    let executor = Executor {
        operations: &ClusterOperations::new(cluster),
        clock: &SystemClock::default(),
        journal: &mut journal,
        tenure: &Tenure::unlimited(),
        reporter: &mut Silent,
        stop: &stop,
    };
    let consent = Consent::from_flag(true).ok_or("a yes is a yes")?;
    let outcome = executor.run(plan, consent).await?;
    Ok((outcome, std::fs::read_to_string(path)?))
}

#[test]
fn a_plan_repairs_a_rejected_token_and_frees_the_same_pod() -> Done {
    let Some(testbed) = Testbed::for_test("a_plan_repairs_a_rejected_token")? else {
        return Ok(());
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let cluster = runtime.block_on(connect(&testbed))?;
    let lease = testbed.lease_node()?;
    let name = lease.name().to_owned();
    let _fault = testbed.expire_token(&lease)?;
    let scratch = Scratch::new(&testbed, "e2e-execute")?;
    scratch.pod("web", &name)?;
    let uid = scratch.field("web", "{.metadata.uid}")?;
    scratch.wait_until_it_hangs()?;

    let snapshot = runtime.block_on(look(&cluster))?;
    let plan = runtime.block_on(plan(&cluster, &snapshot, REJECTED))?;
    let step =
        plan.steps.iter().find(|step| step.node.as_deref() == Some(&name)).ok_or_else(|| {
            format!("no step for {name} in {plan:#?} of {:#?}", diagnose(&snapshot))
        })?;
    let only_ours =
        Plan { steps: vec![common::plan::Step { after: vec![], ..step.clone() }], ..plan.clone() };
    let settles = |step: &common::plan::Step| {
        step.verify.iter().any(|it| match &it.condition {
            Condition::PodsSettled { pods, .. } => pods.iter().any(|pod| pod.uid == uid),
            _ => false,
        })
    };
    assert!(settles(step), "the hanging pod is waited for: {step:#?}");

    // Control: without the action the same verifications do not come true.
    let operations = ClusterOperations::new(&cluster);
    for verification in &step.verify {
        let seen = runtime.block_on(operations.observe(&verification.condition))?;
        let verdict = judge(&verification.condition, &seen);
        assert!(matches!(verdict, Verdict::NotYet(_)), "{verdict:?} before the repair");
    }

    // A plan for another cluster is refused, and its pod stays.
    let mut elsewhere = only_ours.clone();
    elsewhere.id = new_plan_id();
    elsewhere.steps[0].guards[0] = Guard::SameCluster { uid: "another".to_owned() };
    let (outcome, _) = runtime.block_on(carry_out(&cluster, &elsewhere))?;
    assert_eq!(outcome.result, RunResult::Refused, "{outcome:#?}");

    let (outcome, journal) = runtime.block_on(carry_out(&cluster, &only_ours))?;
    assert_eq!(outcome.result, RunResult::Done, "{outcome:#?}");
    assert_eq!(outcome.steps[0].state, StepState::Done);
    assert_eq!(scratch.field("web", "{.metadata.uid}")?, uid, "deleting the pod is no repair");
    assert_eq!(scratch.field("web", "{.status.phase}")?, "Running");
    assert!(!journal.contains("eyJ"), "{journal}");

    // The same action again finds its pod replaced, and leaves the new one alone.
    let Action::Delete { object, uid: old } = &step.action else { panic!("{:?}", step.action) };
    let (_switch, stop) = StopSwitch::new();
    let underway = Underway::new(&stop);
    let again =
        runtime.block_on(operations.perform(&step.action, &Prepared::default(), &underway))?;
    assert!(matches!(again, Performed::AlreadyRight(_)), "{again:?}");
    let guard = Guard::SameUid { object: object.clone(), uid: old.clone() };
    let guard = runtime.block_on(operations.guard(&guard));
    assert!(matches!(guard, Err(GuardFailure::AlreadyRight(_))), "{guard:?}");

    let after = diagnose(&runtime.block_on(look(&cluster))?);
    let still = after.findings().filter(|it| it.nodes.contains(&name)).collect::<Vec<_>>();
    assert!(still.is_empty(), "{still:#?}");
    println!("repaired {name}: {}", serde_json::to_string(&outcome)?);
    Ok(())
}

/// Whatever rejects the credentials of all nodes: every node is repaired, first the one on which a pod hangs.
#[test]
fn a_plan_repairs_all_nodes_whatever_rejected_their_tokens() -> Done {
    let Some(testbed) = Testbed::for_test("a_plan_repairs_all_nodes")? else {
        return Ok(());
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let lock = testbed.lock_cluster()?;
    let canary = testbed.nodes().last().ok_or("a testbed has nodes")?.name().to_owned();
    for fault in ["service account", "signing key", "certificate authority"] {
        match fault {
            "service account" => testbed.recreate_service_account(&lock)?,
            "signing key" => testbed.renew(Renewal::SigningKey, &lock)?,
            _ => testbed.renew(Renewal::Authority, &lock)?,
        }
        let cluster = runtime.block_on(connect(&testbed))?;
        let scratch = Scratch::new(&testbed, "e2e-execute-all")?;
        scratch.pod("web", &canary)?;
        scratch.wait_until_it_hangs()?;
        let snapshot = runtime.block_on(look(&cluster))?;
        let plan = runtime.block_on(plan(&cluster, &snapshot, REJECTED))?;
        let nodes: Vec<_> = plan.steps.iter().filter_map(|step| step.node.as_deref()).collect();
        assert_eq!(nodes.len(), testbed.nodes().len(), "{fault}: {plan:#?}");
        assert_eq!(nodes[0], canary, "{fault}");
        let (outcome, _) = runtime.block_on(carry_out(&cluster, &plan))?;
        assert_eq!(outcome.result, RunResult::Done, "{fault}: {outcome:#?}");
        assert_eq!(scratch.field("web", "{.status.phase}")?, "Running", "{fault}");
        let after = diagnose(&runtime.block_on(look(&cluster))?);
        assert!(after.roots.is_empty(), "{fault}: {:#?}", after.roots);
        scratch.remove()?;
        println!("repaired {fault}: {}", serde_json::to_string(&outcome)?);
    }
    Ok(())
}

#[test]
fn a_plan_brings_a_lost_cni_configuration_back() -> Done {
    let Some(testbed) = Testbed::for_test("a_plan_brings_a_lost_cni_configuration_back")? else {
        return Ok(());
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let cluster = runtime.block_on(connect(&testbed))?;
    let lease = testbed.lease_node()?;
    let name = lease.name().to_owned();
    let _fault = testbed.hide_conflist(&lease)?;
    let ready = "{.status.conditions[?(@.type=='Ready')].status}";
    wait_until("the node is NotReady", Duration::from_secs(60), || {
        let status = testbed.field(&["node", &name], ready).map_err(|error| error.to_string())?;
        if status == "False" { Ok(()) } else { Err(status) }
    })?;
    let snapshot = runtime.block_on(look(&cluster))?;
    let mut plan = runtime.block_on(plan(&cluster, &snapshot, NO_CONFIGURATION))?;
    // Other tests may be breaking the other node meanwhile.
    plan.steps.retain(|step| step.node.as_deref() == Some(&name));
    plan.steps.iter_mut().for_each(|step| step.after.clear());
    let waits = |plan: &Plan| {
        let mut conditions = plan.steps.iter().flat_map(|step| &step.verify);
        conditions.any(|it| matches!(it.condition, Condition::NodeNetworkReady { .. }))
    };
    assert!(waits(&plan), "{plan:#?} of {:#?}", diagnose(&snapshot));
    let (outcome, _) = runtime.block_on(carry_out(&cluster, &plan))?;
    assert_eq!(outcome.result, RunResult::Done, "{outcome:#?}");
    assert_eq!(testbed.field(&["node", &name], ready)?, "True");
    println!("repaired {name}: {}", serde_json::to_string(&outcome)?);
    Ok(())
}
