//! Golden reports.

use insta::assert_snapshot;
use jiff::Timestamp;

use super::v1::{API_VERSION, ClusterSummary, Report, RootReport, Scope};
use super::{TextOptions, text};
use crate::findings::{
    Cause, CheckOutcome, CheckState, Code, Confidence, Evidence, Finding, Severity, Subject,
    Unjudged,
};
use crate::plan::RemedyName;
use crate::snapshot::{Gap, GapReason};

fn wide() -> TextOptions {
    TextOptions::default()
}

fn report(verdict: &'static str) -> Report {
    let check = |(code, state)| CheckOutcome { code: Code(code), state };
    Report {
        api_version: API_VERSION,
        kind: "Report",
        taken: Timestamp::UNIX_EPOCH,
        cluster: ClusterSummary {
            context: Some("prod-eu".into()),
            kubernetes: Some("v1.34.4".into()),
            calico: Some("v3.28.4".into()),
            install: Some("manifest".into()),
            namespace: Some("kube-system".into()),
            encapsulation: Some("VXLAN".into()),
            nodes: Some(3),
            ..ClusterSummary::default()
        },
        verdict,
        roots: Vec::new(),
        checks: [
            ("CAL-ACC-001", CheckState::Passed),
            ("CAL-CNI-004", CheckState::Passed),
            ("CAL-CNI-006", CheckState::Passed),
            ("CAL-POD-001", CheckState::Skipped),
        ]
        .map(check)
        .to_vec(),
        unjudged: Vec::new(),
        gaps: Vec::new(),
        errors: Vec::new(),
        scope: None,
    }
}

#[test]
fn what_was_not_judged_because_it_is_elsewhere_is_counted() {
    let mut report = report("healthy");
    let nodes = vec!["node2".to_owned()];
    report.scope = Some(Scope { nodes: nodes.clone(), elsewhere: 0 });
    assert!(text(&report, &wide()).ends_with("\nJudged: node2\n"));
    report.scope = Some(Scope { nodes, elsewhere: 2 });
    let end = "\nJudged: node2 · other nodes: 2 findings, kubectl calico-doctor check\n";
    assert!(text(&report, &wide()).ends_with(end));
}

fn stale_credentials() -> Report {
    let mut finding = Finding::new(
        Code("CAL-CNI-006"),
        Severity::Critical,
        Subject::nodes(["node1", "node2", "node3"]),
        "CNI credentials rejected on 3 nodes",
        Cause {
            key: "service-account-recreated",
            text: "the ServiceAccount kube-system/calico-cni-plugin was recreated at 2026-11-21 12:01:43 UTC; \
                   /etc/cni/net.d/calico-kubeconfig still holds the old one's token"
                .into(),
        },
    );
    finding.consequence =
        "6 pods hang on node2 (3 ContainerCreating, 3 Terminating); on node1 and node3 the next \
                           pod to start or stop will hang as well"
            .into();
    finding.evidence = vec![
        Evidence::new("node1, node2, node3", "token uid 686bbed9… ≠ live uid 30ab0063…"),
        Evidence::new(
            "node2: event FailedCreatePodSandBox shop/cart-1",
            "plugin type=\"calico\" failed (add): error getting ClusterInformation: connection is unauthorized: \
             Unauthorized",
        ),
    ];
    finding.remedy = Some(RemedyName::RestartCalicoNode);
    let mut symptom = Finding::new(
        Code("CAL-POD-001"),
        Severity::Error,
        Subject::pods(["shop/cart-1", "shop/cart-2", "shop/web-7d4-vxr2x"]),
        "3 pods hang in ContainerCreating on node2",
        Cause { key: "unauthorized", text: String::new() },
    );
    symptom.nodes = vec!["node2".into()];
    let mut report = report("findings");
    report.checks[2].state = CheckState::Found;
    report.roots.push(RootReport { finding, symptoms: vec![symptom] });
    report
}

