//! CAL-CNI-002.

use std::collections::BTreeMap;

use crate::calico::names::{CNI_KUBECONFIG_NAME, CRD_GROUP, DATASTORE_VARIABLE, V3_GROUP};
use crate::checks::Context;
use crate::checks::pod::kubelet_text::TextCause;
use crate::checks::pod::said::{place, quote, said};
use crate::findings::{Cause, Code, Confidence, Evidence, Finding, Findings, Severity, Subject};
use crate::plan::RemedyName;
use crate::snapshot::{CalicoPlugin, ConfigurationProblem, Flavour, Known, NetworkConfiguration};

const CODE: Code = Code("CAL-CNI-002");

/// Versions of the CNI specification that exist.
const CNI_VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

check! {
    /// # Calico's CNI configuration is stale or makes no sense
    ///
    /// ## What it detects
    /// Nodes whose 10-calico.conflist (or 10-canal.conflist) is there and wrong: it is empty, cut short or no JSON; it still
    /// holds placeholders of the template such as `__CNI_MTU__`; the kubeconfig it names does not exist; it speaks of another
    /// datastore or API group than this install; it names no address management; Calico's plugin is not the first one in
    /// it; or it asks for a version of CNI that does not exist.
    ///
    /// ## How sure
    /// Certain: the file and the directory's listing are read on the node. What the file should say comes from calico-node's
    /// DaemonSet and from the API group that stores Calico's objects; where those could not be read, that much is not
    /// compared. Files of other names, and files that could not be read whole, are not judged. The name of the node in it is
    /// the matter of CAL-CNI-008.
    ///
    /// ## What it looks like
    /// `"mtu": __CNI_MTU__` in the file, which is then no JSON: `cni plugin not initialized`
    /// `plugin type="calico" failed (add): stat /etc/cni/net.d/calico-kubeconfig: no such file or directory`
    ///
    /// ## What to do
    /// `kubectl calico-doctor fix CAL-CNI-002`: calico-node's init container writes configuration and kubeconfig anew; where
    /// it cannot start, they are written without it. If the fault comes back, the template itself is wrong: ConfigMap
    /// calico-config (manifest) or the operator's Installation.
    ///
    /// ## What not to do
    /// Editing the file on the node by hand: the next start of calico-node overwrites it. A copy of the template, as
    /// many recipes have it, is no configuration: install-cni fills it in.
    CONFLIST_INCONSISTENT: "CAL-CNI-002", "Calico's CNI configuration is stale or makes no sense", "cni", Critical,
    needs [Nodes, Pods, Events, Install, Hosts], fix Safe, run
}

/// One fault of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fault {
    key: &'static str,
    text: String,
    severity: Severity,
    /// What rewrites what is wrong where calico-node cannot; none when it would come back the same.
    instead: Option<RemedyName>,
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let mut groups: BTreeMap<(Fault, Option<RemedyName>), Vec<&str>> = BTreeMap::new();
    for node in context.linux_nodes() {
        let name = node.metadata.name.as_str();
        match judge(context, name) {
            Known::Known(fault) => {
                // Another repair is another finding.
                let remedy = fault.instead.and_then(|instead| context.rewriting(name, instead).0);
                groups.entry((fault, remedy)).or_default().push(name);
            }
            Known::Absent => {}
            Known::Unknown(gap) => out.not_judged(CODE, name, gap),
        }
    }
    for ((fault, remedy), nodes) in groups {
        out.report(finding(context, &fault, remedy, &nodes));
    }
}

/// What is wrong with Calico's configuration on `node`; absent when nothing is, or when there is none.
fn judge(context: &Context<'_>, node: &str) -> Known<Fault> {
    let all = match context.configurations(node) {
        Known::Known(all) => all,
        Known::Absent => return Known::Absent,
        Known::Unknown(gap) => return Known::Unknown(gap),
    };
    let Some(file) = all.into_iter().find(|it| it.is_calico() || is_broken(it)) else {
        return Known::Absent;
    };
    if let Some(ConfigurationProblem::NotRead(gap)) = &file.problem {
        return Known::Unknown(gap.clone());
    }
    let faults = [
        of_the_template(file),
        of_the_whole(file),
        of_the_kubeconfig(context, node, file),
        file.calico.as_ref().and_then(|calico| of_the_install(context, calico)),
        of_the_chain(file),
    ];
    Known::from_option(faults.into_iter().flatten().next())
}

