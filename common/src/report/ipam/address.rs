//! `ip`: all that is known of an address.

use core::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;

use crate::ipam::leak::{Judge, Verdict};
use crate::ipam::owner::sandbox;
use crate::ipam::{Allocation, Block, Ledger, Owner, Population, State, User, cidr};
use crate::report::escape;
use crate::report::layout::TextOptions;
use crate::report::text::header;
use crate::report::v1::{API_VERSION, ClusterSummary};
use crate::snapshot::Snapshot;

/// The document that `ip` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressReport {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `IpamAddresses`.
    pub kind: &'static str,
    /// When the cluster was looked at.
    pub taken: Timestamp,
    /// What was looked at.
    pub cluster: ClusterSummary,
    /// The exit code in a word.
    pub verdict: &'static str,
    /// What was asked for, in that order.
    pub addresses: Vec<FoundAddress>,
}

/// What is known of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FoundAddress {
    /// The address.
    pub address: String,
    /// `allocated`, `cooling`, `free`, `unblocked` (in a pool, in no block), `outside` (in no pool and no block).
    pub state: &'static str,
    /// Pool that it lies in.
    pub pool: Option<String>,
    /// True when that pool is disabled.
    pub pool_disabled: bool,
    /// Blocks that hold it; more than one is a fault.
    pub blocks: Vec<String>,
    /// Affinity of the first of these.
    pub affinity: Option<String>,
    /// What it was taken for, as people say it.
    pub owner: Option<String>,
    /// Node that it was taken on.
    pub node: Option<String>,
    /// Its handle.
    pub handle: Option<String>,
    /// All attributes of the allocation.
    pub attributes: std::collections::BTreeMap<String, String>,
    /// When it was taken.
    pub taken_at: Option<Timestamp>,
    /// Sequence number of the block when it was taken.
    pub sequence: Option<u64>,
    /// Whether the sandbox that it was taken for is the pod's: `same`, `other`; null when that cannot be told.
    pub sandbox: Option<&'static str>,
    /// How many free addresses are given out before it; null unless it is free and in the queue.
    pub queue_position: Option<usize>,
    /// Who shows it now.
    pub users: Vec<AddressUser>,
    /// `used`, `leaked`, `young`, `kept`; null when it is not allocated, or cannot be judged.
    pub judgement: Option<&'static str>,
    /// Why, for people.
    pub why: Option<String>,
}

/// Who shows an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressUser {
    /// `pod`, `tunnel`, `service`.
    pub kind: &'static str,
    /// Its name: `namespace/name`, or a node's.
    pub name: String,
}

impl AddressReport {
    /// What is known of each of these.
    pub fn new(snapshot: &Snapshot, verdict: &'static str, addresses: Vec<FoundAddress>) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "IpamAddresses",
            taken: snapshot.taken,
            cluster: ClusterSummary::of(snapshot),
            verdict,
            addresses,
        }
    }
}

impl FoundAddress {
    /// What a cluster knows of an address.
    pub fn of(
        address: IpAddr,
        ledger: &Ledger<'_>,
        population: &Population<'_>,
        judge: Option<&Judge<'_>>,
    ) -> Self {
        let blocks = ledger.blocks_of(address);
        let pool = ledger.pool_at(address);
        let mut it = Self {
            address: address.to_string(),
            state: if pool.is_some() { "unblocked" } else { "outside" },
            pool: pool.map(|pool| pool.name().to_owned()),
            pool_disabled: pool.is_some_and(|pool| pool.object.spec.disabled),
            blocks: blocks.iter().map(|block| block.cidr.to_string()).collect(),
            affinity: blocks.first().and_then(|block| block.object.spec.affinity.clone()),
            owner: None,
            node: None,
            handle: None,
            attributes: std::collections::BTreeMap::new(),
            taken_at: None,
            sequence: None,
            sandbox: None,
            queue_position: None,
            users: population.users(address).iter().map(user).collect(),
            judgement: None,
            why: None,
        };
        let states = blocks.iter().filter_map(|block| state(block, address));
        // Of blocks that overlap, the one that gave it to somebody tells most.
        for state in states {
            it.take(state, population, judge);
            if it.state == "allocated" {
                break;
            }
        }
        it
    }

    fn take(&mut self, state: State<'_>, population: &Population<'_>, judge: Option<&Judge<'_>>) {
        match state {
            State::Free(place) => {
                self.state = "free";
                self.queue_position = place;
            }
            State::Cooling(since) => {
                self.state = "cooling";
                self.why = Some(format!("it was given back at {since}"));
            }
            State::Allocated(allocation) => {
                self.state = "allocated";
                self.allocated(&allocation, population);
                let verdict = judge.map(|judge| judge.judge(&allocation));
                (self.judgement, self.why) = match verdict {
                    Some(verdict) => judgement(verdict),
                    None => (None, None),
                };
            }
        }
    }

