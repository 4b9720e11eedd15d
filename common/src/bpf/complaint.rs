//! What calico-node says in its log of an eBPF data plane that does not come.

/// Felix logs this when it starts anew to take a changed setting over: what stands before it is about another setting.
const ANEW: &str = "Exiting for config change";
/// What a line is about that tells why.
const ABOUT: [&str; 3] = ["bpf", "kernel", "interface"];
/// Characters that are shown of the beginning and of the end of a long line: what went wrong stands at the end.
const FRONT: usize = 80;
const END: usize = 160;

/// The last line that tells of an error with eBPF since Felix took its settings over; none when there is none.
pub fn complaint(log: &str) -> Option<String> {
    let since = log.rfind(ANEW).map_or(0, |at| at + ANEW.len());
    let lines = log.get(since..).unwrap_or_default().lines();
    let tells = |line: &&str| {
        let lower = line.to_lowercase();
        lower.contains("error=") && ABOUT.iter().any(|word| lower.contains(word))
    };
    lines.rev().find(tells).map(last_words)
}

/// A line of a log for a person: without time, level and place, and without the middle where it is long.
pub fn last_words(line: &str) -> String {
    let text: Vec<char> = without_front(line).chars().collect();
    if text.len() <= FRONT + END {
        return text.into_iter().collect();
    }
    let (front, end) = (&text[..FRONT], &text[text.len() - END..]);
    format!("{} … {}", String::from_iter(front).trim_end(), String::from_iter(end).trim_start())
}

/// Without time, level, process and place: `2026-01-01 00:00:00.000 [ERROR][63] felix/int_dataplane.go 12: text`.
fn without_front(line: &str) -> &str {
    let after_place = line.split_once(".go ").and_then(|(_, rest)| rest.split_once(": "));
    after_place.map_or(line, |(_, text)| text).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FALLBACK: &str = r#"2026-01-01 00:00:01.000 [WARNING][63] felix/driver.go 99: BPF dataplane mode enabled but not supported by the kernel.  Disabling BPF mode. error="kernel is too old (have: 4.15.0 but want at least: 5.3.0)""#;

    #[test]
    fn the_last_error_about_ebpf_since_the_settings_changed_is_told() {
        let log = format!("{FALLBACK}\n2026 [INFO][63] felix/a.go 1: fine\n");
        let told = complaint(&log).unwrap();
        assert!(told.starts_with("BPF dataplane mode enabled"), "{told}");
        assert!(told.ends_with("5.3.0)\""), "{told}");
        let before =
            format!("{log}2026 [WARNING][63] felix/b.go 2: Exiting for config change rc=129\n");
        assert_eq!(complaint(&before), None, "what it said of other settings");
        assert_eq!(complaint("x error=\"no such route\"\n"), None);
        assert_eq!(complaint(""), None);
    }

    #[test]
    fn odd_lines_are_borne() {
        assert_eq!(complaint("bpf error=1").as_deref(), Some("bpf error=1"));
        let long = format!("bpf error={} connection refused", "ä".repeat(1000));
        let told = complaint(&long).unwrap();
        assert_eq!(told.chars().count(), FRONT + END + 3);
        assert!(
            told.starts_with("bpf error=ä") && told.ends_with("ä connection refused"),
            "{told}"
        );
    }
}
