//! The removal of residues as one script to be run by hand, on a machine that has left its cluster.

use super::host::{HostContext, RenderError, render};
use crate::plan::PlanId;
use crate::residue::Removal;

/// What the script begins with; the machine's name comes in front.
const PRELUDE: &str = include_str!("removal_prelude.sh");

/// One script that does the work in order, each piece in a shell of its own, and stops at the first that fails. It runs
/// only on the machine that was scanned.
///
/// # Errors
/// When a value in a piece of work is not of the form that it must have.
pub fn removal_script(
    machine: &str,
    work: &[Removal],
    run: &PlanId,
) -> Result<String, RenderError> {
    let mut text =
        format!("#!/bin/sh\nmachine={}\ncount={}\n{PRELUDE}", quoted(machine), work.len());
    for (index, one) in work.iter().enumerate() {
        let script = render(&one.operation, &HostContext::new(run), None)?;
        let script = String::from_utf8_lossy(script.as_bytes()).into_owned();
        let end = delimiter(&script);
        let title = quoted(&one.title);
        text.push_str(&format!("\nwork {} {title} <<'{end}'\n{script}\n{end}\n", index + 1));
    }
    text.push_str("\nended\n");
    Ok(text)
}

/// A line that the script does not hold.
fn delimiter(script: &str) -> String {
    let mut word = "END_OF_WORK".to_owned();
    while script.lines().any(|line| line == word) {
        word.push('_');
    }
    word
}

/// A word of a shell script, on one line.
fn quoted(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("'{}'", line.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::plan::{Expected, HostOperation};

    /// SHA-256 of `x`.
    const X: &str = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

    fn removal(title: &str, path: &str) -> Removal {
        let expected = Expected::Sha256(X.into());
        let operation = HostOperation::RemoveFile { path: path.into(), expected };
        Removal { title: title.into(), operation, residues: Vec::new() }
    }

    /// Runs a script on a made-up host.
    fn run(script: &str, root: &std::path::Path) -> (bool, String) {
        use std::io::Write;
        let mut child = Command::new("sh")
            .env("CALICO_HOST_ROOT", root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }

    fn here() -> String {
        std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
    }

    #[test]
    fn it_does_one_thing_after_the_other_and_stops_at_the_first_that_fails() {
        let root = tempfile::tempdir().unwrap();
        let put = |name: &str| std::fs::write(root.path().join(name), "x").unwrap();
        let has = |name: &str| root.path().join(name).exists();
        put("a");
        put("c");
        std::fs::create_dir(root.path().join("b")).unwrap();
        let work =
            [removal("remove 'a'", "/a"), removal("remove b", "/b"), removal("remove c", "/c")];
        let script = removal_script(&here(), &work, &PlanId("01RUN".into())).unwrap();
        let (good, said) = run(&script, root.path());
        assert!(!good && !has("a") && has("c"), "{said}");
        assert!(said.contains("1 of 3: remove 'a'") && said.contains("2 of 3: remove b"), "{said}");
        assert!(!said.contains("3 of 3"), "{said}");
        std::fs::remove_dir(root.path().join("b")).unwrap();
        let (good, said) = run(&script, root.path());
        assert!(good && !has("c"), "{said}");
    }

    #[test]
    fn it_runs_nowhere_else() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a"), "x").unwrap();
        let script =
            removal_script("another'$(x)", &[removal("t", "/a")], &PlanId("01RUN".into())).unwrap();
        let (good, said) = run(&script, root.path());
        assert!(!good && root.path().join("a").exists(), "{said}");
        assert!(said.contains("another'$(x)"), "{said}");
    }
}
