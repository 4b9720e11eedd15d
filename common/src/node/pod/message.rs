//! Output that comes by termination message: at most 4096 bytes, so it is packed, and may be only the beginning.

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Largest unpacked output that is taken, in bytes.
const LIMIT: u64 = 10 * 1024 * 1024;

/// Follows sections of which not all came: one that does not end, by which readers of sections know it.
const CUT: &[u8] = b"@@cut rc=0 ms=0\n";

/// The output that a termination message of ours holds, or as much of it as there was room for.
pub(super) fn unpack(message: &str) -> Option<Vec<u8>> {
    if let Some(text) = message.strip_prefix("tx:") {
        return Some(text.as_bytes().to_vec());
    }
    let packed = message.strip_prefix("gz:")?.trim_end();
    // A message that was cut need not end at a group of four.
    let whole = packed.get(..packed.len() / 4 * 4)?;
    let bytes = STANDARD.decode(whole).ok()?;
    let mut text = Vec::new();
    let read = flate2::read::GzDecoder::new(bytes.as_slice()).take(LIMIT).read_to_end(&mut text);
    // The end of a cut stream is an error, after everything that could be read. It may have been cut between two sections.
    if read.is_err() && text.starts_with(b"@@") {
        text.extend_from_slice(CUT);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(text: &[u8]) -> String {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text).unwrap();
        format!("gz:{}", STANDARD.encode(encoder.finish().unwrap()))
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        assert_eq!(unpack(&packed(b"one\n")), Some(b"one\n".to_vec()));
        assert_eq!(unpack("tx:one\n"), Some(b"one\n".to_vec()));
        assert_eq!(unpack("standard_init_linux.go: no such file"), None);
        assert_eq!(unpack("gz:!!!!"), None);
    }

    #[test]
    fn of_a_message_that_was_cut_the_beginning_is_kept() {
        let text: String = (0..4000).map(|number| format!("{} ", number * number % 9973)).collect();
        let mut message = packed(text.as_bytes());
        message.truncate(4001);
        let found = String::from_utf8(unpack(&message).unwrap()).unwrap();
        assert!(found.len() > 3000 && text.starts_with(&found), "{}", found.len());
    }

    #[test]
    fn sections_that_were_cut_are_known_to_be() {
        let section = |number: usize| format!("@@{number} rc=0 ms=0\n{}\n@@end\n", number * 7919);
        let text: String = (0..4000).map(section).collect();
        let whole = packed(text.as_bytes());
        assert_eq!(unpack(&whole).unwrap(), text.as_bytes(), "nothing is added to a whole one");
        for length in 3000..3100 {
            let found = unpack(&whole[..length]).unwrap();
            let (_, faults) = crate::snapshot::parse_probe(&found);
            assert!(!faults.is_empty(), "{length}");
        }
    }
}
