//! From findings to steps: one file per remedy.

mod restart_calico_node;

use serde::{Deserialize, Serialize};

use super::{LeftOut, Plan, PlanId, Target};
use crate::findings::{Code, Diagnosis, Finding, Root};
use crate::snapshot::Snapshot;

/// The remedies that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemedyName {
    /// Deletes the node's calico-node pod: its init container rewrites binaries, conflist and kubeconfig.
    RestartCalicoNode,
    /// Writes calico-kubeconfig with a fresh token, where calico-node cannot start and do it itself.
    RenewCniKubeconfig,
    /// Writes Calico's conflist, where calico-node cannot start and do it itself.
    RestoreConflist,
    /// Copies Calico's CNI binaries to the node, where calico-node cannot start and do it itself.
    RestoreBinaries,
    /// Renames another network plugin's configuration that the runtime reads before Calico's.
    MoveAsideConfiguration,
    /// Stops and removes sandboxes whose pod is gone or cannot go.
    FreeSandboxes,
    /// Deletes pods that cannot recover and that their owner makes anew.
    RecreatePods,
    /// Removes what an earlier run of ours left.
    Sweep,
}

/// What the user asked for, and where.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// Identity of the plan and of its run.
    pub id: PlanId,
    /// Program and version.
    pub made_by: &'a str,
    /// The cluster.
    pub target: Target,
    /// Only findings with one of these codes are repaired; empty means all.
    pub only: &'a [Code],
}

/// The plan that repairs what `diagnosis` found, and nothing else. Every finding is resolved by a step, or left out
/// with a reason, or both: repaired on some of its nodes.
pub fn plan_for(order: Order<'_>, snapshot: &Snapshot, diagnosis: &Diagnosis) -> Plan {
    let mut left_out = Vec::new();
    let mut chosen = Vec::new();
    for root in &diagnosis.roots {
        match choose(root, order.only) {
            Ok(()) => chosen.push(root),
            Err(why) => left_out.extend(leave_out(root, &why)),
        }
    }
    let steps = restart_calico_node::steps(&order.target, snapshot, &chosen, &mut left_out);
    left_out.sort_by(|a: &LeftOut, b| (&a.finding, &a.why).cmp(&(&b.finding, &b.why)));
    left_out.dedup();
    Plan {
        id: order.id,
        made_by: order.made_by.to_owned(),
        target: order.target,
        taken: snapshot.taken,
        steps,
        left_out,
    }
}

/// Whether the cause is to be repaired. Symptoms go as their cause goes: repairing one without its cause repairs nothing.
fn choose(root: &Root, only: &[Code]) -> Result<(), String> {
    let finding = &root.finding;
    if !only.is_empty() && !only.contains(&finding.code) {
        return Err("not asked for".to_owned());
    }
    if finding.remedy.is_none() {
        return Err(format!(
            "no automatic repair; `explain {}` says what a person can do",
            finding.code
        ));
    }
    Ok(())
}

fn leave_out(root: &Root, why: &str) -> Vec<LeftOut> {
    let code = root.finding.code;
    let cause = LeftOut { finding: root.finding.id.to_string(), why: why.to_owned() };
    let symptom = |finding: &Finding| LeftOut {
        finding: finding.id.to_string(),
        why: format!("follows from {code}, which is left out: {why}"),
    };
    std::iter::once(cause).chain(root.symptoms.iter().map(symptom)).collect()
}
