//! Formats of this plugin: the family's, and two for spreadsheets and metrics.

use common::cli::{Failure, OutputFlags, OutputFormat};

/// What goes to stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text, JSON or YAML.
    Usual(OutputFormat),
    /// Comma-separated values.
    Csv,
    /// Prometheus' text format.
    Prometheus,
}

impl Format {
    /// The format that was asked for.
    pub(crate) fn of(flags: &OutputFlags) -> Result<Self, Failure> {
        match flags.output.as_deref() {
            Some("csv") => Ok(Self::Csv),
            Some("prometheus") => Ok(Self::Prometheus),
            other => match flags.format() {
                Ok(format) => Ok(Self::Usual(format)),
                Err(_) => Err(Failure::usage(format!(
                    "unable to match a printer suitable for the output format {:?}, allowed formats are: csv,json,prometheus,text,yaml",
                    other.unwrap_or_default()
                ))),
            },
        }
    }

    /// What the family's shared parts print in: a failure has no table.
    pub(crate) fn usual(self) -> OutputFormat {
        match self {
            Self::Usual(format) => format,
            Self::Csv | Self::Prometheus => OutputFormat::Text,
        }
    }

    /// That a verb has no such format.
    pub(crate) fn refuse(self, verb: &str) -> Failure {
        let name = if self == Self::Csv { "csv" } else { "prometheus" };
        Failure::usage(format!("{verb} has no output format {name}"))
    }
}
