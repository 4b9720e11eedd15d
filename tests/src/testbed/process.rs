//! Long-running programs: started with a record of their own, found by pid and start time, never by name.

use super::command::Invocation;
use super::error::{Error, FileContext};
use super::layout::{Layout, sources};
use super::wait::wait_every;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The environment variable that all processes of a testbed inherit; its value is the folder of the testbed.
pub(crate) const MARK: &str = "KUBECTL_CALICO_TESTBED_MARK";

/// A process that cannot be mistaken for another one that got the same pid later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// The process id.
    pub pid: u32,
    /// When it started, in clock ticks since the machine did (field 22 of /proc/PID/stat).
    pub started: u64,
}

impl Process {
    /// The process with this pid now, if it runs. A zombie does not run.
    pub fn now(pid: u32) -> Option<Self> {
        let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (process, state) = parse(&line)?;
        (!matches!(state, 'Z' | 'X')).then_some(process)
    }

    /// Whether it still runs.
    pub fn runs(self) -> bool {
        Self::now(self.pid) == Some(self)
    }

    /// Sends a signal, unless the process is gone.
    pub(crate) fn signal(self, signal: &str) -> Result<(), Error> {
        if self.runs() {
            let output = Invocation::of("kill")
                .arg(format!("-{signal}"))
                .arg(self.pid.to_string())
                .output()?;
            if !output.is_success() && self.runs() {
                return Err(Error::Busy(format!(
                    "cannot send {signal} to process {}: {}",
                    self.pid,
                    output.stderr.trim()
                )));
            }
        }
        Ok(())
    }

    /// Waits until it is gone.
    pub(crate) fn wait_gone(self, limit: Duration) -> Result<(), Error> {
        wait_every(&format!("process {} ends", self.pid), limit, Duration::from_millis(20), || {
            if self.runs() { Err("it runs".to_owned()) } else { Ok(()) }
        })
    }

    /// Kills it and waits until it is gone (10 s at most).
    pub(crate) fn kill(self) -> Result<(), Error> {
        self.signal("KILL")?;
        self.wait_gone(Duration::from_secs(10))
    }
}

/// Pid, start time and state out of a line of /proc/PID/stat. The program's name in it may hold blanks and brackets.
fn parse(line: &str) -> Option<(Process, char)> {
    let pid = line.split_once(' ')?.0.parse().ok()?;
    let mut rest = line.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = rest.next()?.chars().next()?;
    // The state is field 3; the start time is field 22.
    let started = rest.nth(18)?.parse().ok()?;
    Some((Process { pid, started }, state))
}

fn record(layout: &Layout, name: &str) -> PathBuf {
    layout.records().join(name)
}

/// The program of this name, if it has a record. It may have ended since.
pub(crate) fn recorded(layout: &Layout, name: &str) -> Option<Process> {
    parse(&fs::read_to_string(record(layout, name)).ok()?).map(|(process, _)| process)
}

/// All programs that have a record, with their names.
pub(crate) fn all_recorded(layout: &Layout) -> Vec<(String, Process)> {
    let names = fs::read_dir(layout.records()).into_iter().flatten().flatten();
    let mut found: Vec<_> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| Path::new(name).extension().is_none_or(|end| end != "new"))
        .filter_map(|name| recorded(layout, &name).map(|process| (name, process)))
        .collect();
    found.sort();
    found
}

/// Takes a record away, after its program has ended.
pub(crate) fn forget(layout: &Layout, name: &str) -> Result<(), Error> {
    let path = record(layout, name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).file("remove", &path)
        }
        _ => Ok(()),
    }
}

/// Starts a program in a session of its own, in these cgroups, its output appended to `log`; returns when it has its record.
pub(crate) fn start(
    layout: &Layout,
    name: &str,
    log: &Path,
    cgroups: &[PathBuf],
    line: &[String],
) -> Result<Process, Error> {
    forget(layout, name)?;
    let cgroups: Vec<String> = cgroups.iter().map(|group| group.display().to_string()).collect();
    // setsid --fork: the program becomes a child of process 1, so that it outlives us and leaves no zombie.
    // Its output goes to the log, or Invocation would wait for it.
    Invocation::of("setsid")
        .args(["--fork", "/bin/sh", "-c", r#"exec /bin/sh "$@" >>"$0" 2>&1 </dev/null"#])
        .arg(log)
        .arg(sources().join("node/launch.sh"))
        .arg(record(layout, name))
        .arg(log)
        .arg(cgroups.join(":"))
        .args(line)
        .env(MARK, layout.run())
        .check()?;
    wait_every(&format!("{name} starts"), Duration::from_secs(10), Duration::from_millis(5), || {
        recorded(layout, name).ok_or_else(|| "it has no record".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_confuse() {
        let line = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 200";
        assert_eq!(parse(line), Some((Process { pid: 42, started: 98765 }, 'S')));
        assert_eq!(parse(""), None);
        assert_eq!(parse("42 (x) S 1"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_runs_and_an_earlier_one_with_its_pid_does_not() {
        let me = Process::now(std::process::id()).unwrap();
        assert!(me.runs());
        assert!(!Process { started: me.started + 1, ..me }.runs());
    }
}
