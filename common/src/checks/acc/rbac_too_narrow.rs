//! CAL-ACC-002.

use crate::checks::Context;
use crate::findings::{Cause, Code, Evidence, Finding, Findings, Severity, Subject, SubjectKind};
use crate::snapshot::GapReason;

check! {
    /// # Your permissions are too narrow for a full diagnosis
    ///
    /// ## What it detects
    /// The API server refused something that checks need (403). The checks concerned are listed as skipped: nothing is
    /// called healthy that was not looked at.
    ///
    /// ## How sure
    /// Certain: the refusals are shown.
    ///
    /// ## What it looks like
    /// `pods "calico-node-x" is forbidden: User "jane" cannot create resource "pods/exec" ...`
    ///
    /// ## What to do
    /// An administrator can allow exactly what is needed:
    /// `kubectl calico-doctor check --print-rbac --bind-to USER | kubectl apply -f -`
    ///
    /// ## What not to do
    /// Binding cluster-admin for a diagnosis: it also allows what a diagnosis never does.
    RBAC_TOO_NARROW: "CAL-ACC-002", "permissions too narrow for a full diagnosis", "access", Warning,
    needs [], fix Manual, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let mut refused: Vec<_> =
        context.snapshot.gaps.iter().filter(|gap| gap.why == GapReason::Forbidden).collect();
    refused.sort();
    if refused.is_empty() {
        return;
    }
    let mut finding = Finding::new(
        Code("CAL-ACC-002"),
        Severity::Warning,
        Subject::of(SubjectKind::Object, refused.iter().map(|gap| gap.what.clone())),
        "your permissions are too narrow for a full diagnosis",
        Cause { key: "forbidden", text: String::new() },
    );
    finding.evidence =
        refused.iter().map(|gap| Evidence::new(gap.what.clone(), gap.detail.clone())).collect();
    out.report(finding);
}
