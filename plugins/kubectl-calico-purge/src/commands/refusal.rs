//! What guards object to: each in a line with its evidence, and a failure that names them all.

use common::cli::{Failure, Kind};
use common::plan::purge::in_words;
use common::plan::safeguards::Objection;
use common::report::escape;
use common::verbs::Session;

/// Says what `found` says, and what that means for the run.
pub(super) fn refused(session: &Session, found: &[Objection]) -> Failure {
    for objection in found {
        session.printer.talk(&escape(&line(objection)));
    }
    refusal(found)
}

/// `CAL-GRD-001  no other node would take the pods: node node1: is cordoned`
fn line(objection: &Objection) -> String {
    let why = match &objection.unknown {
        Some(gap) => format!("cannot be told from {}: {}", gap.what, gap.detail),
        None => in_words(&objection.evidence),
    };
    format!("{}  {}: {why}", objection.code, objection.title)
}

fn refusal(found: &[Objection]) -> Failure {
    let all: Vec<String> = found.iter().map(|it| format!("{} ({})", it.code, it.title)).collect();
    Failure::new(Kind::Refused, format!("nothing was changed: refused by {}", all.join(", ")))
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
        assert!(
            line(&unknown).ends_with(": cannot be told from cluster/services.json: not allowed")
        );
        let failure = refusal(&[objection]);
        assert_eq!(failure.exit(), common::cli::Exit::Declined);
        assert!(failure.chain().contains("CAL-GRD-001"), "{failure:?}");
    }
}
