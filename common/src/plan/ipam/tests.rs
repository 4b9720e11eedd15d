//! What a plan takes, what it leaves, and when it is refused.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Going, IpamApi, IpamChange, IpamOrder, Leaks, idle_handles, obstacle};
use crate::calico::ipam::IpamHandle;
use crate::ipam::fixtures::{block, cluster, node, pod};
use crate::ipam::leak::Judge;
use crate::ipam::{Holder, Ledger, Population};
use crate::plan::{Action, LeftOut, Plan, PlanId, Target};
use crate::snapshot::{Flavour, Known, Snapshot};

const OLD: &str = "2026-01-01 00:00:00 +0000 UTC";
const FRESH: &str = "2026-07-12 11:59:00 +0000 UTC";

fn owner(handle: &str, pod: &str, node: &str, taken: &str) -> String {
    format!(
        r#"{{"handle_id":"{handle}","secondary":{{"namespace":"a","pod":"{pod}","node":"{node}","timestamp":"{taken}"}}}}"#
    )
}

fn snapshot(owners: &[String]) -> Snapshot {
    let mut it = cluster(owners);
    it.flavour = Known::Known(Flavour::CrdV1);
    it.cluster_information.coverage = crate::snapshot::Coverage::All;
    it.cluster_information.gap = None;
    it.nodes.items = vec![node("n1")];
    it
}

fn stored(snapshot: &Snapshot) -> BTreeMap<String, Value> {
    let blocks = &snapshot.addresses.blocks.items;
    blocks.iter().map(|it| (it.metadata.name.clone(), json!(it))).collect()
}

fn planned(snapshot: &Snapshot, stored: &BTreeMap<String, Value>) -> (Plan, Vec<String>) {
    let population = Population::new(snapshot);
    let judge = Judge::new(snapshot, &population).unwrap();
    let ledger = Ledger::new(snapshot);
    let leaks = Leaks::find(&ledger, &judge, None);
    let too_many = leaks.too_many(&ledger, &population);
    let order = IpamOrder {
        id: PlanId("P".into()),
        made_by: "test",
        target: Target {
            cluster_uid: "c".into(),
            context: String::new(),
            cluster_name: String::new(),
            server: String::new(),
            user: String::new(),
        },
        taken: Timestamp::UNIX_EPOCH,
        api: IpamApi::of(snapshot),
        rest: false,
        stored,
    };
    let going = leaks.blocks.into_iter().map(|(block, here)| {
        let with = |it| (it, Holder::of(&it, true).unwrap());
        (block, here.into_iter().map(with).collect::<Vec<Going<'_>>>())
    });
    let plan = order.plan(going.collect(), &idle_handles(snapshot, None), leaks.left_out);
    (plan, too_many)
}

fn released(plan: &Plan) -> Vec<String> {
    let Some(Action::Ipam { change: IpamChange::ReleaseAddresses { addresses, .. } }) =
        plan.steps.first().map(|it| &it.action)
    else {
        return Vec::new();
    };
    addresses.iter().map(|it| it.address.to_string()).collect()
}

#[test]
fn only_what_leaked_goes_and_the_rest_is_told_in_words() {
    let it = snapshot(&[
        owner("h0", "gone", "n1", OLD),
        owner("h1", "gone", "n1", FRESH),
        owner("h2", "lives", "n1", OLD),
        owner("shared", "gone", "n1", OLD),
        owner("shared", "starts", "n1", OLD),
        r#"{"handle_id":"h5","secondary":{"type":"vxlanTunnelAddress","node":"n9"}}"#.to_owned(),
    ]);
    let mut it = it;
    it.pods.items = vec![pod("lives", "10.0.0.2", None), pod("starts", "", None)];
    let (plan, too_many) = planned(&it, &stored(&it));
    assert_eq!(released(&plan), ["10.0.0.0", "10.0.0.5"]);
    assert_eq!(too_many, [""; 0]);
    assert_eq!(plan.steps[0].title, "release 2 addresses of block 10.0.0.0/26");
    assert!(plan.steps[0].undo.is_possible());
    let left = |count: &str, why: &str| LeftOut { finding: count.into(), why: why.into() };
    assert_eq!(
        plan.left_out,
        [
            left("1 address", "another address of its handle stays"),
            left("1 address", "its pod does not exist, but not for long enough"),
            left("1 address", "its pod is about to get it"),
        ]
    );
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan, "a journal keeps it whole");
}

