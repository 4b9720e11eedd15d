//! What a remedy does, in one line below the command that applies it.

use crate::findings::Finding;
use crate::plan::RemedyName;

/// The command, without the program's name.
pub(super) fn command(finding: &Finding, remedy: RemedyName) -> String {
    match remedy {
        RemedyName::Sweep => "sweep".to_owned(),
        _ => format!("fix {}", finding.code),
    }
}

/// What it does on `place` (a node's name, or how many nodes), and how freely it may be done.
pub(super) fn effect(remedy: RemedyName, place: &str, many: bool) -> String {
    match remedy {
        RemedyName::RestartCalicoNode => {
            let pace = if many { "one at a time, about 20 s each" } else { "about 20 s" };
            format!("restarts calico-node on {place}, {pace}; safe")
        }
        RemedyName::RenewCniKubeconfig => format!(
            "writes calico-kubeconfig with a fresh token on {place}, because calico-node cannot start; asks first, can be undone"
        ),
        RemedyName::RestoreConflist => format!(
            "writes Calico's conflist on {place} as it stands on other nodes; asks first, can be undone"
        ),
        RemedyName::RestoreBinaries => format!(
            "copies Calico's CNI binaries to {place}, from its image or its release; asks first, can be undone"
        ),
        RemedyName::MoveAsideConfiguration => {
            format!("renames the other configuration on {place}; asks first, can be undone")
        }
        RemedyName::FreeSandboxes => {
            format!("stops and removes these sandboxes on {place}; asks first, cannot be undone")
        }
        RemedyName::RemoveLeakedLinks => {
            format!("removes these interfaces on {place}; asks first, cannot be undone")
        }
        RemedyName::RecreatePods => {
            format!("deletes these pods on {place}; their owner makes them anew; asks first")
        }
        RemedyName::Sweep => "removes what an earlier run of ours left; asks first".to_owned(),
    }
}