    fn allocated(&mut self, it: &Allocation<'_>, population: &Population<'_>) {
        let attributes = &it.entry.secondary;
        self.owner = Some(owner(&it.owner()));
        self.node = it.node().map(str::to_owned);
        self.handle = it.entry.handle().map(str::to_owned);
        self.attributes =
            attributes.pairs().iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect();
        self.taken_at = attributes.taken();
        self.sequence = Some(it.sequence).filter(|it| *it > 0);
        if let Owner::Pod { namespace, name } = it.owner() {
            let of_pod = population
                .pod(namespace, name)
                .and_then(|pod| pod.metadata.annotations.get("cni.projectcalico.org/containerID"));
            let then = it.entry.handle().and_then(sandbox);
            self.sandbox = match (of_pod, then) {
                (Some(now), Some(then)) if now == then => Some("same"),
                (Some(_), Some(_)) => Some("other"),
                _ => None,
            };
        }
    }
}

fn state<'a>(block: &Block<'a>, address: IpAddr) -> Option<State<'a>> {
    let ordinal = cidr::ordinal(&block.cidr, address)?;
    Some(block.state(usize::try_from(ordinal).ok()?))
}

fn user(it: &User<'_>) -> AddressUser {
    let (kind, name) = match it {
        User::Pod(pod) => ("pod", pod.full_name()),
        User::Tunnel(_, node) => ("tunnel", node.metadata.name.clone()),
        User::Service(namespace, name) => ("service", format!("{namespace}/{name}")),
    };
    AddressUser { kind, name }
}

/// An owner, as people say it.
pub(super) fn owner(it: &Owner<'_>) -> String {
    match it {
        Owner::Pod { namespace, name } => format!("pod {namespace}/{name}"),
        Owner::Tunnel { tunnel, node } => format!("{} of {node}", tunnel.word()),
        Owner::Service { namespace, name } => format!("Service {namespace}/{name}"),
        Owner::VirtualMachine { namespace, name } => format!("virtual machine {namespace}/{name}"),
        Owner::Windows => "Windows, for itself".to_owned(),
        Owner::Unknown => "somebody unknown".to_owned(),
    }
}

fn judgement(verdict: Verdict) -> (Option<&'static str>, Option<String>) {
    match verdict {
        Verdict::Used => (Some("used"), None),
        Verdict::Leaked(reason) => (Some("leaked"), Some(reason.text().to_owned())),
        Verdict::Young(reason, _) => {
            (Some("young"), Some(format!("{}, but not for long enough to say so", reason.text())))
        }
        Verdict::Kept(keep) => (Some("kept"), Some(keep.text().to_owned())),
    }
}

/// The same for a person.
pub fn addresses(report: &AddressReport, options: &TextOptions) -> String {
    let mut out = format!("{}\n\n", options.bold(&header(&report.cluster)));
    for it in &report.addresses {
        out.push_str(&options.bold(&escape(&it.address)));
        out.push_str(&format!("  {}\n", escape(&sentence(it))));
        for (label, text) in details(it, report.taken) {
            out.push_str(&options.block(label, &escape(&text)));
        }
        out.push('\n');
    }
    options.plain(out)
}

fn sentence(it: &FoundAddress) -> String {
    let pool = it.pool.as_deref().unwrap_or_default();
    match (it.state, &it.owner) {
        ("allocated", Some(owner)) => format!("allocated to {owner}"),
        ("cooling", _) => "rests after it was given back".to_owned(),
        ("free", _) => "is free".to_owned(),
        ("unblocked", _) => format!("is free: no block of pool {pool} holds it yet"),
        _ => "is in no pool and in no block".to_owned(),
    }
}

fn details(it: &FoundAddress, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    if !it.blocks.is_empty() {
        let affinity = it.affinity.as_deref().unwrap_or("nobody");
        all.push(("block", format!("{} of {affinity}", it.blocks.join(" and "))));
    }
    let disabled = if it.pool_disabled { ", which is disabled" } else { "" };
    all.extend(it.pool.as_ref().map(|pool| ("pool", format!("{pool}{disabled}"))));
    all.extend(it.node.as_ref().map(|node| ("node", node.clone())));
    all.extend(it.handle.as_ref().map(|handle| ("handle", handle.clone())));
    if let Some(at) = it.taken_at {
        let age = crate::report::pods::age(at, now);
        all.push(("taken", format!("{age} ago, at {at:.0}")));
    }
    all.extend(it.sandbox.map(|is| {
        let text = if is == "same" { "the pod's own" } else { "an earlier one of the pod" };
        ("sandbox", text.to_owned())
    }));
    all.extend(it.queue_position.map(|it| ("queue", format!("{it} are given out before it"))));
    if it.state == "free" && it.queue_position.is_none() {
        all.push(("queue", "it is in no queue, so it will never be given out".to_owned()));
    }
    let users: Vec<_> = it.users.iter().map(|it| format!("{} {}", it.kind, it.name)).collect();
    if !users.is_empty() {
        all.push(("shown", format!("by {}", users.join(", "))));
    }
    match (it.judgement, &it.why) {
        (Some(word @ ("leaked" | "kept" | "young")), Some(why)) => {
            all.push(("judged", format!("{word}: nobody shows it, and {why}")));
        }
        (_, Some(why)) => all.push(("why", why.clone())),
        _ => {}
    }
    all
}
