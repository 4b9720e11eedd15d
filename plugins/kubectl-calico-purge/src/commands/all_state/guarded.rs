//! The guards: what they object to is said with its evidence, and nothing is done.

use std::collections::BTreeSet;

use common::cli::{Failure, Kind};
use common::cluster::Cluster;
use common::findings::Code;
use common::plan::purge::in_words;
use common::plan::safeguards::{self, Circumstances, Intent, Objection, Situation};
use common::report::escape;
use common::snapshot::Snapshot;
use common::verbs::Session;

use super::Request;

/// Guards that judge by what lies on hosts.
const OF_HOSTS: [&str; 2] = ["CAL-GRD-003", "CAL-GRD-004"];

/// The code of a guard, as a flag's value.
pub(super) fn code(word: &str) -> Result<Code, String> {
    safeguards::find(word).map(|guard| guard.code).ok_or_else(|| {
        let all: Vec<&str> = safeguards::ALL.iter().map(|guard| guard.code.0).collect();
        format!("there is no such guard; there are {}", all.join(", "))
    })
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
    for objection in &found {
        session.printer.talk(&escape(&line(objection)));
    }
    Err(refusal(&found))
}

/// `CAL-GRD-001  no other node would take the pods: node node1: is cordoned`
fn line(objection: &Objection) -> String {
    let why = match &objection.unknown {
        Some(gap) => {
            format!("cannot be told, because {} could not be read: {}", gap.what, gap.detail)
        }
        None => in_words(&objection.evidence),
    };
    format!("{}  {}: {why}", objection.code, objection.title)
}

fn refusal(found: &[Objection]) -> Failure {
    let all: Vec<String> = found.iter().map(|it| format!("{} ({})", it.code, it.title)).collect();
    let what = format!("nothing was changed: refused by {}", all.join(", "));
    let flags: Vec<String> = found.iter().map(|it| format!("--force={}", it.code)).collect();
    Failure::new(Kind::Refused, what)
        .hint(format!("whoever knows better overrides each by its code: {}", flags.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::findings::Evidence;
    use common::snapshot::{Gap, GapReason};

    #[test]
    fn objections_read_like_reasons() {
        let objection = Objection {
            code: "CAL-GRD-001".into(),
            title: "no other node would take the pods".into(),
            evidence: vec![Evidence::new("node node1", "is cordoned")],
            unknown: None,
        };
        assert_eq!(
            line(&objection),
            "CAL-GRD-001  no other node would take the pods: node node1: is cordoned"
        );
        let gap = Gap::new("cluster/services.json", GapReason::Forbidden, "not allowed");
        let unknown = Objection { evidence: Vec::new(), unknown: Some(gap), ..objection.clone() };
        assert!(line(&unknown).ends_with("cluster/services.json could not be read: not allowed"));
        let failure = refusal(&[objection]);
        assert_eq!(failure.exit(), common::cli::Exit::Declined);
        assert!(failure.hints[0].contains("--force=CAL-GRD-001"), "{:?}", failure.hints);
    }

    #[test]
    fn only_guards_can_be_forced() {
        assert_eq!(code("CAL-GRD-003").unwrap().0, "CAL-GRD-003");
        assert!(code("CAL-CNI-006").unwrap_err().contains("CAL-GRD-001"));
    }
}
