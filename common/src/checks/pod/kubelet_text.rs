//! What the kubelet's texts about sandboxes mean. One table for all checks.
//!
//! The texts are those that Calico v3.28 with containerd 1.6 really produced, and their variants in other releases.

use std::sync::LazyLock;

use regex::Regex;

/// The cause that a text names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TextCause {
    /// The API server refuses the CNI plugin's token.
    Unauthorized,
    /// The CNI plugin does not trust the API server's certificate.
    CertificateNotTrusted,
    /// The API server's certificate is of the right authority but does not hold: expired, or of another name.
    CertificateInvalid,
    /// A plugin binary is missing.
    PluginMissing {
        /// Its name.
        plugin: String,
        /// Where the runtime looked.
        path: String,
    },
    /// The runtime has no CNI configuration.
    NotInitialized,
    /// `/var/lib/calico/nodename` is missing: calico-node never got that far.
    NodenameMissing,
    /// `calico-kubeconfig` is missing.
    KubeconfigMissing,
    /// Calico looks for its node under a name that the cluster does not know.
    NodeNotFound {
        /// That name.
        node: String,
    },
    /// The configuration that the runtime took gives a pod no network: a no-op stands before the real one.
    NoNetworkInfo,
    /// Calico's CRDs are gone.
    ResourceMissing,
    /// The ServiceAccount may not read Calico's objects.
    Forbidden,
    /// The API server does not answer the CNI plugin.
    ApiUnreachable {
        /// `host:port` that it asked.
        server: String,
    },
    /// A migration locks the datastore.
    DatastoreLocked,
    /// The plugin does not come back, and is killed.
    Hanging,
    /// No address is left.
    AddressesExhausted,
    /// Another plugin than Calico's failed.
    OtherPlugin {
        /// Its name.
        plugin: String,
    },
    /// A text that this table does not know.
    Unknown,
}

impl TextCause {
    /// Stable word for reports.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::CertificateNotTrusted => "certificate-not-trusted",
            Self::CertificateInvalid => "certificate-invalid",
            Self::PluginMissing { .. } => "plugin-missing",
            Self::NotInitialized => "cni-not-initialized",
            Self::NodenameMissing => "nodename-missing",
            Self::KubeconfigMissing => "kubeconfig-missing",
            Self::NodeNotFound { .. } => "node-not-found",
            Self::NoNetworkInfo => "no-network-info",
            Self::ResourceMissing => "resource-missing",
            Self::Forbidden => "forbidden",
            Self::ApiUnreachable { .. } => "api-unreachable",
            Self::DatastoreLocked => "datastore-locked",
            Self::Hanging => "calls-hang",
            Self::AddressesExhausted => "addresses-exhausted",
            Self::OtherPlugin { .. } => "other-plugin",
            Self::Unknown => "unknown",
        }
    }

    /// True when the cause lies in a node's own files or processes, so that each node is a case of its own.
    pub fn is_of_one_node(&self) -> bool {
        match self {
            Self::Unauthorized
            | Self::CertificateNotTrusted
            | Self::PluginMissing { .. }
            | Self::NotInitialized
            | Self::NodenameMissing
            | Self::KubeconfigMissing
            | Self::NodeNotFound { .. }
            | Self::NoNetworkInfo
            | Self::Hanging => true,
            Self::CertificateInvalid
            | Self::ResourceMissing
            | Self::Forbidden
            | Self::ApiUnreachable { .. }
            | Self::DatastoreLocked
            | Self::AddressesExhausted
            | Self::OtherPlugin { .. }
            | Self::Unknown => false,
        }
    }

    /// What it means, as a clause for people; none when only the text itself can say.
    pub fn meaning(&self) -> Option<String> {
        Some(match self {
            Self::Unauthorized => "the API server rejects the CNI plugin's token".to_owned(),
            Self::CertificateNotTrusted => {
                "the CNI plugin does not trust the API server's certificate".to_owned()
            }
            Self::CertificateInvalid => {
                "the API server's certificate does not hold (expired, or of another name), or a clock is wrong"
                    .to_owned()
            }
            Self::PluginMissing { plugin, path } => {
                format!("the CNI plugin \"{plugin}\" is missing from {path}")
            }
            Self::NotInitialized => "the container runtime has no CNI configuration".to_owned(),
            Self::NodenameMissing => {
                "/var/lib/calico/nodename is missing: calico-node has not started there".to_owned()
            }
            Self::KubeconfigMissing => "the CNI plugin's kubeconfig is missing".to_owned(),
            Self::NodeNotFound { node } => {
                format!("Calico looks for a node \"{node}\", which the cluster does not know")
            }
            Self::NoNetworkInfo => {
                "the configuration that the container runtime took gives pods no network".to_owned()
            }
            Self::ResourceMissing => {
                "the API server does not know Calico's objects (CRDs gone?)".to_owned()
            }
            Self::Forbidden => {
                "the CNI plugin's ServiceAccount may not read Calico's objects".to_owned()
            }
            Self::ApiUnreachable { server } => {
                format!("the API server does not answer the CNI plugin at {server}")
            }
            Self::DatastoreLocked => "Calico's datastore is locked by a migration".to_owned(),
            Self::Hanging => "the CNI plugin does not come back, and is killed".to_owned(),
            Self::AddressesExhausted => "no address is left in the node's pools".to_owned(),
            Self::OtherPlugin { plugin } => {
                format!("the CNI plugin \"{plugin}\" fails, not Calico's")
            }
            Self::Unknown => return None,
        })
    }
}

