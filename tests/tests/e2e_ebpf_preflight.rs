//! `preflight`, `endpoint discover` and `endpoint test` as a user runs them: on a cluster that has what it needs, on one that
//! lacks something, and on one that only looks so. Each creates nothing but the pods that were asked for.

#![cfg(all(unix, feature = "e2e"))]

use std::net::TcpListener;

use serde_json::Value;
use tests::story::{Plugin, Ran, demand, nothing_of_ours};
use tests::testbed::{Error, Testbed};

/// A webhook that nobody answers for, a Node object without a machine, and a user without rights of his own.
const NAME: &str = "ebpf-preflight";
const USER: &str = "ebpf-preflight-user";

/// Takes all that a test made away, however it ends.
struct Made<'a>(&'a Testbed);

impl Made<'_> {
    fn remove(&self) {
        for kind in ["validatingwebhookconfiguration", "node"] {
            drop(self.0.kubectl(&["delete", kind, NAME, "--ignore-not-found", "--wait=false"]));
        }
        drop(self.0.kubectl(&[
            "delete",
            "felixconfigurations.crd.projectcalico.org",
            "node.node1",
            "--ignore-not-found",
        ]));
        for kind in ["clusterrolebinding", "clusterrole"] {
            let all = self.0.kubectl(&["get", kind, "-o", "name"]).unwrap_or_default();
            for name in all.lines().filter(|it| it.contains("kubectl-calico-ebpf")) {
                drop(self.0.kubectl(&["delete", name]));
            }
        }
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

fn document(ran: &Ran) -> Result<Value, Error> {
    serde_json::from_str(&ran.stdout).map_err(|error| Error::Odd {
        what: "the document".to_owned(),
        why: format!("{error}: {ran:?}"),
    })
}

/// Grades of one requirement, each with its node.
fn grades(document: &Value, id: &str) -> Vec<(String, String)> {
    let all = document["requirements"].as_array().into_iter().flatten();
    let word = |it: &Value| it.as_str().unwrap_or("cluster").to_owned();
    let of = all.filter(|it| it["requirement"] == id);
    of.map(|it| (word(&it["node"]), word(&it["grade"]))).collect()
}

/// The worst that a run says about a requirement, with its exit code.
fn judged(ebpf: &Plugin, id: &str) -> Result<(i32, Vec<(String, String)>), Error> {
    let ran = ebpf.run(&["preflight", "-o", "json"])?;
    Ok((ran.code, grades(&document(&ran)?, id)))
}

fn has(grades: &[(String, String)], node: &str, grade: &str) -> bool {
    grades.iter().any(|(of, it)| of == node && it == grade)
}

/// A webhook about DaemonSets of kube-system that must answer, and whom nobody can ask; `more` are fields of it.
fn webhook(more: &str) -> String {
    format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {{name: {NAME}}}\n\
         webhooks:\n- name: daemonsets.example.org\n  admissionReviewVersions: [v1]\n  sideEffects: None\n\
         \x20 clientConfig: {{service: {{namespace: default, name: nobody}}}}\n\
         \x20 rules:\n  - {{operations: [UPDATE], apiGroups: [apps], apiVersions: [v1], resources: [daemonsets]}}\n{more}"
    )
}

#[test]
fn what_is_lacking_is_told_and_what_only_looks_so_is_not() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("preflight")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let ebpf = Plugin::ebpf(&testbed)?;
    let made = Made(&testbed);

    let ran = ebpf.run(&["preflight"])?;
    let told = ran.stdout.contains("NODE") && ran.stdout.contains("0 blockers");
    demand(ran.code == 0 && told, "a testbed has what it needs", &ran)?;

    let asked = webhook("");
    testbed.apply(&asked)?;
    let (code, found) = judged(&ebpf, "webhooks")?;
    demand(code == 3 && has(&found, "cluster", "blocker"), "a webhook blocks", &found)?;
    let elsewhere = "  namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: NotIn, values: [kube-system]}]}\n";
    for harmless in ["  failurePolicy: Ignore\n", elsewhere] {
        testbed.apply(&webhook(harmless))?;
        let (code, found) = judged(&ebpf, "webhooks")?;
        demand(code == 0 && has(&found, "cluster", "fine"), harmless, &found)?;
    }

    testbed.apply(&format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {NAME}, labels: {{kubernetes.io/os: windows}}}}\nspec: {{unschedulable: true}}\n"
    ))?;
    let (code, found) = judged(&ebpf, "operating-system")?;
    let only = found.iter().filter(|(_, grade)| grade == "blocker").count();
    demand(code == 3 && has(&found, NAME, "blocker") && only == 1, "Windows blocks", &found)?;
    let ran = ebpf.run(&["preflight", "--nodes", "node1", "-o", "json"])?;
    demand(ran.code == 0, "other nodes were asked about", &ran)?;
    let shown = ebpf.run(&["preflight"])?;
    demand(shown.stdout.contains("✗ blocker operating-system"), "it is shown", &shown)?;
    made.remove();

    testbed.apply("apiVersion: crd.projectcalico.org/v1\nkind: FelixConfiguration\nmetadata: {name: node.node1}\nspec: {bpfDataIfacePattern: \"^nothing$\"}\n")?;
    let (code, found) = judged(&ebpf, "interfaces")?;
    let own = has(&found, "node1", "blocker") && has(&found, "node2", "fine");
    demand(code == 3 && own, "a node's own pattern counts there", &found)?;
    let (_, found) = judged(&ebpf, "overrides")?;
    demand(has(&found, "cluster", "warning"), "it is an override", &found)?;
    let ran = ebpf.run(&["preflight", "--nodes", "node2", "--fail-on=warning"])?;
    demand(ran.code == 4, "warnings count when that is asked for", &ran)?;
    made.remove();

    let ran = ebpf.run(&["preflight", "--load-test", "-o", "json"])?;
    let found = grades(&document(&ran)?, "load-test");
    let fine = has(&found, "node1", "fine") && has(&found, "node2", "fine");
    demand(ran.code == 0 && fine, "this kernel takes programs", &ran)?;
    nothing_of_ours(&testbed)
}

