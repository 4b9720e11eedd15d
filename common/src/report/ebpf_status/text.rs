//! The status as a person reads it: three lines that say how things are, then only what is not as it should be.

use super::super::layout::{Mark, TextOptions, names};
use super::super::text::header;
use super::super::{escape, number, table};
use super::{EbpfStatusReport, InvariantReport, KubeProxyReport, KubeProxySummary, NodeReport};

/// What could not be seen.
const UNKNOWN: &str = "?";
/// What is not there because it need not be.
const NONE: &str = "–";
/// Nodes that are shown unless all are asked for: in a cluster of thousands, one fault may have as many.
const ROWS: usize = 20;

/// The report, ready to be written; `per_node` shows every node. Every foreign character in it is harmless.
pub fn ebpf_status_text(
    report: &EbpfStatusReport,
    options: &TextOptions,
    per_node: bool,
) -> String {
    let mut out = format!("{}\n\n", options.bold(&header(&report.cluster)));
    out.push_str(&line("eBPF", &data_plane(report)));
    out.push_str(&line("kube-proxy", &kube_proxy(&report.kube_proxy)));
    out.push_str(&line("API server", &endpoint(report)));
    out.push('\n');
    out.push_str(&nodes(report, per_node));
    out.push_str(&invariants(&report.invariants, options));
    options.plain(out)
}

impl EbpfStatusReport {
    /// What tells whether anything has changed since another look.
    pub fn fingerprint(&self) -> String {
        let epoch = jiff::Timestamp::UNIX_EPOCH;
        Self { taken: epoch, ..self.clone() }.json_line()
    }

    /// The same for people, who see no more than the line.
    pub fn line_fingerprint(&self) -> String {
        Self { taken: jiff::Timestamp::UNIX_EPOCH, ..self.clone() }.line()
    }

    /// The document on one line.
    pub fn json_line(&self) -> String {
        // Nothing in it can fail to be written; if it did, an empty document is no line that says something else.
        let text = serde_json::to_string(self).unwrap_or_default();
        format!("{text}\n")
    }

    /// The whole on one line, for people who watch.
    pub fn line(&self) -> String {
        let broken: Vec<&str> =
            self.invariants.iter().filter(|it| it.holds == "no").map(|it| it.id).collect();
        let unknown: Vec<&str> =
            self.invariants.iter().filter(|it| it.holds == "unknown").map(|it| it.id).collect();
        let mut parts = vec![format!("eBPF {}", data_plane(self))];
        parts.push(format!("kube-proxy {}", kube_proxy(&self.kube_proxy)));
        let wrong: Vec<String> =
            self.nodes.iter().filter(|it| is_wrong(it)).map(|it| it.name.clone()).collect();
        if !wrong.is_empty() {
            parts.push(format!("see {}", names(&wrong)));
        }
        for (ids, word) in [(broken, "does not hold"), (unknown, "not known")] {
            if !ids.is_empty() {
                parts.push(format!("{word}: {}", ids.join(" ")));
            }
        }
        format!("{}  {}\n", self.taken.strftime("%H:%M:%S"), escape(&parts.join(" · ")))
    }
}

fn line(label: &str, text: &str) -> String {
    format!("{label:<11} {}\n", escape(text))
}

fn data_plane(report: &EbpfStatusReport) -> String {
    let word = match report.class {
        "Off" => "off",
        "On" => "on",
        "OnWithKubeProxy" => "on, with kube-proxy beside it",
        "Mixed" => "on on some nodes only",
        "Enabling" => "about to be on",
        // kube-proxy serves where eBPF does not.
        "Broken" if report.kube_proxy.serves == Some(true) => "meant to be on, and on nowhere",
        "Broken" => "not serving everywhere",
        _ => "not known",
    };
    let part = |(real, word): (&str, &str)| {
        let count = report.counts.get(real).copied().unwrap_or(0);
        (count > 0).then(|| format!("{word} {}", number(count)))
    };
    let parts = [
        ("on", "on"),
        ("off", "off"),
        ("fallback", "fallen back"),
        ("leftover", "left over"),
        ("without-calico", "without Calico"),
        ("unknown", "not known"),
    ];
    let parts: Vec<String> = parts.into_iter().filter_map(part).collect();
    let nodes = if parts.is_empty() { "none seen".to_owned() } else { parts.join(", ") };
    let wanted = match &report.wanted {
        Some(wanted) => format!("wanted {} by {}", if wanted.on { "on" } else { "off" }, wanted.by),
        None => "what is wanted is not known".to_owned(),
    };
    format!("{word} · nodes: {nodes} · {wanted}")
}

fn kube_proxy(summary: &KubeProxySummary) -> String {
    let pods = summary.pods.unwrap_or(0);
    let unit = if pods == 1 { "pod" } else { "pods" };
    let what = match summary.state {
        "running" if pods == 0 => "is wanted, and has no pod".to_owned(),
        "running" => format!("runs, {} {unit}", number(pods)),
        "static-pod" => format!("runs from files on the nodes, {} {unit}", number(pods)),
        "in-process" => "runs as a part of another program".to_owned(),
        "stopped" => "is stopped".to_owned(),
        "absent" => "is not there".to_owned(),
        _ => "is not known".to_owned(),
    };
    match (summary.distribution, &summary.unknown) {
        (_, Some(gap)) => format!("{what}: {}", gap.detail),
        ("plain", _) => what,
        (distribution, _) => format!("{what} ({distribution})"),
    }
}