/// A file by Calico's name in which nothing of Calico's can be found any more.
fn is_broken(file: &NetworkConfiguration) -> bool {
    file.problem.is_some() && file.has_calicos_name()
}

fn fault(key: &'static str, severity: Severity, text: impl Into<String>) -> Fault {
    Fault { key, text: text.into(), severity, instead: Some(RemedyName::RestoreConflist) }
}

/// Placeholders come first: they may be what breaks the file.
fn of_the_template(file: &NetworkConfiguration) -> Option<Fault> {
    let left = file.placeholders.join(", ");
    let text =
        format!("{} still holds {left}: install-cni never filled in its template", file.file);
    (!left.is_empty()).then(|| fault("placeholders", Severity::Critical, text))
}

fn of_the_whole(file: &NetworkConfiguration) -> Option<Fault> {
    let why = match file.problem.as_ref()? {
        ConfigurationProblem::Empty => "is empty".to_owned(),
        ConfigurationProblem::NotJson(why) => format!("is no JSON: {why}"),
        ConfigurationProblem::NoPlugin => "names no plugin".to_owned(),
        ConfigurationProblem::NotRead(_) => return None,
    };
    Some(fault("unusable", Severity::Critical, format!("{} {why}", file.file)))
}

/// Only a kubeconfig beside the configuration can be looked for.
fn of_the_kubeconfig(
    context: &Context<'_>,
    node: &str,
    file: &NetworkConfiguration,
) -> Option<Fault> {
    let path = file.calico.as_ref()?.kubeconfig.as_deref()?;
    let (directory, name) = path.rsplit_once('/')?;
    let listing = context.config_files(node).and_then(|facts| facts.cni_config_dir.as_ref());
    let missing = !listing.known()?.iter().any(|it| it.name == name);
    let text = format!("{} names {path}, which does not exist", file.file);
    (directory == context.config_dir() && missing).then(|| Fault {
        instead: Some(if name == CNI_KUBECONFIG_NAME {
            RemedyName::RenewCniKubeconfig
        } else {
            RemedyName::RestoreConflist
        }),
        ..fault("kubeconfig-missing", Severity::Critical, text)
    })
}

fn of_the_install(context: &Context<'_>, calico: &CalicoPlugin) -> Option<Fault> {
    let datastore = context.calico_template().and_then(|it| it.env(DATASTORE_VARIABLE));
    if let (Some(says), Some(is)) = (&calico.datastore, datastore)
        && !says.eq_ignore_ascii_case(is)
    {
        let text = format!("it speaks of the datastore {says}, and calico-node uses {is}");
        return Some(fault("datastore", Severity::Error, text));
    }
    let stored = match &context.snapshot.flavour {
        Known::Known(Flavour::CrdV1) => Some(CRD_GROUP),
        Known::Known(Flavour::NativeV3) => Some(V3_GROUP),
        _ => None,
    };
    let says = calico.api_group.as_deref().and_then(|it| it.split('/').next());
    match (says, stored) {
        (Some(says), Some(stored)) if says != stored => {
            let text = format!("it looks for Calico's objects in {says}, and they are in {stored}");
            Some(fault("api-group", Severity::Error, text))
        }
        _ => None,
    }
}

/// What a rewriting from the same template would not mend.
fn of_the_chain(file: &NetworkConfiguration) -> Option<Fault> {
    let calico = file.calico.as_ref()?;
    let first = file.plugins.first().map(String::as_str);
    let version = file.cni_version.as_deref();
    let of_the_template = |fault| Some(Fault { instead: None, ..fault });
    if calico.ipam.is_none() {
        return of_the_template(fault(
            "no-ipam",
            Severity::Error,
            "it names no address management (ipam.type)",
        ));
    }
    if let Some(first) = first.filter(|it| *it != "calico") {
        let text = format!("{first} is called before Calico's plugin, which makes the network");
        return of_the_template(fault("order", Severity::Error, text));
    }
    let version = version.filter(|it| !CNI_VERSIONS.contains(it))?;
    let text = format!("its cniVersion {version} does not exist");
    of_the_template(fault("cni-version", Severity::Error, text))
}

