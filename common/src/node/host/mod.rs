//! Renders work on a host ([`HostOperation`]) into a shell script, and reads what the script says.
//!
//! A script guards, acts, verifies and tidies up by itself: whoever sends it need not come back. Its form is described in
//! `prelude.sh`. It goes to a shell's standard input, because it may hold a token.

mod kernel_parameters;
mod parameters;
mod quote;
mod result;
#[cfg(test)]
mod shell_tests;

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::plan::host::LOOPBACK_SECONDS;
use crate::plan::{HostOperation, PlanId};

pub(in crate::node) use quote::quote;
pub use result::{HostResult, parse};

/// What every script begins with.
const PRELUDE: &str = include_str!("prelude.sh");

/// Ends the payload in a script; no base64 holds it.
const END_OF_PAYLOAD: &str = "_END_OF_PAYLOAD_";

/// Base64 characters per line of payload. Long lines: some shells take a here-document line by line.
const PAYLOAD_LINE: usize = 16 * 1024;

/// What a script has to know besides the operation.
#[derive(Clone, Debug)]
pub struct HostContext<'a> {
    /// The run, which is part of the names of temporary and kept files.
    pub run: &'a PlanId,
    /// Seconds that the loopback configuration may stand, at most.
    pub loopback_seconds: u64,
}

impl<'a> HostContext<'a> {
    /// The context of a run.
    pub fn new(run: &'a PlanId) -> Self {
        Self { run, loopback_seconds: LOOPBACK_SECONDS }
    }
}

/// A script for the standard input of a POSIX shell that runs as root in a host's namespaces.
pub struct HostScript {
    text: String,
    limit: Duration,
}

impl HostScript {
    /// The script. It may hold a token: it is not to be logged, stored or put on a command line.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// How long it may take at most; beyond that it hangs.
    pub fn limit(&self) -> Duration {
        self.limit
    }
}

impl fmt::Debug for HostScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostScript({} bytes, not shown)", self.text.len())
    }
}

/// Why an operation cannot be made a script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A value that no script is made with.
    #[error("{what} {value:?} is refused: {why}")]
    BadValue {
        /// What it is: `path`, `sandbox id`.
        what: &'static str,
        /// The value.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The content of a file is made when the step is carried out, and was not given.
    #[error("the content of {path} was not given")]
    NoPayload {
        /// The file.
        path: String,
    },
}

/// Renders an operation. `payload` is content that is in no plan: a kubeconfig with its token, the bytes of a binary. It
/// is needed for those kinds of content, and ignored for all others.
///
/// # Errors
/// When a value of the operation is not of the form that it must have, or the payload is missing.
pub fn render(
    operation: &HostOperation,
    context: &HostContext<'_>,
    payload: Option<&[u8]>,
) -> Result<HostScript, RenderError> {
    let parts = parameters::parts(operation, context, payload)?;
    let mut text = String::new();
    for (name, value) in &parts.parameters {
        text.push_str(&format!("{name}={}\n", quote(value)));
    }
    if let Some(payload) = parts.payload {
        text.push_str(&payload_function(payload));
    }
    text.push_str(PRELUDE);
    text.push_str(parts.script);
    // The shell must not give what is left of the script to a program that reads.
    text.push_str("\noperation </dev/null\nexit\n");
    Ok(HostScript { text, limit: parts.limit })
}

fn payload_function(payload: &[u8]) -> String {
    let encoded = STANDARD.encode(payload);
    let mut text = format!("payload() {{\nbase64 -d <<'{END_OF_PAYLOAD}'\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(PAYLOAD_LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("{END_OF_PAYLOAD}\n}}\n"));
    text
}
