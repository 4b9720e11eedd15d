//! Pods that hang, and what pods leave behind.

pub mod kubelet_text;

pub(super) mod calls_hang;
pub(super) mod hanging;
pub(super) mod leaked_links;
pub(super) mod orphaned_sandboxes;
pub(super) mod said;
pub(super) mod stuck_creating;
pub(super) mod stuck_terminating;

use super::Context;
use crate::findings::{Code, Findings};
use crate::snapshot::{Gap, GapReason, HostFacts, Known, Sandbox, Vantage};

/// Nodes whose sandboxes were listed, with their facts. Of a host that was looked at and did not list them, and when no
/// host was looked at, `code` is told to be not judged.
fn sandboxes_of<'a>(
    context: &Context<'a>,
    code: Code,
    out: &mut Findings,
) -> Vec<(&'a str, &'a HostFacts, &'a [Sandbox])> {
    let mut all = Vec::new();
    let mut unseen = false;
    for (node, facts) in &context.snapshot.hosts {
        let Known::Known(host) = facts else {
            unseen = true;
            continue;
        };
        match &host.sandboxes {
            Known::Known(sandboxes) => all.push((node.as_str(), host, sandboxes.as_slice())),
            Known::Unknown(gap) if host.vantage != Vantage::CalicoNode => {
                out.not_judged(code, node, gap.clone());
            }
            Known::Absent | Known::Unknown(_) => unseen = true,
        }
    }
    if unseen {
        let why = "a container runtime's sandboxes are seen from the host only (check --probe)";
        out.not_judged(code, "", Gap::new("nodes/*/probe.txt", GapReason::NotAsked, why));
    }
    all
}
