//! CAL-ACC-001.

use crate::checks::Context;
use crate::findings::{Cause, Code, Evidence, Finding, Findings, Severity, Subject};
use crate::snapshot::GapReason;

/// The first request of every run.
const VERSION: &str = "cluster/api/version.json";

check! {
    /// # The API server does not answer
    ///
    /// ## What it detects
    /// The very first request, `GET /version`, got no answer that makes sense: nothing listens, nothing answers in
    /// time, or the certificate is not of the authority that the kubeconfig trusts.
    ///
    /// ## How sure
    /// Certain that it does not answer this machine. Whether it is down, or only the way to it, cannot be told from here.
    ///
    /// ## What it looks like
    /// `The connection to the server 10.0.0.1:6443 was refused - did you specify the right host or port?`
    ///
    /// ## What to do
    /// Check VPN, proxy (HTTPS_PROXY, NO_PROXY) and context first. If the certificate is the fault, the kubeconfig
    /// belongs to another cluster, or the control plane was re-initialised: fetch a fresh admin kubeconfig from it.
    ///
    /// ## What not to do
    /// `kubeadm reset` because the API server is silent: its static pods, certificates or etcd can nearly always be
    /// repaired, and a reset turns one fault into this and a new certificate authority.
    UNREACHABLE: "CAL-ACC-001", "the API server does not answer", "access", Critical,
    needs [], fix Manual, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let is_fatal = |why: &GapReason| {
        matches!(why, GapReason::Unreachable | GapReason::TimedOut | GapReason::Undecodable)
    };
    let gap = context.snapshot.gaps.iter().find(|gap| gap.what == VERSION && is_fatal(&gap.why));
    let Some(gap) = gap else { return };
    let key = match gap.why {
        GapReason::TimedOut => "timed-out",
        GapReason::Undecodable => "undecodable",
        _ => "unreachable",
    };
    let mut finding = Finding::new(
        Code("CAL-ACC-001"),
        Severity::Critical,
        Subject::cluster(),
        "the API server does not answer",
        Cause { key, text: String::new() },
    );
    finding.evidence.push(Evidence::new("GET /version", gap.detail.clone()));
    out.report(finding);
}
