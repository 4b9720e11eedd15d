//! Scripts in node pods: by exec; where exec is refused, as a pod of their own that tells by log, and where the log cannot
//! be read either, by termination message.

use std::time::Duration;

use super::spec::{CONTAINER, ENTER_HOST, Work};
use super::start::{self, Ended};
use super::{NodePod, NodePodError, message};
use crate::cluster::{ApiError, ExecOutput, ExecRequest, LogRequest};

/// The host's root directory as a pod sees it that has not entered the host: through process 1 of the host.
pub const HOST_ROOT: &str = "/proc/1/root";

/// Ends a script with the exit code of its last command.
const END: &[u8] = b"\nexit\n";

/// What may be done when running a script by exec fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It only looks: it may be run again, in any way.
    Always,
    /// It acts: another way may be tried only when it is certain that it has not run.
    IfNotRun,
    /// It holds a secret: it travels by standard input or not at all.
    Never,
}

/// A script to be run on a host.
#[derive(Clone, Copy)]
pub struct HostRun<'a> {
    /// POSIX shell. It must not read its standard input, which is the script. An `exit` is added at its end, because the
    /// end of input cannot be signalled to servers before 1.30.
    pub script: &'a [u8],
    /// Output that is taken at most, in bytes.
    pub limit_bytes: usize,
    /// Time it may take.
    pub timeout: Duration,
    /// What may be done when it fails.
    pub repeat: Repeat,
}

impl NodePod {
    /// Runs a script in the host's own namespaces, as root, by the host's own shell. Without exec it is the command of
    /// another pod, if that is allowed to it; its diagnostic output is then lost.
    ///
    /// # Errors
    /// When no result came; [`NodePodError::may_have_run`] tells whether the script may have run.
    pub async fn run_on_host(&self, run: &HostRun<'_>) -> Result<ExecOutput, NodePodError> {
        if run.repeat != Repeat::Never && self.inner.has_no_exec(&self.node) {
            return self.run_as_pod(run).await;
        }
        let command: Vec<&str> = ENTER_HOST.into_iter().chain(["/bin/sh", "-s"]).collect();
        let error = match self.exec(run, &command).await {
            Ok(output) => return Ok(output),
            Err(error) => error,
        };
        let may_repeat = match run.repeat {
            Repeat::Always => {
                matches!(error, NodePodError::ExecRefused { .. } | NodePodError::Unclear { .. })
            }
            Repeat::IfNotRun => matches!(error, NodePodError::ExecRefused { .. }),
            Repeat::Never => false,
        };
        if !may_repeat {
            return Err(error);
        }
        tracing::debug!("{error}; trying without exec");
        self.inner.note_no_exec(&self.node);
        match self.run_as_pod(run).await {
            // The first error is the one that a person can do something about.
            Err(second) if !second.may_have_run() => {
                tracing::debug!("{second}");
                Err(error)
            }
            result => result,
        }
    }

    /// Runs a script in the pod itself, by the host's shell. It sees the files of the pod's image, apart from /usr, /bin,
    /// /sbin and /lib*, which are the host's; the host's files are under [`HOST_ROOT`].
    ///
    /// # Errors
    /// When no result came; [`NodePodError::may_have_run`] tells whether the script may have run.
    pub async fn run_in_container(&self, run: &HostRun<'_>) -> Result<ExecOutput, NodePodError> {
        self.exec(run, &["/bin/sh", "-s"]).await
    }

    async fn exec(&self, run: &HostRun<'_>, command: &[&str]) -> Result<ExecOutput, NodePodError> {
        let script = [run.script, END].concat();
        let request = ExecRequest {
            namespace: &self.made.object.namespace,
            pod: &self.made.object.name,
            container: CONTAINER,
            command,
            stdin: Some(&script),
            limit_bytes: run.limit_bytes,
            timeout: run.timeout,
        };
        let error = match self.inner.cluster.exec(&request).await {
            Ok(output) => return Ok(output),
            Err(error) => exec_fault(&self.node, error),
        };
        if matches!(error, NodePodError::Gone { .. }) {
            self.inner.drop_pod(self).await;
        }
        Err(error)
    }

    async fn run_as_pod(&self, run: &HostRun<'_>) -> Result<ExecOutput, NodePodError> {
        let node = &self.node;
        let script = String::from_utf8_lossy(run.script).into_owned();
        let work = Work::Script(script);
        let image = Some(self.made.attempt.image.as_str());
        let inner = &self.inner;
        let limit = Some(run.timeout + Duration::from_secs(30));
        let (made, ended) = inner.start(node, image, &work, limit, start::has_ended).await?;
        let output = self.output(run, &made.object.name, &made.object.namespace, &ended).await;
        inner.ledger.delete(&inner.cluster, &made.object.name).await.ok();
        output
    }

