//! The probe's sectioned text: `@@<id> rc=<n> ms=<n>` … `@@end`, one command each.

use std::collections::BTreeMap;

use serde::Serialize;

/// Output of one command of the probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Section {
    /// Exit code.
    pub rc: i32,
    /// Milliseconds it took.
    pub ms: u64,
    /// Its output, lossily decoded.
    pub text: String,
}

/// Sections by id.
pub type Sections = BTreeMap<String, Section>;
