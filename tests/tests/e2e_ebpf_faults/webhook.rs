//! A webhook that must answer before anything is written, and that nobody answers for.

use serde_json::json;
use tests::story::demand;
use tests::testbed::{Error, Testbed};

use crate::stage::{ERROR, REFUSED, Stage, says, says_nothing_of, tell, wait_step, wait_undoing};

/// Name of the configuration, and of the webhook in it.
const CONFIGURATION: &str = "testbed-fail-closed";
const WEBHOOK: &str = "fail-closed.testbed.example";

/// It blocks writes of what is changed on the way, and of its way back, for as long as it is there.
struct Webhook<'a>(&'a Testbed);

impl<'a> Webhook<'a> {
    fn put(testbed: &'a Testbed) -> Result<Self, Error> {
        let rule = |group: &str, resource: &str| json!({ "apiGroups": [group], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": [resource] });
        let webhook = json!({
            "name": WEBHOOK, "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
            "timeoutSeconds": 2,
            "clientConfig": { "service": { "name": "nobody", "namespace": "default" } },
            "rules": [rule("crd.projectcalico.org", "felixconfigurations"), rule("apps", "daemonsets")],
        });
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": CONFIGURATION }, "webhooks": [webhook],
        });
        let it = Self(testbed);
        testbed.apply(&configuration.to_string())?;
        Ok(it)
    }
}

impl Drop for Webhook<'_> {
    fn drop(&mut self) {
        let delete =
            ["delete", "validatingwebhookconfiguration", CONFIGURATION, "--ignore-not-found"];
        drop(self.0.kubectl(&delete));
    }
}

#[test]
fn a_webhook_that_fails_closed_is_named_before_and_on_the_way() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("ebpf webhook")? else { return Ok(()) };
    let lock = testbed.lock_cluster()?;
    let stage = Stage::begin("webhook", &testbed, &lock)?;
    before(&stage)?;
    on_the_way(&stage)?;
    stage.end()
}

fn before(stage: &Stage<'_>) -> Result<(), Error> {
    let webhook = Webhook::put(stage.testbed)?;
    let refused = stage.enable(&[])?;
    tell(&refused);
    let why =
        format!("nothing was changed, because webhooks: webhook {WEBHOOK} of {CONFIGURATION}");
    says(
        &refused,
        REFUSED,
        &[&why, "(Service default/nobody)", "failurePolicy: Ignore", "--force=webhooks"],
    )?;
    drop(webhook);
    says_nothing_of(&stage.enable(&["--dry-run"])?, &[WEBHOOK])?;
    stage.is_as_before()
}

/// It comes when kube-proxy is gone, so that neither the next step nor the way back can be written.
fn on_the_way(stage: &Stage<'_>) -> Result<(), Error> {
    let mut webhook = None;
    let run = stage.enable_while(&["--watch-kube-proxy=6"], |journal| {
        wait_step(journal, "watch")?;
        webhook = Some(Webhook::put(stage.testbed)?);
        wait_undoing(journal)
    })?;
    tell(&run);
    let failing = format!("failed calling webhook \"{WEBHOOK}\"");
    let words = [
        failing.as_str(),
        "Taking it back did not succeed",
        "kubectl calico-ebpf rollback",
        "kubectl get validatingwebhookconfigurations",
    ];
    says(&run, ERROR, &words)?;
    // Nothing is half done: eBPF serves all Services, alone.
    stage.crossing.is_there()?;
    let again = stage.run(&["rollback", "--yes"])?;
    tell(&again);
    says(&again, ERROR, &[&failing])?;
    demand(stage.is_as_before().is_err(), "it is not as before", &())?;
    drop(webhook);
    let ended = stage.run(&["rollback", "--yes"])?;
    tell(&ended);
    says_nothing_of(&ended, &[WEBHOOK])
}
