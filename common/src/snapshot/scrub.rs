//! What of an object a snapshot keeps: the same cut that a bundle's redaction makes, so that both tell the same.

use super::builder::Definition;
use super::secret::{REDACTED, without_secrets};
use crate::calico::ipam::{
    BlockAffinity, IpReservation, IpamBlock, IpamConfig, IpamConfiguration, IpamHandle,
    KubeControllersConfiguration,
};
use crate::calico::names::{CALICO_CONFIG_MAP, ROOT_CA_CONFIG_MAP};
use crate::calico::{ClusterInformation, IpPool};
use crate::slim::{
    ConfigMap, DaemonSet, Deployment, Event, Lease, Metadata, Namespace, Node, Pod, PodTemplate,
    Service, ServiceAccount,
};

/// The annotation in which kubectl keeps a copy of the whole object.
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A kind that a snapshot keeps.
pub(super) trait Kept {
    /// Its name in the API.
    const KIND: &str;
    /// True when the metadata tells all that is needed.
    const METADATA_IS_ENOUGH: bool = false;

    fn metadata(&self) -> &Metadata;
    fn metadata_mut(&mut self) -> &mut Metadata;

    /// Takes out what a snapshot should not hold.
    fn scrub(&mut self) {
        self.metadata_mut().annotations.remove(LAST_APPLIED);
        self.scrub_more();
    }

    /// What else is to go in this kind.
    fn scrub_more(&mut self) {}
}

macro_rules! kept {
    ($($kind:ty: $name:literal, $enough:literal, $more:expr;)*) => {
        $(impl Kept for $kind {
            const KIND: &str = $name;
            const METADATA_IS_ENOUGH: bool = $enough;

            fn metadata(&self) -> &Metadata {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut Metadata {
                &mut self.metadata
            }

            fn scrub_more(&mut self) {
                let more: fn(&mut Self) = $more;
                more(self);
            }
        })*
    };
}

kept! {
    Node: "Node", false, |_| {};
    Namespace: "Namespace", true, |_| {};
    Pod: "Pod", false, |_| {};
    Event: "Event", false, event;
    DaemonSet: "DaemonSet", false, |it| template(&mut it.spec.template);
    Deployment: "Deployment", false, |it| template(&mut it.spec.template);
    ServiceAccount: "ServiceAccount", true, |_| {};
    ConfigMap: "ConfigMap", false, config_map;
    Lease: "Lease", false, |_| {};
    ClusterInformation: "ClusterInformation", false, |_| {};
    IpPool: "IPPool", false, |_| {};
    Definition: "CustomResourceDefinition", true, |_| {};
    Service: "Service", false, |_| {};
    IpamBlock: "IPAMBlock", false, |_| {};
    IpamHandle: "IPAMHandle", false, |_| {};
    BlockAffinity: "BlockAffinity", false, |_| {};
    IpamConfig: "IPAMConfig", false, |_| {};
    IpamConfiguration: "IPAMConfiguration", false, |_| {};
    IpReservation: "IPReservation", false, |_| {};
    KubeControllersConfiguration: "KubeControllersConfiguration", false, |_| {};
}

fn event(event: &mut Event) {
    if let std::borrow::Cow::Owned(message) = without_secrets(&event.message) {
        event.message = message;
    }
}

fn template(template: &mut PodTemplate) {
    let spec = &mut template.spec;
    for variable in
        spec.init_containers.iter_mut().chain(&mut spec.containers).flat_map(|it| &mut it.env)
    {
        if !variable.value.is_empty() && is_secret_name(&variable.name) {
            REDACTED.clone_into(&mut variable.value);
        }
    }
}

fn config_map(map: &mut ConfigMap) {
    for value in map.data.values_mut() {
        if keeps_config_map(&map.metadata.name) {
            if let std::borrow::Cow::Owned(clean) = without_secrets(value) {
                *value = clean;
            }
        } else {
            REDACTED.clone_into(value);
        }
    }
}

/// ConfigMaps whose text is kept: applications put passwords into theirs.
pub(super) fn keeps_config_map(name: &str) -> bool {
    [ROOT_CA_CONFIG_MAP, CALICO_CONFIG_MAP].contains(&name)
}

/// Environment variables whose names promise a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    [
        "PASSWORD",
        "PASSWD",
        "SECRET",
        "TOKEN",
        "CREDENTIAL",
        "PRIVATE",
        "APIKEY",
        "API_KEY",
        "ACCESS_KEY",
    ]
    .iter()
    .any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_config_maps_lose_their_text() {
        let map = |name: &str| {
            let json = format!(
                r#"{{"metadata":{{"name":"{name}","annotations":{{"{LAST_APPLIED}":"x","a":"b"}}}},"data":{{"k":"v"}}}}"#
            );
            let mut map: ConfigMap = serde_json::from_str(&json).unwrap();
            map.scrub();
            assert_eq!(map.metadata.annotations.keys().collect::<Vec<_>>(), ["a"]);
            map.data["k"].clone()
        };
        assert_eq!(map("kube-root-ca.crt"), "v");
        assert_eq!(map("calico-config"), "v");
        assert_eq!(map("app"), REDACTED);
    }

    #[test]
    fn secret_variables_lose_their_values() {
        let json = r#"{"spec":{"template":{"spec":{"containers":[{"env":[{"name":"DB_PASSWORD","value":"x"},
            {"name":"CALICO_CNI_SERVICE_ACCOUNT","value":"y"},{"name":"A_TOKEN"}]}]}}}}"#;
        let mut set: DaemonSet = serde_json::from_str(json).unwrap();
        set.scrub();
        let values: Vec<_> =
            set.spec.template.spec.containers[0].env.iter().map(|it| it.value.as_str()).collect();
        assert_eq!(values, [REDACTED, "y", ""]);
    }
}
