//! The load test: a program that does nothing, and what it tells that a host could load and attach it, or not.

mod object;

use crate::snapshot::{Gap, GapReason, Known, parse_probe};

pub use object::scratch_program;

/// Name of the program, which is nobody's.
pub const PROGRAM: &str = "kubectl_calico";

/// Characters of a complaint that are shown.
const EXCERPT: usize = 200;

/// What a host's load test tells: that the program was attached, or what was said when it was not.
pub type Loaded = Known<Result<(), String>>;

/// Reads the text of `node/load.sh`. What the host lacks to make the test is unknown, neither well nor bad.
pub fn from_scan(node: &str, body: &[u8]) -> Loaded {
    let (sections, faults) = parse_probe(body);
    let what = format!("nodes/{node}/load.txt");
    let unknown = |why: GapReason, detail: &str| Known::Unknown(Gap::new(&what, why, detail));
    let Some(section) = sections.get("load").filter(|_| faults.is_empty()) else {
        return unknown(GapReason::Undecodable, "the load test printed no result");
    };
    let telling = ["rror", "ermission denied", "not permitted", "nvalid", "nable"];
    let said = section.text.lines().find(|line| telling.iter().any(|it| line.contains(it)));
    let said = said.or_else(|| section.text.lines().find(|it| !it.trim().is_empty()));
    let said: String = said.unwrap_or("no output").chars().take(EXCERPT).collect();
    // An old tc cannot read the file, which says nothing about the kernel.
    let is_tools =
        ["No ELF library support", "What is \"", "Unknown filter", "unrecognized option"]
            .iter()
            .any(|it| section.text.contains(it));
    match section.rc {
        0 if section.text.contains(PROGRAM) || section.text.contains("prog") => {
            Known::Known(Ok(()))
        }
        0 => unknown(GapReason::Undecodable, "the host did not show the program that it took"),
        124 | 137 => unknown(GapReason::TimedOut, "the load test did not end within 10 s"),
        126 | 127 => unknown(GapReason::NotAsked, &said),
        _ if is_tools => unknown(GapReason::NotAsked, &said),
        _ => Known::Known(Err(said)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rc: i32, text: &str) -> Loaded {
        from_scan("n", format!("@@load rc={rc} ms=0\n{text}\n@@end\n").as_bytes())
    }

    #[test]
    fn what_was_taken_is_shown() {
        let shown = "filter protocol all pref 49152 bpf chain 0 handle 0x1 program.o:[prog] direct-action not_in_hw id 12 name kubectl_calico tag 0 jited";
        assert_eq!(of(0, shown), Known::Known(Ok(())));
        assert!(of(0, "").gap().is_some());
    }

    #[test]
    fn what_was_refused_is_told_and_what_could_not_be_tried_is_unknown() {
        let refused = of(
            2,
            "libbpf: prog 'x': BPF program load failed: Operation not permitted\nUnable to load program",
        );
        assert!(matches!(refused, Known::Known(Err(said)) if said.contains("not permitted")));
        assert!(of(127, "this host has no tc").gap().is_some());
        assert!(of(126, "mount: denied").gap().is_some());
        assert!(of(1, "No ELF library support compiled in.").gap().is_some());
        assert!(of(124, "").gap().is_some());
        assert!(from_scan("n", b"nonsense").gap().is_some());
    }
}
