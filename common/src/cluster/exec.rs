//! Commands in running containers.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{Api, AttachParams, AttachedProcess};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{ApiError, Cluster, classify};

/// Bytes that travel between the connection and us in one go.
const PIPE: usize = 64 * 1024;
/// Longest diagnostic output that is kept, in bytes.
const STDERR_LIMIT: usize = 64 * 1024;

/// A command to run in a container.
#[derive(Clone, Copy, Debug)]
pub struct ExecRequest<'a> {
    /// Namespace of the pod.
    pub namespace: &'a str,
    /// The pod.
    pub pod: &'a str,
    /// The container.
    pub container: &'a str,
    /// Program and arguments, no shell. It travels in the URL: it must be short and hold no secret.
    pub command: &'a [&'a str],
    /// Bytes for its standard input. The end of input is never signalled: servers before 1.30 cannot do so without
    /// losing output. The command must know by itself where its input ends.
    pub stdin: Option<&'a [u8]>,
    /// Output that is kept at most, in bytes.
    pub limit_bytes: usize,
    /// Time it may take.
    pub timeout: Duration,
}

/// What a command printed and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutput {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error, its first 64 KiB.
    pub stderr: Vec<u8>,
    /// Exit code.
    pub exit_code: i32,
}

impl Cluster {
    /// Runs a command in a container and waits for its end. Sent once. Dropping the future, running out of time and
    /// too much output all close the stream; the command may then go on until it writes again.
    pub async fn exec(&self, request: &ExecRequest<'_>) -> Result<ExecOutput, ApiError> {
        let attempted = format!(
            "run {} in pod {}/{}",
            request.command.first().unwrap_or(&"nothing"),
            request.namespace,
            request.pod
        );
        tracing::debug!("{attempted}");
        tokio::time::timeout(request.timeout, self.exec_unlimited(&attempted, request))
            .await
            .map_err(|_| self.timed_out(&attempted, request.timeout))?
    }

    async fn exec_unlimited(
        &self,
        attempted: &str,
        request: &ExecRequest<'_>,
    ) -> Result<ExecOutput, ApiError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), request.namespace);
        let params = AttachParams::default()
            .container(request.container)
            .stdin(request.stdin.is_some())
            .stdout(true)
            .stderr(true)
            .max_stdin_buf_size(PIPE)
            .max_stdout_buf_size(PIPE)
            .max_stderr_buf_size(PIPE);
        let mut process = pods
            .exec(request.pod, request.command.iter().copied(), &params)
            .await
            .map_err(|error| self.transport(attempted, &error))?;
        let (stdout, stderr, status) = drain(attempted, &mut process, request).await?;
        let status =
            status.ok_or_else(|| other(attempted, "the stream ended before the command"))?;
        Ok(ExecOutput { stdout, stderr, exit_code: exit_code(attempted, &status)? })
    }
}

type Drained = (Vec<u8>, Vec<u8>, Option<Status>);

/// Feeds the input and takes all outputs at once: one that waits for another would block the stream.
async fn drain(
    attempted: &str,
    process: &mut AttachedProcess,
    request: &ExecRequest<'_>,
) -> Result<Drained, ApiError> {
    let mut stdin = process.stdin();
    let stdout = process.stdout();
    let stderr = process.stderr();
    let status = process.take_status();
    let feed = feed(stdin.as_mut(), request.stdin.unwrap_or_default());
    let take = take(stdout, request.limit_bytes);
    let grumble = take_start(stderr, STDERR_LIMIT);
    let end = async {
        match status {
            Some(status) => status.await,
            None => None,
        }
    };
    let feed = async {
        feed.await;
        Ok::<_, TooMuch>(())
    };
    let grumble = async { Ok(grumble.await) };
    let end = async { Ok(end.await) };
    // Too much output ends everything at once: waiting for the status would be waiting for a command that may never end.
    let ((), stdout, stderr, status) =
        tokio::try_join!(feed, take, grumble, end).map_err(|TooMuch| {
            other(attempted, &format!("it printed more than {} bytes", request.limit_bytes))
        })?;
    // The writer lives until here: dropping it would close the whole stream with old servers.
    drop(stdin);
    Ok((stdout, stderr, status))
}

/// A command that ends before it has read everything is no fault: its exit code tells.
async fn feed(writer: Option<&mut (impl AsyncWrite + Unpin)>, input: &[u8]) {
    let Some(writer) = writer else { return };
    if writer.write_all(input).await.is_ok() {
        writer.flush().await.ok();
    }
}

/// A command printed more than is taken.
struct TooMuch;

/// Everything, unless it is more than `limit`.
async fn take(reader: Option<impl AsyncRead + Unpin>, limit: usize) -> Result<Vec<u8>, TooMuch> {
    let mut out = Vec::new();
    let Some(reader) = reader else { return Ok(out) };
    let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(one_more).read_to_end(&mut out).await.ok();
    if out.len() <= limit { Ok(out) } else { Err(TooMuch) }
}

/// The first bytes; the rest is read and forgotten, so that the stream goes on.
async fn take_start(reader: Option<impl AsyncRead + Unpin>, limit: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let Some(mut reader) = reader else { return out };
    let mut chunk = vec![0; PIPE];
    while let Ok(count @ 1..) = reader.read(&mut chunk).await {
        let room = limit.saturating_sub(out.len()).min(count);
        out.extend_from_slice(&chunk[..room]);
    }
    out
}

/// The exit code that the server's closing status tells.
fn exit_code(attempted: &str, status: &Status) -> Result<i32, ApiError> {
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let message = status.message.clone().unwrap_or_default();
    if status.reason.as_deref() == Some("NonZeroExitCode") {
        let code = status
            .details
            .iter()
            .flat_map(|details| details.causes.iter().flatten())
            .find(|cause| cause.reason.as_deref() == Some("ExitCode"))
            .and_then(|cause| cause.message.as_deref()?.parse().ok());
        return code.ok_or_else(|| other(attempted, &message));
    }
    let code = status.code.and_then(|code| u16::try_from(code).ok()).unwrap_or_default();
    Err(match code {
        // The kubelet and the runtime report a missing program or container as 500 with a text.
        0 | 500 => other(attempted, &message),
        code => classify::of_code(attempted, code, message),
    })
}

fn other(attempted: &str, message: &str) -> ApiError {
    ApiError::Other { attempted: attempted.to_owned(), message: message.to_owned() }
}
