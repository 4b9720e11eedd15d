//! From a diagnosis to an exit code.

use super::Exit;
use crate::findings::{Diagnosis, Severity, Unjudged};
use crate::snapshot::GapReason;
use clap::ValueEnum;

/// From which severity on a finding makes the run fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Exit 4 when there are warnings only
    Warning,
    /// Warnings exit 0
    #[default]
    Error,
}

/// The exit code of a diagnosis; it never depends on the output format.
pub fn verdict(diagnosis: &Diagnosis, fail_on: FailOn) -> Exit {
    let mut exit = Exit::Good;
    for finding in diagnosis.findings() {
        exit = exit.or(match finding.severity {
            // Without the API server nothing was diagnosed, unless a look at its host says why it is silent.
            _ if finding.code.0 == "CAL-ACC-001" && finding.nodes.is_empty() => Exit::Error,
            // Something was refused to us: whatever it was, this is not the whole picture.
            _ if finding.code.0 == "CAL-ACC-002" => Exit::Incomplete,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::diagnose;
    use crate::snapshot::{Gap, Sink as _, SnapshotBuilder};

    fn of(gaps: &[GapReason]) -> Exit {
        let mut builder = SnapshotBuilder::new();
        for why in gaps {
            builder.gap(Gap::new("cluster/api/version.json", why.clone(), ""));
        }
        verdict(&diagnose(&builder.finish(jiff::Timestamp::UNIX_EPOCH)), FailOn::Error)
    }

    #[test]
    fn nothing_read_is_never_good() {
        assert_eq!(of(&[]), Exit::Incomplete);
        assert_eq!(of(&[GapReason::Unreachable]), Exit::Error);
    }
}
