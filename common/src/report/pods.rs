//! Pods that are of no use any more: the wire type, and how a person reads it.

use jiff::Timestamp;
use serde::Serialize;

use super::catalogue::table;
use super::escape::escape;
use super::layout::number;
use super::v1::API_VERSION;
use crate::plan::pods::{Flood, Kept, Stuck, WhyStuck};
use crate::plan::{Outcome, Plan};

/// The document that `pods` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodsReport {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `PodsReport`.
    pub kind: &'static str,
    /// The exit code in a word; `planned` when nothing was to be changed.
    pub verdict: &'static str,
    /// Finished pods by owner and cause.
    pub groups: Vec<PodGroup>,
    /// Pods whose deletion hangs; absent when nobody asked for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stuck: Option<Vec<StuckPod>>,
    /// The plan.
    pub plan: Plan,
    /// What became of it; absent when it was not carried out.
    pub outcome: Option<Outcome>,
    /// A sentence about the whole, for people.
    pub note: Option<String>,
}

/// Pods of one owner that ended for one cause.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodGroup {
    /// Namespace.
    pub namespace: String,
    /// Kind of the controller; absent when there is none.
    pub owner_kind: Option<String>,
    /// Its name.
    pub owner: Option<String>,
    /// Why they ended, as `kubectl get pods` shows it.
    pub cause: String,
    /// How many there are.
    pub count: usize,
    /// When the oldest was created.
    pub oldest: Option<Timestamp>,
    /// Why they are kept; absent when they are removed.
    pub kept: Option<Kept>,
}

/// A pod whose deletion hangs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StuckPod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// The node it is bound to; empty for none.
    pub node: String,
    /// When its deletion was due.
    pub since: Timestamp,
    /// What keeps it.
    pub why: WhyStuck,
    /// The same for a person, with the command that helps.
    pub text: String,
}

impl PodsReport {
    /// A plan for what was found, which was not carried out.
    pub fn new(plan: &Plan, flood: &Flood, verdict: &'static str) -> Self {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let groups = flood.groups().map(|(owner, cause, kept, group)| PodGroup {
            namespace: owner.namespace.clone(),
            owner_kind: some(&owner.kind),
            owner: some(&owner.name),
            cause: cause.to_owned(),
            count: group.count,
            oldest: group.oldest,
            kept,
        });
        Self {
            api_version: API_VERSION,
            kind: "PodsReport",
            verdict,
            groups: groups.collect(),
            stuck: None,
            plan: plan.clone(),
            outcome: None,
            note: None,
        }
    }

    /// The same about pods whose deletion hangs. `text` is what helps each of them.
    #[must_use]
    pub fn with_stuck(self, stuck: &[Stuck], text: impl Fn(&Stuck) -> String) -> Self {
        let stuck = stuck.iter().map(|it| StuckPod {
            namespace: it.pod.namespace.clone(),
            name: it.pod.name.clone(),
            uid: it.pod.uid.clone(),
            node: it.node.clone(),
            since: it.since,
            why: it.why.clone(),
            text: text(it),
        });
        Self { stuck: Some(stuck.collect()), ..self }
    }
}

/// So many pods whose deletion hangs are named.
const NAMED: usize = 20;
/// So many groups are shown.
const GROUPS: usize = 40;

/// What was found, as tables.
pub fn pods(report: &PodsReport, verbose: bool) -> String {
    let mut out = String::new();
    let limit = |shown| if verbose { usize::MAX } else { shown };
    if !report.groups.is_empty() {
        let mut groups: Vec<&PodGroup> = report.groups.iter().collect();
        groups.sort_by(|a, b| (a.kept.is_some(), b.count).cmp(&(b.kept.is_some(), a.count)));
        let shown = groups.iter().take(limit(GROUPS));
        let rows: Vec<Vec<String>> = shown.map(|it| row(it, report.plan.taken)).collect();
        out.push_str(&table(&["NAMESPACE", "OWNER", "CAUSE", "PODS", "OLDEST", ""], &rows));
        out.push_str(&more(groups.len(), rows.len(), "groups"));
    }
    if let Some(stuck) = report.stuck.as_ref().filter(|it| !it.is_empty()) {
        let shown = stuck.iter().take(limit(NAMED));
        let rows: Vec<Vec<String>> = shown
            .map(|it| {
                vec![
                    escape(&format!("{}/{}", it.namespace, it.name)),
                    age(it.since, report.plan.taken),
                    escape(&it.text),
                ]
            })
            .collect();
        out.push_str(&table(&["POD", "OVERDUE", "WHY"], &rows));
        out.push_str(&more(stuck.len(), rows.len(), "pods"));
    }
    out
}

