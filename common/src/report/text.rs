//! The report as a person reads it: which cluster, what is wrong, worst first, one summary line.

use std::collections::BTreeMap;

use unicode_width::UnicodeWidthStr;

use super::escape::escape;
use super::layout::{Mark, TextOptions, names, wrap};
use super::remedy;
use super::v1::{ClusterSummary, Report, RootReport, Scope};
use crate::findings::{CheckState, Confidence, Finding, Severity, Unjudged};
use crate::snapshot::GapReason;

/// The report, ready to be written. Every foreign character in it is harmless.
pub fn text(report: &Report, options: &TextOptions) -> String {
    let lines: Vec<String> = wrap(&header(&report.cluster), options.width.clamp(40, 120))
        .iter()
        .map(|line| options.bold(line))
        .collect();
    let mut out = format!("{}\n\n", lines.join("\n"));
    for root in &report.roots {
        out.push_str(&block(root, options));
        out.push('\n');
    }
    out.push_str(&skipped(report, options));
    out.push_str(&summary(report, options));
    if let Some(scope) = &report.scope {
        out.push_str(&scope_line(scope, options));
    }
    for error in &report.errors {
        out.push_str(&format!("{} {}\n", options.mark(Mark::Bad), escape(error)));
    }
    options.plain(out)
}

/// `Calico v3.28.4 (manifest, kube-system) · VXLAN · 3 nodes · Kubernetes v1.34.4 · context prod`
pub(super) fn header(cluster: &ClusterSummary) -> String {
    let mut parts = Vec::new();
    match (&cluster.calico, &cluster.install, &cluster.namespace) {
        (version, Some(install), Some(namespace)) => {
            let version = version.as_deref().unwrap_or("of unknown version");
            parts.push(format!("Calico {version} ({install}, {namespace})"));
        }
        _ => parts.push("Calico not seen".to_owned()),
    }
    parts.extend(cluster.encapsulation.clone());
    if let Some(nodes) = cluster.nodes {
        let unit = if nodes == 1 { "node" } else { "nodes" };
        parts.push(format!("{} {unit}", super::number(nodes)));
    }
    parts.extend(cluster.kubernetes.as_ref().map(|version| format!("Kubernetes {version}")));
    parts.extend(cluster.context.as_ref().map(|context| format!("context {context}")));
    parts.extend(cluster.bundle.as_ref().map(|bundle| format!("bundle {bundle}")));
    escape(&parts.join(" · "))
}

fn block(root: &RootReport, options: &TextOptions) -> String {
    let finding = &root.finding;
    let mark = match finding.severity {
        Severity::Critical | Severity::Error => Mark::Bad,
        Severity::Warning | Severity::Info => Mark::Warn,
    };
    let title = format!(
        "{} {}  {}",
        options.mark(mark),
        finding.code,
        options.bold(&escape(&finding.title))
    );
    let sure = match finding.confidence {
        Confidence::Certain => format!("{} · certain", finding.severity),
        other => format!("{} · {other}", finding.severity),
    };
    let mut out = format!("{title}  {}\n", options.dim(&sure));
    if !finding.cause.text.is_empty() {
        out.push_str(&options.block("why", &escape(&finding.cause.text)));
    }
    out.push_str(&seen(finding, options));
    if !finding.consequence.is_empty() {
        out.push_str(&options.block("so", &escape(&finding.consequence)));
    }
    if options.verbose {
        out.push_str(&pods(root, options));
    }
    out.push_str(&fix(finding, options));
    out
}

/// Evidence, one line each; the first four, or all of it with -v.
fn seen(finding: &Finding, options: &TextOptions) -> String {
    let shown = if options.verbose { finding.evidence.len() } else { 4 };
    let mut out = String::new();
    for (n, evidence) in finding.evidence.iter().take(shown).enumerate() {
        let label = if n == 0 { "seen" } else { "" };
        let source = shorten_sources(&evidence.source);
        out.push_str(&options.block(label, &escape(&format!("{source}: {}", evidence.excerpt))));
    }
    let rest = finding.evidence.len().saturating_sub(shown);
    if rest > 0 {
        out.push_str(&options.block("", &format!("and {rest} more (-v)")));
    }
    out
}

/// A source that is a list of nodes is cut like any list of names.
fn shorten_sources(source: &str) -> String {
    let all: Vec<String> = source.split(", ").map(str::to_owned).collect();
    names(&all)
}

fn pods(root: &RootReport, options: &TextOptions) -> String {
    let mut out = String::new();
    let own =
        (root.finding.subject.kind == crate::findings::SubjectKind::Pod).then_some(&root.finding);
    for (n, symptom) in own.into_iter().chain(&root.symptoms).enumerate() {
        let label = if n == 0 { "pods" } else { "" };
        let line = format!("{}: {}", symptom.title, symptom.subject.names.join(", "));
        out.push_str(&options.block(label, &escape(&line)));
    }
    out
}

