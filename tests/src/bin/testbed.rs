//! Starts, stops and enters the testbed by hand.

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    use std::io::Write as _;
    match command::run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(code) => code,
        Err(error) => {
            let mut line = format!("error: {error}");
            let mut source = std::error::Error::source(error.as_ref());
            while let Some(cause) = source {
                line = format!("{line}: {cause}");
                source = cause.source();
            }
            drop(writeln!(std::io::stderr(), "{line}"));
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
mod command {
    use std::error::Error;
    use std::io::Write as _;
    use std::process::{Command, ExitCode};
    use tests::testbed::{
        Artefacts, Install, Inventory, Layout, Options, Progress, Testbed, layouts, operator_layout,
    };

    const USAGE: &str = "usage: testbed up [WORKERS | --operator] | down [--force] | status | shell NODE [COMMAND...] | kubectl [ARGUMENT...] \
                         | kubeconfig | build | collect FOLDER";

    pub(super) fn run(arguments: &[String]) -> Result<ExitCode, Box<dyn Error>> {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let layout = Layout::from_environment()?;
        let progress = Progress::on_stderr();
        match words.as_slice() {
            ["up"] => up(&layout, Options::default()),
            // A testbed of its own, the one that tests with the operator use.
            ["up", "--operator"] => {
                let options = Options { install: Install::Operator, ..Options::default() };
                up(&operator_layout()?, options)
            }
            ["up", workers] => {
                up(&layout, Options { workers: workers.parse()?, ..Options::default() })
            }
            ["down"] => down(false),
            ["down", "--force"] => down(true),
            ["build"] => done(Testbed::build(&layout, progress)),
            ["kubeconfig"] => say(&layout.kubeconfig().display().to_string()),
            ["status"] => status(&layout),
            ["collect", folder] => done(Testbed::attach_or_start()?.collect(folder.as_ref())),
            ["kubectl", rest @ ..] => kubectl(&layout, rest),
            ["shell", node, rest @ ..] => shell(&layout, node, rest),
            _ => Err(USAGE.into()),
        }
    }

    fn done<T>(result: Result<T, tests::testbed::Error>) -> Result<ExitCode, Box<dyn Error>> {
        result.map(|_| ExitCode::SUCCESS).map_err(Into::into)
    }

    fn say(line: &str) -> Result<ExitCode, Box<dyn Error>> {
        writeln!(std::io::stdout(), "{line}")?;
        Ok(ExitCode::SUCCESS)
    }

    fn up(layout: &Layout, options: Options) -> Result<ExitCode, Box<dyn Error>> {
        let testbed = Testbed::start(layout, options, Progress::on_stderr())?;
        say(&format!("export KUBECONFIG={}", testbed.kubeconfig().display()))
    }

    /// Stops all testbeds that tests may have started.
    fn down(force: bool) -> Result<ExitCode, Box<dyn Error>> {
        // Nobody has started the one with the operator as long as it has no locks.
        let operator = Some(operator_layout()?).filter(|layout| layout.locks().exists());
        let ends: Vec<_> = layouts()?
            .iter()
            .chain(&operator)
            .map(|layout| Testbed::stop(layout, force, Progress::on_stderr()))
            .collect();
        done(ends.into_iter().collect::<Result<(), _>>())
    }

    fn status(layout: &Layout) -> Result<ExitCode, Box<dyn Error>> {
        let inventory = Inventory::take(layout)?;
        let state = match (Testbed::is_running(layout)?, inventory.leftovers().is_empty()) {
            (true, _) => "running",
            (false, true) => "not running",
            (false, false) => "half started or half stopped (`testbed down` cleans up)",
        };
        say(&format!(
            "testbed {}: {state}; {} processes, {} mounts, {} namespaces, {} links, {} cgroups",
            layout.instance(),
            inventory.processes.len(),
            inventory.mounts.len(),
            inventory.namespaces.len(),
            inventory.links.len(),
            inventory.cgroups.len(),
        ))
    }

    fn kubectl(layout: &Layout, rest: &[&str]) -> Result<ExitCode, Box<dyn Error>> {
        let mut command = Command::new(Artefacts::of(layout)?.kubebox);
        command.arg("kubectl").arg("--kubeconfig").arg(layout.kubeconfig()).args(rest);
        pass_on(&mut command)
    }

    fn shell(layout: &Layout, node: &str, rest: &[&str]) -> Result<ExitCode, Box<dyn Error>> {
        let line = if rest.is_empty() { &["/bin/bash", "-i"] } else { rest };
        let mut command = tests::testbed::Node::named(layout, node)?.interactive(line)?;
        pass_on(&mut command)
    }

    fn pass_on(command: &mut Command) -> Result<ExitCode, Box<dyn Error>> {
        let code = command.status()?.code().and_then(|code| u8::try_from(code).ok());
        Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
    }
}
