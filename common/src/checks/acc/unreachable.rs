//! CAL-ACC-001.

use super::control_plane::{self, Fault, Standing};
use crate::checks::Context;
use crate::findings::{Cause, Code, Evidence, Finding, Findings, Severity, Subject};
use crate::snapshot::{Gap, GapReason, Known};

const CODE: Code = Code("CAL-ACC-001");

/// The first request of every run.
const VERSION: &str = "cluster/api/version.json";

check! {
    /// # The API server does not answer
    ///
    /// ## What it detects
    /// The very first request, `GET /version`, got no answer that makes sense: nothing listens, nothing answers in
    /// time, or the certificate is not of the authority that the kubeconfig trusts. Where a probe of a control-plane host
    /// is at hand, it names the cause: the kubelet or the container runtime is down, a certificate has expired, the static
    /// pod of the API server or of etcd is missing, etcd is down, the API server crashes.
    ///
    /// ## How sure
    /// Certain that it does not answer this machine. Whether it is down, or only the way to it, cannot be told from here: a
    /// look at the host tells. Control planes that are no static pods (k3s, RKE2, managed ones) are not judged from it.
    ///
    /// ## What it looks like
    /// `The connection to the server 10.0.0.1:6443 was refused - did you specify the right host or port?`
    ///
    /// ## What to do
    /// Check VPN, proxy (HTTPS_PROXY, NO_PROXY) and context first. If the certificate is the fault, the kubeconfig
    /// belongs to another cluster, or the control plane was re-initialised: fetch a fresh admin kubeconfig from it.
    /// Then look at a control-plane host:
    /// `kubectl calico-doctor check --print-script > probe.sh`
    /// `ssh HOST sudo sh -s < probe.sh > HOST.txt`
    /// `kubectl calico-doctor check --bundle HOST.txt`
    ///
    /// ## What not to do
    /// `kubeadm reset` because the API server is silent: its static pods, certificates or etcd can nearly always be
    /// repaired, and a reset turns one fault into this and a new certificate authority.
    UNREACHABLE: "CAL-ACC-001", "the API server does not answer", "access", Critical,
    needs [], fix Manual, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let mut serving = Vec::new();
    let mut faults: Vec<(&str, Fault)> = Vec::new();
    for (node, facts) in &context.snapshot.hosts {
        let Known::Known(host) = facts else { continue };
        match control_plane::judge(context, node, host) {
            Standing::Serves => serving.push(node.as_str()),
            Standing::Broken(fault) => faults.push((node, fault)),
            Standing::NotKnown => {}
        }
    }
    let unanswered = unanswered(context);
    // An API server that answers is proof that another host's still serves.
    let answers = context.snapshot.cluster.server_version.known().is_some() || !serving.is_empty();
    if faults.is_empty() {
        out.found.extend(unanswered.map(|gap| silent(gap, &serving)));
    }
    for (node, fault) in faults {
        out.report(broken(node, fault, answers && unanswered.is_none(), unanswered));
    }
}

/// Why the first request got no answer.
fn unanswered<'a>(context: &Context<'a>) -> Option<&'a Gap> {
    let is_fatal = |why: &GapReason| {
        matches!(why, GapReason::Unreachable | GapReason::TimedOut | GapReason::Undecodable)
    };
    context.snapshot.gaps.iter().find(|gap| gap.what == VERSION && is_fatal(&gap.why))
}

/// Nothing is known but that there is no answer, and perhaps that the server itself is well.
fn silent(gap: &Gap, serving: &[&str]) -> Finding {
    let key = match gap.why {
        GapReason::TimedOut => "timed-out",
        GapReason::Undecodable => "undecodable",
        _ => "unreachable",
    };
    let text = match serving {
        [] => String::new(),
        names => format!(
            "it runs and listens on {}: only the way from here to it is broken",
            names.join(", ")
        ),
    };
    let mut finding = Finding::new(
        CODE,
        Severity::Critical,
        Subject::cluster(),
        "the API server does not answer",
        Cause { key, text },
    );
    if serving.is_empty() {
        finding.consequence = "to learn why, run the script of `check --print-script` on a control-plane host, and give what it prints to `check --bundle FILE`"
            .to_owned();
    }
    finding.evidence.push(Evidence::new("GET /version", gap.detail.clone()));
    finding
}

fn broken(node: &str, fault: Fault, others_serve: bool, unanswered: Option<&Gap>) -> Finding {
    let (severity, title) = if others_serve {
        (Severity::Error, format!("the API server of {node} does not serve, another one does"))
    } else {
        (Severity::Critical, format!("the API server of {node} does not serve"))
    };
    let cause = Cause { key: fault.key, text: fault.text };
    let mut finding = Finding::new(CODE, severity, Subject::nodes([node]), title, cause);
    finding.confidence = fault.confidence;
    finding.consequence = fault.advice;
    finding.evidence = fault.evidence;
    finding
        .evidence
        .extend(unanswered.map(|gap| Evidence::new("GET /version", gap.detail.clone())));
    finding
}
