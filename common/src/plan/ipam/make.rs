//! Makes plans: one step for each block, and one for each thousand handles.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{BlockRef, HandleRef, IpamApi, IpamChange};
use crate::calico::ipam::IpamHandle;
use crate::calico::names::{CRD_GROUP, V3_GROUP};
use crate::ipam::{Allocation, Block, Held, Holder, edit};
use crate::plan::{
    Action, Applicability, Condition, Guard, LeftOut, Plan, PlanId, Step, StepId, Target, Undo,
    Verification, describe,
};
use crate::snapshot::{Flavour, Known, Snapshot};

/// Handles of one step: its lines in the journal stay readable, and little is done again when it is cut off.
const HANDLES: usize = 1000;
/// Seconds that what was done may take to be seen.
const WITHIN_SECONDS: u64 = 60;
/// Nodes whose steps may fail before nothing more is begun.
const MAX_FAILURES: u32 = 3;

/// What a plan is made for.
#[derive(Clone, Debug)]
pub struct IpamOrder<'a> {
    /// The run.
    pub id: PlanId,
    /// Program, version and verb.
    pub made_by: &'a str,
    /// The cluster.
    pub target: Target,
    /// Time of the snapshot.
    pub taken: Timestamp,
    /// Where Calico's objects are.
    pub api: IpamApi,
    /// Whether released addresses rest.
    pub rest: bool,
    /// Blocks as they are stored, by name: what is released must be kept whole, to be given back.
    pub stored: &'a BTreeMap<String, Value>,
}

impl IpamApi {
    /// Where this cluster has Calico's objects.
    pub fn of(snapshot: &Snapshot) -> Self {
        let (group, version) = match snapshot.flavour {
            Known::Known(Flavour::NativeV3) => (V3_GROUP, "v3"),
            _ => (CRD_GROUP, "v1"),
        };
        Self { group: group.to_owned(), version: version.to_owned() }
    }
}

/// An address that is to go, and who is asked before.
pub type Going<'a> = (Allocation<'a>, Holder);

impl IpamOrder<'_> {
    /// A plan that releases these addresses and deletes these handles.
    pub fn plan(
        self,
        addresses: Vec<(&Block<'_>, Vec<Going<'_>>)>,
        handles: &[&IpamHandle],
        mut left_out: Vec<LeftOut>,
    ) -> Plan {
        let mut steps = Vec::new();
        for (block, going) in addresses {
            let (held, changed) = self.held(block, going);
            left_out.extend(changed);
            if !held.is_empty() {
                steps.push(self.release(block, held));
            }
        }
        for (number, chunk) in handles.chunks(HANDLES).enumerate() {
            let handles = chunk.iter().map(|it| handle(it)).collect();
            let change = IpamChange::DeleteHandles { api: self.api.clone(), handles };
            steps.push(self.step(format!("handles/{}", number + 1), None, change));
        }
        Plan {
            id: self.id,
            made_by: self.made_by.to_owned(),
            target: self.target,
            taken: self.taken,
            steps,
            left_out,
            max_failures: MAX_FAILURES,
        }
    }

    /// The addresses as they are stored. One that changed since the look is left out.
    fn held(&self, block: &Block<'_>, going: Vec<Going<'_>>) -> (Vec<Held>, Vec<LeftOut>) {
        let stored = self.stored.get(block.name());
        let (mut held, mut changed) = (Vec::new(), Vec::new());
        for (it, holder) in going {
            let entry = stored.and_then(|stored| edit::entry(stored, it.ordinal));
            let now = entry.map(|entry| Held {
                address: it.address,
                ordinal: it.ordinal,
                handle: it.entry.handle().map(str::to_owned),
                sequence: it.sequence,
                entry,
                holder,
            });
            let is_same =
                |now: &Held| stored.is_some_and(|stored| edit::is_held(stored, now) == Ok(true));
            match now.filter(is_same) {
                Some(now) => held.push(now),
                None => changed.push(LeftOut {
                    finding: it.address.to_string(),
                    why: "it changed while the plan was made".to_owned(),
                }),
            }
        }
        (held, changed)
    }

    fn release(&self, block: &Block<'_>, addresses: Vec<Held>) -> Step {
        let name = block.name().to_owned();
        let id = format!("release/{name}");
        let cidr = block.object.spec.cidr.clone();
        let change = IpamChange::ReleaseAddresses {
            api: self.api.clone(),
            block: BlockRef { name, cidr },
            addresses,
            rest: self.rest,
        };
        self.step(id, block.host(), change)
    }

    fn step(&self, id: String, node: Option<&str>, change: IpamChange) -> Step {
        let verification = |change: &IpamChange| Verification {
            condition: Condition::IpamChanged { change: change.goal() },
            within_seconds: WITHIN_SECONDS,
        };
        let (back, verify) = (change.inverse(), vec![verification(&change)]);
        let action = Action::Ipam { change };
        Step {
            id: StepId(id),
            title: describe::action(&action),
            node: node.map(str::to_owned),
            guards: vec![
                Guard::SameCluster { uid: self.target.cluster_uid.clone() },
                Guard::DatastoreReady { information: self.api.information() },
            ],
            verify,
            undo: Undo::By {
                verify: vec![verification(&back)],
                action: Box::new(Action::Ipam { change: back }),
            },
            action,
            after: Vec::new(),
            resolves: Vec::new(),
            applicability: Applicability::Ask,
        }
    }
}

/// A handle in the version that was read.
fn handle(it: &IpamHandle) -> HandleRef {
    let spec = &it.spec;
    HandleRef {
        id: spec.handle_id.clone(),
        uid: it.metadata.uid.clone(),
        resource_version: it.metadata.resource_version.clone(),
        before: json!({ "handleID": spec.handle_id, "block": spec.block, "deleted": false }),
    }
}
