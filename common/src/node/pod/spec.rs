//! The node pod as the API server gets it.
//!
//! The image's content does not matter: the host's own programs and libraries are mounted, read-only, over the image's.
//! Every mount has type `Directory`, so that neither kubelet nor runtime ever makes a directory on the host.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::NodePodOptions;

/// Label by which everything of ours is found.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Its value.
pub const MANAGED_BY: &str = "kubectl-calico";
/// Label: the run.
pub const RUN_LABEL: &str = "kubectl-calico/run";
/// Label: what it is for.
pub const OP_LABEL: &str = "kubectl-calico/op";
/// Annotation: the node. Names of nodes may be too long for a label.
pub const NODE_ANNOTATION: &str = "kubectl-calico/node";
/// Annotation: when it may be swept, RFC 3339.
pub const EXPIRES_AT_ANNOTATION: &str = "kubectl-calico/expires-at";
/// Annotation: who made it.
pub const USER_ANNOTATION: &str = "kubectl-calico/user";
/// Annotation: for which command.
pub const REASON_ANNOTATION: &str = "kubectl-calico/reason";

/// The one container.
pub(super) const CONTAINER: &str = "node";
/// Enters the host's own namespaces, by the host's own program.
pub(super) const ENTER_HOST: [&str; 9] =
    ["/usr/bin/nsenter", "-t", "1", "-m", "-u", "-i", "-n", "-p", "--"];
/// `PATH` in the container, and of the scripts.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Everything that two tries on one node may differ in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) namespace: String,
    pub(super) image: String,
    /// Directories of the host that hold its programs and libraries.
    pub(super) directories: Vec<&'static str>,
    pub(super) service_account: String,
    /// Ask for a little CPU and memory, where a quota demands that everybody says how much.
    pub(super) with_requests: bool,
    /// Ask not to be evicted from a node that is short of something.
    pub(super) critical: bool,
}

/// What the pod does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// It waits to be used by exec.
    Wait,
    /// It runs this script on the host and tells its output by its log and its termination message.
    Script(String),
}

/// A pod to be made.
pub(super) struct Order<'a> {
    pub(super) name: &'a str,
    pub(super) node: &'a str,
    pub(super) options: &'a NodePodOptions,
    pub(super) attempt: &'a Attempt,
    pub(super) pull_secrets: &'a [String],
    pub(super) expires_at: Timestamp,
    pub(super) work: &'a Work,
}

/// The host's directories of programs and libraries: the loader of 64-bit x86 and POWER programs is in /lib64, elsewhere
/// there may be none.
pub(super) fn directories(architecture: &str) -> Vec<&'static str> {
    let mut directories = vec!["/usr", "/bin", "/sbin", "/lib"];
    if matches!(architecture, "" | "amd64" | "ppc64le" | "loong64") {
        directories.push("/lib64");
    }
    directories
}

/// Runs the host's shell on the host. The script is `$1`; what it prints goes to the log, and compressed to the
/// termination message, which holds 4096 bytes: of more, the first part can still be unpacked. A log does not tell the two
/// streams apart, so what is printed on the second one is dropped.
const TELL: &str = r#"
text=$("$@" 2>/dev/null; printf 'rc=%s' "$?")
rc=${text##*rc=}
text=${text%rc=*}
printf '%s' "$text"
{
    if packed=$(printf '%s' "$text" | gzip -9c | base64 -w0 | head -c 4000) && [ -n "$packed" ]; then
        printf 'gz:%s' "$packed"
    else
        printf 'tx:%s' "$text" | head -c 4000
    fi
} >/dev/termination-log
exit "$rc"
"#;

impl Order<'_> {
    /// The pod.
    pub(super) fn pod(&self) -> Value {
        let Self { name, options, attempt, expires_at, .. } = self;
        let mut pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": attempt.namespace,
                "labels": {
                    MANAGED_BY_LABEL: MANAGED_BY,
                    RUN_LABEL: options.run.0,
                    OP_LABEL: options.op.word(),
                },
                "annotations": {
                    NODE_ANNOTATION: self.node,
                    EXPIRES_AT_ANNOTATION: expires_at.to_string(),
                    USER_ANNOTATION: options.user,
                    REASON_ANNOTATION: options.reason,
                    "sidecar.istio.io/inject": "false",
                    "linkerd.io/inject": "disabled",
                },
            },
            "spec": self.spec(),
        });
        if attempt.critical {
            pod["spec"]["priorityClassName"] = json!("system-node-critical");
        }
        pod
    }

    fn spec(&self) -> Value {
        let Self { node, options, attempt, pull_secrets, .. } = self;
        let secrets: Vec<_> = pull_secrets.iter().map(|name| json!({ "name": name })).collect();
        let volumes: Vec<_> = attempt
            .directories
            .iter()
            .map(|path| json!({ "name": volume(path), "hostPath": { "path": path, "type": "Directory" } }))
            .collect();
        json!({
            // No scheduler: neither cordon nor taint nor a dead scheduler matters.
            "nodeName": node,
            "os": { "name": "linux" },
            "restartPolicy": "Never",
            "activeDeadlineSeconds": options.deadline.as_secs(),
            "terminationGracePeriodSeconds": 0,
            // The only kind of pod that a kubelet starts while its node has no pod network.
            "hostNetwork": true,
            "hostPID": true,
            "dnsPolicy": "Default",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "serviceAccountName": attempt.service_account,
            "imagePullSecrets": secrets,
            // Kubelets themselves reject pods that do not tolerate a NoExecute taint.
            "tolerations": [{ "operator": "Exists" }],
            "containers": [self.container()],
            "volumes": volumes,
        })
    }

    fn container(&self) -> Value {
        let Self { options, attempt, .. } = self;
        let mounts: Vec<_> = attempt
            .directories
            .iter()
            .map(|path| json!({ "name": volume(path), "mountPath": path, "readOnly": true }))
            .collect();
        let pull = if matches!(options.image, super::ImageChoice::Named(_)) {
            "IfNotPresent"
        } else {
            "Never"
        };
        let mut container = json!({
            "name": CONTAINER,
            "image": attempt.image,
            "imagePullPolicy": pull,
            "command": self.command(),
            "env": [{ "name": "PATH", "value": PATH }, { "name": "LD_LIBRARY_PATH", "value": "" }],
            "securityContext": { "privileged": true, "runAsUser": 0, "runAsNonRoot": false },
            "volumeMounts": mounts,
        });
        if attempt.with_requests {
            let little = json!({ "cpu": "10m", "memory": "16Mi" });
            let enough = json!({ "cpu": "1", "memory": "256Mi" });
            container["resources"] = json!({ "requests": little, "limits": enough });
        }
        container
    }

    fn command(&self) -> Vec<String> {
        match self.work {
            Work::Wait => {
                vec!["/bin/sleep".to_owned(), self.options.deadline.as_secs().to_string()]
            }
            Work::Script(script) => ["/bin/sh", "-c", TELL, "sh"]
                .into_iter()
                .chain(ENTER_HOST)
                .chain(["/bin/sh", "-c", script])
                .map(str::to_owned)
                .collect(),
        }
    }
}

