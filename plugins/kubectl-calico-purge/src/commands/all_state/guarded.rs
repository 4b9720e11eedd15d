//! The guards: what they object to is said with its evidence, and nothing is done.

use std::collections::BTreeSet;

use common::cli::Failure;
use common::cluster::Cluster;
use common::findings::Code;
use common::plan::safeguards::{self, Circumstances, Intent, Situation};
use common::snapshot::Snapshot;
use common::verbs::Session;

use super::Request;
use crate::commands::refusal::refused;

/// Guards that judge by what lies on hosts.
const OF_HOSTS: [&str; 2] = ["CAL-GRD-003", "CAL-GRD-004"];

/// The code of a guard, as a flag's value.
pub(super) fn code(word: &str) -> Result<Code, String> {
    match safeguards::find(word) {
        Some(guard) if guard.is_overridable() => Ok(guard.code),
        Some(guard) => Err(format!("nothing overrides {}", guard.code)),
        None => {
            let all: Vec<&str> = safeguards::OF_ALL_STATE.iter().map(|it| it.code.0).collect();
            Err(format!("there is no such guard; there are {}", all.join(", ")))
        }
    }
}

/// Asks the guards. Before the hosts were looked at (`is_last` false), what they cannot tell about hosts is no objection yet.
///
/// # Errors
/// When a guard objects that is not overridden.
pub(super) fn check(
    session: &Session,
    cluster: &Cluster,
    request: &Request<'_>,
    (snapshot, circumstances): (&Snapshot, &Circumstances),
    is_last: bool,
) -> Result<(), Failure> {
    let intent = Intent {
        nodes: request.nodes.clone(),
        delete_empty_dirs: request.flags.delete_emptydir_data,
        server: cluster.target_info().server.clone(),
    };
    let forced: BTreeSet<Code> = request.flags.force.iter().copied().collect();
    let situation = Situation { intent: &intent, snapshot, circumstances };
    let mut found = safeguards::objections(&situation, &forced);
    found.retain(|it| is_last || it.unknown.is_none() || !OF_HOSTS.contains(&it.code.as_str()));
    if found.is_empty() {
        return Ok(());
    }
    let flags: Vec<String> = found.iter().map(|it| format!("--force={}", it.code)).collect();
    let hint = format!("whoever knows better overrides each by its code: {}", flags.join(" "));
    Err(refused(session, &found).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_guards_can_be_forced() {
        assert_eq!(code("CAL-GRD-003").unwrap().0, "CAL-GRD-003");
        assert!(code("CAL-CNI-006").unwrap_err().contains("CAL-GRD-001"));
        assert_eq!(code("CAL-GRD-014").unwrap_err(), "nothing overrides CAL-GRD-014");
    }
}