fn endpoint(report: &EbpfStatusReport) -> String {
    let Some(way) = &report.endpoint else {
        return "how calico-node reaches it is not known".to_owned();
    };
    let used = way.used.join(", ");
    match (way.mode, &way.written) {
        ("ClusterIP", _) => format!("reached by its Service ({used})"),
        ("Bootstrap", _) => format!("reached by its Service, bootstrapped by {}", way.by),
        (_, Some(written)) => format!("reached at {written} ({})", way.by),
        _ => format!("reached at {used} ({})", way.by),
    }
}

fn is_wrong(node: &NodeReport) -> bool {
    matches!(node.real, "fallback" | "leftover" | "unknown") || !node.problems.is_empty()
}

/// Every node, or those with which something is wrong.
fn nodes(report: &EbpfStatusReport, per_node: bool) -> String {
    let shown: Vec<&NodeReport> =
        report.nodes.iter().filter(|it| per_node || is_wrong(it)).collect();
    if shown.is_empty() {
        return String::new();
    }
    let most = if per_node { shown.len() } else { ROWS };
    let head =
        ["NODE", "WANTED", "REAL", "INTERFACES", "SERVICES", "KUBE-PROXY RULES", "API SERVER"];
    let rows: Vec<Vec<String>> = shown.iter().take(most).map(|it| row(it)).collect();
    let mut out = table(&head, &rows);
    if shown.len() > most {
        out.push_str(&format!("… {} more: --per-node shows all\n", number(shown.len() - most)));
    }
    out.push('\n');
    out
}

fn row(node: &NodeReport) -> Vec<String> {
    let is_seen = node.real != "unknown";
    // Of a node that was seen, what is not there is not there.
    let count = |it: Option<usize>| match it {
        Some(count) => number(count),
        None if is_seen => NONE.to_owned(),
        None => UNKNOWN.to_owned(),
    };
    let wanted = node.wanted.as_ref().map_or(UNKNOWN, |it| if it.on { "on" } else { "off" });
    let endpoint = node.endpoint.as_deref().unwrap_or(if is_seen { NONE } else { UNKNOWN });
    let real =
        if node.problems.is_empty() { node.real.to_owned() } else { format!("{} !", node.real) };
    [
        &node.name,
        wanted,
        &real,
        &count(node.interfaces),
        &count(node.frontends),
        &count(node.kube_proxy_rules),
        endpoint,
    ]
    .into_iter()
    .map(escape)
    .collect()
}

/// What does not hold and what is not known, then how many hold.
fn invariants(all: &[InvariantReport], options: &TextOptions) -> String {
    let mut out = String::new();
    for it in all.iter().filter(|it| it.holds == "no") {
        let mark = if it.severity == Some("error") { Mark::Bad } else { Mark::Warn };
        out.push_str(&format!("{} {}  does not hold: {}\n", options.mark(mark), it.id, it.title));
        for (n, seen) in it.seen.iter().enumerate() {
            out.push_str(&options.block(if n == 0 { "seen" } else { "" }, &escape(seen)));
        }
        if let Some(todo) = &it.todo {
            out.push_str(&options.block("do", &escape(todo)));
        }
    }
    out.push_str(&not_known(all, options));
    let of = |holds: &str| all.iter().filter(|it| it.holds == holds).count();
    let mut parts = vec![format!("{} of {} invariants hold", of("yes"), all.len())];
    for (holds, word) in
        [("no", "broken"), ("unknown", "not known"), ("not-applicable", "do not apply")]
    {
        if of(holds) > 0 {
            parts.push(format!("{} {word}", of(holds)));
        }
    }
    let is_good = of("no") == 0 && of("unknown") == 0;
    let mark = options.mark(if is_good { Mark::Good } else { Mark::Skip });
    out.push_str(&format!("{mark} {}\n", parts.join(" · ")));
    if options.verbose {
        for it in all.iter().filter(|it| matches!(it.holds, "yes" | "not-applicable")) {
            let why =
                it.why.as_deref().map(|why| format!(" – {}", escape(why))).unwrap_or_default();
            out.push_str(&format!("  {:<4} {:<15} {}{why}\n", it.id, it.holds, it.title));
        }
    }
    out
}

/// One line for each reason.
fn not_known(all: &[InvariantReport], options: &TextOptions) -> String {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for it in all.iter().filter(|it| it.holds == "unknown") {
        let why = it.why.as_deref().unwrap_or_default();
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, ids)) => ids.push(it.id),
            None => reasons.push((why, vec![it.id])),
        }
    }
    let mark = options.mark(Mark::Skip);
    let line = |(why, ids): (&str, Vec<&str>)| {
        format!("{mark} {} not known: {}\n", ids.join(", "), escape(why))
    };
    reasons.into_iter().map(line).collect()
}

/// kube-proxy's part, and how it is stopped.
pub fn kube_proxy_text(report: &KubeProxyReport, options: &TextOptions) -> String {
    let mut out = format!("{}\n\n", options.bold(&header(&report.cluster)));
    out.push_str(&line("kube-proxy", &kube_proxy(&report.kube_proxy)));
    let rules = match report.nodes_with_rules {
        Some(1) => "on 1 node".to_owned(),
        Some(nodes) => format!("on {} nodes", number(nodes)),
        None => "not known of all nodes".to_owned(),
    };
    out.push_str(&line("its rules", &rules));
    out.push_str(&line("kind", report.distribution));
    let how = match report.way {
        "node-selector" => format!("{} kube-proxy off", options.program),
        "already-off" => "it is off".to_owned(),
        _ => report.instruction.clone().unwrap_or_default(),
    };
    out.push_str(&line("to stop it", &how));
    if let Some(back) = &report.instruction_back {
        out.push_str(&line("and back", back));
    }
    out.push('\n');
    for warning in &report.warnings {
        out.push_str(&format!("{} {}\n", options.mark(Mark::Warn), escape(warning)));
    }
    out.push_str(&invariants(&report.invariants, options));
    options.plain(out)
}
