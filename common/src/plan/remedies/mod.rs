//! From findings to steps: one file per remedy.

#[cfg(test)]
mod by_hand_tests;
#[cfg(test)]
mod configuration_tests;
#[cfg(test)]
mod fixtures;
mod free_sandboxes;
mod host_step;
mod move_aside;
mod need;
mod recreate_pods;
mod remove_leaked_links;
mod renew_kubeconfig;
mod restart_calico_node;
mod restore_binaries;
mod restore_conflist;
mod sweep;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Condition, LeftOut, Plan, PlanId, PodRef, Step, Target, Verification};
use crate::findings::{Code, Diagnosis, Finding, Root};
use crate::snapshot::Snapshot;
use need::{Chosen, Need};

/// The remedies that exist, in the order in which they build on each other on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemedyName {
    /// Removes what an earlier run of ours left.
    Sweep,
    /// Renames another network plugin's configuration that the runtime reads before Calico's.
    MoveAsideConfiguration,
    /// Copies Calico's CNI binaries to the node, where calico-node cannot start and do it itself.
    RestoreBinaries,
    /// Writes calico-kubeconfig with a fresh token, where calico-node cannot start and do it itself.
    RenewCniKubeconfig,
    /// Writes Calico's conflist, where calico-node cannot start and do it itself.
    RestoreConflist,
    /// Deletes the node's calico-node pod: its init container rewrites binaries, conflist and kubeconfig.
    RestartCalicoNode,
    /// Stops and removes sandboxes whose pod is gone or cannot go.
    FreeSandboxes,
    /// Removes interfaces of pods that no longer exist.
    RemoveLeakedLinks,
    /// Deletes pods that cannot recover and that their owner makes anew.
    RecreatePods,
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
    /// Only on these nodes is anything done; none means everywhere.
    pub nodes: Option<&'a BTreeSet<String>>,
}

/// What every remedy builds its steps from.
#[derive(Clone, Copy, Debug)]
struct Case<'a> {
    run: &'a PlanId,
    target: &'a Target,
    snapshot: &'a Snapshot,
}

/// Seconds that the pods of a node may take to come right after its last step. The kubelet's pauses between two
/// attempts grow to half a minute and more.
const SETTLE_SECONDS: u64 = 120;

/// The plan that repairs what `diagnosis` found, and nothing else. Every finding is resolved by a step, or left out
/// with a reason, or both: repaired on some of its nodes.
pub fn plan_for(order: Order<'_>, snapshot: &Snapshot, diagnosis: &Diagnosis) -> Plan {
    let mut left_out = Vec::new();
    let mut chosen = Vec::new();
    for root in &diagnosis.roots {
        choose(root, order.only, &mut chosen, &mut left_out);
    }
    let case = Case { run: &order.id, target: &order.target, snapshot };
    let mut steps: Vec<Step> = Vec::new();
    let is_asked_for = |node: &str| order.nodes.is_none_or(|nodes| nodes.contains(node));
    for needs in need::by_node(snapshot, &chosen, &mut left_out) {
        if !needs.first().is_some_and(|need| is_asked_for(need.node)) {
            continue;
        }
        let mut on_node = Vec::new();
        let mut done = Vec::new();
        for need in &needs {
            match steps_of(&case, need) {
                Ok(more) => {
                    on_node.extend(more);
                    done.push(need.clone());
                }
                Err(why) => left_out.extend(need.left_out(&why)),
            }
        }
        settle(&mut on_node, &done);
        for mut step in on_node {
            step.after = steps.last().map(|last| last.id.clone()).into_iter().collect();
            steps.push(step);
        }
    }
    left_out.sort_by(|a: &LeftOut, b| (&a.finding, &a.why).cmp(&(&b.finding, &b.why)));
    left_out.dedup();
    Plan {
        id: order.id,
        made_by: order.made_by.to_owned(),
        target: order.target,
        taken: snapshot.taken,
        steps,
        left_out,
        max_failures: 1,
    }
}

fn steps_of(case: &Case<'_>, need: &Need<'_>) -> Result<Vec<Step>, String> {
    match need.remedy {
        RemedyName::RestartCalicoNode => restart_calico_node::steps(case, need),
        RemedyName::RestoreBinaries => by_hand(case, need, restore_binaries::steps),
        RemedyName::RenewCniKubeconfig => by_hand(case, need, renew_kubeconfig::steps),
        RemedyName::FreeSandboxes => free_sandboxes::steps(case, need),
        RemedyName::RemoveLeakedLinks => remove_leaked_links::steps(case, need),
        RemedyName::RecreatePods => recreate_pods::steps(case, need),
        RemedyName::RestoreConflist => by_hand(case, need, restore_conflist::steps),
        RemedyName::MoveAsideConfiguration => move_aside::steps(case, need),
        RemedyName::Sweep => sweep::steps(case, need),
    }
}

/// What calico-node would do by itself, if it could start. When it cannot be done by hand either, both reasons are told.
fn by_hand(
    case: &Case<'_>,
    need: &Need<'_>,
    steps: impl Fn(&Case<'_>, &Need<'_>) -> Result<Vec<Step>, String>,
) -> Result<Vec<Step>, String> {
    steps(case, need).map_err(|why| match case.snapshot.calico_node_cannot_start(need.node) {
        Some(reason) => format!("calico-node cannot start there ({reason}), and by hand: {why}"),
        None => why,
    })
}

/// The pods that hang come right only when all of their node's causes are gone: the last step waits for them.
fn settle(steps: &mut [Step], needs: &[Need<'_>]) {
    let (Some(last), Some(first)) = (steps.last_mut(), needs.first()) else { return };
    let pods: Vec<PodRef> = need::all_hanging(needs);
    if !pods.is_empty() {
        let condition = Condition::PodsSettled { node: first.node.to_owned(), pods };
        last.verify.push(Verification { condition, within_seconds: SETTLE_SECONDS });
    }
}

/// Whether the cause is to be repaired. Symptoms go as their cause goes, unless one is asked for by its own code and has
/// a remedy of its own.
fn choose<'a>(
    root: &'a Root,
    only: &[Code],
    chosen: &mut Vec<Chosen<'a>>,
    left_out: &mut Vec<LeftOut>,
) {
    let cause = &root.finding;
    let is_asked_for = |finding: &Finding| only.is_empty() || only.contains(&finding.code);
    if is_asked_for(cause) && cause.remedy.is_some() {
        chosen.push(Chosen { cause, symptoms: root.symptoms.iter().collect() });
        return;
    }
    let why = if is_asked_for(cause) {
        format!("no automatic repair; `explain {}` says what a person can do", cause.code)
    } else {
        "not asked for".to_owned()
    };
    left_out.push(LeftOut { finding: cause.id.to_string(), why: why.clone() });
    for symptom in &root.symptoms {
        let named = only.contains(&symptom.code);
        if named && symptom.remedy.is_some() {
            chosen.push(Chosen { cause: symptom, symptoms: Vec::new() });
            continue;
        }
        let hint = if symptom.remedy.is_some() && !named {
            format!("; its effect alone can be treated by asking for {}", symptom.code)
        } else {
            String::new()
        };
        left_out.push(LeftOut {
            finding: symptom.id.to_string(),
            why: format!("follows from {}, which is left out: {why}{hint}", cause.code),
        });
    }
}
