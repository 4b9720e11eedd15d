//! What this machine proves of an endpoint: who answers there, by the cluster's own authority.

use std::time::Duration;

use reqwest::{Certificate, Client};

use crate::bpf::Endpoint;
use crate::bpf::endpoint::{NodeProof, Stage};
use crate::cluster::{Cluster, ConnectOptions};
use crate::plan::ObjectRef;
use crate::snapshot::{Gap, GapReason, Known};

/// Time that a connection and an answer may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Longest answer that is read, in bytes.
const ANSWER: usize = 64 * 1024;

/// Tests an endpoint from this machine: its certificate is to be of the cluster's authority (PEM) and to have the endpoint's
/// name, and only then is it asked, with the user's credentials, whether it is the cluster of this `uid`. That this machine
/// does not reach it says nothing about the nodes, and is unknown.
pub async fn prove_from_here(
    options: &ConnectOptions,
    (endpoint, authority): (&Endpoint, Option<&str>),
    uid: &Known<String>,
) -> NodeProof {
    let version = match certificate(endpoint, authority).await {
        Ok(version) => version,
        Err(proof) => return proof,
    };
    match (uid.known(), identity(options, endpoint).await) {
        (Some(wanted), Some(found)) if *wanted != found => NodeProof::Failed {
            stage: Stage::Answer,
            says: format!(
                "it is another cluster: its kube-system has uid {found}, this one's {wanted}"
            ),
        },
        _ => NodeProof::Proven { version },
    }
}

fn unknown(why: GapReason, detail: String) -> NodeProof {
    NodeProof::Unknown(Gap::new("endpoint", why, detail))
}

async fn certificate(
    endpoint: &Endpoint,
    authority: Option<&str>,
) -> Result<Option<String>, NodeProof> {
    let Some(pem) = authority else {
        let why = "the cluster's authority is not known".to_owned();
        return Err(unknown(GapReason::NotAsked, why));
    };
    let broken = |error: &reqwest::Error| unknown(GapReason::Undecodable, chain(error));
    // Fails only when a provider is there already, which is just as good.
    rustls::crypto::ring::default_provider().install_default().ok();
    let trusted = Certificate::from_pem_bundle(pem.as_bytes()).map_err(|error| broken(&error))?;
    let client = Client::builder()
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(LIMIT)
        .tls_certs_only(trusted)
        .build()
        .map_err(|error| broken(&error))?;
    let answer = client.get(format!("https://{endpoint}/version")).send().await;
    let answer = answer.map_err(|error| failed(&error))?;
    let is_login = matches!(answer.status().as_u16(), 401 | 403);
    let body = answer.bytes().await.map_err(|error| failed(&error))?;
    let body = body.get(..body.len().min(ANSWER)).unwrap_or_default();
    let version = serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|it| it.get("gitVersion")?.as_str().map(str::to_owned));
    if version.is_none() && !is_login {
        let says = "the answer is not an API server's".to_owned();
        return Err(NodeProof::Failed { stage: Stage::Answer, says });
    }
    Ok(version)
}

fn failed(error: &reqwest::Error) -> NodeProof {
    let says = chain(error);
    let lower = says.to_lowercase();
    if lower.contains("certificate") || lower.contains("unknownissuer") {
        return NodeProof::Failed { stage: Stage::Certificate, says };
    }
    let why = if error.is_timeout() { GapReason::TimedOut } else { GapReason::Unreachable };
    unknown(why, format!("this machine does not reach it: {says}"))
}

/// The whole of an error; the address is what the reader knows.
fn chain(error: &reqwest::Error) -> String {
    use std::error::Error as _;
    let mut last = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        last = inner.to_string();
        source = inner.source();
    }
    last
}

/// uid of namespace kube-system, asked for at the endpoint.
async fn identity(options: &ConnectOptions, endpoint: &Endpoint) -> Option<String> {
    let options = ConnectOptions {
        server: Some(format!("https://{endpoint}")),
        tls_server_name: None,
        request_timeout: Some(LIMIT),
        ..options.clone()
    };
    if options.insecure_skip_tls_verify {
        return None;
    }
    let cluster = Cluster::connect(&options).await.ok()?;
    let namespace = ObjectRef {
        group: String::new(),
        version: "v1".to_owned(),
        plural: "namespaces".to_owned(),
        namespace: String::new(),
        name: "kube-system".to_owned(),
    };
    let found = cluster.get_json(&namespace).await.ok()??;
    found.pointer("/metadata/uid")?.as_str().map(str::to_owned)
}