#[test]
fn endpoints_are_found_and_proven() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("endpoint")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let ebpf = Plugin::ebpf(&testbed)?;
    let ran = ebpf.run(&["endpoint", "discover", "-o", "json"])?;
    let best = document(&ran)?["endpoint"].as_str().unwrap_or_default().to_owned();
    demand(ran.code == 0 && best.ends_with(":6443"), "the API server is found", &ran)?;

    let ran = ebpf.run(&["endpoint", "discover", "--probe", "-o", "json"])?;
    let sources = document(&ran)?["candidates"][0]["sources"].to_string();
    demand(ran.code == 0 && sources.contains("\"nodes\""), "kubelets know it as well", &ran)?;

    let test = |arguments: &[&str]| -> Result<(Ran, Value), Error> {
        let ran = ebpf.run(&[&["endpoint", "test", "-o", "json"], arguments].concat())?;
        let document = document(&ran)?;
        Ok((ran, document))
    };
    // calico-node has no tool that knows TLS, as the real one has not: what is proven from there is said to be less.
    let (ran, told) = test(&[])?;
    let from = |document: &Value, node: &str| {
        document["proofs"][node]["proof"].as_str().map(str::to_owned)
    };
    let degraded = from(&told, "node1").as_deref() == Some("connection-only");
    demand(ran.code == 0 && degraded, "a connection is proven", &ran)?;
    demand(told["fromHere"]["proof"] == "proven", "this machine proves all", &ran)?;
    let (ran, told) = test(&["--probe"])?;
    let proven = ["node1", "node2"].iter().all(|it| from(&told, it).as_deref() == Some("proven"));
    demand(ran.code == 0 && proven, "hosts prove who answers", &ran)?;

    let host = best.split(':').next().unwrap_or_default();
    let listener = TcpListener::bind((host, 0))
        .map_err(|error| Error::Odd { what: "a listener".to_owned(), why: error.to_string() })?;
    let port = listener.local_addr().map(|it| it.port()).unwrap_or_default();
    let silent = format!("{host}:{port}");
    // The kernel accepts connections to a listener that never answers.
    let (ran, told) = test(&[&silent, "--probe"])?;
    let failed = from(&told, "node1").as_deref() == Some("failed");
    demand(ran.code == 3 && failed, "who does not answer is nobody", &ran)?;
    drop(listener);
    let (ran, told) = test(&[&silent])?;
    let stage = &told["proofs"]["node2"]["stage"];
    demand(ran.code == 3 && stage == "connection", "nobody listens there", &ran)?;
    let service =
        testbed.kubectl(&["get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"])?;
    let ran = ebpf.run(&["endpoint", "test", &format!("{}:443", service.trim())])?;
    let said = ran.stdout.contains("ClusterIP of a Service");
    demand(ran.code == 3 && said, "a Service is no endpoint", &ran)?;
    nothing_of_ours(&testbed)
}

#[test]
fn the_roles_are_enough() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("roles of preflight")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let ebpf = Plugin::ebpf(&testbed)?;
    let made = Made(&testbed);
    let refused = ebpf.run(&["preflight", "--as", USER])?;
    demand(refused.code != 0, "without rights nothing is fine", &refused)?;
    let verbs: [&[&str]; 6] = [
        &["preflight"],
        &["preflight", "--load-test"],
        &["endpoint", "discover"],
        &["endpoint", "discover", "--probe"],
        &["endpoint", "test"],
        &["endpoint", "test", "--probe"],
    ];
    for verb in verbs {
        let role = ebpf.run(&[verb, &["--print-rbac", "--bind-to", USER]].concat())?;
        testbed.apply(&role.stdout)?;
        // Its rights are known a moment after they are written.
        tests::testbed::wait_until("the role works", std::time::Duration::from_secs(20), || {
            let ran = ebpf
                .run(&[verb, &["--as", USER, "-o", "json"]].concat())
                .map_err(|it| it.to_string())?;
            let whole = ran.code == 0 && !ran.stdout.contains("forbidden");
            if whole { Ok(()) } else { Err(format!("{verb:?}: {ran:?}")) }
        })?;
        made.remove();
    }
    nothing_of_ours(&testbed)
}
