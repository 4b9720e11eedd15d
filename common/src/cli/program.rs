//! What every plugin's main does: parse, run, print the failure, end with the right code.

use std::ffi::OsString;
use std::future::Future;
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, error::ErrorKind};

use super::{Exit, Failure, Kind, Printer, complete_words};

/// How the program was called.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Its name in help and hints: `kubectl calico-doctor`, or the file's own name when kubectl did not call it.
    pub name: String,
    /// True when kubectl asks for completions.
    pub completes: bool,
    /// All arguments after the first.
    pub arguments: Vec<OsString>,
}

impl Invocation {
    /// Reads it off the command line.
    pub fn from_arguments(mut all: impl Iterator<Item = OsString>) -> Self {
        let first = all.next().unwrap_or_default();
        let file = Path::new(&first).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = match file.strip_prefix("kubectl-") {
            Some(plugin) => format!("kubectl {}", plugin.replace('_', "-")),
            None => file.clone(),
        };
        Self { name, completes: file.starts_with("kubectl_complete-"), arguments: all.collect() }
    }
}

/// What a plugin gives to [`run`].
pub struct Plugin {
    /// The command line's definition.
    pub command: Command,
    /// Codes and titles for completion.
    pub codes: Vec<[String; 2]>,
}

/// Runs a plugin: `start` gets the matches and how it was called.
pub fn run<F, R>(plugin: Plugin, start: F) -> ExitCode
where
    F: FnOnce(clap::ArgMatches, Invocation) -> R,
    R: Future<Output = Result<Exit, Failure>>,
{
    let invocation = Invocation::from_arguments(std::env::args_os());
    let printer = Printer::new(false);
    std::panic::set_hook(Box::new(move |fault| {
        let place = fault.location().map(|it| format!(" at {}:{}", it.file(), it.line()));
        printer.talk(&format!(
            "error: this is a fault of {}{}: please report it, with what you ran",
            env!("CARGO_PKG_REPOSITORY"),
            place.unwrap_or_default()
        ));
    }));
    let ended = if invocation.completes {
        let words: Vec<String> =
            invocation.arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        printer.data(&complete_words(&plugin.command, &words, &plugin.codes)).map(|()| Exit::Good)
    } else {
        parse_and_start(plugin.command, invocation, &printer, start)
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if failure.kind != Kind::BrokenPipe {
                printer.talk(&failure.text());
            }
            failure.exit().into()
        }
    }
}

fn parse_and_start<F, R>(
    command: Command,
    invocation: Invocation,
    printer: &Printer,
    start: F,
) -> Result<Exit, Failure>
where
    F: FnOnce(clap::ArgMatches, Invocation) -> R,
    R: Future<Output = Result<Exit, Failure>>,
{
    let words =
        std::iter::once(OsString::from(&invocation.name)).chain(invocation.arguments.clone());
    let parsed = command.bin_name(invocation.name.clone()).try_get_matches_from(words);
    let matches = match parsed {
        Ok(matches) => matches,
        Err(error) => return explain_usage(&error, printer),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(start(matches, invocation));
    // A blocked thread (a prompt that nobody answers) must not keep the process.
    runtime.shutdown_background();
    ended
}

/// Help and version are data; everything else is a usage error.
fn explain_usage(error: &clap::Error, printer: &Printer) -> Result<Exit, Failure> {
    let text = if printer.stdout.colour {
        error.render().ansi().to_string()
    } else {
        error.render().to_string()
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            printer.data(&text).map(|()| Exit::Good)
        }
        _ => {
            printer.talk(&error.render().to_string());
            Ok(Exit::Usage)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Invocation;

    fn called(first: &str) -> Invocation {
        Invocation::from_arguments([first.into(), "check".into()].into_iter())
    }

    #[test]
    fn help_speaks_as_the_user_does() {
        assert_eq!(called("/usr/bin/kubectl-calico_doctor").name, "kubectl calico-doctor");
        assert_eq!(called("kubectl-calico_doctor.exe").name, "kubectl calico-doctor");
        assert_eq!(called("doctor").name, "doctor");
        assert!(called("/x/kubectl_complete-calico_doctor").completes);
        assert!(!called("/x/kubectl-calico_doctor").completes);
    }
}