fn pattern(text: &str) -> Option<Regex> {
    Regex::new(text).ok()
}

static PLUGIN_MISSING: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r#"failed to find plugin "([^"]{1,64})" in path \[([^\]]{1,256})\]"#));
static UNREACHABLE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r#"Get "https?://([^/"]{1,256})/[^"]*": (?:dial tcp|context deadline exceeded|net/http|EOF|http2|read tcp)"#,
    )
});
static NODE_NOT_FOUND: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r#"nodes "([^"]{1,253})" not found"#));
static FAILED_PLUGIN: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r#"plugin type="([^"]{1,64})" failed \((?:add|delete)\)"#));
static SANDBOX_ID: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"\b[0-9a-f]{64}\b"));
static POD_UID: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"));

/// The cause that a kubelet text about a sandbox names. Quotes may be escaped, as they are in FailedKillPod's texts.
pub fn classify(text: &str) -> TextCause {
    let text = text.replace("\\\"", "\"");
    if let Some(found) = PLUGIN_MISSING.as_ref().and_then(|it| it.captures(&text)) {
        return TextCause::PluginMissing { plugin: found[1].to_owned(), path: found[2].to_owned() };
    }
    if let Some(found) = FAILED_PLUGIN.as_ref().and_then(|it| it.captures(&text))
        && !found[1].starts_with("calico")
    {
        return TextCause::OtherPlugin { plugin: found[1].to_owned() };
    }
    if text.contains("connection is unauthorized") {
        return if text.contains("is forbidden") {
            TextCause::Forbidden
        } else {
            TextCause::Unauthorized
        };
    }
    if text.contains("certificate signed by unknown authority") {
        return TextCause::CertificateNotTrusted;
    }
    if text.contains("x509: certificate") {
        return TextCause::CertificateInvalid;
    }
    if text.contains("cni plugin not initialized") || text.contains("cni config uninitialized") {
        return TextCause::NotInitialized;
    }
    if text.contains("stat /var/lib/calico/nodename: no such file") {
        return TextCause::NodenameMissing;
    }
    if text.contains("error getting ClusterInformation")
        && text.contains("could not find the requested resource")
    {
        return TextCause::ResourceMissing;
    }
    if text.contains("is forbidden: User \"system:serviceaccount:") {
        return TextCause::Forbidden;
    }
    if text.contains("Calico is currently not ready to process requests") {
        return TextCause::DatastoreLocked;
    }
    if text.contains("failed to find network info for sandbox") {
        return TextCause::NoNetworkInfo;
    }
    if text.contains("calico-kubeconfig: no such file") {
        return TextCause::KubeconfigMissing;
    }
    if let Some(found) = NODE_NOT_FOUND.as_ref().and_then(|it| it.captures(&text)) {
        return TextCause::NodeNotFound { node: found[1].to_owned() };
    }
    if text.contains("No free blocks") || text.contains("failed to request IPv4 addresses") {
        return TextCause::AddressesExhausted;
    }
    if let Some(found) = UNREACHABLE.as_ref().and_then(|it| it.captures(&text)) {
        return TextCause::ApiUnreachable { server: found[1].to_owned() };
    }
    // Fetching the image of the sandbox may take too long as well: that is no plugin's fault.
    let waits = text.contains("signal: killed") || text.contains("context deadline exceeded");
    if waits && !text.contains("sandbox image") && !text.contains("pull image") {
        return TextCause::Hanging;
    }
    TextCause::Unknown
}

