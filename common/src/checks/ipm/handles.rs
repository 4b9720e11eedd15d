//! CAL-IPM-007.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use ipnet::IpNet;
use jiff::SignedDuration;

use super::{WRITING, counted, is_fresh, lines, not_whole};
use crate::calico::ipam::IpamHandle;
use crate::checks::Context;
use crate::findings::{
    Cause, Code, Confidence, Evidence, Finding, Findings, Severity, Subject, SubjectKind,
};
use crate::ipam::{Allocation, CONTAINER_ID, Ledger, Owner, Population, User, cidr, owner};
use crate::slim::Pod;
use crate::snapshot::{Gap, GapReason};

const CODE: Code = Code("CAL-IPM-007");

/// A handle is written before its block. One that is younger is not judged.
const GRACE: SignedDuration = SignedDuration::from_mins(15);

const NO_ADDRESS: &str = "it has no address, and was made less than 15 minutes ago";
const OTHER_COUNT: &str =
    "it counts other addresses than the blocks, and was made less than 15 minutes ago";

/// Young handles that are named.
const NAMED: usize = 10;

check! {
    /// # Handles of addresses do not fit the blocks
    ///
    /// ## What it detects
    /// An IPAMHandle says in which blocks an owner has how many addresses; the CNI plugin frees by it. Orphaned: no address refers
    /// to it. Missing: an address in use refers to a handle that does not exist, so that deleting its pod frees nothing and
    /// says nothing, and the address leaks. Too low: it does not name a block in which its owner has an address, or counts too
    /// few there. Too high: it counts more addresses than there are, and will be orphaned one day. Tombstones: marked as deleted
    /// more than ten minutes ago, and still there.
    ///
    /// ## How sure
    /// Likely: handles and blocks are read one after another, and what was given back between them looks the same; look twice.
    /// Handles younger than 15 minutes are never judged, since a handle is written before its block; one that does
    /// not fit is listed as not judged. Names are compared as Calico does: in lower case, and cut at a line break. The one
    /// that Windows nodes share is fine. Nothing is said unless both lists are whole.
    ///
    /// ## What it looks like
    /// `calicoctl ipam check` says `Found 63000 handles with no matching IPs`; etcd grows
    ///
    /// ## What to do
    /// Orphaned ones and tombstones cost space and nothing else; calico-kube-controllers never deletes them.
    /// `kubectl calico-ipam gc handles` deletes the orphaned ones, each only as long as it is what was looked at. Missing ones:
    /// the address comes back once calico-kube-controllers finds it leaked, after the pod is gone.
    ///
    /// ## What not to do
    /// Deleting handles by their age, or all at once: without its handle no pod gives its address back.
    HANDLES: "CAL-IPM-007", "handles do not fit the blocks", "address management", Warning,
    needs [Addresses], fix Manual, run
}

/// What is wrong with handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Missing,
    Low,
    Orphaned,
    Tombstone,
    High,
}

impl Fault {
    fn key(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Low => "too-low",
            Self::Orphaned => "orphaned",
            Self::Tombstone => "tombstone",
            Self::High => "too-high",
        }
    }

    fn title(self, count: usize) -> String {
        let handles = counted(count, "handle", "handles");
        match (self, count) {
            (Self::Missing, 1) => "1 handle of an address in use does not exist".to_owned(),
            (Self::Missing, _) => format!("{handles} of addresses in use do not exist"),
            (Self::Low, 1) => "1 handle counts too few addresses".to_owned(),
            (Self::Low, _) => format!("{handles} count too few addresses"),
            (Self::Orphaned, 1) => "1 handle has no address".to_owned(),
            (Self::Orphaned, _) => format!("{handles} have no address"),
            (Self::Tombstone, 1) => "1 handle is marked as deleted, and is still there".to_owned(),
            (Self::Tombstone, _) => format!("{handles} are marked as deleted, and are still there"),
            (Self::High, 1) => "1 handle counts too many addresses".to_owned(),
            (Self::High, _) => format!("{handles} count too many addresses"),
        }
    }

    fn consequence(self) -> &'static str {
        match self {
            Self::Missing => {
                "deleting such a pod frees nothing and says nothing: its address leaks"
            }
            Self::Low => "what they do not count is not given back with the rest",
            Self::Orphaned | Self::Tombstone => {
                "they take space in the datastore; calico-kube-controllers never collects handles"
            }
            Self::High => "they stay when their last address is given back",
        }
    }

    fn severity(self) -> Severity {
        match self {
            Self::High => Severity::Info,
            _ => Severity::Warning,
        }
    }
}

/// Names of handles, and what is to be said of each.
type Found = BTreeMap<Fault, Vec<(String, String)>>;

