//! CAL-CNI-006.

use std::collections::{BTreeMap, BTreeSet};

use crate::calico::credentials::{Refusal, refusal};
use crate::calico::names::CNI_KUBECONFIG_PATH;
use crate::checks::Context;
use crate::checks::pod::hanging::{Hanging, hanging};
use crate::checks::pod::kubelet_text::{TextCause, essence};
use crate::findings::{Cause, Code, Confidence, Evidence, Finding, Findings, Severity, Subject};
use crate::plan::RemedyName;
use crate::snapshot::{Gap, Known};

const CODE: Code = Code("CAL-CNI-006");

check! {
    /// # The CNI plugin's credentials are rejected
    ///
    /// ## What it detects
    /// Nodes whose /etc/cni/net.d/calico-kubeconfig the API server no longer accepts. Four causes are told apart: the
    /// cluster's certificate authority differs from the file's (control plane re-initialised); the ServiceAccount was
    /// deleted or recreated; the token expired and was not renewed; the API server no longer knows the key that signed it.
    /// Every add and every removal of a pod's network begins with a request with these credentials, so no pod can start or
    /// stop on such a node. Nodes without a symptom yet are named as well: there the next pod hangs.
    ///
    /// ## How sure
    /// Certain where the node could be probed: the probe prints a hash of the CA and the token's header and claims, never
    /// its signature, and they are compared with the living cluster. Where it could not, the kubelet's texts about pods
    /// that hang now are quoted, and the cause is called not known.
    ///
    /// ## What it looks like
    /// `plugin type="calico" failed (add): error getting ClusterInformation: connection is unauthorized: Unauthorized`
    /// With another CA: `tls: failed to verify certificate: x509: certificate signed by unknown authority`
    /// Node and calico-node stay Ready; traffic between existing pods goes on.
    ///
    /// ## What to do
    /// `kubectl calico-doctor fix CAL-CNI-006`: it deletes the node's calico-node pod. The successor needs no CNI to start,
    /// and its init container writes fresh credentials. Where calico-node cannot start (its image is gone, say), the file
    /// is written anew with a token that is requested for it. Pods that hang heal by themselves within 25 s and keep their identity.
    ///
    /// ## What not to do
    /// Waiting for the token monitor: it goes by the token's lifetime and does not react to refusals. Deleting the pods
    /// that hang: their removal fails for the same reason. Emptying /etc/cni/net.d. Resetting the node.
    CREDENTIALS_REJECTED: "CAL-CNI-006", "the CNI plugin's credentials are rejected", "cni", Critical,
    needs [Nodes, Pods, Events, Install], fix Safe, run
}

/// Groups of one cause, in the order in which causes are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Ca,
    ServiceAccount,
    ServiceAccountGone,
    Expired,
    SigningKey,
    NotKnown,
}

/// What is known of the refusal on one node.
struct Verdict<'a> {
    node: &'a str,
    refusal: Option<Refusal>,
    said: Option<Hanging<'a>>,
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let mut said = kubelet_says(context);
    let mut groups: BTreeMap<Group, Vec<Verdict<'_>>> = BTreeMap::new();
    for node in context.linux_nodes() {
        let node = node.metadata.name.as_str();
        let said = said.remove(node);
        let (group, refusal) = match judge(context, node) {
            Known::Known(refusal) => (group_of(&refusal), Some(refusal)),
            // The file is good now: what the kubelet said once is history.
            Known::Absent => continue,
            Known::Unknown(_) if said.as_ref().is_some_and(|it| holds(context, it)) => {
                (Group::NotKnown, None)
            }
            Known::Unknown(gap) => {
                out.not_judged(CODE, node, gap);
                continue;
            }
        };
        groups.entry(group).or_default().push(Verdict { node, refusal, said });
    }
    join_unknown(&mut groups);
    for (group, verdicts) in groups {
        // Another repair is another finding: where calico-node cannot start, it cannot renew anything.
        let (restarts, others): (Vec<_>, Vec<_>) =
            verdicts.into_iter().partition(|it| context.calico_node_can_start(it.node).is_ok());
        for part in [restarts, others].into_iter().filter(|part| !part.is_empty()) {
            out.report(finding(context, group, &part));
        }
    }
}

