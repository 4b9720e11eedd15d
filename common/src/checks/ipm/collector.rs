//! calico-kube-controllers, which collects what nobody uses any more: whether it will.

use std::time::Duration;

use super::{ARRIVAL, is_fresh};
use crate::checks::Context;
use crate::ipam::leak::{GRACE, grace};
use crate::slim::{Deployment, Pod};
use crate::snapshot::{Coverage, Gap, GapReason, Known};

const NAME: &str = "calico-kube-controllers";
/// Controllers that it runs; this wins over its settings.
const ENABLED: &str = "ENABLED_CONTROLLERS";

/// Whether addresses, blocks and affinities that nobody uses are collected.
pub(super) enum Collector<'a> {
    /// They are, once they have looked leaked for so long.
    Runs(Duration),
    /// They will be soon.
    Starts,
    /// They are not.
    Stopped(Stop<'a>),
    /// Nobody knows.
    Unknown(Gap),
}

/// Why nobody collects.
pub(super) enum Stop<'a> {
    /// There is no such Deployment.
    Absent,
    /// It wants no pods.
    Scaled(&'a Deployment),
    /// It has no ready pod.
    NotReady(&'a Deployment),
    /// It does not run the controller that collects.
    NotEnabled,
    /// `leakGracePeriod` is 0.
    Period,
}

impl Stop<'_> {
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Scaled(_) => "scaled-to-zero",
            Self::NotReady(_) => "not-ready",
            Self::NotEnabled => "not-enabled",
            Self::Period => "switched-off",
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Absent => "there is no Deployment calico-kube-controllers".to_owned(),
            Self::Scaled(it) => format!("Deployment {} is scaled to 0", name(it)),
            Self::NotReady(it) => format!("no pod of Deployment {} is ready", name(it)),
            Self::NotEnabled => {
                "calico-kube-controllers does not run its controller of nodes".to_owned()
            }
            Self::Period => "leakGracePeriod of calico-kube-controllers is 0".to_owned(),
        }
    }
}

impl<'a> Collector<'a> {
    /// That of this cluster. Where nothing is known of it, settings tell at least whether it is switched off.
    pub(super) fn of(context: &Context<'a>) -> Self {
        let snapshot = context.snapshot;
        let grace = grace(snapshot);
        if grace == Known::Known(Duration::ZERO) {
            return Self::Stopped(Stop::Period);
        }
        let all: Vec<&Deployment> =
            snapshot.deployments.items.iter().filter(|it| it.metadata.name == NAME).collect();
        let Some(first) = all.first().copied() else { return absent(context) };
        let Some(ready) = all.iter().copied().find(|it| it.status.ready_replicas > 0) else {
            return match first.spec.replicas {
                Some(0) => Self::Stopped(Stop::Scaled(first)),
                _ if is_starting(context, first) => Self::Starts,
                _ => Self::Stopped(Stop::NotReady(first)),
            };
        };
        if !runs_nodes(context, ready) {
            return Self::Stopped(Stop::NotEnabled);
        }
        Self::Runs(grace.known().copied().unwrap_or(GRACE))
    }

    /// What becomes of what nobody uses, as the end of a finding; empty when nobody knows.
    pub(super) fn outlook(&self) -> String {
        match self {
            Self::Runs(grace) => format!(
                "calico-kube-controllers collects them: of nodes that do not exist within minutes, all others {} min after \
                 it noticed them",
                grace.as_secs().div_ceil(60)
            ),
            Self::Starts => "calico-kube-controllers is starting, and will collect them".to_owned(),
            Self::Stopped(stop) => format!("nobody collects them: {}", stop.text()),
            Self::Unknown(_) => String::new(),
        }
    }
}

pub(super) fn name(it: &Deployment) -> String {
    format!("{}/{}", it.metadata.namespace, it.metadata.name)
}

/// It is none of the Deployments that were read.
fn absent<'a>(context: &Context<'a>) -> Collector<'a> {
    let list = &context.snapshot.deployments;
    let asked_for = match &list.coverage {
        Coverage::All => true,
        Coverage::Selected(selectors) => {
            selectors.iter().any(|it| it.contains(NAME) && !it.contains("namespace="))
        }
        Coverage::None => false,
    };
    if asked_for && list.gap.is_none() {
        return Collector::Stopped(Stop::Absent);
    }
    let not_asked = || {
        let detail = "not among the Deployments that were read";
        Gap::new("cluster/deployments.apps.json", GapReason::NotAsked, detail)
    };
    Collector::Unknown(list.gap.clone().unwrap_or_else(not_asked))
}

/// True while a new pod of it has had no time to become ready.
fn is_starting(context: &Context<'_>, it: &Deployment) -> bool {
    let is_its = |pod: &&Pod| {
        pod.metadata.namespace == it.metadata.namespace
            && pod.metadata.labels.get("k8s-app").is_some_and(|app| app == NAME)
    };
    let mut pods = context.snapshot.pods.items.iter().filter(is_its);
    is_fresh(&it.metadata, context.now, ARRIVAL)
        || pods.any(|pod| !pod.is_finished() && is_fresh(&pod.metadata, context.now, ARRIVAL))
}

/// Whether it runs the controller that collects. Without settings of its own it makes them, and runs it.
fn runs_nodes(context: &Context<'_>, it: &Deployment) -> bool {
    let spec = &it.spec.template.spec;
    if let Some(enabled) = spec.env(ENABLED) {
        return enabled.split(',').any(|it| it.trim() == "node");
    }
    if spec.has_env(ENABLED) {
        return true;
    }
    let settings = &context.snapshot.addresses.controllers.items;
    let settings = settings.iter().find(|it| it.metadata.name == "default");
    settings.is_none_or(|it| it.spec.controllers.node.is_some())
}