fn run(context: &Context<'_>, out: &mut Findings) {
    let snapshot = context.snapshot;
    let handles = &snapshot.addresses.handles;
    if let Some(gap) = not_whole(handles, "cluster/ipamhandles.crd.projectcalico.org.json") {
        return out.not_judged(CODE, "", gap);
    }
    if !snapshot.addresses.blocks.is_whole() {
        return;
    }
    let ledger = Ledger::new(snapshot);
    let truth = Truth::of(&ledger);
    let running = running(&snapshot.pods.items);
    let mut found = Found::new();
    let mut young = Vec::new();
    for it in &handles.items {
        match judge(context, &truth, &running, it) {
            Judgement::Good => {}
            Judgement::Young(why) => young.push((it.metadata.name.as_str(), why)),
            Judgement::Bad(fault, said) => {
                found.entry(fault).or_default().push((it.metadata.name.clone(), said));
            }
        }
    }
    let missing = missing(context, &ledger, &truth);
    if !missing.is_empty() {
        found.insert(Fault::Missing, missing);
    }
    for (fault, mut all) in found {
        all.sort();
        out.report(finding(fault, &all));
    }
    tell_young(young, out);
}

/// Addresses by handle and block, as blocks tell.
struct Truth<'a> {
    counts: HashMap<Cow<'a, str>, Vec<(IpNet, i64)>>,
    /// What blocks refer to that make no sense otherwise.
    unreadable: HashSet<Cow<'a, str>>,
}

impl<'a> Truth<'a> {
    fn of(ledger: &Ledger<'a>) -> Self {
        let mut counts: HashMap<Cow<'a, str>, Vec<(IpNet, i64)>> = HashMap::new();
        for (block, it) in ledger.allocations() {
            let Some(handle) = it.entry.handle() else { continue };
            let blocks = counts.entry(name_of(handle)).or_default();
            // Addresses come block by block.
            match blocks.last_mut() {
                Some((range, count)) if *range == block.cidr => *count += 1,
                _ => blocks.push((block.cidr, 1)),
            }
        }
        let bad = ledger.bad_blocks.iter().flat_map(|(block, _)| &block.spec.attributes);
        Self { counts, unreadable: bad.filter_map(|it| it.handle()).map(name_of).collect() }
    }
}

/// What Calico calls the object of a handle.
fn name_of(id: &str) -> Cow<'_, str> {
    if id.chars().any(char::is_uppercase) { id.to_lowercase().into() } else { id.into() }
}

/// Sandboxes of pods that have not finished: their handles are in use, or are being given back.
fn running(pods: &[Pod]) -> HashSet<&str> {
    let pods = pods.iter().filter(|it| !it.is_finished());
    pods.filter_map(|it| it.metadata.annotations.get(CONTAINER_ID)).map(String::as_str).collect()
}

