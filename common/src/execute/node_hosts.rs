//! Hosts as they are reached: operations as scripts in node pods, binaries out of images and release archives.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::hosts::Hosts;
use super::{PerformError, Performed};
use crate::cluster::ExecOutput;
use crate::download::{Cache, DownloadError, ReleaseVersion, Silent};
use crate::node::backup::back_up;
use crate::node::host::{HostContext, HostResult, parse, render};
use crate::node::pod::{HostRun, NodePodError, NodePods, Repeat};
use crate::node::{probe_host, scan};
use crate::plan::{BinarySource, FileContent, HostOperation, PlanId};
use crate::snapshot::{Gap, RecordKey};

/// Largest output of an operation's script, in bytes: a few facts.
const RESULT_LIMIT: usize = 1024 * 1024;
/// What the scan of a node is called in gaps.
const RESIDUES_PATH: &str = "nodes/NODE/residues.txt";
/// Largest binary that is taken out of an image, in bytes of base64. Calico's is below 100 MiB.
const BINARY_LIMIT: usize = 400 * 1024 * 1024;
/// Time that a binary may take to come.
const BINARY_TIMEOUT: Duration = Duration::from_secs(300);
/// Script that may be a pod's command, in bytes: the kernel takes arguments of 128 KiB (`MAX_ARG_STRLEN`).
const LONGEST_COMMAND: usize = 120 * 1024;
/// Time that an answer may take beyond the time of its script.
const TRAVEL: Duration = Duration::from_secs(15);

/// The hosts of a cluster's nodes.
#[derive(Clone, Debug)]
pub struct NodeHosts<'a> {
    pods: &'a NodePods,
    /// The run whose plan is carried out: its id is part of the names of what it leaves on nodes.
    run: &'a PlanId,
}

impl<'a> NodeHosts<'a> {
    /// Hosts for `run`. Whoever made `pods` closes them.
    pub fn new(pods: &'a NodePods, run: &'a PlanId) -> Self {
        Self { pods, run }
    }

    async fn on_host(&self, node: &str, run: &HostRun<'_>) -> Result<ExecOutput, NodePodError> {
        self.pods.on(node).await?.run_on_host(run).await
    }

    async fn out_of_image(
        &self,
        node: &str,
        image: &str,
        path: &str,
    ) -> Result<Vec<u8>, PerformError> {
        let unread =
            |why: String| PerformError::Rejected(format!("read {path} of image {image}: {why}"));
        let script = format!("base64 <{}\nexit\n", quoted(path));
        let pod = self.pods.on_image(node, image).await.map_err(|it| unread(it.to_string()))?;
        let run = HostRun {
            script: script.as_bytes(),
            limit_bytes: BINARY_LIMIT,
            timeout: BINARY_TIMEOUT,
            repeat: Repeat::Always,
        };
        let output = pod.run_in_container(&run).await.map_err(|it| unread(it.to_string()))?;
        if output.exit_code != 0 {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(unread(said.lines().next_back().unwrap_or("no reason given").to_owned()));
        }
        let mut text = output.stdout;
        text.retain(|byte| !byte.is_ascii_whitespace());
        let bytes = STANDARD.decode(text).map_err(|error| unread(error.to_string()))?;
        if bytes.is_empty() { Err(unread("it is empty".to_owned())) } else { Ok(bytes) }
    }
}

/// A word of a shell script.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// From the cache of `download`, verified. Taking it out of the archive takes seconds.
async fn out_of_release(
    name: &str,
    version: &str,
    architecture: &str,
) -> Result<Vec<u8>, PerformError> {
    let (name, version, architecture) =
        (name.to_owned(), version.to_owned(), architecture.to_owned());
    let reading = tokio::task::spawn_blocking(move || -> Result<Vec<u8>, String> {
        let version = version.parse::<ReleaseVersion>().map_err(|error| error.to_string())?;
        let cache = Cache::of_user().map_err(|error| error.to_string())?;
        let binary = cache
            .cni_binary(&version, &architecture, &name, &Silent)
            .map_err(|error| with_hint(&error))?;
        std::fs::read(&binary.path).map_err(|error| format!("{}: {error}", binary.path.display()))
    });
    match reading.await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(why)) => Err(PerformError::Rejected(why)),
        Err(error) => Err(PerformError::Rejected(error.to_string())),
    }
}

