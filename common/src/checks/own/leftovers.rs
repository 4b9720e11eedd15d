//! CAL-OWN-001.

use jiff::{SignedDuration, Timestamp};

use crate::calico::names::{
    CNI_BIN_DIR, CNI_CONFIG_DIR, EXPIRES_AT, LEASE_NAME, LEASE_NAMESPACE, MANAGED_BY,
    OUR_CONFIGURATION_PREFIX, OURS,
};
use crate::checks::Context;
use crate::findings::{Cause, Code, Evidence, Finding, Findings, Severity, Subject, SubjectKind};
use crate::plan::{LOOPBACK_SECONDS, RemedyName};
use crate::slim::Pod;
use crate::snapshot::{FileEntry, HostFacts, Known};

const CODE: Code = Code("CAL-OWN-001");

/// A pod that is deleted is gone within seconds, unless its node does not answer.
const DELETION: SignedDuration = SignedDuration::from_secs(60);

check! {
    /// # Something of this tool was left behind
    ///
    /// ## What it detects
    /// Pods of this tool that have finished or are past their time; its Lease when nobody renews it; on nodes its temporary
    /// network configuration (`00-kubectl-calico-…`), which keeps every new pod of that node from starting, temporary files
    /// of a write that was cut short, and copies of files that it replaced. A killed run leaves such things.
    ///
    /// ## How sure
    /// Certain. Pods and the Lease of a run that is at work are not counted. Files are seen where a probe lists the
    /// directory: in /etc/cni/net.d always, elsewhere only from the host (`check --probe`). Copies (`.bak`) are kept on
    /// purpose, for `undo`: they are told as information.
    ///
    /// ## What it looks like
    /// `kubectl get pods -A -l app.kubernetes.io/managed-by=kubectl-calico`
    ///
    /// ## What to do
    /// `kubectl calico-doctor sweep` removes what is not in use. Pods and the Lease do no harm: a pod ends by its own
    /// deadline, and the next run takes an expired Lease over.
    ///
    /// ## What not to do
    /// Removing the copies before the repair has proven itself: `undo` needs them.
    LEFTOVERS: "CAL-OWN-001", "something of this tool was left behind", "own", Error,
    needs [Pods], fix Safe, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    pods(context, out);
    lease(context, out);
    for (node, facts) in &context.snapshot.hosts {
        if let Known::Known(host) = facts {
            files(context, node, host, out);
        }
    }
}

fn pods(context: &Context<'_>, out: &mut Findings) {
    let is_ours = |pod: &&Pod| pod.metadata.labels.get(MANAGED_BY).is_some_and(|it| it == OURS);
    let pods = context.snapshot.pods.items.iter().filter(is_ours);
    let mut left: Vec<(&Pod, String)> =
        pods.filter_map(|pod| Some((pod, why_left(context, pod)?))).collect();
    left.sort_by_key(|(pod, _)| pod.full_name());
    if left.is_empty() {
        return;
    }
    let title = match left.len() {
        1 => "a pod of this tool was left behind".to_owned(),
        count => format!("{count} pods of this tool were left behind"),
    };
    let text = "a run of this tool ended without deleting them".to_owned();
    let subject = Subject::pods(left.iter().map(|(pod, _)| pod.full_name()));
    let mut finding =
        Finding::new(CODE, Severity::Warning, subject, title, Cause { key: "pods", text });
    finding.nodes = left.iter().map(|(pod, _)| pod.spec.node_name.clone()).collect();
    finding.nodes.sort();
    finding.nodes.dedup();
    finding.remedy = Some(RemedyName::Sweep);
    finding.evidence = left
        .into_iter()
        .map(|(pod, why)| Evidence::new(format!("pod {}", pod.full_name()), why))
        .collect();
    out.report(finding);
}

/// Why a pod of ours serves nobody any more; none while a run may need it.
fn why_left(context: &Context<'_>, pod: &Pod) -> Option<String> {
    if let Some(due) = pod.metadata.deletion_timestamp {
        let overdue = context.now.duration_since(due) >= DELETION;
        return overdue.then(|| "it is being deleted, and does not go".to_owned());
    }
    if pod.is_finished() {
        return Some("it has finished".to_owned());
    }
    let until = pod.metadata.annotations.get(EXPIRES_AT).map(|text| text.parse::<Timestamp>());
    match until {
        Some(Ok(until)) if until >= context.now => None,
        Some(Ok(until)) => Some(format!("its run may have needed it until {until:.0}")),
        Some(Err(_)) | None => Some("it does not say until when it may be needed".to_owned()),
    }
}

