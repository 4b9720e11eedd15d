//! Each guard refuses with its code and its evidence, and changes nothing; without its situation it says nothing.

use std::time::Duration;

use serde_json::json;
use tests::story::{NODE, Plugin, Ran, demand, nothing_of_ours};
use tests::testbed::{Error, Foreign, Testbed};

use super::situations::{self, MULTUS};
use super::stage::{OTHER, SPACE, Stage};
use super::{AT_REST, PURGE, TRIED, answers};

/// Between two looks that must agree, once pods have come to rest: what the story itself changed may still have effects.
const SHORTLY: Duration = Duration::from_secs(1);
/// The verb, which changes nothing.
const DRY: [&str; 4] = ["node", NODE, "--all-state", "--dry-run"];
/// Label that makes a node one of the control plane.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

#[test]
fn every_guard_refuses_and_changes_nothing() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("guards of purge")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let stage = Stage::new(&testbed)?;
    stage.at_rest(AT_REST)?;
    demand(stage.purge.run(&DRY)?.code == 0, "nothing objects to begin with", &())?;
    stage.of_leftovers()?;
    stage.of_our_own_way()?;
    stage.of_the_operator()?;
    stage.of_networks()?;
    stage.of_calico()?;
    stage.of_nodes()?;
    stage.of_pods()?;
    nothing_of_ours(&testbed)
}

