//! The client on a real cluster: commands in containers, guarded deletions, limited users, what a probe sees.
#![cfg(all(unix, feature = "e2e"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use common::cluster::{
    ApiError, Cluster, ConnectOptions, ExecRequest, ListRequest, LogRequest, Question,
};
use common::collect::{Quiet, Want, collect_live};
use common::plan::ObjectRef;
use common::slim::Pod;
use common::snapshot::{GapReason, Known, Resource, Snapshot, SnapshotBuilder, Vantage};
use std::time::{Duration, Instant};
use tests::testbed::{Error, NodeLease, Testbed};

/// A lease keeps others from breaking the cluster as a whole meanwhile.
fn testbed(name: &str) -> Result<Option<(Testbed, NodeLease)>, Error> {
    let Some(testbed) = Testbed::for_test(name)? else { return Ok(None) };
    let node = testbed.lease_node()?;
    Ok(Some((testbed, node)))
}

async fn connect(testbed: &Testbed, options: ConnectOptions) -> Cluster {
    let kubeconfig = Some(testbed.kubeconfig());
    Cluster::connect(&ConnectOptions { kubeconfig, ..options }).await.unwrap()
}

async fn see(cluster: &Cluster) -> Snapshot {
    let mut builder = SnapshotBuilder::new();
    let outcome = collect_live(cluster, Want::ALL, &mut builder, &Quiet).await;
    assert_eq!(outcome.unreachable, None);
    builder.finish(jiff::Timestamp::now())
}

async fn agent(cluster: &Cluster, node: &str) -> Pod {
    see(cluster).await.calico_node_on(node).unwrap().clone()
}

fn command<'a>(pod: &'a Pod, command: &'a [&'a str]) -> ExecRequest<'a> {
    ExecRequest {
        namespace: &pod.metadata.namespace,
        pod: &pod.metadata.name,
        container: common::node::PROBE_CONTAINER,
        command,
        stdin: None,
        limit_bytes: 10_000,
        timeout: Duration::from_secs(20),
    }
}

