//! Runs programs with a time limit, and keeps what they say.

use super::error::Error;
use super::wait::Deadline;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// The time a program gets unless told otherwise.
const DEFAULT_LIMIT: Duration = Duration::from_secs(60);

/// How a program ended and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The exit status; `None` after a signal.
    pub status: Option<i32>,
    /// Its standard output, bytes that are not UTF-8 replaced.
    pub stdout: String,
    /// Its standard error, bytes that are not UTF-8 replaced.
    pub stderr: String,
}

impl Output {
    /// Whether the program ended with status 0.
    pub fn is_success(&self) -> bool {
        self.status == Some(0)
    }
}

/// A program about to be run.
#[derive(Debug)]
pub struct Invocation {
    command: Command,
    input: Vec<u8>,
    limit: Duration,
}

impl Invocation {
    /// Names the program, found through `PATH`.
    pub fn of(program: impl AsRef<std::ffi::OsStr>) -> Self {
        Self { command: Command::new(program), input: Vec::new(), limit: DEFAULT_LIMIT }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<std::ffi::OsStr>>(
        mut self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the working folder.
    #[must_use]
    pub fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Gives the program something to read; without it, its standard input is empty.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Sets how long the program may run (60 s otherwise); it is killed then.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    fn line(&self) -> String {
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    /// Runs the program to its end, however that turns out.
    pub fn output(mut self) -> Result<Output, Error> {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().map_err(|source| Error::Start {
            program: self.command.get_program().to_string_lossy().into_owned(),
            source,
        })?;
        let input = std::mem::take(&mut self.input);
        let writer = child.stdin.take().map(|mut pipe| {
            // A program that does not read its input to the end is no error of ours.
            thread::spawn(move || drop(pipe.write_all(&input)))
        });
        let stdout = child.stdout.take().map(gather);
        let stderr = child.stderr.take().map(gather);
        let status = self.wait(&mut child)?;
        if let Some(writer) = writer {
            drop(writer.join());
        }
        Ok(Output { status, stdout: text(stdout), stderr: text(stderr) })
    }

    fn wait(&self, child: &mut Child) -> Result<Option<i32>, Error> {
        let deadline = Deadline::after(self.limit);
        let mut pause = Duration::from_millis(1);
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok(status.code()),
                Ok(None) if deadline.passed() => {
                    drop(child.kill());
                    drop(child.wait());
                    return Err(Error::TooLong { command: self.line(), limit: self.limit });
                }
                Ok(None) => thread::sleep(pause),
                Err(source) => return Err(Error::Start { program: self.line(), source }),
            }
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Runs the program; a status other than 0 is an error. Returns its standard output.
    pub fn check(self) -> Result<String, Error> {
        let command = self.line();
        let output = self.output()?;
        if output.is_success() {
            return Ok(output.stdout);
        }
        let said = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
        let status =
            output.status.map_or_else(|| "a signal".to_owned(), |code| format!("status {code}"));
        Err(Error::Program { command, status, stderr: tail(said.trim(), 2000).to_owned() })
    }
}

fn gather(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        drop(pipe.read_to_end(&mut bytes));
        bytes
    })
}

fn text(reader: Option<thread::JoinHandle<Vec<u8>>>) -> String {
    let bytes = reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The end of a text, at most `most` bytes, cut between characters.
pub(crate) fn tail(text: &str, most: usize) -> &str {
    let start = text.len().saturating_sub(most);
    let start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    &text[start..]
}

/// Runs a program that is quick and must succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String, Error> {
    Invocation::of(program).args(arguments).check()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_reaches_the_program_and_output_comes_back() {
        assert_eq!(Invocation::of("cat").input("spoken").check().unwrap(), "spoken");
    }

    #[test]
    fn a_bad_end_names_the_command_and_what_it_said() {
        let error = run("sh", &["-c", "echo why >&2; exit 3"]).unwrap_err().to_string();
        assert_eq!(error, "`sh -c echo why >&2; exit 3` ended with status 3: why");
    }

    #[test]
    fn a_program_that_hangs_is_killed() {
        let error =
            Invocation::of("sleep").arg("60").limit(Duration::from_millis(50)).check().unwrap_err();
        assert!(matches!(error, Error::TooLong { .. }), "{error}");
    }

    #[test]
    fn the_tail_is_cut_between_characters() {
        assert_eq!(tail("aé", 1), "");
        assert_eq!(tail("aé", 2), "é");
        assert_eq!(tail("short", 100), "short");
    }
}
