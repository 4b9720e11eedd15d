//! `why`: whether a pod, or any pod on a node, can get an address, and if not, why.

use clap::Args;
use common::cli::{Exit, Failure, Kind, OutputFormat};
use common::collect::Addresses;
use common::ipam::Ledger;
use common::ipam::why::{Request, answers};
use common::report::ipam::{WhyReport, csv, why};
use common::report::{json, yaml};
use common::slim::{Node, Pod};
use common::snapshot::{Known, Snapshot};
use common::verbs::role::RoleFlags;
use common::verbs::{Session, rbac};

use super::observe::{SourceFlags, judge};
use crate::format::Format;

#[derive(Args, Clone, Debug)]
pub(crate) struct WhyFlags {
    /// pod/NAME (of the namespace that is set), pod/NAMESPACE/NAME, or node/NAME
    #[arg(value_name = "WHOM")]
    whom: String,
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    role: RoleFlags,
}

/// For whom.
enum Whom {
    Pod(String, String),
    Node(String),
}

pub(crate) async fn run(
    session: &Session,
    format: Format,
    flags: &WhyFlags,
) -> Result<Exit, Failure> {
    if flags.role.print(session, "why", rbac::addresses_and_owners)? {
        return Ok(Exit::Good);
    }
    let whom = parse(session, &flags.whom)?;
    let snapshot = flags.source.look(session, Addresses::All, true).await?;
    let mut exit = judge(session, &snapshot)?;
    let ledger = Ledger::new(&snapshot);
    let settings = if let Known::Known(settings) = &ledger.settings {
        settings.clone()
    } else {
        session.printer.talk("not seen: settings of IPAM; the defaults are assumed");
        exit = exit.or(Exit::Incomplete);
        common::calico::ipam::IpamConfigSpec::default()
    };
    let pod = match &whom {
        Whom::Pod(namespace, name) => Some(find_pod(&snapshot, namespace, name)?),
        Whom::Node(_) => None,
    };
    let name = match (&whom, pod) {
        (Whom::Node(name), _) => name.as_str(),
        (_, Some(pod)) => pod.spec.node_name.as_str(),
        _ => "",
    };
    let node = find_node(&snapshot, name)?;
    let mut request = Request::on(node);
    if let Some(pod) = pod {
        request = request.of(pod, namespace_labels(&snapshot, &pod.metadata.namespace));
    }
    let chances = request.chances(&ledger);
    let subject = match &whom {
        Whom::Pod(namespace, name) => format!("pod {namespace}/{name}"),
        Whom::Node(name) => format!("a pod on {name}"),
    };
    let mut report =
        WhyReport::new(&snapshot, subject, name, &chances, &answers(&chances, &settings));
    report.notes = pod.map(|pod| notes(pod, &request)).unwrap_or_default();
    if report.has_none() {
        exit = exit.or(Exit::Findings);
    }
    report.verdict = exit.word();
    report.cluster.bundle = flags.source.name();
    session.printer.data(&match format {
        Format::Usual(OutputFormat::Json) => json(&report),
        Format::Usual(OutputFormat::Yaml) => yaml(&report),
        Format::Usual(OutputFormat::Text) => why(&report, &session.text_options()),
        Format::Csv => csv(&report.pools),
        Format::Prometheus => return Err(format.refuse("why")),
    })?;
    Ok(exit)
}

fn parse(session: &Session, text: &str) -> Result<Whom, Failure> {
    let parts: Vec<&str> = text.split('/').collect();
    match parts.as_slice() {
        ["node" | "nodes" | "no", name] if !name.is_empty() => Ok(Whom::Node((*name).to_owned())),
        ["pod" | "pods" | "po", namespace, name] if !namespace.is_empty() && !name.is_empty() => {
            Ok(Whom::Pod((*namespace).to_owned(), (*name).to_owned()))
        }
        ["pod" | "pods" | "po", name] if !name.is_empty() => {
            let namespace = session.connection.namespace.as_deref().unwrap_or("default");
            Ok(Whom::Pod(namespace.to_owned(), (*name).to_owned()))
        }
        _ => Err(Failure::usage(format!("{text:?} names neither a pod nor a node"))
            .hint("write pod/NAMESPACE/NAME or node/NAME")),
    }
}

fn find_pod<'a>(snapshot: &'a Snapshot, namespace: &str, name: &str) -> Result<&'a Pod, Failure> {
    let found = snapshot.pods.find("cluster/pods.json", |it| {
        it.metadata.namespace == namespace && it.metadata.name == name
    });
    match found {
        Known::Known(pod) if pod.spec.node_name.is_empty() => Err(Failure::new(
            Kind::NotFound,
            format!("pod {namespace}/{name} has no node yet: nobody asks for an address"),
        )
        .hint("kubectl describe pod tells what the scheduler waits for")),
        Known::Known(pod) => Ok(pod),
        Known::Absent => {
            Err(Failure::new(Kind::NotFound, format!("there is no pod {namespace}/{name}")))
        }
        Known::Unknown(gap) => {
            Err(Failure::new(Kind::Incomplete, format!("pods could not be read: {}", gap.detail)))
        }
    }
}

fn find_node<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Node, Failure> {
    match snapshot.nodes.find("cluster/nodes.json", |it| it.metadata.name == name) {
        Known::Known(node) => Ok(node),
        Known::Absent => Err(Failure::new(Kind::NotFound, format!("there is no node {name}"))),
        Known::Unknown(gap) => {
            Err(Failure::new(Kind::Incomplete, format!("nodes could not be read: {}", gap.detail)))
        }
    }
}

fn namespace_labels(
    snapshot: &Snapshot,
    name: &str,
) -> Option<std::collections::BTreeMap<String, String>> {
    let all = &snapshot.namespaces.items;
    all.iter().find(|it| it.metadata.name == name).map(|it| it.metadata.labels.clone())
}

/// What else decides about this pod's address.
fn notes(pod: &Pod, request: &Request<'_>) -> Vec<String> {
    let mut all = Vec::new();
    if pod.spec.host_network {
        all.push("it shares its node's network, and needs no address of a pool".to_owned());
    }
    if pod.is_finished() {
        all.push("it has finished".to_owned());
    }
    if !pod.status.pod_ip.is_empty() {
        all.push(format!("it has an address already: {}", pod.status.pod_ip));
    }
    if !request.wanted().is_empty() {
        all.push(format!("it names its pools itself: {}", request.wanted().join(", ")));
    }
    if pod.metadata.annotations.contains_key("cni.projectcalico.org/ipAddrs") {
        all.push("it asks for particular addresses (cni.projectcalico.org/ipAddrs)".to_owned());
    }
    all
}
