//! `kubectl calico-ebpf`.

use std::process::ExitCode;

fn main() -> ExitCode {
    common::cli::run(kubectl_calico_ebpf::plugin(), kubectl_calico_ebpf::start)
}