fn lease(context: &Context<'_>, out: &mut Findings) {
    let leases = &context.snapshot.leases.items;
    let lease = leases
        .iter()
        .find(|it| it.metadata.name == LEASE_NAME && it.metadata.namespace == LEASE_NAMESPACE);
    let Some(lease) = lease else { return };
    let expired = match lease.expires_at() {
        Some(until) if until >= context.now => return,
        Some(until) => format!("expired at {until:.0}"),
        None => "it does not say until when it holds".to_owned(),
    };
    let holder = lease.spec.holder_identity.clone().unwrap_or_default();
    let mut finding = Finding::new(
        CODE,
        Severity::Info,
        Subject::of(SubjectKind::Object, [format!("Lease/{LEASE_NAMESPACE}/{LEASE_NAME}")]),
        "an expired Lease of this tool was left behind",
        Cause { key: "lease", text: "the next run takes it over".to_owned() },
    );
    finding.remedy = Some(RemedyName::Sweep);
    let source = format!("Lease {LEASE_NAMESPACE}/{LEASE_NAME}");
    finding.evidence.push(Evidence::new(source, format!("held by {holder:?}, {expired}")));
    out.report(finding);
}

/// Which of our files a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A network configuration that stands before all others.
    Configuration,
    /// A write that was cut short.
    Temporary,
    /// What stood where we wrote.
    Copy,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        let is_ours = name.contains(".kubectl-calico-");
        match name.rsplit_once('.') {
            Some((_, "bak")) if is_ours => Some(Self::Copy),
            Some((_, "tmp")) if is_ours => Some(Self::Temporary),
            _ => name.starts_with(OUR_CONFIGURATION_PREFIX).then_some(Self::Configuration),
        }
    }
}

fn files(context: &Context<'_>, node: &str, host: &HostFacts, out: &mut Findings) {
    let install = context.snapshot.install.known();
    let config_dir = install.map_or(CNI_CONFIG_DIR, |it| it.cni_config_dir.as_str());
    let bin_dir = install.map_or(CNI_BIN_DIR, |it| it.cni_bin_dir.as_str());
    let directories = [(config_dir, &host.cni_config_dir), (bin_dir, &host.cni_bin_dir)];
    for kind in [Kind::Configuration, Kind::Temporary, Kind::Copy] {
        let found: Vec<(String, &FileEntry)> = directories
            .iter()
            .filter_map(|(directory, files)| Some((*directory, files.known()?)))
            .flat_map(|(directory, files)| files.iter().map(move |it| (directory, it)))
            .filter(|(_, file)| Kind::of(&file.name) == Some(kind))
            .map(|(directory, file)| (format!("{directory}/{}", file.name), file))
            .collect();
        if !found.is_empty() {
            out.report(of_files(context, node, host, kind, &found));
        }
    }
}

fn of_files(
    context: &Context<'_>,
    node: &str,
    host: &HostFacts,
    kind: Kind,
    found: &[(String, &FileEntry)],
) -> Finding {
    let seen = host.time.known().copied().unwrap_or(context.now);
    // A run that is at work takes it away itself.
    let limit = SignedDuration::from_secs(i64::try_from(LOOPBACK_SECONDS).unwrap_or(60) + 30);
    let is_fresh = found
        .iter()
        .all(|(_, file)| file.modified.is_some_and(|made| seen.duration_since(made) < limit));
    let (key, severity, title, text) = match kind {
        Kind::Configuration => (
            "configuration",
            if is_fresh { Severity::Warning } else { Severity::Error },
            format!("a temporary network configuration of this tool stands on {node}"),
            "while it stands there no new pod of that node can start".to_owned(),
        ),
        Kind::Temporary => (
            "temporary-file",
            Severity::Warning,
            format!("temporary files of this tool were left on {node}"),
            "a run was ended while it wrote".to_owned(),
        ),
        Kind::Copy => (
            "copy",
            Severity::Info,
            format!("copies of replaced files are kept on {node}"),
            "`undo` puts them back".to_owned(),
        ),
    };
    let subject = Subject::of(
        SubjectKind::Object,
        found.iter().map(|(path, _)| format!("File/{node}{path}")),
    );
    let mut finding = Finding::new(CODE, severity, subject, title, Cause { key, text });
    finding.nodes = vec![node.to_owned()];
    if kind == Kind::Configuration && is_fresh {
        finding.consequence =
            "a run may be at work there; it is removed within a minute".to_owned();
    }
    finding.remedy = (kind != Kind::Copy).then_some(RemedyName::Sweep);
    let line = |(path, file): &(String, &FileEntry)| match file.modified {
        Some(at) => format!("{path} ({at:.0})"),
        None => path.clone(),
    };
    let names: Vec<String> = found.iter().map(line).collect();
    finding.evidence.push(Evidence::new(format!("{node}: ls"), names.join(", ")));
    finding
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_files_are_known_by_their_names() {
        for (name, kind) in [
            ("00-kubectl-calico-loopback.conflist", Some(Kind::Configuration)),
            ("10-calico.conflist.kubectl-calico-01RUN.bak", Some(Kind::Copy)),
            ("calico.kubectl-calico-01RUN.tmp", Some(Kind::Temporary)),
            ("00-kubectl-calico-loopback.conflist.kubectl-calico-01.tmp", Some(Kind::Temporary)),
            ("10-calico.conflist", None),
            ("calico-kubeconfig", None),
            ("10-calico.conflist.bak", None),
        ] {
            assert_eq!(Kind::of(name), kind, "{name}");
        }
    }
}
