//! Everything of Calico goes from nodes: in the order that wedges no pod.

use super::{Case, Leaving, drain, exclusion, host, order};
use crate::plan::{LeftOut, Plan, Step, StepId};
use crate::residue::left;
use crate::slim::Node;

/// Seconds that disruption budgets may delay the eviction of a node's pods, and that the pods may take to stop.
pub const EVICTION_SECONDS: u64 = 600;

/// The plan. On each node: save, cordon, end calico-node and keep it off, evict, take the network configuration away, end what is
/// left of pods with a network, remove the rest, uncordon. A step that fails ends the steps of its node.
pub fn plan_all_state(leaving: &Leaving<'_>) -> Plan {
    let mut left_out = Vec::new();
    let mut steps: Vec<Step> = Vec::new();
    if let Some(why) = exclusion::obstacle(leaving) {
        left_out.push(LeftOut { finding: "DaemonSet calico-node".to_owned(), why });
    } else {
        let cases = in_order(leaving).into_iter();
        let cases: Vec<Case<'_>> =
            cases.map(|(node, found)| Case { leaving, node, found }).collect();
        left_out.extend(cases.iter().flat_map(unremovable));
        let begun: Vec<&Case<'_>> = cases.iter().filter(|case| !is_left(case)).collect();
        if !begun.is_empty() {
            steps.extend(exclusion::keep_off(leaving));
        }
        let shared: Option<StepId> = steps.first().map(|it| it.id.clone());
        for case in begun {
            steps.extend(chained(on_node(case), shared.as_ref()));
        }
    }
    Plan {
        id: leaving.run.clone(),
        made_by: leaving.made_by.to_owned(),
        target: leaving.target.clone(),
        taken: leaving.snapshot.taken,
        steps,
        left_out,
        max_failures: leaving.max_failures,
    }
}

type Found<'a> = Option<&'a crate::residue::Inventory>;

/// The nodes that exist, the canary first.
fn in_order<'a>(leaving: &Leaving<'a>) -> Vec<(&'a Node, Found<'a>)> {
    let found = |node: &Node| leaving.nodes.iter().find(|(name, _)| *name == node.metadata.name);
    let mut nodes: Vec<&Node> =
        leaving.snapshot.nodes.items.iter().filter(|node| found(node).is_some()).collect();
    order::canary_first(leaving.snapshot, &mut nodes);
    let with_found = |node: &'a Node| (node, found(node).and_then(|(_, it)| it.as_ref()));
    nodes.into_iter().map(with_found).collect()
}

/// True when Calico has left the node, and nothing of an earlier run is to be taken away there.
fn is_left(case: &Case<'_>) -> bool {
    let (configurations, rest) = host::steps(case);
    case.found.is_some()
        && exclusion::is_excluded(case)
        && !drain::is_begun(case)
        && configurations.is_empty()
        && rest.is_empty()
        && host::at_object(case).is_empty()
}

fn on_node(case: &Case<'_>) -> Vec<Step> {
    let (configurations, rest) = host::steps(case);
    let mut steps: Vec<Step> = Vec::new();
    steps.extend(host::back_up(case));
    steps.extend(drain::cordon(case));
    steps.extend(exclusion::exclude(case));
    steps.extend(drain::evict(case));
    steps.extend(configurations);
    steps.extend(drain::delete_daemon_pods(case));
    steps.extend(drain::free_sandboxes(case));
    steps.extend(rest);
    steps.extend(host::at_object(case));
    steps.extend(drain::uncordon(case));
    steps
}

/// Each step after the one before it on its node, the first after what all nodes need.
fn chained(mut steps: Vec<Step>, shared: Option<&StepId>) -> Vec<Step> {
    let mut before = shared.cloned();
    for step in &mut steps {
        step.after = before.into_iter().collect();
        before = Some(step.id.clone());
    }
    steps
}

fn unremovable(case: &Case<'_>) -> Vec<LeftOut> {
    let name = case.name();
    let Some(found) = case.found else {
        let why = format!(
            "nobody looked at it: what is removed there is planned from what a privileged pod sees, and a dry run makes \
             none; kubectl calico-purge leftovers {name} looks"
        );
        return vec![LeftOut { finding: format!("host of {name}"), why }];
    };
    let stays = left(found).into_iter().map(|(id, why)| (id.to_string(), why));
    let gaps = found.gaps.iter().map(|gap| (gap.what.clone(), gap.detail.clone()));
    let line =
        |(what, why): (String, String)| LeftOut { finding: format!("{what} on {name}"), why };
    stays.chain(gaps).map(line).collect()
}
