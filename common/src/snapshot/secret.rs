//! Takes secrets out of text: signatures of tokens, private keys, passwords.

use std::borrow::Cow;

/// What stands where a secret was.
pub const REDACTED: &str = "REDACTED";

/// Words after which, with `:` or `=`, a secret follows, and how long its value must be to be taken for one.
const KEYWORDS: [(&str, usize); 6] = [
    ("client-key-data", 1),
    ("password", 1),
    ("passwd", 1),
    ("secret-key", 1),
    // "token: none" in a log is no secret; a bootstrap token, the shortest that Kubernetes knows, has 23 characters.
    ("token", 16),
    ("bearer", 16),
];

/// Passes over a text before what is left of it is taken as it is; a text needs a second one only where secrets are nested.
const MAX_PASSES: usize = 64;

/// `text` without signatures of JWTs (header and claims stay), private keys, passwords and opaque tokens.
/// The same text is given back when it holds none, so that doing it twice changes nothing.
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    let mut clean = Cow::Borrowed(text);
    for _ in 0..MAX_PASSES {
        if !suspicious(&clean) {
            break;
        }
        let next = values(&signatures(&without_keys(&clean)));
        if next == *clean {
            break;
        }
        clean = Cow::Owned(next);
    }
    clean
}

/// A quick look, so that clean text is not copied.
fn suspicious(text: &str) -> bool {
    text.contains("eyJ") || text.contains("PRIVATE KEY") || next_keyword(text, 0).is_some()
}

/// One pass over PEM blocks of private keys, also those with `\n` written out. A block without end is taken as far as it
/// looks like one.
fn without_keys(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find("-----BEGIN ") {
        let (before, block) = rest.split_at(begin);
        out.push_str(before);
        let header_end = block[11..].find("-----").map_or(block.len(), |it| it + 16);
        let header = &block[..header_end];
        if !header.ends_with("PRIVATE KEY-----") || header.contains('\n') {
            out.push_str(&block[..11]);
            rest = &block[11..];
            continue;
        }
        let body = &block[header_end..];
        let length = body
            .find(|c: char| !(c.is_ascii_alphanumeric() || "+/=\\ \r\n\t".contains(c)))
            .unwrap_or(body.len());
        let end = body[length..]
            .strip_prefix("-----END ")
            .and_then(|it| it.find("-----"))
            .map_or(0, |it| it + 14);
        out.push_str(REDACTED);
        rest = &body[length + end..];
    }
    out.push_str(rest);
    out
}

fn is_base64url(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'-' || c == b'_' || c == b'='
}

/// Cuts `.signature` off every JWT.
fn signatures(text: &str) -> String {
    let bytes = text.as_bytes();
    let run = |from: usize| bytes[from..].iter().take_while(|c| is_base64url(**c)).count();
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    while let Some(found) = text[from..].find("eyJ") {
        let start = from + found;
        let header = start + run(start);
        let claims =
            if bytes.get(header) == Some(&b'.') { header + 1 + run(header + 1) } else { header };
        let signature = if claims > header + 1 && bytes.get(claims) == Some(&b'.') {
            claims + 1 + run(claims + 1)
        } else {
            claims
        };
        out.push_str(&text[from..claims]);
        from = signature.max(start + 3);
        if signature <= claims {
            out.push_str(&text[claims..from.max(claims)]);
            from = from.max(claims);
        }
    }
    out.push_str(&text[from..]);
    out
}

/// Replaces the values of [`KEYWORDS`].
fn values(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    while let Some((place, word, least)) = next_keyword(text, from) {
        let after = place + word.len();
        let (start, end) = value_after(text, after, word == "bearer");
        let value = &text[start..end];
        if start > after && value.len() >= least && !is_harmless(value) {
            out.push_str(&text[from..start]);
            out.push_str(REDACTED);
            from = end;
        } else {
            out.push_str(&text[from..after]);
            from = after;
        }
    }
    out.push_str(&text[from..]);
    out
}

