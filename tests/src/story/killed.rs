//! A doctor that is killed at a point of its run, as its journal and the node show it.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use serde_json::Value;

use super::{Doctor, Plugin};
use crate::gate::Gate;
use crate::testbed::{Error, Node, wait_every};

/// The configuration that stands in front of all others while sandboxes are freed whose CNI DEL cannot succeed.
pub const LOOPBACK: &str = "etc/cni/net.d/00-kubectl-calico-loopback.conflist";

/// A run may take this long to reach any point.
const LIMIT: Duration = Duration::from_secs(180);
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(1);
/// The same where what is looked for stays.
const HELD_PAUSE: Duration = Duration::from_millis(20);

/// What the newest journal in a state directory tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    /// The run's id; empty while there is no journal.
    pub run: String,
    /// Ids of the plan's steps, in order.
    pub steps: Vec<String>,
    /// Steps that left `pending`, each with its last state, in order.
    pub states: Vec<(String, String)>,
    /// Steps that were begun to be taken back, in order.
    pub undoing: Vec<String>,
    /// Whether the run ended by itself.
    pub ended: bool,
}

impl Journal {
    /// Reads the newest journal, but one of `known`.
    pub fn newest(state: &Path, known: &[PathBuf]) -> Self {
        let mut all = journals(state);
        all.retain(|path| !known.contains(path));
        all.last().map(|path| Self::read(path)).unwrap_or_default()
    }

    fn read(path: &Path) -> Self {
        let mut journal = Self::default();
        let text = fs::read_to_string(path).unwrap_or_default();
        // The last line may be half written.
        for entry in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let word = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            match word("entry").as_str() {
                "plan" => {
                    journal.run = entry["plan"]["id"].as_str().unwrap_or_default().to_owned();
                    let steps = entry["plan"]["steps"].as_array().into_iter().flatten();
                    journal.steps =
                        steps.filter_map(|it| it["id"].as_str().map(ToOwned::to_owned)).collect();
                }
                "step" => match journal.states.last_mut() {
                    Some((step, state)) if *step == word("step") => *state = word("state"),
                    _ => journal.states.push((word("step"), word("state"))),
                },
                "undoing" => journal.undoing.push(word("step")),
                "end" => journal.ended = true,
                _ => {}
            }
        }
        journal
    }

    /// How many steps ended well.
    pub fn done(&self) -> usize {
        self.states.iter().filter(|(_, state)| state == "done" || state == "skipped").count()
    }

    /// Whether this step (by its place) is begun and not over.
    pub fn is_at(&self, step: usize) -> bool {
        self.states.len() == step + 1 && self.states[step].1 == "started"
    }
}

/// All journals of a state directory, the newest last: their names begin with the time.
pub fn journals(state: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(state.join("kubectl-calico/runs")).into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    all.retain(|path| path.extension().is_some_and(|it| it == "jsonl"));
    all.sort();
    all
}

/// The journal that a plugin's next run will keep.
#[derive(Debug, Clone)]
pub struct NextJournal {
    state: PathBuf,
    known: Vec<PathBuf>,
}

impl NextJournal {
    /// That of the run which is started after this.
    pub fn of(plugin: &Plugin) -> Self {
        Self { state: plugin.state().to_owned(), known: journals(plugin.state()) }
    }

    /// What it tells now.
    pub fn read(&self) -> Journal {
        Journal::newest(&self.state, &self.known)
    }
}

/// A run of a plugin that goes on in the background.
#[derive(Debug)]
pub struct Running {
    child: Child,
    journal: NextJournal,
}

impl Running {
    /// Starts `fix --yes`.
    pub fn fix(doctor: &Doctor) -> Result<Self, Error> {
        Self::fix_codes(doctor, &[])
    }

    /// The same for findings with these codes.
    pub fn fix_codes(doctor: &Doctor, codes: &[&str]) -> Result<Self, Error> {
        Self::start(doctor, &[&["fix", "--yes"], codes].concat())
    }