fn finding(
    context: &Context<'_>,
    fault: &Fault,
    remedy: Option<RemedyName>,
    nodes: &[&str],
) -> Finding {
    let at = place(nodes);
    let title = match fault.severity {
        Severity::Critical => format!("Calico's CNI configuration cannot work on {at}"),
        _ => format!("Calico's CNI configuration is not that of this install on {at}"),
    };
    let cause = Cause { key: fault.key, text: fault.text.clone() };
    let subject = Subject::nodes(nodes.iter().copied());
    let mut finding = Finding::new(CODE, fault.severity, subject, title, cause);
    if fault.severity != Severity::Critical {
        finding.confidence = Confidence::Likely;
    }
    let texts = said(context, |cause| {
        matches!(cause, TextCause::NotInitialized | TextCause::KubeconfigMissing)
    });
    for node in nodes {
        let listing = context.config_files(node).and_then(|facts| facts.cni_config_dir.as_ref());
        let names: Vec<&str> = listing
            .known()
            .into_iter()
            .flat_map(|all| all.iter())
            .map(|it| it.name.as_str())
            .collect();
        let source = format!("{node}: ls {}", context.config_dir());
        finding.evidence.push(Evidence::new(source, names.join(" ")));
        finding.evidence.extend(texts.get(node).into_iter().flat_map(quote));
        if remedy.is_some_and(|it| it != RemedyName::RestartCalicoNode) {
            let why = context.calico_node_can_start(node).err();
            finding.evidence.extend(why.map(|why| Evidence::new(*node, why)));
        }
    }
    finding.remedy = remedy;
    finding
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{file, on_node};
    use super::*;

    const GOOD: &str = r#"{"cniVersion":"0.3.1","plugins":[{"type":"calico","ipam":{"type":"calico-ipam"},"datastore_type":"kubernetes"}]}"#;

    fn key(files: &[(&str, &str)]) -> Known<&'static str> {
        let snapshot = on_node("n1", files);
        judge(&Context { snapshot: &snapshot, now: snapshot.taken }, "n1").map(|it| it.key)
    }

    #[test]
    fn each_fault_has_its_key() {
        let calico = |text: &str| key(&[file("10-calico.conflist", text)]);
        assert_eq!(calico(GOOD), Known::Absent);
        let with = |from: &str, to: &str| calico(&GOOD.replacen(from, to, 1));
        assert_eq!(with("\"calico-ipam\"", "__IPAM__"), Known::Known("placeholders"));
        assert_eq!(calico(&GOOD[..40]), Known::Known("unusable"));
        assert_eq!(calico(""), Known::Known("unusable"));
        assert_eq!(calico("{}"), Known::Known("unusable"));
        let gone = r#""kubernetes":{"kubeconfig":"/etc/cni/net.d/calico-kubeconfig"},"ipam""#;
        assert_eq!(with("\"ipam\"", gone), Known::Known("kubeconfig-missing"));
        assert_eq!(with("\"ipam\"", &gone.replace("/etc/cni/net.d", "/elsewhere")), Known::Absent);
        assert_eq!(with("calico-ipam", ""), Known::Known("no-ipam"));
        assert_eq!(with("[{", r#"[{"type":"tuning"},{"#), Known::Known("order"));
        assert_eq!(with("0.3.1", "0.3"), Known::Known("cni-version"));
    }

    #[test]
    fn a_file_of_another_name_is_not_calicos() {
        assert_eq!(key(&[file("87-podman.conflist", "{")]), Known::Absent);
        assert_eq!(key(&[]), Known::Absent);
        assert_eq!(key(&[file("10-calico.conflist", GOOD), file("99-x.conf", "{")]), Known::Absent);
    }
}
