//! Runs the plugins as a user does: the real binary, a kubeconfig, a state directory of its own.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Report;
use crate::program;
use crate::testbed::{Error, Invocation, Node, Testbed};

/// A plugin for one testbed.
#[derive(Debug)]
pub struct Plugin {
    binary: PathBuf,
    kubeconfig: PathBuf,
    state: tempfile::TempDir,
    /// Network namespace that runs to their end are in; none for the machine's own.
    network: Option<PathBuf>,
}

/// What a run of a program came to.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Exit code.
    pub code: i32,
    /// What it printed as its answer.
    pub stdout: String,
    /// What it said about the run.
    pub stderr: String,
}

/// Holds what a plugin in the background says.
const SAID: &str = "said";

/// A run may take this long; beyond it hangs.
const LIMIT: Duration = Duration::from_secs(600);

/// The doctor for one testbed: all that a [`Plugin`] can, and its reports.
#[derive(Debug)]
pub struct Doctor(Plugin);

impl Deref for Doctor {
    type Target = Plugin;

    fn deref(&self) -> &Plugin {
        &self.0
    }
}

impl Plugin {
    /// `kubectl calico-purge` of this source tree, for `testbed`.
    pub fn purge(testbed: &Testbed) -> Result<Self, Error> {
        Self::purge_with_kubeconfig(&testbed.kubeconfig())
    }

    /// The same with another kubeconfig.
    pub fn purge_with_kubeconfig(kubeconfig: &Path) -> Result<Self, Error> {
        Self::of(program::purge(), kubeconfig)
    }

    /// `kubectl calico-ebpf` of this source tree, for `testbed`.
    pub fn ebpf(testbed: &Testbed) -> Result<Self, Error> {
        Self::of(program::ebpf(), &testbed.kubeconfig())
    }

    /// `kubectl calico-ipam` of this source tree, for `testbed`.
    pub fn ipam(testbed: &Testbed) -> Result<Self, Error> {
        Self::of(program::ipam(), &testbed.kubeconfig())
    }

    fn of(built: Result<PathBuf, String>, kubeconfig: &Path) -> Result<Self, Error> {
        let binary =
            built.map_err(|why| Error::Odd { what: "building the plugin".to_owned(), why })?;
        let state = tempfile::tempdir().map_err(|error| odd("a state directory", &error))?;
        Ok(Self { binary, kubeconfig: kubeconfig.to_owned(), state, network: None })
    }

    /// The same with another kubeconfig.
    #[must_use]
    pub fn with_other_kubeconfig(self, kubeconfig: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_owned(), ..self }
    }

    /// The same, but [`Self::run`] runs it in the network of `node`: what only works there, such as a `ClusterIP`, is reached.
    #[must_use]
    pub fn in_network_of(self, node: &Node) -> Self {
        Self { network: Some(node.network()), ..self }
    }

    /// The program's file.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Where it keeps its journals.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// Runs it.
    pub fn run(&self, arguments: &[&str]) -> Result<Ran, Error> {
        let invocation = match &self.network {
            None => Invocation::of(&self.binary),
            Some(network) => Invocation::of("nsenter")
                .arg(format!("--net={}", network.display()))
                .arg(&self.binary),
        };
        let output = invocation
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("XDG_STATE_HOME", self.state.path())
            .env("XDG_CACHE_HOME", self.state.path())
            .env("NO_COLOR", "1")
            .limit(LIMIT)
            .output()?;
        Ok(Ran { code: output.status.unwrap_or(-1), stdout: output.stdout, stderr: output.stderr })
    }

    /// What the run said that was last started in the background.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.state().join(SAID)).unwrap_or_default()
    }

    /// Starts it in the background, with nothing to read.
    pub fn spawn(&self, arguments: &[&str]) -> Result<Child, Error> {
        let path = self.state().join(SAID);
        let said = std::fs::File::create(path).map_err(|error| odd("a file", &error))?;
        let also = said.try_clone().map_err(|error| odd("a file", &error))?;
        Command::new(&self.binary)
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("XDG_STATE_HOME", self.state.path())
            .env("XDG_CACHE_HOME", self.state.path())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(said)
            .stderr(also)
            .spawn()
            .map_err(|error| odd("starting the plugin", &error))
    }
}

impl Doctor {
    /// The doctor of this source tree, for `testbed`.
    pub fn new(testbed: &Testbed) -> Result<Self, Error> {
        Self::with_kubeconfig(&testbed.kubeconfig())
    }

    /// The same with another kubeconfig.
    pub fn with_kubeconfig(kubeconfig: &Path) -> Result<Self, Error> {
        Plugin::of(program::doctor(), kubeconfig).map(Self)
    }

    /// Runs `check -o json`: the exit code and the report.
    pub fn check(&self, arguments: &[&str]) -> Result<(i32, Report), Error> {
        let mut all = vec!["check", "-o", "json"];
        all.extend(arguments);
        let ran = self.run(&all)?;
        let report = serde_json::from_str(&ran.stdout).map_err(|error| Error::Odd {
            what: format!("the doctor's report (exit {}): {}{}", ran.code, ran.stdout, ran.stderr),
            why: error.to_string(),
        })?;
        Ok((ran.code, report))
    }
}

fn odd(what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Odd { what: what.to_owned(), why: error.to_string() }
}