/// The part of a kubelet text that says why: without the runtime's preamble and without ids that differ from pod to pod.
pub fn essence(text: &str) -> String {
    let text = text.replace("\\\"", "\"");
    let from = text
        .find("plugin type=")
        .or_else(|| text.find("failed to setup network"))
        .or_else(|| text.find("failed to destroy network"))
        .unwrap_or(0);
    let mut text = text.get(from..).unwrap_or(&text).trim_end_matches('"').trim().to_owned();
    for (ids, instead) in [(&SANDBOX_ID, "<sandbox>"), (&POD_UID, "<uid>")] {
        if let Some(ids) = ids.as_ref() {
            text = ids.replace_all(&text, instead).into_owned();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNAUTHORIZED: &str = r#"Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "3fb75ecdf7ab7abf02afdb1487b9324b50f3ed6d67e48803e486ccb337fc337b": plugin type="calico" failed (add): error getting ClusterInformation: connection is unauthorized: Unauthorized"#;
    const KILL: &str = r#"error killing pod: failed to "KillPodSandbox" for "5d83f55a-c87b-4b89-93da-49d2e9c386cd" with KillPodSandboxError: "rpc error: code = Unknown desc = failed to destroy network for sandbox \"5e481ec834d77c5ee7d362e9faa8d6bec23ee697c8468fd9a54df0c2582f3f1d\": plugin type=\"calico\" failed (delete): failed to find plugin \"calico\" in path [/opt/cni/bin]""#;

    #[test]
    fn recorded_texts_are_known() {
        assert_eq!(classify(UNAUTHORIZED), TextCause::Unauthorized);
        assert_eq!(
            classify(KILL),
            TextCause::PluginMissing { plugin: "calico".into(), path: "/opt/cni/bin".into() }
        );
        assert_eq!(
            classify(
                r#"plugin type="calico" failed (add): error getting ClusterInformation: Get "https://10.96.0.1:443/apis/crd.projectcalico.org/v1/clusterinformations/default": tls: failed to verify certificate: x509: certificate signed by unknown authority"#
            ),
            TextCause::CertificateNotTrusted
        );
        assert_eq!(
            classify("failed to destroy network for sandbox \"x\": cni plugin not initialized"),
            TextCause::NotInitialized
        );
        assert_eq!(
            classify(
                "error getting ClusterInformation: resource does not exist: ClusterInformation(default) with error: the server could not find the requested resource (get ClusterInformations.crd.projectcalico.org default)"
            ),
            TextCause::ResourceMissing
        );
        assert_eq!(
            classify(
                r#"plugin type="calico" failed (add): error getting ClusterInformation: Get "https://10.96.0.1:443/apis/x": dial tcp 10.96.0.1:443: connect: connection refused"#
            ),
            TextCause::ApiUnreachable { server: "10.96.0.1:443".into() }
        );
    }

    #[test]
    fn texts_about_names_and_files_are_known() {
        assert_eq!(
            classify(
                r#"plugin type="calico" failed (add): failed to request IPv4 addresses: resource does not exist: Node(web-1) with error: nodes "web-1" not found"#
            ),
            TextCause::NodeNotFound { node: "web-1".into() }
        );
        assert_eq!(
            classify(
                r#"plugin type="calico" failed (add): stat /etc/cni/net.d/calico-kubeconfig: no such file or directory"#
            ),
            TextCause::KubeconfigMissing
        );
        assert_eq!(
            classify(r#"failed to find network info for sandbox "abc""#),
            TextCause::NoNetworkInfo
        );
        assert_eq!(
            classify(
                r#"plugin type="calico" failed (delete): stat /var/lib/calico/nodename: no such file or directory: check that the calico/node container is running and has mounted /var/lib/calico/"#
            ),
            TextCause::NodenameMissing
        );
    }

    #[test]
    fn a_certificate_that_expired_is_not_the_fault_of_the_credentials() {
        assert_eq!(
            classify(
                r#"plugin type="calico" failed (add): error getting ClusterInformation: Get "https://10.96.0.1:443/apis/x": tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-11-21T12:00:00Z is after 2026-11-20T12:00:00Z"#
            ),
            TextCause::CertificateInvalid
        );
    }

    #[test]
    fn a_call_that_does_not_come_back_is_known() {
        for text in [
            r#"plugin type="calico" failed (add): netplugin failed with no error message: signal: killed"#,
            r#"failed to "KillPodSandbox" for "x" with KillPodSandboxError: "rpc error: code = DeadlineExceeded desc = context deadline exceeded""#,
        ] {
            assert_eq!(classify(text), TextCause::Hanging, "{text}");
        }
        for other in [
            r#"failed to get sandbox image "registry.k8s.io/pause:3.10": failed to pull image: context deadline exceeded"#,
            r#"plugin type="istio-cni" failed (add): netplugin failed with no error message: signal: killed"#,
        ] {
            assert_ne!(classify(other), TextCause::Hanging, "{other}");
        }
        assert!(matches!(
            classify(
                r#"plugin type="calico" failed (add): error getting ClusterInformation: Get "https://10.96.0.1:443/apis/x": context deadline exceeded"#
            ),
            TextCause::ApiUnreachable { .. }
        ));
    }

    #[test]
    fn a_foreign_plugin_is_not_calico() {
        assert_eq!(
            classify(r#"plugin type="istio-cni" failed (add): Unauthorized x509: what"#),
            TextCause::OtherPlugin { plugin: "istio-cni".into() }
        );
        assert_eq!(classify("the cat sat on the wire"), TextCause::Unknown);
    }

    #[test]
    fn the_essence_does_not_differ_from_pod_to_pod() {
        assert_eq!(
            essence(UNAUTHORIZED),
            r#"plugin type="calico" failed (add): error getting ClusterInformation: connection is unauthorized: Unauthorized"#
        );
        assert_eq!(
            essence(KILL),
            r#"plugin type="calico" failed (delete): failed to find plugin "calico" in path [/opt/cni/bin]"#
        );
        assert_eq!(
            essence(
                r#"failed to destroy network for sandbox "5e481ec834d77c5ee7d362e9faa8d6bec23ee697c8468fd9a54df0c2582f3f1d": eh"#
            ),
            "failed to destroy network for sandbox \"<sandbox>\": eh"
        );
    }
}
