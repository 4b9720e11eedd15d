//! What the operator says of itself.

use serde_json::Value;

use super::{Findings, Grade, Requirement, Situation};
use crate::bpf::text;
use crate::snapshot::Known;

/// What is Degraded goes no further: the operator would not do its part.
pub(super) static NOT_DEGRADED: Requirement = Requirement {
    id: "operator-degraded",
    title: "an operator that is not stuck",
    essential: false,
    judge: not_degraded,
};

/// TigeraStatus of Calico itself.
const CALICO: &str = "calico";

fn not_degraded(situation: &Situation<'_>, findings: &mut Findings) {
    let all = match &situation.tigera_status {
        Known::Known(all) => all,
        Known::Absent => return findings.cluster(Grade::Fine, "there is no operator", ""),
        Known::Unknown(gap) => return findings.unknown(gap),
    };
    let status = all.iter().find(|it| text(it, "/metadata/name") == Some(CALICO));
    let conditions = status.and_then(|it| it.pointer("/status/conditions")?.as_array());
    let degraded = conditions
        .into_iter()
        .flatten()
        .find(|it| it["type"] == "Degraded" && it["status"] == "True");
    let Some(degraded) = degraded else {
        return findings.cluster(Grade::Fine, "TigeraStatus calico is not Degraded", "");
    };
    let part = |name: &str| degraded.get(name).and_then(Value::as_str).unwrap_or_default();
    let reason =
        format!("TigeraStatus calico is Degraded ({}): {}", part("reason"), part("message"));
    let remedy = "mend what it complains about; until then it changes nothing: kubectl get tigerastatus calico -o yaml";
    findings.cluster(Grade::Blocker, reason, remedy);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{grade_of_cluster as grade, situation, snapshot};
    use super::*;

    fn degraded(status: &str) -> Known<Vec<Value>> {
        let conditions = json!([
            { "type": "Available", "status": "True" },
            { "type": "Degraded", "status": status, "reason": "ResourceUpdateError", "message": "no" },
        ]);
        Known::Known(vec![
            json!({ "metadata": { "name": "apiserver" }, "status": { "conditions": conditions } }),
            json!({ "metadata": { "name": "calico" }, "status": { "conditions": conditions } }),
        ])
    }

    #[test]
    fn an_operator_that_is_stuck_blocks() {
        let snapshot = snapshot();
        let mut it = situation(&snapshot);
        it.tigera_status = Known::Absent;
        assert_eq!(grade(&it, "operator-degraded"), "fine");
        it.tigera_status = degraded("True");
        assert_eq!(grade(&it, "operator-degraded"), "blocker");
        it.tigera_status = degraded("False");
        assert_eq!(grade(&it, "operator-degraded"), "fine");
        let Known::Known(all) = degraded("True") else { return };
        it.tigera_status = Known::Known(all.into_iter().take(1).collect());
        assert_eq!(grade(&it, "operator-degraded"), "fine", "another part of it");
        it.tigera_status =
            Known::Known(vec![json!({ "metadata": { "name": "calico" }, "status": 7 })]);
        assert_eq!(grade(&it, "operator-degraded"), "fine", "nothing was said yet");
    }
}