fn fix(finding: &Finding, options: &TextOptions) -> String {
    let Some(name) = finding.remedy else {
        let line = format!("{} explain {}", options.program, finding.code);
        return options.block("next", &line);
    };
    let place = match finding.nodes.len() {
        1 => names(&finding.nodes),
        n => format!("{} nodes", super::number(n)),
    };
    let command = remedy::command(finding, name);
    let mut out = options.block("fix", &format!("{} {command}", options.program));
    let effect = remedy::effect(name, &place, finding.nodes.len() != 1);
    out.push_str(&options.block("", &effect));
    out
}

/// What was not looked at. Failures to look are always told; the rest only with -v.
fn skipped(report: &Report, options: &TextOptions) -> String {
    let mut groups: BTreeMap<(&GapReason, &str), Vec<&Unjudged>> = BTreeMap::new();
    for one in &report.unjudged {
        if options.verbose || one.gap.why.is_failure() {
            groups.entry((&one.gap.why, one.gap.detail.as_str())).or_default().push(one);
        }
    }
    let mut out = String::new();
    for ((why, detail), all) in groups {
        let mut codes: Vec<String> = all.iter().map(|it| it.code.to_string()).collect();
        codes.sort();
        codes.dedup();
        let mut subjects: Vec<String> =
            all.iter().map(|it| it.subject.clone()).filter(|it| !it.is_empty()).collect();
        subjects.sort();
        subjects.dedup();
        let of =
            if subjects.is_empty() { String::new() } else { format!(" for {}", names(&subjects)) };
        let line = format!("not judged{of}: {} ({})", names(&codes), word(why));
        out.push_str(&format!("{} {}\n", options.mark(Mark::Skip), escape(&line)));
        if !detail.is_empty() {
            out.push_str(&options.block("", &escape(detail)));
        }
        if *why == GapReason::Forbidden {
            out.push_str(&options.block("", "an admin can allow it:"));
            // Not wrapped: it is there to be copied.
            out.push_str(&format!(
                "           {} check --print-rbac --bind-to USER | kubectl apply -f -\n",
                options.program
            ));
        }
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

fn word(why: &GapReason) -> String {
    match why {
        GapReason::Forbidden => "forbidden to you",
        GapReason::Unreachable => "unreachable",
        GapReason::TimedOut => "no answer in time",
        GapReason::NotServed => "not served",
        GapReason::Undecodable => "unreadable",
        GapReason::NotAsked => "not asked",
        GapReason::Redacted => "redacted",
        GapReason::TooYoung => "too young to be judged",
        GapReason::Other(text) => return escape(text),
    }
    .to_owned()
}

/// `Judged: node2 · other nodes: 3 findings, kubectl calico-doctor check`
fn scope_line(scope: &Scope, options: &TextOptions) -> String {
    let judged = format!("Judged: {}", escape(&names(&scope.nodes)));
    let other = match scope.elsewhere {
        0 => return format!("{judged}\n"),
        1 => "1 finding".to_owned(),
        many => format!("{} findings", super::number(many)),
    };
    format!("{judged} · other nodes: {other}, {} check\n", options.program)
}

fn summary(report: &Report, options: &TextOptions) -> String {
    let count = |state: CheckState| report.checks.iter().filter(|it| it.state == state).count();
    let passed = count(CheckState::Passed) + count(CheckState::Partial);
    let mut parts = Vec::new();
    if report.roots.is_empty() {
        let word = if passed == 1 { "check" } else { "checks" };
        // No tick for what was not looked at.
        let good = report.verdict == "healthy" && passed > 0;
        let mark = options.mark(if good { Mark::Good } else { Mark::Skip });
        parts.push(format!("{mark} {passed} {word} passed"));
    } else {
        for severity in [Severity::Critical, Severity::Error, Severity::Warning, Severity::Info] {
            let n = report.roots.iter().filter(|it| it.finding.severity == severity).count();
            if n > 0 {
                parts.push(format!("{n} {severity}"));
            }
        }
        let folded: usize = report.roots.iter().map(|it| it.symptoms.len()).sum();
        if folded > 0 {
            parts.push(format!("{folded} folded"));
        }
        parts.push(format!("{passed} passed"));
    }
    let detail = if options.verbose { "" } else { " (-v)" };
    for (state, word) in
        [(CheckState::Partial, "of them in part"), (CheckState::Skipped, "skipped")]
    {
        if count(state) > 0 {
            parts.push(format!("{} {word}{detail}", count(state)));
        }
    }
    if let Some(root) = report.roots.first() {
        parts.push(format!("explain: {} explain {}", options.program, root.finding.code));
    } else if let Some(seconds) = options.elapsed {
        parts.push(format!("{seconds:.1} s"));
    }
    let line = parts.join(" · ");
    match parts.split_last() {
        // The command stays whole, so that it can be copied.
        Some((last, rest)) if line.width() > options.width && !rest.is_empty() => {
            format!("{}\n{last}\n", rest.join(" · "))
        }
        _ => format!("{line}\n"),
    }
}