#[test]
fn a_healthy_cluster_is_a_few_lines() {
    let options = TextOptions { elapsed: Some(0.94), ..wide() };
    assert_snapshot!(text(&report("healthy"), &options));
}

#[test]
fn one_cause_many_symptoms_at_100_columns() {
    assert_snapshot!(text(&stale_credentials(), &wide()));
}

#[test]
fn at_80_columns_in_ascii_with_pods() {
    let options = TextOptions { width: 80, unicode: false, verbose: true, ..wide() };
    let text = text(&stale_credentials(), &options);
    assert!(text.is_ascii());
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    assert_snapshot!(text);
}

#[test]
fn colour_adds_nothing_but_colour() {
    let options = TextOptions { colour: true, ..wide() };
    let coloured = text(&stale_credentials(), &options);
    assert!(coloured.contains("\u{1b}["), "{coloured:?}");
    assert_eq!(anstyle_free(&coloured), text(&stale_credentials(), &wide()));
}

/// Without `ESC [ … m`.
fn anstyle_free(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            letters.by_ref().find(|it| *it == 'm');
        } else {
            out.push(letter);
        }
    }
    out
}

#[test]
fn what_was_not_seen_gets_no_tick() {
    let mut report = report("incomplete");
    report.checks[1].state = CheckState::Skipped;
    let gap = || {
        Gap::new(
            "nodes/node1/probe.txt",
            GapReason::Forbidden,
            "pods/exec in kube-system is forbidden to jane",
        )
    };
    report.unjudged = (1..=9)
        .map(|number| Unjudged {
            code: Code("CAL-CNI-006"),
            subject: format!("node{number}"),
            gap: gap(),
        })
        .collect();
    let text = text(&report, &wide());
    assert!(!text.contains('✓'));
    assert_snapshot!(text);
}

#[test]
fn hostile_names_cannot_touch_the_terminal() {
    let mut report = stale_credentials();
    let finding = &mut report.roots[0].finding;
    finding.title = "bad \u{1b}]0;owned\u{7}\u{1b}[2J name\r\nsecond line".into();
    finding.evidence[0].excerpt = "\u{9b}31m\u{202e}drowssap\nfake: ✓ all is well".into();
    finding.confidence = Confidence::Possible;
    report.cluster.context = Some("ctx\u{1b}[8m".into());
    report.cluster.bundle = Some("x".repeat(300));
    let text = text(&report, &wide());
    assert!(!text.chars().any(|it| it != '\n' && it.is_control()), "{text:?}");
    assert!(!text.contains('\u{202e}'));
    assert!(text.contains("\\u{1b}]0;owned\\u{7}\\u{1b}[2J name\\u{d} second line"), "{text}");
}

#[test]
fn thousands_of_nodes_stay_one_line() {
    let mut report = stale_credentials();
    let nodes: Vec<String> = (0..5000).map(|number| format!("node{number}")).collect();
    report.roots[0].finding.evidence[0].source = nodes.join(", ");
    report.roots[0].finding.nodes = nodes;
    let text = text(&report, &wide());
    assert!(text.contains("node0, node1, node2 (+4997): token uid"), "{text}");
    assert!(text.contains("5,000 nodes"));
    assert!(text.lines().count() < 25);
}

#[test]
fn every_remedy_says_what_it_does_and_how_freely() {
    use RemedyName::{
        FreeSandboxes, MoveAsideConfiguration, RecreatePods, RenewCniKubeconfig, RestartCalicoNode,
        RestoreBinaries, RestoreConflist, Sweep,
    };
    for remedy in [
        Sweep,
        MoveAsideConfiguration,
        RestoreBinaries,
        RenewCniKubeconfig,
        RestoreConflist,
        RestartCalicoNode,
        FreeSandboxes,
        RecreatePods,
    ] {
        let line = super::remedy::effect(remedy, "node2", false);
        assert_eq!(line.contains("; safe"), remedy == RestartCalicoNode, "{line}");
        assert_eq!(line.contains("asks first"), remedy != RestartCalicoNode, "{line}");
    }
}