    /// The log is whole; the termination message needs no connection to the node.
    async fn output(
        &self,
        run: &HostRun<'_>,
        pod: &str,
        namespace: &str,
        ended: &Ended,
    ) -> Result<ExecOutput, NodePodError> {
        let request = LogRequest {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            container: CONTAINER.to_owned(),
            previous: false,
            tail_lines: u32::MAX,
            limit_bytes: u32::try_from(run.limit_bytes).unwrap_or(u32::MAX),
        };
        let read = tokio::time::timeout(LOG_LIMIT, self.inner.cluster.logs(&request)).await;
        let stdout = match read {
            Ok(Ok(log)) => Some(log),
            Ok(Err(_)) | Err(_) => message::unpack(&ended.message),
        };
        match stdout {
            Some(stdout) => {
                Ok(ExecOutput { stdout, stderr: Vec::new(), exit_code: ended.exit_code })
            }
            None => Err(NodePodError::Unclear {
                node: self.node.clone(),
                cause: ApiError::Other {
                    attempted: "read what the script printed".to_owned(),
                    message: "neither its log nor its termination message can be read".to_owned(),
                },
            }),
        }
    }
}

/// Time after which a log is given up: a kubelet that cannot be reached is not waited for.
const LOG_LIMIT: Duration = Duration::from_secs(10);

/// What the failure of an exec means. A refusal comes before the command is started.
fn exec_fault(node: &str, error: ApiError) -> NodePodError {
    let node = node.to_owned();
    let message = match &error {
        ApiError::Forbidden { message, .. } => {
            return NodePodError::ExecRefused { node, message: message.clone() };
        }
        ApiError::NotFound { message, .. } | ApiError::Conflict { message, .. } => {
            return NodePodError::Gone { node, why: message.clone() };
        }
        ApiError::Unauthorized { .. } | ApiError::CertificateNotTrusted { .. } => {
            return NodePodError::Api(error);
        }
        ApiError::Other { message, .. }
        | ApiError::Busy { message, .. }
        | ApiError::Invalid { message, .. } => message.clone(),
        _ => return NodePodError::Unclear { node, cause: error },
    };
    let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    if says(&[
        "container not found",
        "cannot exec in a stopped",
        "current phase is",
        "has been evicted",
    ]) {
        NodePodError::Gone { node, why: message }
    } else if says(&[
        "error dialing backend",
        "No agent available",
        "dial tcp",
        "denied the request",
        "failed calling webhook",
        "proxy error",
        "HTTP 502",
        "HTTP 405",
        "Upgrade request required",
    ]) {
        NodePodError::ExecRefused { node, message }
    } else if says(&["no such file or directory", "executable file not found"]) {
        NodePodError::NoHostPrograms { node, message }
    } else {
        NodePodError::Unclear { node, cause: error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(message: &str) -> ApiError {
        ApiError::Other { attempted: "run sh".into(), message: message.into() }
    }

    #[test]
    fn it_is_known_whether_a_script_may_have_run() {
        let fault = |error| exec_fault("n1", error);
        for refused in [
            other(
                "HTTP 500: error dialing backend: dial tcp 10.0.0.1:10250: connect: connection refused",
            ),
            other("HTTP 502: Bad Gateway"),
            other("error dialing backend: No agent available"),
            ApiError::Forbidden { attempted: String::new(), message: "no".into() },
        ] {
            let error = fault(refused);
            assert!(matches!(error, NodePodError::ExecRefused { .. }), "{error:?}");
            assert!(!error.may_have_run());
        }
        for gone in [
            other("container not found (\"node\")"),
            ApiError::NotFound { attempted: String::new(), message: "pods \"p\" not found".into() },
        ] {
            assert!(matches!(fault(gone), NodePodError::Gone { .. }));
        }
        let missing = fault(other(
            "failed to exec in container: failed to start exec \"1\": OCI runtime exec failed: exec failed: unable to start container process: exec: \"/usr/bin/nsenter\": stat /usr/bin/nsenter: no such file or directory: unknown",
        ));
        assert!(matches!(missing, NodePodError::NoHostPrograms { .. }));
        let late =
            ApiError::TimedOut { attempted: String::new(), server: String::new(), seconds: 10 };
        for unclear in [other("the stream ended before the command"), late] {
            assert!(fault(unclear).may_have_run());
        }
    }
}