/// The first keyword from `from` on. One look at every byte: logs are long, and such words are common in them.
fn next_keyword(text: &str, from: usize) -> Option<(usize, &'static str, usize)> {
    let bytes = text.as_bytes();
    let starts = |place: usize, word: &str| {
        let end = place + word.len();
        bytes.get(place..end).is_some_and(|it| it.eq_ignore_ascii_case(word.as_bytes()))
    };
    for (place, byte) in bytes.iter().enumerate().skip(from) {
        if matches!(byte | 0x20, b'b' | b'c' | b'p' | b's' | b't')
            && let Some((word, least)) = KEYWORDS.iter().find(|(word, _)| starts(place, word))
        {
            return Some((place, *word, *least));
        }
    }
    None
}

/// The extent of the value after a keyword: behind a quote, `:` or `=`, blanks and a quote; empty at `after` when none follows.
/// Only `Bearer` needs no more than a blank: after other words, a blank is prose.
fn value_after(text: &str, after: usize, is_bearer: bool) -> (usize, usize) {
    let bytes = text.as_bytes();
    let skip = |from: usize, set: &[u8]| {
        from + bytes[from..].iter().take_while(|c| set.contains(c)).count()
    };
    let quoted = skip(after, b"\\\"'");
    let separated = skip(quoted, b":= ");
    let is_assigned = bytes[quoted..separated].iter().any(|c| *c != b' ');
    let has_value = is_assigned || (is_bearer && separated > quoted);
    if !has_value {
        return (after, after);
    }
    let start = skip(separated, b"\\\"'");
    let length = bytes[start..]
        .iter()
        .take_while(|c| !c.is_ascii_whitespace() && !b"\"'\\,;".contains(c))
        .count();
    let mut end = start + length;
    while !text.is_char_boundary(end) {
        end += 1;
    }
    (start, end)
}

/// Header and claims are no secret, a hash is none, and what was taken out is gone. Prose after a blank is none either.
fn is_harmless(value: &str) -> bool {
    value.starts_with('{')
        || value.starts_with("eyJ")
        || value.starts_with("sha256:")
        || value.starts_with(REDACTED)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_go_and_the_rest_stays() {
        for (before, after) in [
            ("token: eyJhbGci.eyJpc3Mi.c2lnbmF0dXJl\n", "token: eyJhbGci.eyJpc3Mi\n"),
            (
                "a eyJhbGci.eyJpc3Mi.c2ln, eyJhbGci.eyJpc3Mi.c2ln b",
                "a eyJhbGci.eyJpc3Mi, eyJhbGci.eyJpc3Mi b",
            ),
            ("token: {\"header\":{},\"claims\":{}}", "token: {\"header\":{},\"claims\":{}}"),
            ("\"token\": \"abcdef.0123456789abcdef\"", "\"token\": \"REDACTED\""),
            ("Authorization: Bearer abcdef.0123456789abcdef", "Authorization: Bearer REDACTED"),
            ("client-key-data: LS0t\nx", "client-key-data: REDACTED\nx"),
            ("password=hunter2", "password=REDACTED"),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nx",
                "REDACTED\nx",
            ),
            (
                "k: -----BEGIN PRIVATE KEY-----\\nMIIE\\n-----END PRIVATE KEY-----\\n",
                "k: REDACTED\\n",
            ),
            ("-----BEGIN PRIVATE KEY-----\nMIIE", "REDACTED"),
            (
                "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
                "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
            ),
            (
                "the token: none, token monitor-has-started",
                "the token: none, token monitor-has-started",
            ),
            ("password authentication failed", "password authentication failed"),
            ("tokens: 5, ñtoken = abcdef.0123456789abcdef", "tokens: 5, ñtoken = REDACTED"),
            ("certificate-authority-data: sha256:00", "certificate-authority-data: sha256:00"),
        ] {
            assert_eq!(without_secrets(before), after);
        }
    }

    proptest! {
        #[test]
        fn any_text_passes_and_the_second_time_changes_nothing(text in "(token|eyJ|\\.|: |=|[a-z\"\\\\ñ]|-----BEGIN |PRIVATE KEY-----|-----END |password|REDACTED|\n){0,24}") {
            let once = without_secrets(&text).into_owned();
            let twice = without_secrets(&once).into_owned();
            prop_assert_eq!(&once, &twice);
        }

        #[test]
        fn no_signature_survives(signature in "[A-Za-z0-9_-]{20,40}", before in ".{0,20}") {
            let text = format!("{before} eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.{signature}");
            prop_assert!(!without_secrets(&text).contains(&signature));
        }
    }
}
