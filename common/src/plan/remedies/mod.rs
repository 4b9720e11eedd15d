//! From findings to steps: one file per remedy.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{LeftOut, Plan, PlanId, Target};
use crate::findings::Diagnosis;
use crate::snapshot::Snapshot;

/// The remedies that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemedyName {
    /// Deletes the node's calico-node pod: its init container rewrites binaries, conflist and kubeconfig.
    RestartCalicoNode,
}

/// The plan that repairs what `diagnosis` found, and nothing else. Findings without a remedy are listed as left out.
pub fn plan_for(
    id: PlanId,
    made_by: &str,
    target: Target,
    _snapshot: &Snapshot,
    diagnosis: &Diagnosis,
) -> Plan {
    let taken: Timestamp = Timestamp::UNIX_EPOCH;
    let left_out = diagnosis
        .findings()
        .map(|finding| LeftOut { finding: finding.id.to_string(), why: "no remedy".to_owned() })
        .collect();
    Plan { id, made_by: made_by.to_owned(), target, taken, steps: Vec::new(), left_out }
}