/// `/lib64` → `host-lib64`
fn volume(path: &str) -> String {
    format!("host{}", path.replace('/', "-"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::node::pod::{ImageChoice, Op};
    use crate::plan::PlanId;

    fn attempt() -> Attempt {
        Attempt {
            namespace: "calico-system".into(),
            image: "docker.io/calico/node:v3.28.4".into(),
            directories: directories("amd64"),
            service_account: "default".into(),
            with_requests: false,
            critical: false,
        }
    }

    fn pod(attempt: &Attempt, image: ImageChoice, work: &Work) -> Value {
        let run = PlanId("01RUN".into());
        let mut options = NodePodOptions::new(run, Op::Inspect, vec!["calico-system".into()]);
        options.user = "jane".into();
        options.reason = "kubectl calico-doctor check --probe".into();
        options.deadline = Duration::from_secs(300);
        options.image = image;
        let expires_at = Timestamp::UNIX_EPOCH;
        let pull_secrets = ["pull".to_owned()];
        let order = Order {
            name: "p",
            node: "n1",
            options: &options,
            attempt,
            pull_secrets: &pull_secrets,
            expires_at,
            work,
        };
        order.pod()
    }

    #[test]
    fn the_pod_is_as_promised() {
        insta::assert_json_snapshot!(pod(&attempt(), ImageChoice::OnNode, &Work::Wait));
    }

    #[test]
    fn nothing_is_ever_made_on_the_host() {
        let pod = pod(&attempt(), ImageChoice::OnNode, &Work::Wait);
        for volume in pod["spec"]["volumes"].as_array().unwrap() {
            assert_eq!(volume["hostPath"]["type"], "Directory");
        }
        for mount in pod["spec"]["containers"][0]["volumeMounts"].as_array().unwrap() {
            assert_eq!(mount["readOnly"], true);
        }
    }

    #[test]
    fn what_a_try_adapts_is_in_the_pod() {
        let adapted = Attempt {
            directories: directories("arm64"),
            with_requests: true,
            critical: true,
            ..attempt()
        };
        let script = Work::Script("echo hello".into());
        let pod = pod(&adapted, ImageChoice::Named("x:1".into()), &script);
        let spec = &pod["spec"];
        assert_eq!(spec["priorityClassName"], "system-node-critical");
        assert_eq!(spec["volumes"].as_array().unwrap().len(), 4);
        let container = &spec["containers"][0];
        assert_eq!(container["imagePullPolicy"], "IfNotPresent");
        assert_eq!(container["resources"]["requests"]["cpu"], "10m");
        let command = container["command"].as_array().unwrap();
        assert_eq!(command.last().unwrap(), "echo hello");
    }

    /// The wrapper under this machine's own shell: its output is told twice, its exit code is the script's.
    #[test]
    fn a_script_tells_its_output_and_exit_code() {
        let message = tempfile::NamedTempFile::new().unwrap();
        let tell = TELL.replace("/dev/termination-log", &message.path().display().to_string());
        let output = std::process::Command::new("/bin/sh")
            .args(["-c", &tell, "sh", "/bin/sh", "-c", "echo one; echo 'rc=two'; exit 7"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(7));
        assert_eq!(output.stdout, b"one\nrc=two\n");
        let told = std::fs::read_to_string(message.path()).unwrap();
        assert_eq!(crate::node::pod::message::unpack(&told), Some(b"one\nrc=two\n".to_vec()));
    }
}
