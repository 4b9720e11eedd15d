//! CAL-CNI-008.

use crate::checks::Context;
use crate::checks::pod::hanging::Hanging;
use crate::checks::pod::kubelet_text::TextCause;
use crate::checks::pod::said::{quote, said};
use crate::findings::{Cause, Code, Confidence, Evidence, Finding, Findings, Severity, Subject};
use crate::plan::RemedyName;
use crate::snapshot::{ConfigurationProblem, Known};

const CODE: Code = Code("CAL-CNI-008");

/// Variables of calico-node by which a node of Kubernetes may have another name in Calico.
const NAME_VARIABLES: [&str; 2] = ["NODENAME", "CALICO_K8S_NODE_REF"];

check! {
    /// # Calico's files on a node hold another node's name
    ///
    /// ## What it detects
    /// The name in the CNI configuration (`nodename`), or the one in /var/lib/calico/nodename, is not the name of the node in
    /// Kubernetes: the machine was cloned or renamed, or the file was copied from another one. The CNI plugin looks its
    /// node up by the first of the two; addresses are then assigned in another node's name, or not at all.
    ///
    /// ## How sure
    /// Certain for the configuration, which wins; likely for the other file, which calico-node writes anew at every start.
    /// Where neither was read, the kubelet's texts about pods that hang now are judged. Installs that give nodes a name of
    /// their own on purpose (etcd, a literal NODENAME, CALICO_K8S_NODE_REF) are left alone.
    ///
    /// ## What it looks like
    /// `resource does not exist: Node(web-1.example.org) with error: nodes "web-1.example.org" not found`
    ///
    /// ## What to do
    /// `kubectl calico-doctor fix CAL-CNI-008`: calico-node writes both files anew, with the name that Kubernetes uses. If
    /// the machine was renamed, make up your mind which name it has before: the kubelet registers under the new one.
    ///
    /// ## What not to do
    /// Editing only one of the two files. Changing the host's name so that it fits: certificates and volumes know the old one.
    NODE_NAME_DIFFERS: "CAL-CNI-008", "Calico's files hold another node's name", "cni", Critical,
    needs [Nodes, Pods, Events, Install], fix Safe, run
}

/// Who says another name, and which.
struct Name<'a> {
    says: &'a str,
    place: String,
    /// The configuration wins over the file; a text is the kubelet's word.
    certain: bool,
    severity: Severity,
}

fn run(context: &Context<'_>, out: &mut Findings) {
    if has_names_of_its_own(context) {
        return;
    }
    let texts = said(context, |cause| matches!(cause, TextCause::NodeNotFound { .. }));
    for node in context.linux_nodes() {
        let name = node.metadata.name.as_str();
        let hanging = texts.get(name).map_or(&[] as &[Hanging<'_>], Vec::as_slice);
        match judge(context, name) {
            Known::Known(other) => out.report(finding(context, name, &other, hanging)),
            Known::Absent => {}
            Known::Unknown(gap) => match in_texts(name, hanging) {
                Some(other) => out.report(finding(context, name, &other, hanging)),
                None => out.not_judged(CODE, name, gap),
            },
        }
    }
}

/// True when nodes are called differently in Calico than in Kubernetes on purpose.
fn has_names_of_its_own(context: &Context<'_>) -> bool {
    context.calico_template().is_some_and(|template| {
        let etcd = template
            .env(crate::calico::names::DATASTORE_VARIABLE)
            .is_some_and(|it| it.starts_with("etcd"));
        etcd || NAME_VARIABLES.iter().any(|name| template.env(name).is_some())
    })
}

/// The other name that a file on `node` holds; absent when both hold the right one.
fn judge<'a>(context: &Context<'a>, node: &str) -> Known<Name<'a>> {
    let facts = match context.snapshot.host(node) {
        Known::Known(facts) => facts,
        Known::Absent => return Known::Absent,
        Known::Unknown(gap) => return Known::Unknown(gap),
    };
    let written = in_configuration(context, node);
    if let Known::Known(says) = written
        && says != node
    {
        return Known::Known(Name {
            says,
            place: format!("{node}: nodename in {}", context.config_dir()),
            certain: true,
            severity: Severity::Critical,
        });
    }
    match (&facts.nodename, written) {
        // An empty file is none: it is the matter of the check for a missing one.
        (Known::Known(says), _) if !says.is_empty() && says != node => Known::Known(Name {
            says,
            place: format!("{node}: /var/lib/calico/nodename"),
            certain: false,
            severity: Severity::Error,
        }),
        (_, Known::Known(_)) | (Known::Known(_), Known::Absent) => Known::Absent,
        (_, Known::Unknown(gap)) => Known::Unknown(gap),
        (Known::Unknown(gap), _) => Known::Unknown(gap.clone()),
        (Known::Absent, Known::Absent) => Known::Absent,
    }
}

