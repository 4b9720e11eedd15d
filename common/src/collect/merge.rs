//! Two probes of one node, as one text.

/// What the host's own probe says, and what only calico-node's can: Felix's health, and commands that the host lacks.
/// Section `vantage` names both.
pub(super) fn merge(calico_node: &[u8], host: &[u8]) -> Vec<u8> {
    let (inside, _) = split(calico_node);
    let (outside, cut) = split(host);
    let mut text = b"@@vantage rc=0 ms=0\ncalico-node\nhost\n@@end\n".to_vec();
    let found = |id: &[u8]| inside.iter().find(|section| section.id == id);
    for section in outside.iter().filter(|section| section.id != b"vantage") {
        let better =
            found(section.id).filter(|inside| section.has_no_command() && !inside.has_no_command());
        text.extend_from_slice(better.unwrap_or(section).text);
    }
    let is_new = |id: &[u8]| outside.iter().all(|section| section.id != id);
    for section in inside.iter().filter(|section| is_new(section.id)) {
        text.extend_from_slice(section.text);
    }
    // A section that was cut off must be the last one, or it would swallow the next.
    text.extend_from_slice(cut);
    text
}

/// A section as it came, with its markers.
struct Section<'a> {
    id: &'a [u8],
    text: &'a [u8],
}

impl Section<'_> {
    /// True when the shell did not find the command: nothing was learnt.
    fn has_no_command(&self) -> bool {
        let head = self.text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let head = String::from_utf8_lossy(head);
        head.split(' ').any(|word| matches!(word, "rc=126" | "rc=127"))
    }
}

/// The whole sections, and a last one without its end. Output never starts a line with `@@`: the probe sees to that.
fn split(text: &[u8]) -> (Vec<Section<'_>>, &[u8]) {
    let mut sections = Vec::new();
    let mut open: Option<(&[u8], usize)> = None;
    let mut at = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let start = at;
        at += line.len();
        match (open, line) {
            (Some((id, begin)), b"@@end\n") => {
                sections.push(Section { id, text: &text[begin..at] });
                open = None;
            }
            (None, _) if line.starts_with(b"@@") && line != b"@@end\n" => {
                let id = line[2..].split(|byte| matches!(byte, b' ' | b'\n')).next();
                open = Some((id.unwrap_or_default(), start));
            }
            _ => {}
        }
    }
    (sections, open.map_or(&[], |(_, begin)| &text[begin..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{HostFacts, Known, ProbeFault, Vantage, parse_probe};

    const INSIDE: &str = "@@vantage rc=0 ms=0\ncalico-node\n@@end\n\
        @@ls-cni-net.d rc=0 ms=1\ntotal 0\n@@end\n\
        @@ls-cni-bin rc=2 ms=1\nls: /opt/cni/bin: No such file or directory\n@@end\n\
        @@felix.readiness rc=0 ms=9\n@@end\n\
        @@ip-link rc=0 ms=1\n[]\n@@end\n";
    const OUTSIDE: &str = "@@vantage rc=0 ms=0\nhost\n@@end\n\
        @@ls-cni-net.d rc=0 ms=1\n-rw------- 1 0 0 9 2026-11-21 12:03:47.6 +0000 10-calico.conflist\n@@@end\n@@end\n\
        @@ls-cni-bin rc=0 ms=1\n-rwxr-xr-x 1 0 0 9 2026-11-21 12:03:47.6 +0000 calico\n@@end\n\
        @@ip-link rc=127 ms=1\nsh: ip: not found\n@@end\n";

    #[test]
    fn each_vantage_tells_what_it_sees_best() {
        let text = merge(INSIDE.as_bytes(), OUTSIDE.as_bytes());
        let (sections, faults) = parse_probe(&text);
        assert_eq!(faults, []);
        assert_eq!(
            sections.keys().collect::<Vec<_>>(),
            ["felix.readiness", "ip-link", "ls-cni-bin", "ls-cni-net.d", "vantage"]
        );
        assert_eq!(sections["vantage"].text, "calico-node\nhost\n");
        assert_eq!(sections["ip-link"].text, "[]\n");
        assert!(sections["ls-cni-net.d"].text.ends_with("10-calico.conflist\n@@end\n"));
        let (facts, _) = HostFacts::from_probe("n", &text);
        assert_eq!(facts.vantage, Vantage::Both);
        assert!(facts.binary("calico").known().is_some());
        assert_eq!(facts.binary("calico-ipam"), Known::Absent, "the host's own word counts");
        assert!(facts.felix.known().is_some());
    }

    #[test]
    fn a_text_that_was_cut_spoils_only_its_last_section() {
        let cut = "@@vantage rc=0 ms=0\nhost\n@@end\n@@boot rc=0 ms=1\n1234\n";
        let (sections, faults) = parse_probe(&merge(INSIDE.as_bytes(), cut.as_bytes()));
        assert_eq!(faults, [ProbeFault::Truncated("boot".to_owned())]);
        assert!(sections.contains_key("felix.readiness") && sections.contains_key("ip-link"));
    }
}