/// Why the credentials on `node` are refused; absent when they are good.
pub(in crate::checks) fn judge(context: &Context<'_>, node: &str) -> Known<Refusal> {
    let snapshot = context.snapshot;
    context.config_files(node).and_then(|facts| match &facts.cni_kubeconfig {
        Known::Known(file) => refusal(file, &snapshot.credentials_for(file), context.now),
        Known::Absent => Known::Unknown(Gap::new(
            format!("nodes/{node}/probe.txt#calico-kubeconfig"),
            crate::snapshot::GapReason::Undecodable,
            format!("{CNI_KUBECONFIG_PATH} does not exist"),
        )),
        Known::Unknown(gap) => Known::Unknown(gap.clone()),
    })
}

/// False when the node shows by now that what the kubelet said is over.
fn holds(context: &Context<'_>, said: &Hanging<'_>) -> bool {
    said.cause != TextCause::CertificateNotTrusted
        || !trusts_the_server(context, &said.pod.spec.node_name)
}

/// True when the CA in the file is the cluster's: whoever said otherwise, said it before the file was rewritten.
pub(in crate::checks) fn trusts_the_server(context: &Context<'_>, node: &str) -> bool {
    let file = context.config_files(node).and_then(|facts| facts.cni_kubeconfig.as_ref());
    let trusted = file.known().and_then(|file| file.ca_sha256.known());
    trusted.is_some_and(|it| context.snapshot.root_ca().known().is_some_and(|ca| ca.is(it)))
}

/// The first hanging pod of each node whose text speaks of refused credentials; one that cannot start, if there is one.
fn kubelet_says<'a>(context: &Context<'a>) -> BTreeMap<&'a str, Hanging<'a>> {
    let mut said = BTreeMap::new();
    let mut all = hanging(context);
    all.sort_by_key(|one| one.phase);
    for one in all {
        if matches!(one.cause, TextCause::Unauthorized | TextCause::CertificateNotTrusted) {
            said.entry(one.pod.spec.node_name.as_str()).or_insert(one);
        }
    }
    said
}

fn group_of(refusal: &Refusal) -> Group {
    match refusal {
        Refusal::CaDiffers { .. } => Group::Ca,
        Refusal::ServiceAccountRecreated { live: Some(_), .. } => Group::ServiceAccount,
        Refusal::ServiceAccountRecreated { live: None, .. } => Group::ServiceAccountGone,
        Refusal::Expired { .. } => Group::Expired,
        Refusal::SigningKeyChanged { .. } => Group::SigningKey,
    }
}

/// A recreated ServiceAccount invalidates every token of the old one, so it also explains a node that only complains.
fn join_unknown(groups: &mut BTreeMap<Group, Vec<Verdict<'_>>>) {
    let proven = [Group::ServiceAccount, Group::ServiceAccountGone]
        .into_iter()
        .find(|group| groups.contains_key(group));
    let Some(proven) = proven else { return };
    let unauthorized =
        |it: &Verdict<'_>| it.said.as_ref().is_some_and(|one| one.cause == TextCause::Unauthorized);
    let Some(unknown) = groups.remove(&Group::NotKnown) else { return };
    let (joins, stays): (Vec<_>, Vec<_>) = unknown.into_iter().partition(unauthorized);
    if let Some(group) = groups.get_mut(&proven) {
        group.extend(joins);
        group.sort_by_key(|it| it.node);
    }
    if !stays.is_empty() {
        groups.insert(Group::NotKnown, stays);
    }
}

