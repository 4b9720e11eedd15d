//! What a node has of Calico, saved before it is removed: a tar archive, without any secret.

use std::io::Read as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;

use super::pod::{HostRun, NodePod, NodePodError, Repeat};
use crate::cluster::ApiError;

/// The script, as an administrator may read and run it.
pub const BACKUP_SCRIPT: &str = include_str!("back_up.sh");

/// Largest answer in bytes. Text of rules and routes, packed: a node with 10,000 of each stays far below.
pub const BACKUP_LIMIT: usize = 8 * 1024 * 1024;

/// Time that the whole of it may take: some twenty programs, each of which may take 20 s and usually takes none.
pub const BACKUP_TIMEOUT: Duration = Duration::from_secs(240);

/// Largest piece in bytes, unpacked.
const PIECE_LIMIT: u64 = 64 * 1024 * 1024;

/// The last line of a whole answer.
const COMPLETE: &str = "@@backup complete";

/// The piece that tells what else there would have been, and why it is not there.
const LEFT_OUT: &str = "left-out.txt";

/// Why an answer is no backup.
#[derive(Debug, thiserror::Error)]
enum BackupError {
    /// It was cut short.
    #[error("what the node has of Calico was read in part only")]
    CutShort,
    /// A line is not of the expected form.
    #[error("what the node has of Calico cannot be read: unexpected {line:?}")]
    Odd {
        /// The line.
        line: String,
    },
    /// The archive cannot be made.
    #[error("cannot make an archive of what the node has of Calico: {0}")]
    Archive(String),
}

/// Asks a node what it has of Calico, and makes a tar archive of it, which is not packed.
///
/// # Errors
/// When it does not answer, or not wholly.
pub async fn back_up(pod: &NodePod) -> Result<Vec<u8>, NodePodError> {
    let run = HostRun {
        script: BACKUP_SCRIPT.as_bytes(),
        limit_bytes: BACKUP_LIMIT,
        timeout: BACKUP_TIMEOUT,
        repeat: Repeat::Always,
    };
    let output = pod.run_on_host(&run).await?;
    let failed = |message: String| {
        NodePodError::Api(ApiError::Other {
            attempted: format!("save what node {} has, through {}", pod.node(), pod.full_name()),
            message,
        })
    };
    if output.exit_code != 0 {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(said.lines().next_back().unwrap_or("no reason given").to_owned()));
    }
    archive(&output.stdout).map_err(|error| failed(error.to_string()))
}

/// Makes an archive of what [`BACKUP_SCRIPT`] printed. The same answer gives the same bytes.
fn archive(printed: &[u8]) -> Result<Vec<u8>, BackupError> {
    let text = String::from_utf8_lossy(printed);
    let odd = |line: &str| BackupError::Odd { line: line.chars().take(120).collect() };
    let mut lines = text.lines();
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    let mut left_out = String::new();
    loop {
        let line = lines.next().ok_or(BackupError::CutShort)?;
        if line == COMPLETE {
            break;
        }
        let head = Head::read(line).ok_or_else(|| odd(line))?;
        let mut encoded = String::new();
        loop {
            match lines.next().ok_or(BackupError::CutShort)? {
                "@@end" => break,
                line => encoded.push_str(line.trim()),
            }
        }
        if let Some(why) = head.why_left_out() {
            left_out.push_str(&format!("{}: {why}\n", head.path));
        } else {
            let content = head.decode(&encoded).ok_or_else(|| odd(line))?;
            found.push((head.path, content));
        }
    }
    found.push((LEFT_OUT.to_owned(), left_out.into_bytes()));
    found.sort();
    tar_of(&found).map_err(|error| BackupError::Archive(error.to_string()))
}

/// `@@piece files/etc/cni/net.d/10-calico.conflist rc=0 form=gzip`
struct Head {
    path: String,
    code: i32,
    is_packed: bool,
}

impl Head {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("@@piece ")?.split(' ');
        let path = words.next()?;
        let is_plain = |it: &str| !it.is_empty() && it != "." && it != "..";
        let code = words.next()?.strip_prefix("rc=")?.parse().ok()?;
        let is_packed = match words.next()? {
            "form=gzip" => true,
            "form=plain" => false,
            _ => return None,
        };
        (path.split('/').all(is_plain) && words.next().is_none()).then(|| Self {
            path: path.to_owned(),
            code,
            is_packed,
        })
    }

    fn why_left_out(&self) -> Option<String> {
        match self.code {
            0 => None,
            27 => Some("it is too large, or cannot be read".to_owned()),
            77 => Some("it holds a private key".to_owned()),
            124 => Some("it took too long".to_owned()),
            127 => Some("the host has no such program".to_owned()),
            code => Some(format!("the program ended with exit code {code}")),
        }
    }

    fn decode(&self, encoded: &str) -> Option<Vec<u8>> {
        let bytes = STANDARD.decode(encoded).ok()?;
        if !self.is_packed || bytes.is_empty() {
            return Some(bytes);
        }
        let mut content = Vec::new();
        let read = GzDecoder::new(&*bytes).take(PIECE_LIMIT + 1).read_to_end(&mut content).ok()?;
        u64::try_from(read).is_ok_and(|it| it <= PIECE_LIMIT).then_some(content)
    }
}

fn tar_of(files: &[(String, Vec<u8>)]) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o600);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, &**content)?;
    }
    builder.into_inner()
}

#[cfg(test)]
mod tests;
