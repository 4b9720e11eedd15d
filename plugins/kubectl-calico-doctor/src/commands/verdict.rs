//! From a diagnosis to an exit code.

use clap::ValueEnum;
use common::cli::Exit;
use common::findings::{Diagnosis, Severity, Unjudged};
use common::snapshot::GapReason;

/// From which severity on a finding makes the run fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Exit 4 when there are warnings only
    Warning,
    /// Warnings exit 0
    #[default]
    Error,
}

/// The exit code of a diagnosis; it never depends on the output format.
pub(crate) fn verdict(diagnosis: &Diagnosis, fail_on: FailOn) -> Exit {
    let mut exit = Exit::Good;
    for finding in diagnosis.findings() {
        exit = exit.or(match finding.severity {
            // Without the API server nothing was diagnosed.
            _ if finding.code.0 == "CAL-ACC-001" => Exit::Error,
            Severity::Critical | Severity::Error => Exit::Findings,
            Severity::Warning if fail_on == FailOn::Warning => Exit::Warnings,
            Severity::Warning | Severity::Info => Exit::Good,
        });
    }
    // A whole check that lacks one of the cluster's lists proves nothing, whatever the reason: an empty bundle.
    let lacks_a_list = |it: &Unjudged| {
        it.subject.is_empty()
            && it.gap.why == GapReason::NotAsked
            && it.gap.what.starts_with("cluster/")
    };
    if diagnosis.unjudged.iter().any(|it| it.gap.why.is_failure() || lacks_a_list(it)) {
        exit = exit.or(Exit::Incomplete);
    }
    exit
}