fn finding(context: &Context<'_>, group: Group, verdicts: &[Verdict<'_>]) -> Finding {
    let nodes: Vec<&str> = verdicts.iter().map(|it| it.node).collect();
    let place = match nodes.as_slice() {
        [one] => (*one).to_owned(),
        many => format!("{} nodes", many.len()),
    };
    let mut finding = Finding::new(
        CODE,
        Severity::Critical,
        Subject::nodes(nodes.iter().copied()),
        format!("CNI credentials rejected on {place}"),
        cause(context, group, verdicts),
    );
    if group == Group::NotKnown {
        finding.confidence = Confidence::Likely;
    }
    finding.evidence = evidence(verdicts);
    for node in nodes {
        let (remedy, why) = context.rewriting(node, RemedyName::RenewCniKubeconfig);
        // Without the ServiceAccount nobody can get a token for it.
        finding.remedy = remedy.filter(|_| group != Group::ServiceAccountGone);
        finding.evidence.extend(why.map(|why| Evidence::new(node, why)));
    }
    finding
}

fn cause(context: &Context<'_>, group: Group, verdicts: &[Verdict<'_>]) -> Cause {
    let account = account_name(context);
    let (key, text) = match group {
        Group::Ca => (
            "ca-differs",
            format!(
                "the cluster has another certificate authority than {CNI_KUBECONFIG_PATH} trusts: \
                 the control plane was re-initialised"
            ),
        ),
        Group::ServiceAccount => (
            "service-account-recreated",
            format!(
                "the ServiceAccount {account} was recreated{}; {CNI_KUBECONFIG_PATH} still holds the old one's token",
                created(context, verdicts)
            ),
        ),
        Group::ServiceAccountGone => (
            "service-account-missing",
            format!(
                "the ServiceAccount {account} was deleted; {CNI_KUBECONFIG_PATH} still holds its token"
            ),
        ),
        Group::Expired => (
            "expired",
            format!("the token in {CNI_KUBECONFIG_PATH} expired and was not renewed"),
        ),
        Group::SigningKey => (
            "signing-key-changed",
            format!(
                "the API server no longer knows the key that signed the token in {CNI_KUBECONFIG_PATH}: \
                 the ServiceAccount signing key was changed"
            ),
        ),
        Group::NotKnown => (
            "not-known",
            "not known: the kubelet says so, but what is wrong with the credentials could not be read".to_owned(),
        ),
    };
    Cause { key, text }
}

fn account_name(context: &Context<'_>) -> String {
    context.snapshot.install.known().map_or_else(
        || crate::calico::names::CNI_SERVICE_ACCOUNT.to_owned(),
        |install| format!("{}/{}", install.namespace, install.cni_service_account),
    )
}

/// ` at 12:01:43` (UTC), when the living ServiceAccount is known.
fn created(context: &Context<'_>, verdicts: &[Verdict<'_>]) -> String {
    let live = verdicts.iter().find_map(|it| match &it.refusal {
        Some(Refusal::ServiceAccountRecreated { live, .. }) => live.as_deref(),
        _ => None,
    });
    let accounts = &context.snapshot.service_accounts.items;
    accounts
        .iter()
        .find(|it| Some(it.metadata.uid.as_str()) == live)
        .and_then(|it| it.metadata.creation_timestamp)
        .map(|at| format!(" at {}", at.strftime("%F %T UTC")))
        .unwrap_or_default()
}

/// One line per different fact with all its nodes, then each different kubelet text once.
fn evidence(verdicts: &[Verdict<'_>]) -> Vec<Evidence> {
    let mut facts: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for verdict in verdicts {
        if let Some(refusal) = &verdict.refusal {
            facts.entry(refusal.to_string()).or_default().push(verdict.node);
        }
    }
    let mut all: Vec<Evidence> =
        facts.into_iter().map(|(fact, nodes)| Evidence::new(nodes.join(", "), fact)).collect();
    all.sort();
    let mut texts = BTreeSet::new();
    for one in verdicts.iter().filter_map(|it| it.said.as_ref()) {
        let text = essence(&one.event.message);
        if texts.insert(direction_free(&text)) {
            let source = format!(
                "{}: event {} {}",
                one.pod.spec.node_name,
                one.event.reason,
                one.pod.full_name()
            );
            all.push(Evidence::new(source, text));
        }
    }
    all
}

/// The text without the word that tells starting from stopping.
fn direction_free(text: &str) -> String {
    text.replace("(add)", "").replace("(delete)", "")
}
