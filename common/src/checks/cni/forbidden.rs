//! CAL-CNI-007.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use crate::checks::Context;
use crate::checks::pod::hanging::Hanging;
use crate::checks::pod::kubelet_text::TextCause;
use crate::checks::pod::said::{place, quote, said};
use crate::findings::{Cause, Code, Confidence, Finding, Findings, Severity, Subject};

const CODE: Code = Code("CAL-CNI-007");

static REFUSAL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"User "system:serviceaccount:([^":]{1,253}):([^"]{1,253})" cannot ([a-z]{1,32}) resource "([^"]{1,253})"(?: in API group "([^"]{0,253})")?"#,
    )
    .ok()
});

check! {
    /// # The CNI plugin may not do what it has to
    ///
    /// ## What it detects
    /// The API server accepts the CNI plugin's token and refuses what it asks for (403): the ClusterRole of its ServiceAccount
    /// lacks a rule, its binding is gone, or the token is of a ServiceAccount that was never meant for it. No pod can
    /// start or stop; the next one on any node will hang as well.
    ///
    /// ## How sure
    /// The API server's refusal is quoted from pods that hang now. Which rule is missing stands in it. Pods younger than
    /// 20 s are not counted: roles may be applied right now.
    ///
    /// ## What it looks like
    /// `clusterinformations.crd.projectcalico.org "default" is forbidden: User "system:serviceaccount:kube-system:calico-cni-plugin" cannot get resource "clusterinformations"`
    ///
    /// ## What to do
    /// Apply the ClusterRole and ClusterRoleBinding `calico-cni-plugin` of the running version's manifest; with the operator,
    /// see why it does not (its log, its own rights). Pods that hang heal by themselves.
    ///
    /// ## What not to do
    /// Binding cluster-admin to the ServiceAccount: its token lies in a file on every node.
    FORBIDDEN: "CAL-CNI-007", "the CNI plugin may not do what it has to", "cni", Critical,
    needs [Nodes, Pods, Events, Install], fix Manual, run
}

/// What was refused, to whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Refusal {
    account: String,
    what: String,
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let texts = said(context, |cause| *cause == TextCause::Forbidden);
    let mut by_account: BTreeMap<String, Vec<&Hanging<'_>>> = BTreeMap::new();
    for one in texts.values().flatten() {
        let account = refusal(&one.event.message).map(|it| it.account).unwrap_or_default();
        by_account.entry(account).or_default().push(one);
    }
    for (account, hanging) in by_account {
        out.report(finding(context, &account, &hanging));
    }
}

fn refusal(text: &str) -> Option<Refusal> {
    let text = text.replace("\\\"", "\"");
    let found = REFUSAL.as_ref()?.captures(&text)?;
    let group = found.get(5).map(|it| it.as_str()).filter(|it| !it.is_empty());
    let resource = match group {
        Some(group) => format!("{}.{group}", &found[4]),
        None => found[4].to_owned(),
    };
    Some(Refusal {
        account: format!("{}/{}", &found[1], &found[2]),
        what: format!("{} {resource}", &found[3]),
    })
}

fn finding(context: &Context<'_>, account: &str, hanging: &[&Hanging<'_>]) -> Finding {
    let nodes: BTreeSet<&str> = hanging.iter().map(|it| it.pod.spec.node_name.as_str()).collect();
    let nodes: Vec<&str> = nodes.into_iter().collect();
    let refused: BTreeSet<String> =
        hanging.iter().filter_map(|it| refusal(&it.event.message)).map(|it| it.what).collect();
    let refused = refused.into_iter().collect::<Vec<_>>().join(", ");
    let expected = context
        .snapshot
        .install
        .known()
        .map(|install| format!("{}/{}", install.namespace, install.cni_service_account));
    let (key, text) = match expected {
        _ if account.is_empty() => {
            ("not-known", "the API server refuses what the CNI plugin asks for".to_owned())
        }
        Some(expected) if expected != account => (
            "other-account",
            format!(
                "its token is of the ServiceAccount {account}, which may not {refused}; this install's is {expected}"
            ),
        ),
        _ => ("rule-missing", format!("the ServiceAccount {account} may not {refused}")),
    };
    let mut finding = Finding::new(
        CODE,
        Severity::Critical,
        Subject::nodes(nodes.iter().copied()),
        format!("the CNI plugin may not do what it has to on {}", place(&nodes)),
        Cause { key, text },
    );
    if account.is_empty() {
        finding.confidence = Confidence::Likely;
    }
    finding.evidence = quote(hanging.iter().copied());
    finding
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_who_may_not_do_what() {
        let text = r#"error getting ClusterInformation: connection is unauthorized: clusterinformations.crd.projectcalico.org "default" is forbidden: User \"system:serviceaccount:kube-system:calico-cni-plugin\" cannot get resource \"clusterinformations\" in API group \"crd.projectcalico.org\" at the cluster scope"#;
        assert_eq!(
            refusal(text),
            Some(Refusal {
                account: "kube-system/calico-cni-plugin".into(),
                what: "get clusterinformations.crd.projectcalico.org".into()
            })
        );
        let pods = r#"pods "web" is forbidden: User "system:serviceaccount:a:b" cannot patch resource "pods" in API group "" in the namespace "x""#;
        assert_eq!(refusal(pods).map(|it| it.what).as_deref(), Some("patch pods"));
        assert_eq!(refusal("is forbidden: because"), None);
    }
}
