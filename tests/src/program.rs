//! The plugins' programs, built from this source, for tests that run them as a user does.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Name of doctor's file.
pub const DOCTOR: &str = "kubectl-calico_doctor";
/// Name of purge's file.
pub const PURGE: &str = "kubectl-calico_purge";
/// Name of ebpf's file.
pub const EBPF: &str = "kubectl-calico_ebpf";
/// Name of ipam's file.
pub const IPAM: &str = "kubectl-calico_ipam";

/// Where the sources are.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).to_owned()
}

/// Doctor's program. The first call builds it: tests of this package do not make cargo build another package's program.
///
/// # Errors
/// When it does not build; the text is cargo's.
pub fn doctor() -> Result<PathBuf, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(|| build("kubectl-calico-doctor", DOCTOR)).clone()
}

/// Purge's program, as [`doctor`].
///
/// # Errors
/// When it does not build; the text is cargo's.
pub fn purge() -> Result<PathBuf, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(|| build("kubectl-calico-purge", PURGE)).clone()
}

/// Ebpf's program, as [`doctor`].
///
/// # Errors
/// When it does not build; the text is cargo's.
pub fn ebpf() -> Result<PathBuf, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(|| build("kubectl-calico-ebpf", EBPF)).clone()
}

/// Ipam's program, as [`doctor`].
///
/// # Errors
/// When it does not build; the text is cargo's.
pub fn ipam() -> Result<PathBuf, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(|| build("kubectl-calico-ipam", IPAM)).clone()
}

fn build(package: &str, file: &str) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    forget_this_package(&mut command);
    let built = command
        .args(["build", "--locked", "--quiet", "--package", package])
        .current_dir(root())
        .output()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    let path = target().join("debug").join(file);
    if built.status.success() && path.is_file() {
        Ok(path)
    } else {
        let said = String::from_utf8_lossy(&built.stderr);
        Err(format!("cargo did not build {}: {said}", path.display()))
    }
}

/// Takes out what cargo tells a test about its package. Build scripts (ring's) look at it: a cargo that inherited it would
/// compile half of the dependencies anew, and the next cargo without it once more.
pub fn forget_this_package(command: &mut Command) {
    let tells = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_", "CARGO_PRIMARY_"];
    for (name, _) in std::env::vars_os() {
        if tells.iter().any(|start| name.to_string_lossy().starts_with(start)) {
            command.env_remove(name);
        }
    }
}

/// Cargo's target folder: tests lie in `TARGET/debug/deps`.
fn target() -> PathBuf {
    std::env::current_exe()
        .ok()
        .and_then(|it| Some(it.parent()?.parent()?.parent()?.to_owned()))
        .unwrap_or_else(|| root().join("target"))
}

/// What a program printed, and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The answer.
    pub stdout: String,
    /// The talk.
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Doctor with `arguments`, away from any cluster and from this user's settings: HOME is `home`, and no variable of
/// ours, of kubectl's or of a proxy is set.
///
/// # Errors
/// When the program cannot be built.
pub fn doctor_command(home: &Path, arguments: &[&str]) -> Result<Command, String> {
    let mut command = Command::new(doctor()?);
    command.args(arguments).current_dir(home).env_clear().env("HOME", home);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LANG", "C.UTF-8");
    Ok(command)
}

/// Runs [`doctor_command`] to its end.
///
/// # Errors
/// When the program cannot be built or started.
pub fn run_doctor(home: &Path, arguments: &[&str]) -> Result<Ran, String> {
    let output = doctor_command(home, arguments)?.output();
    output.map(Ran::from).map_err(|error| format!("cannot run doctor: {error}"))
}