fn row(group: &PodGroup, now: Timestamp) -> Vec<String> {
    let owner = match (&group.owner_kind, &group.owner) {
        (Some(kind), Some(name)) => format!("{kind}/{name}"),
        _ => "none".to_owned(),
    };
    vec![
        escape(&group.namespace),
        escape(&owner),
        escape(&group.cause),
        number(group.count),
        group.oldest.map_or_else(|| "unknown".to_owned(), |oldest| age(oldest, now)),
        group.kept.map_or("removed", Kept::text).to_owned(),
    ]
}

fn more(all: usize, shown: usize, noun: &str) -> String {
    match all.saturating_sub(shown) {
        0 => String::new(),
        more => format!("… and {} more {noun} (-v shows them)\n", number(more)),
    }
}

/// `40s`, `12m`, `5h`, `3d`
pub(super) fn age(then: Timestamp, now: Timestamp) -> String {
    match now.duration_since(then).as_secs() {
        ..0 => "0s".to_owned(),
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::pods::{Choice, PodOrder, plan_for_floods};
    use crate::plan::{PlanId, Target};
    use crate::slim::{OwnerReference, Pod};

    fn report() -> PodsReport {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let mut flood = Flood::default();
        for (kind, count) in [("ReplicaSet", 1200), ("Job", 3), ("", 2)] {
            for n in 0..count {
                let mut pod = Pod::default();
                pod.metadata.namespace = "shop".into();
                pod.metadata.uid = format!("{kind}{n}");
                let created = Timestamp::from_second(1_800_000_000 - 7300 - n).unwrap();
                pod.metadata.creation_timestamp = Some(created);
                pod.status.phase = "Failed".into();
                pod.status.reason = "Evicted\u{1b}[31m".into();
                if !kind.is_empty() {
                    let owner = OwnerReference {
                        kind: kind.into(),
                        name: "web".into(),
                        controller: true,
                        ..OwnerReference::default()
                    };
                    pod.metadata.owner_references.push(owner);
                }
                flood.add(&pod, &Choice::default(), now);
            }
        }
        let target = Target {
            cluster_uid: String::new(),
            context: String::new(),
            cluster_name: String::new(),
            server: String::new(),
            user: String::new(),
        };
        let order = PodOrder {
            id: PlanId::new(1, [0; 10]),
            made_by: "test".into(),
            target,
            taken: now,
            max_parallel: 16,
        };
        PodsReport::new(&plan_for_floods(order, &flood), &flood, "planned")
    }

    #[test]
    fn a_flood_is_a_few_lines() {
        let text = pods(&report(), false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(lines[1])[..2], ["shop", "ReplicaSet/web"]);
        assert!(lines[1].contains("1,200") && lines[1].ends_with("removed"), "{text}");
        assert!(lines[2].contains("--jobs") && lines[3].contains("--bare"), "{text}");
        assert!(lines[1].contains("2h") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn what_hangs_is_told_with_what_helps() {
        let stuck = Stuck {
            pod: crate::plan::PodRef { namespace: "a".into(), name: "b".into(), uid: "c".into() },
            node: "n1".into(),
            since: Timestamp::from_second(1_800_000_000 - 300).unwrap(),
            why: WhyStuck::Finding("CAL-CNI-006".into()),
        };
        let report = report();
        let report = report.with_stuck(&vec![stuck; 25], |it| it.text("purge", "doctor"));
        let text = pods(&report, false);
        assert!(text.contains("a/b") && text.contains("5m"), "{text}");
        assert!(text.contains("CAL-CNI-006 on n1: purge node n1"), "{text}");
        assert!(text.ends_with("… and 5 more pods (-v shows them)\n"), "{text}");
        assert!(!pods(&report, true).contains("more pods"));
    }
}