#[test]
fn what_changed_while_it_was_planned_is_left_out() {
    let it = snapshot(&[owner("h0", "gone", "n1", OLD), owner("h1", "gone", "n1", OLD)]);
    let mut stored = stored(&it);
    let block = stored.get_mut("10-0-0-0-26").unwrap();
    block["spec"]["sequenceNumberForAllocation"] = json!({ "0": 7 });
    block["spec"]["attributes"][1]["unknown"] = json!(u64::MAX);
    let (plan, _) = planned(&it, &stored);
    assert_eq!(released(&plan), ["10.0.0.1"]);
    assert_eq!(plan.left_out[0].finding, "10.0.0.0");
    let text = serde_json::to_string(&plan).unwrap();
    assert!(text.contains(&u64::MAX.to_string()), "the entry is kept as it is stored");
    let (plan, _) = planned(&it, &BTreeMap::new());
    assert!(plan.steps.is_empty() && plan.left_out.len() == 2);
}

#[test]
fn more_than_a_part_of_a_pool_or_a_node_must_be_wished_for() {
    let owners: Vec<String> = (0..21).map(|n| owner(&format!("h{n}"), "gone", "n1", OLD)).collect();
    let mut it = snapshot(&owners);
    let pool = r#"{"metadata":{"name":"default"},"spec":{"cidr":"10.0.0.0/16"}}"#;
    it.ip_pools.items = vec![serde_json::from_str(pool).unwrap()];
    let (_, too_many) = planned(&it, &stored(&it));
    assert_eq!(
        too_many,
        [
            "21 of the 21 used addresses of pool default would go, more than 5 %",
            "21 of the 21 used addresses of node n1 would go, more than 50 %"
        ]
    );
    // Few are never too many, and a node that is gone keeps nothing.
    it.addresses.blocks.items = vec![block("10.0.0.0/26", &owners[1..])];
    assert_eq!(planned(&it, &stored(&it)).1, [""; 0]);
    it.addresses.blocks.items = vec![block("10.0.0.0/26", &owners)];
    it.nodes.items.clear();
    assert_eq!(planned(&it, &stored(&it)).1.len(), 1);
}

fn handle(id: &str, created: &str) -> IpamHandle {
    let json = json!({ "metadata": { "name": id.to_lowercase(), "uid": "u", "resourceVersion": "7", "creationTimestamp": created },
        "spec": { "handleID": id, "block": { "10.0.0.0/26": 1 } } });
    serde_json::from_value(json).unwrap()
}

#[test]
fn a_handle_goes_that_no_block_names_and_that_is_not_new() {
    let mut it = snapshot(&[owner("h0\\r\\neth0", "gone", "n1", FRESH)]);
    let mut deleted = handle("deleted", "2026-01-01T00:00:00Z");
    deleted.spec.deleted = true;
    it.addresses.handles.items = vec![
        handle("Idle", "2026-01-01T00:00:00Z"),
        handle("young", "2026-07-12T11:50:00Z"),
        handle("h0", "2026-01-01T00:00:00Z"),
        handle("windows-reserved-ipam-handle", "2026-01-01T00:00:00Z"),
        handle("vxlan-tunnel-addr-n9", "2026-01-01T00:00:00Z"),
        deleted,
    ];
    let ids = |node: Option<&str>| -> Vec<&str> {
        idle_handles(&it, node).iter().map(|it| it.spec.handle_id.as_str()).collect()
    };
    assert_eq!(ids(None), ["Idle", "vxlan-tunnel-addr-n9"]);
    assert_eq!(ids(Some("n9")), ["vxlan-tunnel-addr-n9"]);
    let (plan, _) = planned(&it, &stored(&it));
    assert_eq!(plan.steps[0].title, "delete 2 handles without an address");
}

#[test]
fn nothing_is_done_where_not_all_is_seen_or_others_are_at_work() {
    let says = |change: fn(&mut Snapshot)| {
        let mut it = snapshot(&[]);
        change(&mut it);
        obstacle(&it)
    };
    assert_eq!(says(|_| ()), Ok(None));
    assert!(matches!(says(|it| it.flavour = Known::Known(Flavour::Migrating)), Ok(Some(_))));
    assert!(matches!(says(|it| it.flavour = Known::Absent), Ok(Some(_))));
    let part = crate::snapshot::Coverage::Selected(vec!["x".into()]);
    let mut it = snapshot(&[]);
    it.addresses.handles.coverage = part;
    assert!(obstacle(&it).is_err());
    let locked = r#"{"metadata":{"name":"default"},"spec":{"datastoreReady":false}}"#;
    it = snapshot(&[]);
    it.cluster_information.items = vec![serde_json::from_str(locked).unwrap()];
    assert!(obstacle(&it).unwrap().unwrap().contains("locked"));
}
