//! The status as a person reads it: a table, and below it what is wrong and what could not be seen.

use std::collections::BTreeMap;

use super::super::layout::{Mark, TextOptions, names};
use super::super::text::header;
use super::super::{escape, number, table};
use super::{AgentStatus, NodeStatus, NodeVerdict, StatusReport, TunnelStatus};
use jiff::{SignedDuration, Timestamp};

/// What could not be seen.
const UNKNOWN: &str = "?";
/// What is not there because it need not be.
const NONE: &str = "–";

/// Columns of the wide form, where times are exact.
const WIDE: [&str; 8] =
    ["RESTARTS", "CREATED", "VNI/PORT", "ROUTES", "TOKEN ISSUED", "TOKEN EXPIRES", "BOOTED", "POD"];

/// The report, ready to be written; `wide` adds columns. Every foreign character in it is harmless.
pub fn status_text(report: &StatusReport, options: &TextOptions, wide: bool) -> String {
    let mut out = format!("{}\n\n", options.bold(&header(&report.cluster)));
    if !report.nodes.is_empty() {
        out.push_str(&nodes(report, wide));
        out.push('\n');
    }
    out.push_str(&some(&problems(report, options), options));
    out.push_str(&some(&unknown(report, options), options));
    for error in &report.errors {
        out.push_str(&format!("{} {}\n", options.mark(Mark::Bad), escape(error)));
    }
    out.push_str(&summary(report, options));
    options.plain(out)
}

fn nodes(report: &StatusReport, wide: bool) -> String {
    let mut head =
        vec!["NODE", "CALICO", "NODE POD", "FELIX", "BIRD", "CNI TOKEN", "TUNNEL", "MTU"];
    if wide {
        head.extend(WIDE);
    }
    let row = |node: &NodeStatus| {
        let mut row = cells(node, report.taken);
        if wide && node.verdict == NodeVerdict::NotManaged {
            row.extend(std::iter::repeat_n(NONE.to_owned(), WIDE.len()));
        } else if wide {
            row.extend(wide_cells(node));
        }
        row.iter().map(|cell| escape(cell)).collect()
    };
    table(&head, &report.nodes.iter().map(row).collect::<Vec<_>>())
}

fn cells(node: &NodeStatus, now: Timestamp) -> Vec<String> {
    if node.verdict == NodeVerdict::NotManaged {
        let mut row = vec![node.name.clone(), NONE.to_owned(), "none, not wanted".to_owned()];
        row.extend(std::iter::repeat_n(NONE.to_owned(), 5));
        return row;
    }
    let version = node.pod.as_ref().and_then(|pod| pod.version.as_deref());
    vec![
        node.name.clone(),
        version.map_or(UNKNOWN, |it| it.trim_start_matches('v')).to_owned(),
        pod(node),
        agent(node.felix),
        agent(node.bird),
        token(node, now),
        tunnels(node, |it| format!("{} {}", it.kind, state(it))),
        tunnels(node, |it| it.mtu.map_or(NONE.to_owned(), |mtu| mtu.to_string())),
    ]
}

fn wide_cells(node: &NodeStatus) -> Vec<String> {
    let exact = |at: Option<Timestamp>| {
        at.map_or(UNKNOWN.to_owned(), |at| at.strftime("%FT%TZ").to_string())
    };
    let pod = node.pod.as_ref();
    let token = node.token.unwrap_or_default();
    let vxlan = |it: &TunnelStatus| match (it.vni, it.port) {
        (Some(vni), Some(port)) => format!("{vni}/{port}"),
        _ => NONE.to_owned(),
    };
    let routes = node.routes.map(|it| format!("{}, own {}", number(it.remote), number(it.own)));
    vec![
        pod.map_or(NONE.to_owned(), |it| it.restarts.to_string()),
        exact(pod.and_then(|it| it.created)),
        tunnels(node, vxlan),
        routes.unwrap_or_else(|| UNKNOWN.to_owned()),
        exact(token.issued_at),
        exact(token.expires_at),
        exact(node.booted_at),
        pod.map_or(NONE.to_owned(), |it| it.name.clone()),
    ]
}

fn pod(node: &NodeStatus) -> String {
    match &node.pod {
        Some(pod) if pod.restarts > 0 && pod.ready => {
            format!("{}, {} restarts", pod.state, pod.restarts)
        }
        Some(pod) => pod.state.clone(),
        None if node.unknown.iter().any(|it| it.what == "pod") => UNKNOWN.to_owned(),
        None => "none".to_owned(),
    }
}

fn agent(agent: AgentStatus) -> String {
    let word = |answer: Option<bool>, yes: &str, no: &str| {
        answer.map_or(UNKNOWN, |it| if it { yes } else { no }).to_owned()
    };
    match (agent.used, agent.live, agent.ready) {
        (Some(false), ..) => "off".to_owned(),
        (_, None, None) => UNKNOWN.to_owned(),
        (_, Some(false), _) => "DEAD".to_owned(),
        (_, live, ready) => {
            format!("{} {}", word(live, "live", "DEAD"), word(ready, "ready", "NOT READY"))
        }
    }
}

