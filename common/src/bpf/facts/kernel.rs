//! What the kernel and the host offer: mounts, settings, options, listeners, and calico-node's own report.

use std::collections::{BTreeMap, BTreeSet};

/// A mount of the BPF file system, of cgroup v2, or of /sys or /sys/fs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub point: String,
    /// File system: `bpf`, `cgroup2`.
    pub kind: String,
    /// True when what is mounted below becomes visible in other mount namespaces.
    pub shared: bool,
}

/// A line of calico-node's own report of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// The part, e.g. `BPFEndpointManager`.
    pub component: String,
    /// What it says of its readiness: `reporting ready`, `-`.
    pub readiness: String,
    /// What it says besides.
    pub detail: String,
}

/// Lines of /proc/self/mountinfo: `36 35 98:0 / /sys/fs/bpf rw shared:2 - bpf bpf rw`.
pub(super) fn mounts(text: &str) -> Vec<Mount> {
    let line = |line: &str| {
        let (front, back) = line.split_once(" - ")?;
        let words: Vec<&str> = front.split(' ').collect();
        Some(Mount {
            point: (*words.get(4)?).to_owned(),
            kind: back.split(' ').next()?.to_owned(),
            shared: words.iter().skip(6).any(|it| it.starts_with("shared:")),
        })
    };
    text.lines().filter_map(line).collect()
}

/// `key=value` lines.
pub(super) fn pairs(text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| {
        let (key, value) = line.split_once('=')?;
        Some((key.to_owned(), value.trim().to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

/// `none [integrity] confidentiality`
pub(super) fn lockdown(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word.to_owned())
}

/// Ports of lines of /proc/net/tcp: `0: 00000000:2810 00000000:0000 0A …`.
pub(super) fn listeners(text: &str) -> BTreeSet<u16> {
    let port = |line: &str| {
        let local = line.split_whitespace().nth(1)?;
        u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()
    };
    text.lines().filter_map(port).collect()
}

/// Servers of kubeconfigs by their paths: a heading `# /path`, then the server.
pub(super) fn servers(text: &str) -> Vec<(String, String)> {
    let mut path = "";
    let mut found = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("# ") {
            Some(heading) => path = heading,
            None if !line.trim().is_empty() => {
                let server = line.trim().trim_matches(['"', '\'']);
                found.push((path.to_owned(), server.to_owned()));
            }
            None => {}
        }
    }
    found
}

/// The box table of calico-node's answer: `| COMPONENT | TIMEOUT | LIVENESS | READINESS | DETAIL |`. A detail may go on in
/// further lines, whose first cell is empty.
pub(super) fn reported(text: &str) -> Vec<Reported> {
    let mut found: Vec<Reported> = Vec::new();
    for line in text.lines() {
        let Some(inner) = line.trim().strip_prefix('|').and_then(|it| it.strip_suffix('|')) else {
            continue;
        };
        let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
        let [component, _, _, readiness, detail] = cells.as_slice() else { continue };
        match (*component, found.last_mut()) {
            ("COMPONENT", _) | ("", None) => {}
            ("", Some(last)) => {
                if !detail.is_empty() {
                    last.detail.push(' ');
                    last.detail.push_str(detail);
                }
            }
            (component, _) => found.push(Reported {
                component: component.to_owned(),
                readiness: (*readiness).to_owned(),
                detail: (*detail).to_owned(),
            }),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read() {
        let found = mounts(
            "29 23 0:26 / /sys/fs/bpf rw,nosuid shared:9 - bpf bpf rw,mode=700\n\
             30 23 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\nnonsense - x\n - \n",
        );
        let bpf = Mount { point: "/sys/fs/bpf".into(), kind: "bpf".into(), shared: true };
        assert_eq!(found[0], bpf);
        assert_eq!((found.len(), found[1].shared), (2, false));
    }

    #[test]
    fn the_report_of_the_parts_is_read() {
        let found = reported(
            "HTTP/1.0 503 Service Unavailable\r\n\r\n+---+\n|  COMPONENT  | TIMEOUT | LIVENESS | READINESS | DETAIL |\n+---+\n\
             | BPFEndpointManager | - | - | reporting non-ready | Not yet synced. |\n|  |  |  |  | more |\n| a | b |\n| Int | 90s | reporting live | reporting ready | |\n",
        );
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].detail, "Not yet synced. more");
        assert_eq!(found[0].readiness, "reporting non-ready");
    }

    #[test]
    fn other_words_are_read() {
        assert_eq!(lockdown("none [integrity] confidentiality\n").as_deref(), Some("integrity"));
        assert_eq!(lockdown("]["), None);
        let ports =
            listeners("   0: 00000000000000000000000000000000:2810 0:0000 0A x\nnonsense\n");
        assert_eq!(ports.into_iter().collect::<Vec<_>>(), [10256]);
        assert_eq!(
            servers("# /a\n\"https://x:1\"\n# /b\n"),
            [("/a".to_owned(), "https://x:1".to_owned())]
        );
    }
}