/// A step's failure is one line: what to do next stands in it.
fn with_hint(error: &DownloadError) -> String {
    let hint = error.hint("kubectl calico-doctor").map(|hint| format!(": {hint}"));
    format!("{error}{}", hint.unwrap_or_default())
}

impl Hosts for NodeHosts<'_> {
    async fn operate(
        &self,
        node: &str,
        operation: &HostOperation,
        content: Option<&[u8]>,
    ) -> Result<Performed, PerformError> {
        let script = render(operation, &HostContext::new(self.run), content)
            .map_err(|error| PerformError::Rejected(error.to_string()))?;
        let run = HostRun {
            script: script.as_bytes(),
            limit_bytes: RESULT_LIMIT,
            timeout: script.limit() + TRAVEL,
            repeat: if is_plain(operation) && script.as_bytes().len() < LONGEST_COMMAND {
                Repeat::IfNotRun
            } else {
                Repeat::Never
            },
        };
        let output = match self.on_host(node, &run).await {
            // Somebody deleted the pod before the script was sent: another one does as well.
            Err(NodePodError::Gone { .. }) => self.on_host(node, &run).await,
            output => output,
        };
        let output = output.map_err(|error| failure(&error))?;
        performed(parse(&output.stdout, output.exit_code))
    }

    async fn probe(&self, node: &str) -> Result<Vec<u8>, Gap> {
        let path = RecordKey::Probe(node.to_owned()).path();
        let gap = |error: NodePodError| Gap::new(&path, error.gap_reason(), error.to_string());
        let pod = self.pods.on(node).await.map_err(gap)?;
        probe_host(&pod).await.map_err(gap)
    }

    async fn residues(&self, node: &str) -> Result<Vec<u8>, Gap> {
        let path = RESIDUES_PATH.replace("NODE", node);
        let gap = |error: NodePodError| Gap::new(&path, error.gap_reason(), error.to_string());
        let pod = self.pods.on(node).await.map_err(gap)?;
        scan(&pod).await.map_err(gap)
    }

    async fn back_up(&self, node: &str) -> Result<Vec<u8>, PerformError> {
        let archive = async { back_up(&self.pods.on(node).await?).await };
        archive.await.map_err(|error| failure(&error))
    }

    async fn binary(
        &self,
        node: &str,
        name: &str,
        source: &BinarySource,
    ) -> Result<Vec<u8>, PerformError> {
        match source {
            BinarySource::Image { image, path } => self.out_of_image(node, image, path).await,
            BinarySource::Release { version, architecture } => {
                out_of_release(name, version, architecture).await
            }
        }
    }
}

/// False for content that is a secret, or of any length.
fn is_plain(operation: &HostOperation) -> bool {
    match operation {
        HostOperation::WriteFile { content, .. } => matches!(content, FileContent::Text { .. }),
        _ => true,
    }
}

/// What an operation's own words mean for its step.
fn performed(result: HostResult) -> Result<Performed, PerformError> {
    match result {
        HostResult::Changed { .. } => Ok(Performed::Acted),
        HostResult::AlreadyRight(why) => Ok(Performed::AlreadyRight(why)),
        HostResult::Refused(why) => Err(PerformError::Refused(why)),
        HostResult::Failed(why) => Err(PerformError::Rejected(why)),
    }
}

fn failure(error: &NodePodError) -> PerformError {
    let mut why = error.to_string();
    if let Some(hint) = error.hint() {
        why = format!("{why} ({hint})");
    }
    if error.may_have_run() { PerformError::Unclear(why) } else { PerformError::Rejected(why) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ApiError;

    #[test]
    fn what_was_not_done_is_not_called_unclear() {
        let silent = NodePodError::KubeletSilent { node: "n".into(), said: "Unknown".into() };
        assert!(matches!(failure(&silent), PerformError::Rejected(why) if why.contains("silent")));
        let cause = ApiError::Other { attempted: "run".into(), message: "broke".into() };
        let broken = NodePodError::Unclear { node: "n".into(), cause };
        assert!(matches!(failure(&broken), PerformError::Unclear(_)));
        let refused = performed(HostResult::Refused("another".into()));
        assert_eq!(refused, Err(PerformError::Refused("another".into())));
    }

    #[test]
    fn a_path_is_one_word() {
        assert_eq!(quoted("/a b"), "'/a b'");
        assert_eq!(quoted("/it's"), r"'/it'\''s'");
    }
}