fn token(node: &NodeStatus, now: Timestamp) -> String {
    let Some(token) = node.token else {
        let is_unknown = node.unknown.iter().any(|it| it.what == "token");
        return if is_unknown { UNKNOWN } else { "MISSING" }.to_owned();
    };
    let age = token.issued_at.map(|at| span(now.duration_since(at)));
    match (token.accepted, age) {
        (Some(false), _) => "REJECTED".to_owned(),
        (Some(true), Some(age)) => format!("good, {age} old"),
        (Some(true), None) => "good".to_owned(),
        (None, Some(age)) => format!("? {age} old"),
        (None, None) => UNKNOWN.to_owned(),
    }
}

fn state(tunnel: &TunnelStatus) -> &'static str {
    match (tunnel.present, tunnel.up) {
        (true, true) => "up",
        (true, false) => "DOWN",
        (false, _) => "MISSING",
    }
}

/// One cell for all tunnels; equal texts once.
fn tunnels(node: &NodeStatus, of: impl Fn(&TunnelStatus) -> String) -> String {
    match node.tunnels.as_deref() {
        None => UNKNOWN.to_owned(),
        Some([]) => NONE.to_owned(),
        Some(all) => {
            let mut texts: Vec<String> = all.iter().map(of).collect();
            texts.dedup();
            texts.join(", ")
        }
    }
}

/// `45s`, `12m`, `3h`, `41d`: the largest unit of which there are at least two, as kubectl shows ages.
fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    for (unit, name) in [(86_400, "d"), (3600, "h"), (60, "m")] {
        if seconds >= 2 * unit {
            return format!("{}{name}", seconds / unit);
        }
    }
    format!("{seconds}s")
}

/// Lines of one sort that are shown without `-v`: in a cluster of thousands, one fault may have as many texts.
const LINES: usize = 20;

/// The first lines, and how many more there are.
fn some(lines: &[String], options: &TextOptions) -> String {
    let shown = if options.verbose { lines.len() } else { LINES };
    let mut out: String = lines.iter().take(shown).map(|line| format!("{line}\n")).collect();
    if lines.len() > shown {
        out.push_str(&format!("  … {} more: -v shows all\n", number(lines.len() - shown)));
    }
    out
}

/// What is wrong, one line per sentence: `✗ node1, node2: the CNI plugin's credentials …`.
fn problems(report: &StatusReport, options: &TextOptions) -> Vec<String> {
    let mut nodes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for node in &report.nodes {
        for problem in &node.problems {
            nodes.entry(problem).or_default().push(escape(&node.name));
        }
    }
    let mut all: Vec<_> = nodes.into_iter().map(|(problem, nodes)| (nodes, problem)).collect();
    all.sort();
    let line = |(nodes, problem): (Vec<String>, &str)| {
        format!("{} {}: {}", options.mark(Mark::Bad), names(&nodes), escape(problem))
    };
    all.into_iter().map(line).collect()
}

/// What could not be seen, one line per reason: `– bird of node1, node2: …`.
fn unknown(report: &StatusReport, options: &TextOptions) -> Vec<String> {
    let mut reasons: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
    for node in &report.nodes {
        let mut facts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for fact in &node.unknown {
            let all = facts.entry(&fact.why).or_default();
            if !all.contains(&fact.what) {
                all.push(fact.what);
            }
        }
        for (why, facts) in facts {
            reasons.entry((why, facts.join(", "))).or_default().push(escape(&node.name));
        }
    }
    let mark = options.mark(Mark::Skip);
    let whole = report.unknown.iter().map(|it| format!("{mark} {}: {}", it.what, escape(&it.why)));
    let mut all: Vec<_> =
        reasons.into_iter().map(|((why, facts), nodes)| (nodes, facts, why)).collect();
    all.sort();
    let line = |(nodes, facts, why): (Vec<String>, String, &str)| {
        format!("{mark} {facts} of {}: {}", names(&nodes), escape(why))
    };
    whole.chain(all.into_iter().map(line)).collect()
}

fn summary(report: &StatusReport, options: &TextOptions) -> String {
    let count = |verdict| report.nodes.iter().filter(|node| node.verdict == verdict).count();
    let mut parts = Vec::new();
    for (verdict, word) in [
        (NodeVerdict::Unhealthy, "not healthy"),
        (NodeVerdict::Unknown, "not known"),
        (NodeVerdict::Healthy, "healthy"),
        (NodeVerdict::NotManaged, "without Calico"),
    ] {
        let nodes = count(verdict);
        if nodes > 0 {
            parts.push(format!("{} {word}", number(nodes)));
        }
    }
    if parts.is_empty() {
        parts.push("no node was seen".to_owned());
    }
    let mut text = parts.join(" · ");
    if count(NodeVerdict::Unhealthy) > 0 {
        text.push_str(&format!(" · why: {}", options.program));
    }
    format!("{text}\n")
}
