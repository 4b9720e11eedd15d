//! What every verb gets.

use jiff::Timestamp;

use crate::cli::{ConnectionFlags, Failure, Kind, OutputFormat, Printer};
use crate::report::v1::Report;
use crate::report::{TextOptions, json, yaml};

/// How users call the plugin that tidies up after all of them.
const DOCTOR: &str = "kubectl calico-doctor";

/// What every verb gets.
#[derive(Clone, Debug)]
pub struct Session {
    /// Where data and talk go.
    pub printer: Printer,
    /// Format of what goes to stdout.
    pub format: OutputFormat,
    /// Whether more is to be told.
    pub verbose: bool,
    /// Which cluster is meant.
    pub connection: ConnectionFlags,
    /// How the user calls this program.
    pub program: String,
    /// The plugin's own name, `kubectl-calico-doctor`: who the API server notes as the writer of what we create.
    pub plugin: &'static str,
    /// The plugin's version.
    pub version: &'static str,
}

impl Session {
    /// Plugin and version, as bundles name who made them.
    pub fn made_by(&self) -> String {
        format!("{}/{}", self.plugin, self.version)
    }

    /// The same with the verb behind, as plans name it: `kubectl-calico-purge/0.1.0 pods`.
    pub fn made_by_verb(&self, verb: &str) -> String {
        format!("{} {verb}", self.made_by())
    }

    /// How this user calls `calico-doctor`, which has verbs that the other plugins lack.
    pub fn doctor(&self) -> &str {
        if self.plugin == "kubectl-calico-doctor" { &self.program } else { DOCTOR }
    }

    /// How to write text to stdout.
    pub fn text_options(&self) -> TextOptions {
        let terminal = self.printer.stdout;
        TextOptions {
            width: terminal.width,
            colour: terminal.colour,
            unicode: terminal.unicode,
            verbose: self.verbose,
            elapsed: None,
            program: self.program.clone(),
        }
    }

    /// A program that asked for a document gets one, also when the run failed. A wrong command line is the caller's own
    /// mistake, and is told on stderr only.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn document_of(&self, failure: &Failure) -> Result<(), Failure> {
        if matches!(failure.kind, Kind::Usage | Kind::BrokenPipe) {
            return Ok(());
        }
        let mut report = Report::failed(Timestamp::now(), failure.chain());
        report.verdict = failure.exit().word();
        match self.format {
            OutputFormat::Text => Ok(()),
            OutputFormat::Json => self.printer.data(&json(&report)),
            OutputFormat::Yaml => self.printer.data(&yaml(&report)),
        }
    }
}
