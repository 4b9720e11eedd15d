//! What `endpoint discover` and `endpoint test` print: endpoints of the API server, and what nodes prove of one.

use std::collections::BTreeMap;

use serde::Serialize;

use super::layout::{Mark, TextOptions, names};
use super::text::header;
use super::v1::{API_VERSION, ClusterSummary};
use super::{escape, number, table};
use crate::bpf::endpoint::{Candidate, Discovery, NodeProof, Source, Stage};
use crate::snapshot::{Gap, Snapshot};

/// The document that both verbs print.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointReport {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `EndpointReport`.
    pub kind: &'static str,
    /// What was looked at.
    pub cluster: ClusterSummary,
    /// The exit code in a word.
    pub verdict: &'static str,
    /// The best endpoint that can be used, or the one that was tested; null when there is none.
    pub endpoint: Option<String>,
    /// All that were found, the best one first.
    pub candidates: Vec<EndpointCandidate>,
    /// What each node proves of the endpoint, by its name; absent when nothing was tested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proofs: Option<BTreeMap<String, EndpointProof>>,
    /// What this machine proves; absent when nothing was tested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_here: Option<EndpointProof>,
    /// Sources that could not be read.
    pub gaps: Vec<Gap>,
}

/// An endpoint that was found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointCandidate {
    /// `10.0.0.1:6443`
    pub endpoint: String,
    /// Who knows it.
    pub sources: Vec<Source>,
    /// What to bear in mind.
    pub caveats: Vec<String>,
    /// Why it cannot be used; null when it can.
    pub rejected: Option<String>,
}

/// What one place proves of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointProof {
    /// `proven`, `connection-only`, `failed` or `unknown`.
    pub proof: &'static str,
    /// Where it ended, when it failed.
    pub stage: Option<Stage>,
    /// What was said, or why it is no more.
    pub detail: String,
}

impl EndpointReport {
    /// A report of what was found.
    pub fn new(snapshot: &Snapshot, discovery: &Discovery) -> Self {
        let candidate = |it: &Candidate| EndpointCandidate {
            endpoint: it.endpoint.to_string(),
            sources: it.sources.clone(),
            caveats: it.caveats.clone(),
            rejected: it.rejected.clone(),
        };
        Self {
            api_version: API_VERSION,
            kind: "EndpointReport",
            cluster: ClusterSummary::of(snapshot),
            verdict: "",
            endpoint: discovery.best().map(|it| it.endpoint.to_string()),
            candidates: discovery.candidates.iter().map(candidate).collect(),
            proofs: None,
            from_here: None,
            gaps: discovery.gaps.clone(),
        }
    }
}

impl EndpointProof {
    /// What a node's test tells.
    pub fn of(proof: &NodeProof) -> Self {
        let (proof, stage, detail) = match proof {
            NodeProof::Proven { version } => ("proven", None, version.clone().unwrap_or_default()),
            NodeProof::ConnectionOnly { why } => ("connection-only", None, why.clone()),
            NodeProof::Failed { stage, says } => ("failed", Some(*stage), says.clone()),
            NodeProof::Unknown(gap) => ("unknown", None, gap.detail.clone()),
        };
        Self { proof, stage, detail }
    }
}

/// The report for a person. Every foreign character in it is harmless.
pub fn endpoint(report: &EndpointReport, options: &TextOptions) -> String {
    let mut out = format!("{}\n\n", options.bold(&header(&report.cluster)));
    match &report.proofs {
        None => out.push_str(&candidates(report, options)),
        Some(proofs) => out.push_str(&tested(report, proofs, options)),
    }
    for gap in &report.gaps {
        let line = format!("not seen: {}: {}", gap.what, gap.detail);
        out.push_str(&format!("{} {}\n", options.mark(Mark::Skip), escape(&line)));
    }
    options.plain(out)
}

fn candidates(report: &EndpointReport, options: &TextOptions) -> String {
    if report.candidates.is_empty() {
        return format!("{} no endpoint of the API server was found\n", options.mark(Mark::Bad));
    }
    let row = |it: &EndpointCandidate| {
        let sources: Vec<&str> = it.sources.iter().map(|source| source.words()).collect();
        let best = report.endpoint.as_deref() == Some(&it.endpoint);
        let usable = match (&it.rejected, best) {
            (Some(_), _) => "no",
            (None, true) => "best",
            (None, false) => "yes",
        };
        vec![escape(&it.endpoint), usable.to_owned(), escape(&sources.join(", "))]
    };
    let rows: Vec<_> = report.candidates.iter().map(row).collect();
    let mut out = table(&["ENDPOINT", "USABLE", "KNOWN FROM"], &rows);
    out.push('\n');
    for it in &report.candidates {
        let reasons = it.rejected.iter().map(|why| (Mark::Bad, why));
        for (mark, why) in reasons.chain(it.caveats.iter().map(|why| (Mark::Warn, why))) {
            let line = format!("{}: {why}", it.endpoint);
            out.push_str(&format!("{} {}\n", options.mark(mark), escape(&line)));
        }
    }
    match &report.endpoint {
        Some(best) => out.push_str(&format!(
            "{} {} is the best; prove it with: {} endpoint test\n",
            options.mark(Mark::Good),
            escape(best),
            options.program
        )),
        None => out.push_str(&format!(
            "{} none of them can be used: give one with --api-endpoint HOST:PORT\n",
            options.mark(Mark::Bad)
        )),
    }
    out
}