    /// Starts a plugin with these words.
    pub fn start(plugin: &Plugin, words: &[&str]) -> Result<Self, Error> {
        let journal = NextJournal::of(plugin);
        Ok(Self { child: plugin.spawn(words)?, journal })
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// What its journal tells now.
    pub fn journal(&self) -> Journal {
        self.journal.read()
    }

    /// Waits for a point. A run that ended before it is an error.
    pub fn wait(&mut self, point: &str, reached: impl Fn(&Journal) -> bool) -> Result<(), Error> {
        let journal = self.journal.clone();
        self.wait_looking(point, PAUSE, || reached(&journal.read()))
    }

    /// Waits for a point at which the run stays, because a gate holds it there.
    pub fn wait_held(&mut self, point: &str, gate: &Gate) -> Result<String, Error> {
        self.wait_looking(point, HELD_PAUSE, || gate.held().is_some())?;
        Ok(gate.held().unwrap_or_default())
    }

    /// Waits for a point that something else than the journal shows.
    pub fn wait_looking(
        &mut self,
        point: &str,
        pause: Duration,
        reached: impl Fn() -> bool,
    ) -> Result<(), Error> {
        let what = format!("the run reaches {point:?}");
        // The journal is read when it is asked for: a plan of many steps takes its time.
        let unmet = |seen: &str, journal: Journal| Error::Unmet {
            what: what.clone(),
            seen: format!("{seen}: {journal:?}"),
        };
        let missed = wait_every(&what, LIMIT, pause, || {
            if reached() {
                return Ok(None);
            }
            match self.child.try_wait() {
                Ok(Some(status)) => Ok(Some(status)),
                Ok(None) => Err("it goes on".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        });
        match missed {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(unmet(&format!("it ended before, {status}"), self.journal())),
            Err(error) => Err(unmet(&error.to_string(), self.journal())),
        }
    }

    /// Sends it a signal: `INT`.
    pub fn signal(&self, name: &str) -> Result<(), Error> {
        let mut kill = Command::new("kill");
        kill.arg(format!("-{name}")).arg(self.process().to_string());
        let status = kill.status().map_err(|error| odd(&error))?;
        let why = status.to_string();
        let what = format!("kill -{name}");
        if status.success() { Ok(()) } else { Err(Error::Odd { what, why }) }
    }

    /// Kills it with SIGKILL. Returns what its journal told then, and whether the kill came in time.
    pub fn kill(mut self) -> Result<(Journal, bool), Error> {
        self.child.kill().map_err(|error| odd(&error))?;
        let status = self.child.wait().map_err(|error| odd(&error))?;
        Ok((self.journal(), status.signal() == Some(9)))
    }

    /// Lets it end.
    pub fn end(mut self) -> Result<(Journal, ExitStatus), Error> {
        let status = wait_every("the run ends", LIMIT, Duration::from_millis(50), || {
            match self.child.try_wait() {
                Ok(Some(status)) => Ok(status),
                Ok(None) => Err(format!("{:?}", self.journal())),
                Err(error) => Err(error.to_string()),
            }
        })?;
        Ok((self.journal(), status))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Processes, by the node's own numbers, that run a script of ours on the host: a shell that reads it from its input, entered
/// from a pod.
pub fn scripts(node: &Node) -> Result<Vec<u32>, Error> {
    let proc = node.root()?.join("proc");
    let entries = fs::read_dir(&proc).map_err(|error| odd(&error))?.flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    Ok(pids
        .filter(|pid| {
            let line = fs::read(proc.join(pid.to_string()).join("cmdline")).unwrap_or_default();
            line == b"/bin/sh\0-s\0"
        })
        .collect())
}

fn odd(error: &std::io::Error) -> Error {
    Error::Odd { what: "the run of the doctor".to_owned(), why: error.to_string() }
}
