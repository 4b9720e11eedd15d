//! CAL-IPM-014.

use super::collector::{Collector, Stop, name};
use crate::checks::Context;
use crate::findings::{
    Cause, Code, Confidence, Evidence, Finding, Findings, Severity, Subject, SubjectKind,
};

const CODE: Code = Code("CAL-IPM-014");

check! {
    /// # Nobody collects addresses that are not used any more
    ///
    /// ## What it detects
    /// calico-kube-controllers frees the addresses of pods and nodes that are gone, and the blocks of nodes that are gone. It is
    /// not there, is scaled to 0, has no ready pod, does not run its controller of nodes, or was told not to collect
    /// (`leakGracePeriod: 0`). From then on every node that leaves the cluster takes its addresses with it, and pools fill up.
    ///
    /// ## How sure
    /// Certain of a Deployment that was read; likely where it is not among those that were asked for. Pods that are younger than
    /// five minutes may become ready yet. A cluster without blocks of addresses does not use Calico IPAM, and needs no collector.
    /// That there are no settings (KubeControllersConfiguration) is fine: calico-kube-controllers makes them.
    ///
    /// ## What it looks like
    /// `kubectl -n kube-system get deployment calico-kube-controllers` shows `READY 0/0`
    ///
    /// ## What to do
    /// `kubectl -n kube-system scale deployment calico-kube-controllers --replicas=1` (namespace calico-system with the operator),
    /// or repair what keeps its pod from being ready: `kubectl -n kube-system logs deployment/calico-kube-controllers`. Within
    /// seconds it collects what nodes that are gone have left. `leakGracePeriod` of KubeControllersConfiguration `default` is
    /// 15m by default.
    ///
    /// ## What not to do
    /// Running two of them: they do not know of each other. Freeing addresses by hand instead, again and again.
    NOBODY_COLLECTS: "CAL-IPM-014", "nobody collects unused addresses", "address management", Warning,
    needs [Addresses], fix Manual, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    if context.snapshot.addresses.blocks.items.is_empty() {
        return;
    }
    match Collector::of(context) {
        Collector::Runs(_) | Collector::Starts => {}
        Collector::Stopped(stop) => out.report(finding(context, &stop)),
        Collector::Unknown(gap) => out.not_judged(CODE, "", gap),
    }
}

fn finding(context: &Context<'_>, stop: &Stop<'_>) -> Finding {
    let (severity, subject) = match stop {
        // Somebody wanted it so.
        Stop::Period => (Severity::Info, "KubeControllersConfiguration/default".to_owned()),
        Stop::Scaled(it) | Stop::NotReady(it) => {
            (Severity::Warning, format!("Deployment/{}", name(it)))
        }
        Stop::Absent | Stop::NotEnabled => {
            (Severity::Warning, "Deployment/calico-kube-controllers".to_owned())
        }
    };
    let subject = Subject::of(SubjectKind::Object, [subject]);
    let cause = Cause { key: stop.key(), text: stop.text() };
    let title = "nobody collects addresses that are not used any more";
    let mut finding = Finding::new(CODE, severity, subject, title, cause);
    finding.consequence =
        "addresses and blocks of every node that leaves the cluster are lost to its pools"
            .to_owned();
    if let Stop::Scaled(it) | Stop::NotReady(it) = stop {
        let wanted = it.spec.replicas.unwrap_or(1);
        let text = format!("{} of {wanted} pods are ready", it.status.ready_replicas);
        finding.evidence.push(Evidence::new(format!("Deployment {}", name(it)), text));
    }
    if matches!(stop, Stop::Absent) && !context.snapshot.deployments.is_whole() {
        finding.confidence = Confidence::Likely;
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::NOBODY_COLLECTS;
    use crate::calico::ipam::KubeControllersConfiguration;
    use crate::checks::ipm::keys;
    use crate::ipam::fixtures::{cluster, pod};
    use crate::slim::Deployment;
    use crate::snapshot::{Coverage, Snapshot};

    fn deployment(json: &str) -> Deployment {
        let text = format!(
            r#"{{"metadata":{{"namespace":"kube-system","name":"calico-kube-controllers"}},{json}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn with(json: &str) -> Snapshot {
        let mut it = cluster(&[]);
        it.deployments.items = vec![deployment(json)];
        it
    }

    fn settings(node: &str) -> KubeControllersConfiguration {
        let text =
            format!(r#"{{"metadata":{{"name":"default"}},"spec":{{"controllers":{{{node}}}}}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    const READY: &str = r#""status":{"readyReplicas":1}"#;

    #[test]
    fn a_collector_that_does_not_run_is_told() {
        assert_eq!(keys(&NOBODY_COLLECTS, &cluster(&[])).0, ["absent"]);
        let scaled = with(r#""spec":{"replicas":0}"#);
        assert_eq!(keys(&NOBODY_COLLECTS, &scaled).0, ["scaled-to-zero"]);
        let down = with(r#""spec":{"replicas":1}"#);
        assert_eq!(keys(&NOBODY_COLLECTS, &down).0, ["not-ready"]);
        let mut off = with(READY);
        off.addresses.controllers.items = vec![settings(r#""node":{"leakGracePeriod":"0s"}"#)];
        assert_eq!(keys(&NOBODY_COLLECTS, &off).0, ["switched-off"]);
        off.addresses.controllers.items = vec![settings("")];
        assert_eq!(keys(&NOBODY_COLLECTS, &off).0, ["not-enabled"]);
    }

    /// calicoctl stops at once where there is no KubeControllersConfiguration.
    #[test]
    fn d11_no_settings_are_no_fault() {
        assert_eq!(keys(&NOBODY_COLLECTS, &with(READY)), (vec![], 0));
    }

    #[test]
    fn a_collector_that_starts_or_is_not_needed_or_not_known_is_silent() {
        let mut starts = with(r#""spec":{"replicas":1}"#);
        let mut new = pod("calico-kube-controllers-x", "", None);
        new.metadata.namespace = "kube-system".into();
        new.metadata.labels.insert("k8s-app".into(), "calico-kube-controllers".into());
        new.metadata.creation_timestamp = Some("2026-07-12T11:59:00Z".parse().unwrap());
        starts.pods.items = vec![new];
        assert_eq!(keys(&NOBODY_COLLECTS, &starts), (vec![], 0));
        let mut elsewhere = cluster(&[]);
        elsewhere.addresses.blocks.items.clear();
        assert_eq!(keys(&NOBODY_COLLECTS, &elsewhere), (vec![], 0));
        let mut unread = cluster(&[]);
        unread.deployments.coverage = Coverage::Selected(vec!["namespace=shop".into()]);
        assert_eq!(keys(&NOBODY_COLLECTS, &unread), (vec![], 1));
        let env = r#""spec":{"template":{"spec":{"containers":[{"env":[{"name":"ENABLED_CONTROLLERS","value":"node"}]}]}}},"status":{"readyReplicas":1}"#;
        let mut chosen = with(env);
        chosen.addresses.controllers.items = vec![settings("")];
        assert_eq!(keys(&NOBODY_COLLECTS, &chosen), (vec![], 0));
    }
}