/// What Calico's configuration calls the node; absent when it does not say. A placeholder is no name.
fn in_configuration<'a>(context: &Context<'a>, node: &str) -> Known<&'a str> {
    context.configurations(node).and_then(|all| {
        let Some(file) = all.into_iter().find(|it| it.is_calico()) else { return Known::Absent };
        if let Some(ConfigurationProblem::NotRead(gap)) = &file.problem {
            return Known::Unknown::<&str>(gap.clone());
        }
        let name = file.calico.as_ref().and_then(|it| it.nodename.as_deref());
        Known::from_option(name.filter(|it| !file.placeholders.iter().any(|left| left == it)))
    })
}

/// The name that the kubelet's texts speak of, when it is not the node's own: that one may just not be registered yet.
fn in_texts<'a>(node: &str, hanging: &'a [Hanging<'a>]) -> Option<Name<'a>> {
    let says = hanging.iter().find_map(|one| match &one.cause {
        TextCause::NodeNotFound { node: says } if says != node => Some(says.as_str()),
        _ => None,
    })?;
    let place = format!("{node}: what the CNI plugin asked for");
    Some(Name { says, place, certain: false, severity: Severity::Critical })
}

fn finding(
    context: &Context<'_>,
    node: &str,
    other: &Name<'_>,
    hanging: &[Hanging<'_>],
) -> Finding {
    let says = other.says;
    let known = context.snapshot.nodes.items.iter().any(|it| it.metadata.name == says);
    let short = |name: &str| name.split('.').next().unwrap_or(name).to_ascii_lowercase();
    let (key, text) = if known {
        (
            "other-node",
            format!(
                "{says} is another node of this cluster: the machine was cloned from it, or the file copied"
            ),
        )
    } else if short(says) == short(node) {
        (
            "spelling",
            format!(
                "Calico calls it {says}, Kubernetes {node}: one of them took the short name, or another case of letters"
            ),
        )
    } else {
        (
            "no-such-node",
            format!(
                "no node of this cluster is called {says}: the machine was renamed, or came from another cluster"
            ),
        )
    };
    let mut finding = Finding::new(
        CODE,
        other.severity,
        Subject::nodes([node]),
        format!("Calico's files on {node} name another node"),
        Cause { key, text },
    );
    if !other.certain {
        finding.confidence = Confidence::Likely;
    }
    finding.evidence.push(Evidence::new(other.place.clone(), says));
    finding.evidence.extend(quote(hanging));
    let (remedy, why) = context.rewriting(node, RemedyName::RestoreConflist);
    finding.remedy = remedy;
    finding.evidence.extend(why.map(|why| Evidence::new(node, why)));
    finding
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{file, on_node};
    use super::*;

    fn says(conflist: &str) -> Option<String> {
        let snapshot = on_node("n1", &[file("10-calico.conflist", conflist)]);
        let context = Context { snapshot: &snapshot, now: snapshot.taken };
        judge(&context, "n1").known().map(|it| it.says.to_owned())
    }

    #[test]
    fn the_configuration_names_the_node() {
        let with =
            |name: &str| format!(r#"{{"plugins":[{{"type":"calico","nodename":"{name}"}}]}}"#);
        assert_eq!(says(&with("n1")), None);
        assert_eq!(says(&with("N1")).as_deref(), Some("N1"));
        assert_eq!(says(&with("__KUBERNETES_NODE_NAME__")), None);
        assert_eq!(says(r#"{"plugins":[{"type":"calico"}]}"#), None);
    }
}