enum Judgement {
    Good,
    /// It would be bad if it were older.
    Young(&'static str),
    Bad(Fault, String),
}

fn judge(
    context: &Context<'_>,
    truth: &Truth<'_>,
    running: &HashSet<&str>,
    it: &IpamHandle,
) -> Judgement {
    let name = match it.spec.handle_id.as_str() {
        "" => name_of(&it.metadata.name),
        id => name_of(id.split('\r').next().unwrap_or(id)),
    };
    if owner::is_windows(&name) || truth.unreadable.contains(&name) {
        return Judgement::Good;
    }
    let made = it.metadata.creation_timestamp;
    // Of one that does not say when it was made nothing is known.
    let is_older = |limit| made.is_some_and(|at| context.now.duration_since(at) >= limit);
    if it.spec.deleted {
        let is_old = is_older(WRITING);
        return if is_old { Judgement::Bad(Fault::Tombstone, told(it)) } else { Judgement::Good };
    }
    let judgement = match truth.counts.get(&name) {
        Some(counts) => compare(it, counts),
        None if owner::sandbox(&name).is_some_and(|it| running.contains(it)) => Judgement::Good,
        None => Judgement::Bad(Fault::Orphaned, told(it)),
    };
    match judgement {
        Judgement::Bad(Fault::Orphaned, _) if !is_older(GRACE) => Judgement::Young(NO_ADDRESS),
        // It may be about to get an address of the other family.
        Judgement::Bad(..) if !is_older(GRACE) => Judgement::Young(OTHER_COUNT),
        other => other,
    }
}

/// Its numbers against those of blocks.
fn compare(it: &IpamHandle, counts: &[(IpNet, i64)]) -> Judgement {
    let told: BTreeMap<IpNet, i64> = it
        .spec
        .block
        .iter()
        .filter_map(|(range, count)| Some((cidr::parse(range)?, *count)))
        .collect();
    let truth: BTreeMap<IpNet, i64> = counts.iter().copied().collect();
    let ranges = told.keys().chain(truth.keys());
    let of = |counts: &BTreeMap<IpNet, i64>, range| counts.get(range).copied().unwrap_or_default();
    let (mut fault, mut said) = (None, Vec::new());
    let ranges: std::collections::BTreeSet<&IpNet> = ranges.collect();
    for range in ranges {
        let (counted, is) = (of(&told, range), of(&truth, range));
        let its = match counted.cmp(&is) {
            std::cmp::Ordering::Equal => continue,
            std::cmp::Ordering::Less => Fault::Low,
            std::cmp::Ordering::Greater => Fault::High,
        };
        said.push(format!("{counted} in {range}, where {is} are"));
        fault = Some(fault.map_or(its, |it: Fault| it.min(its)));
    }
    match fault {
        None => Judgement::Good,
        Some(fault) => Judgement::Bad(fault, said.join("; ")),
    }
}

fn told(it: &IpamHandle) -> String {
    let blocks: Vec<String> =
        it.spec.block.iter().map(|(range, count)| format!("{count} in {range}")).collect();
    let blocks = if blocks.is_empty() { "nothing".to_owned() } else { blocks.join(", ") };
    let made = it.metadata.creation_timestamp;
    let made = made.map(|at| format!(", made {at:.0}")).unwrap_or_default();
    format!("it says: {blocks}{made}")
}

/// Handles of addresses in use that do not exist. What nobody uses may just have been given back, with its handle.
fn missing(context: &Context<'_>, ledger: &Ledger<'_>, truth: &Truth<'_>) -> Vec<(String, String)> {
    let handles = &context.snapshot.addresses.handles.items;
    let known: HashSet<&str> = handles.iter().map(|it| it.metadata.name.as_str()).collect();
    if truth.counts.keys().all(|it| known.contains(it.as_ref())) {
        return Vec::new();
    }
    let population = Population::new(context.snapshot);
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for (block, it) in ledger.allocations() {
        let Some(name) = it.entry.handle().map(name_of) else { continue };
        let is_young = match it.entry.secondary.taken() {
            Some(at) => context.now.duration_since(at) < GRACE,
            None => is_fresh(&block.object.metadata, context.now, GRACE),
        };
        if known.contains(name.as_ref()) || it.owner() == Owner::Windows || is_young {
            continue;
        }
        if let Some(user) = user(&population, &it) {
            let said = format!("address {} of {user}", it.address);
            found.entry(name.into_owned()).or_insert(said);
        }
    }
    found.into_iter().collect()
}

/// Who will go on using an address.
fn user(population: &Population<'_>, it: &Allocation<'_>) -> Option<String> {
    let stays = |user: &&User<'_>| !matches!(user, User::Pod(pod) if pod.is_terminating());
    population.users(it.address).iter().find(stays).map(User::text)
}

fn finding(fault: Fault, all: &[(String, String)]) -> Finding {
    let names = all.iter().map(|(name, _)| format!("IPAMHandle/{name}"));
    let cause = Cause { key: fault.key(), text: String::new() };
    let subject = Subject::of(SubjectKind::Object, names);
    let title = fault.title(all.len());
    let mut finding = Finding::new(CODE, fault.severity(), subject, title, cause);
    finding.confidence = Confidence::Likely;
    finding.consequence = fault.consequence().to_owned();
    finding.evidence = lines(all, |(name, said)| Evidence::new(format!("handle {name}"), said));
    finding
}

fn tell_young(mut young: Vec<(&str, &'static str)>, out: &mut Findings) {
    young.sort_unstable();
    let what = "cluster/ipamhandles.crd.projectcalico.org.json";
    for (name, why) in young.iter().take(NAMED) {
        let gap = Gap::new(what, GapReason::TooYoung, *why);
        out.not_judged(CODE, format!("IPAMHandle/{name}"), gap);
    }
    if let Some(beyond) = young.len().checked_sub(NAMED).filter(|it| *it > 0) {
        let detail = format!("{beyond} more, made less than 15 minutes ago, do not fit the blocks");
        out.not_judged(CODE, "IPAMHandle", Gap::new(what, GapReason::TooYoung, detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::ipm::{judged, keys};
    use crate::ipam::fixtures::{block, cluster, handle, handle_id, of_pod, pod};
    use crate::snapshot::{Coverage, Snapshot};

    const RANGE: &str = "10.0.0.0/26";

    /// Two pods with an address each, and their handles.
    fn healthy() -> Snapshot {
        let mut it = cluster(&[of_pod("p", 1), of_pod("q", 2)]);
        it.addresses.handles.items =
            vec![handle(&handle_id(1), RANGE), handle(&handle_id(2), RANGE)];
        it.pods.items = vec![pod("p", "10.0.0.0", None), pod("q", "10.0.0.1", None)];
        it
    }

    fn with(more: IpamHandle) -> Snapshot {
        let mut it = healthy();
        it.addresses.handles.items.push(more);
        it
    }

    /// calicoctl compares neither counts nor blocks.
    #[test]
    fn d9_counts_of_handles_are_compared() {
        assert_eq!(keys(&HANDLES, &healthy()), (vec![], 0));
        let mut high = healthy();
        high.addresses.handles.items[0].spec.block.insert(RANGE.into(), 2);
        let found = judged(&HANDLES, &high).found;
        assert_eq!((found[0].cause.key, found[0].severity), ("too-high", Severity::Info));
        assert_eq!(found[0].evidence[0].excerpt, "2 in 10.0.0.0/26, where 1 are");
        let mut low = healthy();
        low.addresses.handles.items[0].spec.block.clear();
        low.addresses.handles.items[0].spec.block.insert("10.9.0.0/26".into(), 1);
        assert_eq!(keys(&HANDLES, &low).0, ["too-low"]);
        assert_eq!(keys(&HANDLES, &with(handle(&handle_id(3), RANGE))).0, ["orphaned"]);
        let mut tombstone = healthy();
        tombstone.addresses.handles.items[0].spec.deleted = true;
        assert_eq!(keys(&HANDLES, &tombstone).0, ["tombstone"]);
    }

    /// calicoctl prints them, and does not count them.
    #[test]
    fn d8_missing_handles_are_counted() {
        let mut it = healthy();
        it.addresses.handles.items.pop();
        let found = judged(&HANDLES, &it).found;
        assert_eq!(found[0].cause.key, "missing");
        assert_eq!(found[0].subject.names, [format!("IPAMHandle/{}", handle_id(2))]);
        assert_eq!(found[0].evidence[0].excerpt, "address 10.0.0.1 of pod a/q");
        // Its pod is going, and may have given it back since.
        it.pods.items[1].metadata.deletion_timestamp = Some(it.taken);
        assert_eq!(keys(&HANDLES, &it), (vec![], 0));
    }

    #[test]
    fn young_handles_are_listed_and_not_judged() {
        let mut young = handle(&handle_id(3), RANGE);
        young.metadata.creation_timestamp = Some("2026-07-12T11:50:00Z".parse().unwrap());
        let out = judged(&HANDLES, &with(young));
        assert!(out.found.is_empty());
        assert_eq!(out.unjudged[0].subject, format!("IPAMHandle/{}", handle_id(3)));
        assert_eq!(out.unjudged[0].gap.why, GapReason::TooYoung);
    }

    #[test]
    fn names_are_compared_as_calico_does() {
        let upper = r#"{"handle_id":"lb-AbC","secondary":{"type":"LoadBalancer"}}"#;
        let bent = of_pod("p", 7).replace(&handle_id(7), &format!("{}\\r\\neth0", handle_id(7)));
        let windows = r#"{"handle_id":"windows-reserved-ipam-handle"}"#;
        let mut it = cluster(&[upper.to_owned(), bent, windows.to_owned()]);
        it.addresses.handles.items = vec![
            handle("lb-AbC", RANGE),
            handle(&handle_id(7), RANGE),
            handle("windows-reserved-ipam-handle", "10.7.0.0/26"),
        ];
        assert_eq!(keys(&HANDLES, &it), (vec![], 0));
    }

    #[test]
    fn what_is_in_the_making_or_not_wholly_seen_is_silent() {
        // The pod runs, its handle is there, and the block was read before.
        let mut starts = with(handle(&handle_id(3), RANGE));
        starts.pods.items.push(pod("r", "", Some(&format!("{:064x}", 3))));
        assert_eq!(keys(&HANDLES, &starts), (vec![], 0));
        let mut part = healthy();
        part.addresses.handles.items.clear();
        part.addresses.handles.coverage = Coverage::Selected(vec!["x".into()]);
        assert_eq!(keys(&HANDLES, &part), (vec![], 1));
        let mut blocks = with(handle(&handle_id(3), RANGE));
        blocks.addresses.blocks.coverage = Coverage::Selected(vec!["x".into()]);
        assert_eq!(keys(&HANDLES, &blocks), (vec![], 0));
        // A block whose range makes no sense still says whose it holds.
        let mut bad = with(handle(&handle_id(3), RANGE));
        let mut its = block("10.5.0.0/30", &[of_pod("s", 3)]);
        its.spec.cidr = "nonsense".into();
        bad.addresses.blocks.items.push(its);
        assert_eq!(keys(&HANDLES, &bad), (vec![], 0));
    }
}
