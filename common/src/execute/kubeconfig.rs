//! calico-kubeconfig with a fresh token: the file that Calico's install-cni writes for the CNI plugin.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::PerformError;
use crate::calico::names::{ROOT_CA_CONFIG_MAP, ROOT_CA_KEY};
use crate::cluster::{Cluster, SecretText};
use crate::plan::ObjectRef;

/// Seconds that the token is asked for: what install-cni asks for. calico-node, once it runs again, renews it long before.
const TOKEN_SECONDS: u64 = 86_400;

/// The file's content for the ServiceAccount, with a token that is requested now. Holds the token.
pub(super) async fn fresh(
    cluster: &Cluster,
    server: &str,
    namespace: &str,
    service_account: &str,
) -> Result<Vec<u8>, PerformError> {
    let ca = authority(cluster, namespace).await?;
    let token = cluster
        .token_request(namespace, service_account, TOKEN_SECONDS)
        .await
        .map_err(|error| PerformError::Rejected(error.to_string()))?;
    Ok(render(server, &ca, &token).into_bytes())
}

/// The cluster's CA as every namespace has it.
async fn authority(cluster: &Cluster, namespace: &str) -> Result<String, PerformError> {
    let object = ObjectRef {
        group: String::new(),
        version: "v1".to_owned(),
        plural: "configmaps".to_owned(),
        namespace: namespace.to_owned(),
        name: ROOT_CA_CONFIG_MAP.to_owned(),
    };
    let rejected = |why: String| PerformError::Rejected(why);
    let found = cluster.get_json(&object).await.map_err(|error| rejected(error.to_string()))?;
    let ca = found.as_ref().and_then(|it| it["data"][ROOT_CA_KEY].as_str());
    ca.filter(|it| !it.is_empty()).map(str::to_owned).ok_or_else(|| {
        rejected(format!(
            "ConfigMap {namespace}/{ROOT_CA_CONFIG_MAP} with the cluster's CA does not exist"
        ))
    })
}

/// The names `local`, `calico` and `calico-context` are install-cni's. JSON strings are YAML strings.
fn render(server: &str, ca: &str, token: &SecretText) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        "# Kubeconfig of the Calico CNI plugin. calico-node overwrites it once it runs.\n\
         apiVersion: v1\n\
         kind: Config\n\
         clusters:\n\
         - name: local\n\
         \x20 cluster:\n\
         \x20   server: {}\n\
         \x20   certificate-authority-data: {}\n\
         users:\n\
         - name: calico\n\
         \x20 user:\n\
         \x20   token: {}\n\
         contexts:\n\
         - name: calico-context\n\
         \x20 context:\n\
         \x20   cluster: local\n\
         \x20   user: calico\n\
         current-context: calico-context\n",
        quoted(server),
        quoted(&STANDARD.encode(ca)),
        quoted(token.expose()),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::cluster::test_server::{Reply, TestServer};

    /// A token of that shape; it was never valid anywhere.
    const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrIn0.c2lnbmF0dXJl";

    #[test]
    fn the_file_is_the_one_that_the_plugin_reads() {
        let file = render("https://[fd00::1]:443", "PEM\n", &SecretText::new(TOKEN.into()));
        let value: Value = crate::yaml::from_str(&file).unwrap();
        assert_eq!(value["current-context"], "calico-context");
        assert_eq!(value["contexts"][0]["context"]["cluster"], "local");
        assert_eq!(value["contexts"][0]["context"]["user"], "calico");
        assert_eq!(value["clusters"][0]["name"], "local");
        assert_eq!(value["clusters"][0]["cluster"]["server"], "https://[fd00::1]:443");
        assert_eq!(value["clusters"][0]["cluster"]["certificate-authority-data"], "UEVNCg==");
        assert_eq!(value["users"][0]["name"], "calico");
        assert_eq!(value["users"][0]["user"]["token"], TOKEN);
    }

    #[tokio::test]
    async fn token_and_authority_come_from_the_api_server() {
        let server = TestServer::start(|_, asked| {
            if asked.line.starts_with("POST") {
                Reply::Body(201, format!(r#"{{"status":{{"token":"{TOKEN}"}}}}"#))
            } else {
                Reply::Body(200, r#"{"data":{"ca.crt":"PEM\n"}}"#.into())
            }
        })
        .await;
        let cluster = server.cluster(Duration::from_secs(20)).await;
        let file = fresh(&cluster, "https://10.0.0.1:6443", "kube-system", "calico-cni-plugin");
        let file = String::from_utf8(file.await.unwrap()).unwrap();
        assert!(file.contains(TOKEN) && file.contains("UEVNCg=="), "{file}");
        let asked = server.asked();
        let account = "/api/v1/namespaces/kube-system/serviceaccounts/calico-cni-plugin/token";
        assert_eq!(asked[1].line, format!("POST {account}"));
        let request: Value = serde_json::from_str(&asked[1].body).unwrap();
        assert_eq!(request["spec"]["expirationSeconds"], 86_400);
        assert_eq!(request["spec"]["audiences"], Value::Null);
    }

    #[tokio::test]
    async fn without_an_authority_no_token_is_asked_for() {
        for body in [r#"{"data":{}}"#, r#"{"data":{"ca.crt":""}}"#] {
            let server = TestServer::start(|_, _| Reply::Body(200, body.into())).await;
            let cluster = server.cluster(Duration::from_secs(20)).await;
            let failed = fresh(&cluster, "https://x", "kube-system", "calico-cni-plugin").await;
            assert!(matches!(failed, Err(PerformError::Rejected(_))), "{failed:?}");
            assert_eq!(server.lines().len(), 1);
        }
    }
}