impl Stage<'_> {
    fn of_nodes(&self) -> Result<(), Error> {
        self.kubectl(&["cordon", OTHER])?;
        self.refused("CAL-GRD-001", "node1: is cordoned")?;
        self.kubectl(&["uncordon", OTHER])?;
        self.not_refused("CAL-GRD-001")?;
        self.kubectl(&["label", "node", NODE, &format!("{CONTROL_PLANE}=")])?;
        self.refused("CAL-GRD-002", NODE)?;
        self.kubectl(&["label", "node", NODE, &format!("{CONTROL_PLANE}-")])?;
        self.not_refused("CAL-GRD-002")
    }

    fn of_networks(&self) -> Result<(), Error> {
        let foreign = self.testbed.foreign_conflist(&self.node, Foreign::Uninstalled)?;
        self.refused("CAL-GRD-003", "calls weave-net")?;
        foreign.undo()?;
        self.not_refused("CAL-GRD-003")?;

        situations::install_multus(self)?;
        self.not_refused("CAL-GRD-004")?;
        let to_calico = json!({ "clusterNetwork": "/host/etc/cni/net.d/10-calico.conflist" });
        situations::configure_multus(self, &to_calico)?;
        self.refused("CAL-GRD-004", "delegates to /host/etc/cni/net.d/10-calico.conflist")?;
        // Multus with another default network is no reason.
        let to_another =
            json!({ "delegates": [{"name": "cbr0", "plugins": [{"type": "flannel"}]}] });
        situations::configure_multus(self, &to_another)?;
        self.not_refused("CAL-GRD-004")?;
        self.node.remove(MULTUS)
    }

    /// Calico does kube-proxy's work, and it is for that reason alone that it must not go.
    fn of_the_data_plane(&self) -> Result<(), Error> {
        let is = |wanted| {
            self.testbed.nodes().iter().try_for_each(|it| self.testbed.wait_bpf(it, wanted))
        };
        let on = json!({ "bpfEnabled": true, "bpfKubeProxyIptablesCleanupEnabled": false });
        situations::felix(self, &on)?;
        is(true)?;
        self.not_refused("CAL-GRD-006")?;
        self.testbed.park_kube_proxy()?;
        self.refused("CAL-GRD-006", "is scheduled to no node")?;
        self.testbed.restore_kube_proxy()?;
        self.testbed.wait_kube_proxy()?;
        self.testbed.restore_felix()?;
        is(false)?;
        self.at_rest(AT_REST)?;
        self.not_refused("CAL-GRD-006")
    }

    fn of_calico(&self) -> Result<(), Error> {
        let set = ["label", "daemonset", "calico-node", "-n", "kube-system"];
        let label = |value: &str| self.kubectl(&[&set[..], &[value]].concat());
        label("argocd.argoproj.io/instance=net")?;
        self.refused("CAL-GRD-005", "kept by Argo CD")?;
        label("argocd.argoproj.io/instance-")?;
        self.not_refused("CAL-GRD-005")?;

        self.of_the_data_plane()?;

        situations::felix(self, &json!({ "interfacePrefix": "eni" }))?;
        self.refused("CAL-GRD-007", "FelixConfiguration default: interfacePrefix: eni")?;
        situations::felix(self, &json!({ "interfacePrefix": "cali,tap" }))?;
        self.not_refused("CAL-GRD-007")?;
        situations::felix(self, &json!({ "interfacePrefix": null }))?;
        let env = |prefix: &str| {
            let env = json!([{"name": "FELIX_INTERFACEPREFIX", "value": prefix}]);
            situations::change_template(
                self,
                &json!({ "containers": [{"name": "calico-node", "env": env}] }),
            )
        };
        env("azv")?;
        self.dry_run_refused("CAL-GRD-007", "FELIX_INTERFACEPREFIX=azv")?;
        env("cali")?;
        self.not_refused("CAL-GRD-007")?;
        self.restore_agent()?;

        situations::lock_datastore(self, true)?;
        self.refused("CAL-GRD-008", "datastoreReady")?;
        situations::lock_datastore(self, false)?;
        self.not_refused("CAL-GRD-008")
    }

    fn of_the_operator(&self) -> Result<(), Error> {
        situations::define_installation(self)?;
        situations::install(self, &json!({ "variant": "Calico", "cni": {"type": "AmazonVPC"} }))?;
        self.dry_run_refused("CAL-GRD-007", "Installation default: spec.cni.type: AmazonVPC")?;
        situations::install(
            self,
            &json!({ "variant": "TigeraSecureEnterprise", "cni": {"type": "Calico"} }),
        )?;
        self.refused("CAL-GRD-012", "Installation default: spec.variant: TigeraSecureEnterprise")?;
        situations::install(self, &json!({ "variant": "Calico", "cni": {"type": "Calico"} }))?;
        self.not_refused("CAL-GRD-012")?;
        let image = json!({ "containers": [{"name": "calico-node", "image": "quay.io/tigera/cnx-node:v3.20.0"}] });
        situations::change_template(self, &image)?;
        self.dry_run_refused("CAL-GRD-012", "runs image quay.io/tigera/cnx-node:v3.20.0")?;
        self.restore_agent()?;

        situations::hand_to_operator(self)?;
        self.refused("CAL-GRD-011", "is rendered by the Tigera operator")?;
        self.follow_the_advice()?;
        situations::disown(self)?;
        self.not_refused("CAL-GRD-011")?;
        self.kubectl(&["delete", "installation", "default", "--cascade=orphan"])?;
        self.kubectl(&["delete", "crd", "installations.operator.tigera.io"]).map(drop)
    }

    /// The patch that the guard tells is taken by the API server, and once the DaemonSet is rendered with it the guard lets go.
    fn follow_the_advice(&self) -> Result<(), Error> {
        let told = self.purge.run(&DRY)?.stderr;
        let patch = told.split("-p '").nth(1).and_then(|it| it.split('\'').next());
        let patch = patch.ok_or_else(|| Error::Missing(format!("no patch in: {told}")))?;
        self.kubectl(&["patch", "installation", "default", "--type=merge", "-p", patch])?;
        let path = "{.spec.calicoNodeDaemonSet.spec.template.spec.affinity}";
        let kept = self.testbed.field(&["installation", "default"], path)?;
        demand(kept.contains("kubectl-calico/excluded"), "the Installation keeps it", &kept)?;
        let keep_off = |key: &str| json!({ "key": key, "operator": "DoesNotExist" });
        let expressions = [keep_off("testbed/without-calico"), keep_off("kubectl-calico/excluded")];
        let terms = json!([{ "matchExpressions": expressions }]);
        let required = json!({ "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms} });
        situations::change_template(self, &json!({ "affinity": {"nodeAffinity": required} }))?;
        self.not_refused("CAL-GRD-011")?;
        self.restore_agent()
    }

    fn of_our_own_way(&self) -> Result<(), Error> {
        let inside = situations::from_inside(self, true)?;
        self.refused_by(&inside, "CAL-GRD-013", "is the ClusterIP of Service default/kubernetes")?;
        let direct = situations::from_inside(self, false)?;
        not_refused_by(&direct, "CAL-GRD-013")?;
        // An address that the cluster itself announces. Nothing listens at that port.
        let address = self.testbed.layout().gateway().to_string();
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "announced", "namespace": SPACE},
            "spec": {"externalIPs": [address], "ports": [{"port": 9}]},
        });
        self.testbed.apply(&service.to_string())?;
        self.dry_run_refused("CAL-GRD-013", "is an external address of Service leaving/announced")?;
        self.kubectl(&["delete", "service", "announced", "-n", SPACE]).map(drop)
    }

    fn of_pods(&self) -> Result<(), Error> {
        let budget = ["patch", "poddisruptionbudget", "web", "-n", SPACE, "--type=merge", "-p"];
        self.kubectl(&[&budget[..], &[r#"{"spec":{"minAvailable":2}}"#]].concat())?;
        self.wait_budget("0")?;
        self.refused("CAL-GRD-010", "leaving/web")?;
        let forced = self.purge.run(&[&TRIED[..], &["--force=CAL-GRD-010"]].concat())?;
        let kept = |it: &(String, String, String)| {
            it.0.starts_with("evict/") && it.1 == "refused" && it.2.contains("budgets keep 2 pods")
        };
        let is_told = forced.code == 6 && answers(&forced)?.iter().any(kept);
        demand(is_told, "the API server would not evict them now", &forced)?;
        self.kubectl(&[&budget[..], &[r#"{"spec":{"minAvailable":1}}"#]].concat())?;
        self.wait_budget("1")?;
        self.not_refused("CAL-GRD-010")?;
        self.add_bare_pod()?;
        self.at_rest(AT_REST)?;
        self.refused("CAL-GRD-009", "leaving/bare")?;
        let before = self.once_settled(SHORTLY)?;
        let ran = self.purge.run(&[&PURGE[..], &["--force=CAL-GRD-010"]].concat())?;
        demand(ran.code == 6 && ran.stderr.contains("CAL-GRD-009"), "one code, one guard", &ran)?;
        self.is_as(&before, "another code")?;
        self.kubectl(&["delete", "pod", "bare", "-n", SPACE])?;
        self.at_rest(AT_REST)?;
        self.not_refused("CAL-GRD-009")
    }

    /// Leftovers are removed where Calico does not live. That they are removed there, e2e_leftovers shows.
    fn of_leftovers(&self) -> Result<(), Error> {
        let before = self.once_settled(SHORTLY)?;
        for more in [&["--yes"][..], &["--dry-run"], &["--yes", "--no-backup"]] {
            let ran = self.purge.run(&[&["leftovers", NODE, "--remove"], more].concat())?;
            says(&ran, "CAL-GRD-014", "node node2: has pod kube-system/calico-node-")?;
        }
        self.is_as(&before, "CAL-GRD-014")?;
        let scan = self.purge.run(&["leftovers", NODE])?;
        demand(!scan.stderr.contains("CAL-GRD"), "a scan asks no guard", &scan)?;
        let forced = self.purge.run(&[&PURGE[..], &["--force=CAL-GRD-014"]].concat())?;
        let is_usage = forced.code == 2 && forced.stderr.contains("nothing overrides CAL-GRD-014");
        demand(is_usage, "no flag overrides it", &forced)?;
        println!("CAL-GRD-014: refused, nothing changed");
        Ok(())
    }

    fn refused(&self, code: &str, evidence: &str) -> Result<(), Error> {
        self.refused_by(&self.purge, code, evidence)
    }

    /// The run with consent is refused by this guard alone and changes nothing; so is the dry run, which therefore shows as well
    /// when a guard does not object.
    fn refused_by(&self, purge: &Plugin, code: &str, evidence: &str) -> Result<(), Error> {
        let before = self.once_settled(SHORTLY)?;
        says(&purge.run(&PURGE)?, code, evidence)?;
        self.is_as(&before, code)?;
        says(&purge.run(&DRY)?, code, evidence)?;
        println!("{code}: refused, nothing changed ({evidence})");
        Ok(())
    }

    /// The same guard for another reason.
    fn dry_run_refused(&self, code: &str, evidence: &str) -> Result<(), Error> {
        says(&self.purge.run(&DRY)?, code, evidence)
    }

    fn not_refused(&self, code: &str) -> Result<(), Error> {
        not_refused_by(&self.purge, code)
    }
}

/// The control: without the situation nobody objects.
fn not_refused_by(purge: &Plugin, code: &str) -> Result<(), Error> {
    let ran = purge.run(&DRY)?;
    let is_silent = ran.code == 0 && !ran.stderr.contains(code);
    demand(is_silent, &format!("{code} says nothing without a reason"), &ran)
}

/// It was refused, by this guard and no other, for this reason.
fn says(ran: &Ran, code: &str, evidence: &str) -> Result<(), Error> {
    let lines: Vec<&str> = ran.stderr.lines().filter(|it| it.starts_with("CAL-GRD-")).collect();
    let is_alone = lines.len() == 1 && lines[0].starts_with(code) && lines[0].contains(evidence);
    let refused = ran.code == 6 && ran.stderr.contains("nothing was changed");
    demand(is_alone && refused, &format!("{code} refuses: {evidence}"), ran)
}