fn tested(
    report: &EndpointReport,
    proofs: &BTreeMap<String, EndpointProof>,
    options: &TextOptions,
) -> String {
    let tested = escape(report.endpoint.as_deref().unwrap_or("?"));
    let row = |(place, it): (&str, &EndpointProof)| {
        let proof = match it.stage {
            Some(stage) => format!("{} at the {}", it.proof, format!("{stage:?}").to_lowercase()),
            None => it.proof.replace('-', " "),
        };
        vec![escape(place), proof, escape(&it.detail)]
    };
    let here = report.from_here.as_ref().map(|it| ("(this machine)", it));
    let rows: Vec<_> =
        proofs.iter().map(|(name, it)| (name.as_str(), it)).chain(here).map(row).collect();
    let mut out = table(&["FROM", "PROOF", "DETAIL"], &rows);
    out.push('\n');
    let of = |proof: &str| -> Vec<String> {
        let all = proofs.iter().filter(|(_, it)| it.proof == proof);
        all.map(|(name, _)| escape(name)).collect()
    };
    let candidate =
        report.candidates.iter().find(|it| report.endpoint.as_ref() == Some(&it.endpoint));
    let rejected = candidate.and_then(|it| it.rejected.as_ref());
    if let Some(why) = rejected {
        out.push_str(&format!("{} {tested}: {}\n", options.mark(Mark::Bad), escape(why)));
    }
    for caveat in candidate.into_iter().flat_map(|it| &it.caveats) {
        out.push_str(&format!("{} {tested}: {}\n", options.mark(Mark::Warn), escape(caveat)));
    }
    let (failed, unknown, degraded) = (of("failed"), of("unknown"), of("connection-only"));
    if !failed.is_empty() {
        out.push_str(&format!(
            "{} it cannot be used from {}\n",
            options.mark(Mark::Bad),
            names(&failed)
        ));
    }
    if !unknown.is_empty() {
        out.push_str(&format!(
            "{} it could not be tested from {}\n",
            options.mark(Mark::Skip),
            names(&unknown)
        ));
    }
    if !degraded.is_empty() {
        let count = number(degraded.len());
        out.push_str(&format!(
            "{} from {count} of {} nodes a connection is all that is proven (calico-node knows no TLS): --probe asks their hosts who answers\n",
            options.mark(Mark::Warn),
            number(proofs.len())
        ));
    }
    if failed.is_empty() && unknown.is_empty() && rejected.is_none() {
        out.push_str(&format!(
            "{} {tested} is reached from every node\n",
            options.mark(Mark::Good)
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::endpoint::discover;
    use crate::bpf::requirements::fixtures;

    fn found() -> EndpointReport {
        let snapshot = fixtures::snapshot();
        let it = fixtures::situation(&snapshot);
        EndpointReport::new(&snapshot, &discover(&it, None, "https://10.0.0.99:6443"))
    }

    #[test]
    fn candidates_are_a_table_with_caveats_below() {
        let text = endpoint(&found(), &TextOptions::default());
        assert!(text.contains("10.0.0.10:6443   best     kube-proxy's kubeconfig"), "{text}");
        assert!(text.contains("‼ 10.0.0.99:6443: only your kubeconfig knows it"), "{text}");
        assert!(text.contains("✓ 10.0.0.10:6443 is the best"), "{text}");
    }

    #[test]
    fn a_connection_is_said_to_be_no_more_than_that() {
        let mut report = found();
        let proofs = [
            ("node1", NodeProof::Proven { version: Some("v1.34.4".into()) }),
            ("node2", NodeProof::ConnectionOnly { why: "no tool\u{1b}".into() }),
        ];
        let of = |(name, proof): (&str, NodeProof)| (name.to_owned(), EndpointProof::of(&proof));
        report.proofs = Some(proofs.into_iter().map(of).collect());
        let text = endpoint(&report, &TextOptions::default());
        assert!(text.contains("from 1 of 2 nodes a connection is all"), "{text}");
        assert!(text.contains("is reached from every node") && !text.contains('\u{1b}'), "{text}");
        let failed = NodeProof::Failed { stage: Stage::Certificate, says: "mismatch".into() };
        report.proofs.as_mut().unwrap().insert("node3".into(), EndpointProof::of(&failed));
        let text = endpoint(&report, &TextOptions::default());
        assert!(text.contains("failed at the certificate"), "{text}");
        assert!(text.contains("✗ it cannot be used from node3"), "{text}");
        assert!(!text.contains("is reached from every node"), "{text}");
    }
}