#[tokio::test]
async fn a_command_is_run_to_its_end_or_given_up() -> Result<(), Error> {
    let Some((testbed, node)) = testbed("exec")? else { return Ok(()) };
    let cluster = connect(&testbed, ConnectOptions::default()).await;
    let pod = agent(&cluster, node.name()).await;

    let words = ["/bin/sh", "-c", "echo out; echo err >&2; exit 3"];
    let ran = cluster.exec(&command(&pod, &words)).await.unwrap();
    assert_eq!((ran.stdout.as_slice(), ran.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(ran.exit_code, 3);

    // The input is not ended: the command knows from the input itself where that is.
    let input = "x".repeat(300_000) + "\nexit\n";
    let words =
        ["/bin/bash", "-c", "while read -r it && [ \"$it\" != exit ]; do echo ${#it}; done"];
    let fed = ExecRequest { stdin: Some(input.as_bytes()), ..command(&pod, &words) };
    assert_eq!(cluster.exec(&fed).await.unwrap().stdout, b"300000\n");

    let missing = cluster.exec(&command(&pod, &["/no/such/program"])).await.unwrap_err();
    assert!(missing.to_string().contains("no such file"), "{missing}");

    let started = Instant::now();
    let endless = ["/bin/sh", "-c", "while :; do echo a line and another; done"];
    let error = cluster.exec(&command(&pod, &endless)).await.unwrap_err();
    assert!(error.to_string().contains("more than 10000 bytes"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));

    let sleep = ["/bin/sh", "-c", "exec sleep 30"];
    let short = ExecRequest { timeout: Duration::from_secs(1), ..command(&pod, &sleep) };
    let error = cluster.exec(&short).await.unwrap_err();
    assert!(matches!(error, ApiError::TimedOut { seconds: 1, .. }), "{error:?}");

    let mut gone = pod.clone();
    gone.metadata.name = "calico-node-gone".to_owned();
    let error = cluster.exec(&command(&gone, &["/bin/true"])).await.unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn a_probe_shows_the_node_and_no_secret() -> Result<(), Error> {
    let Some((testbed, node)) = testbed("probe")? else { return Ok(()) };
    let cluster = connect(&testbed, ConnectOptions::default()).await;
    let seen = see(&cluster).await;
    let facts = seen.host(node.name()).known().copied().unwrap();
    assert_eq!(facts.vantage, Vantage::CalicoNode);
    let credentials = facts.cni_kubeconfig.known().unwrap();
    let token = credentials.token.known().unwrap();
    let account = seen.cni_service_account().known().copied().unwrap();
    assert_eq!(token.service_account_uid.as_ref(), Some(&account.metadata.uid));
    assert!(seen.signing_keys.known().unwrap().ids.contains(token.key_id.as_ref().unwrap()));
    assert!(facts.felix.known().is_some());

    let file = String::from_utf8(node.read("/etc/cni/net.d/calico-kubeconfig")?.unwrap()).unwrap();
    let signature = file
        .lines()
        .find_map(|line| line.trim().strip_prefix("token: ")?.trim_matches('"').rsplit('.').next())
        .unwrap();
    assert!(signature.len() > 80, "the control: the file holds a signature");
    let pod = seen.calico_node_on(node.name()).unwrap();
    let text = common::node::probe(&cluster, pod).await.unwrap();
    assert!(!String::from_utf8_lossy(&text).contains(signature));
    Ok(())
}

#[tokio::test]
async fn a_deletion_spares_another_object_of_the_same_name() -> Result<(), Error> {
    let Some((testbed, node)) = testbed("delete")? else { return Ok(()) };
    let cluster = connect(&testbed, ConnectOptions::default()).await;
    let pod = agent(&cluster, node.name()).await;
    let object = ObjectRef {
        group: String::new(),
        version: "v1".to_owned(),
        plural: "pods".to_owned(),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
    };
    let error = cluster.delete(&object, "00000000-0000-0000-0000-000000000000", false).await;
    assert!(matches!(error, Err(ApiError::Conflict { .. })), "{error:?}");
    assert_eq!(cluster.delete(&object, &pod.metadata.uid, true).await, Ok(()));
    let still = cluster.get_json(&object).await.unwrap().unwrap();
    assert_eq!(still["metadata"]["uid"], pod.metadata.uid.as_str());
    assert!(still["metadata"].get("deletionTimestamp").is_none());

    let log = LogRequest {
        namespace: pod.metadata.namespace,
        pod: pod.metadata.name,
        container: common::node::PROBE_CONTAINER.to_owned(),
        previous: false,
        tail_lines: 1,
        limit_bytes: 1_000,
    };
    assert!(!cluster.logs(&log).await.unwrap().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_limited_user_gets_gaps_and_a_stranger_nothing() -> Result<(), Error> {
    let Some((testbed, node)) = testbed("limited user")? else { return Ok(()) };
    let user = "system:serviceaccount:default:default";
    let limited = connect(
        &testbed,
        ConnectOptions { as_user: Some(user.to_owned()), ..ConnectOptions::default() },
    )
    .await;
    assert_eq!(limited.who_am_i().await, Ok(user.to_owned()));
    let exec = Question {
        verb: "create".to_owned(),
        resource: "pods".to_owned(),
        subresource: "exec".to_owned(),
        ..Question::default()
    };
    assert_eq!(limited.can_i(&exec).await, Ok(false));
    let seen = see(&limited).await;
    assert!(
        matches!(&seen.cluster.server_version, Known::Known(version) if version.starts_with('v'))
    );
    assert_eq!(seen.pods.gap.unwrap().why, GapReason::Forbidden);
    assert_eq!(seen.nodes.gap.unwrap().why, GapReason::Forbidden);
    assert!(seen.install.gap().is_some(), "what was not seen is not absent");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stranger");
    let server = &limited.target_info().server;
    let config = format!(
        "{{\"current-context\":\"c\",\"contexts\":[{{\"name\":\"c\",\"context\":{{\"cluster\":\"k\",\"user\":\"u\"}}}}],\
         \"clusters\":[{{\"name\":\"k\",\"cluster\":{{\"server\":\"{server}\",\"insecure-skip-tls-verify\":true}}}}],\
         \"users\":[{{\"name\":\"u\",\"user\":{{\"token\":\"not-a-token\"}}}}]}}"
    );
    std::fs::write(&file, config).unwrap();
    let options = ConnectOptions { kubeconfig: Some(file), ..ConnectOptions::default() };
    let stranger = Cluster::connect(&options).await.unwrap();
    let mut builder = SnapshotBuilder::new();
    let outcome = collect_live(&stranger, Want::ALL, &mut builder, &Quiet).await;
    assert!(matches!(outcome.unreachable, Some(ApiError::Unauthorized { .. })), "{outcome:?}");
    drop(node);
    Ok(())
}

#[tokio::test]
async fn a_list_longer_than_a_page_is_whole() -> Result<(), Error> {
    let Some((testbed, _node)) = testbed("paging")? else { return Ok(()) };
    let cluster = connect(&testbed, ConnectOptions::default()).await;
    let namespace = "paging";
    testbed.kubectl(&["delete", "namespace", namespace, "--ignore-not-found", "--wait"])?;
    testbed.kubectl(&["create", "namespace", namespace])?;
    let items: Vec<String> = (0..1_100)
        .map(|number| {
            format!("{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"m{number}\",\"namespace\":\"{namespace}\"}}}}")
        })
        .collect();
    testbed.apply(&format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{}]}}",
        items.join(",")
    ))?;
    let request = ListRequest {
        namespace: Some(namespace.to_owned()),
        ..ListRequest::all(Resource::new("configmaps", ""), "v1")
    };
    let (mut pages, mut count) = (0, 0);
    let listed = cluster
        .list(&request, &mut |page| {
            pages += 1;
            let body: serde_json::Value = serde_json::from_slice(&page.body).unwrap();
            count += body["items"].as_array().unwrap().len();
        })
        .await;
    testbed.kubectl(&["delete", "namespace", namespace, "--wait=false"])?;
    listed.unwrap();
    // kube-root-ca.crt is one more, if it was there in time.
    assert!(pages == 3 && (1_100..=1_101).contains(&count), "{pages} pages, {count} objects");
    Ok(())
}
