//! Shell completion: scripts for a shell, and the protocol that kubectl speaks with `kubectl_complete-*`.

use clap::{Command, ValueEnum};

/// Shells that a script can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// Bourne Again Shell
    Bash,
    /// Z Shell
    Zsh,
    /// Friendly Interactive Shell
    Fish,
}

/// The completion script of `command` for `shell`, for the file name `binary`.
pub fn script(mut command: Command, shell: Shell, binary: &str) -> String {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut command, binary, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Cobra's directive "no file completion", the last line of every answer.
const NO_FILES: &str = ":4";

/// Answers kubectl: candidates for the last of `words` (all words after the plugin's name, the last one possibly
/// empty), one per line as `value<TAB>description`. `codes` are offered where a verb takes codes.
pub fn complete_words(command: &Command, words: &[String], codes: &[[String; 2]]) -> String {
    let (typed, before) = match words.split_last() {
        Some((typed, before)) => (typed.as_str(), before),
        None => ("", &[][..]),
    };
    let verb = before
        .iter()
        .filter(|word| !word.starts_with('-'))
        .find_map(|word| command.find_subcommand(word));
    let mut lines = Vec::new();
    if typed.starts_with('-') {
        let of = verb.unwrap_or(command);
        for argument in
            of.get_arguments().chain(command.get_arguments().filter(|it| it.is_global_set()))
        {
            if let Some(long) = argument.get_long() {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                lines.push(format!("--{long}\t{}", help.lines().next().unwrap_or_default()));
            }
        }
    } else if let Some(verb) = verb {
        if matches!(verb.get_name(), "explain" | "fix") {
            lines.extend(codes.iter().map(|[code, title]| format!("{code}\t{title}")));
        }
    } else {
        for verb in command.get_subcommands().filter(|it| !it.is_hide_set()) {
            let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
            lines.push(format!("{}\t{about}", verb.get_name()));
        }
    }
    let wanted = typed.to_ascii_lowercase();
    lines.retain(|line| line.to_ascii_lowercase().starts_with(&wanted));
    lines.sort();
    lines.dedup();
    lines.push(NO_FILES.to_owned());
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Command::new("x").subcommand(Command::new("explain").about("Prints a page")).subcommand(
            Command::new("check").about("Looks").arg(clap::Arg::new("o").long("output")),
        )
    }

    fn ask(words: &[&str]) -> String {
        let codes =
            [["CAL-A-001".to_owned(), "a".to_owned()], ["CAL-B-001".to_owned(), "b".to_owned()]];
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        complete_words(&command(), &words, &codes)
    }

    #[test]
    fn kubectl_is_answered() {
        assert_eq!(ask(&[""]), "check\tLooks\nexplain\tPrints a page\n:4\n");
        assert_eq!(ask(&["explain", "cal-b"]), "CAL-B-001\tb\n:4\n");
        assert_eq!(ask(&["check", "--out"]), "--output\t\n:4\n");
        assert_eq!(ask(&["check", ""]), ":4\n");
    }
}
