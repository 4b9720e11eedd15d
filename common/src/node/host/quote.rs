//! Quotes text for a POSIX shell: what goes in comes out, byte for byte, and nothing of it is ever run.

/// The text as one word of a shell script.
pub(in crate::node) fn quote(text: &str) -> String {
    // Within single quotes everything stands for itself but the single quote.
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;
    use crate::node::host::shell_tests::shells;

    /// What a shell makes of a script that it reads from its standard input, as an exec gives it.
    fn printed(shell: &[&str], script: &str) -> Vec<u8> {
        let mut child = Command::new(shell[0])
            .args(&shell[1..])
            .arg("-s")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{shell:?}");
        output.stdout
    }

    /// Anything but NUL, which no shell can hold, with many of the characters that shells care about.
    fn text() -> impl Strategy<Value = String> {
        let odd = prop::sample::select(vec![
            "'",
            "\"",
            "\\",
            "$(id)",
            "`id`",
            "\n",
            "\r",
            "\t",
            "!",
            "*",
            "~",
            "#",
            ";",
            "&&",
            "${x}",
            "-n",
            "'\\''",
            "%s",
            "EOF",
            "\u{1b}[31m",
            "\u{85}",
            "é",
            "\u{1f980}",
            " ",
            "=",
            "\\c",
        ])
        .prop_map(str::to_owned);
        let plain = any::<char>().prop_filter("no NUL", |c| *c != '\0').prop_map(String::from);
        prop::collection::vec(prop_oneof![odd, plain], 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        #[test]
        fn any_text_survives_every_shell(texts in prop::collection::vec(text(), 1..20)) {
            let lines: String =
                texts.iter().map(|text| format!("x={}\nprintf '%s\\0' \"$x\"\n", quote(text))).collect();
            let wanted: Vec<u8> = texts.iter().flat_map(|text| [text.as_bytes(), b"\0"].concat()).collect();
            for shell in shells() {
                prop_assert_eq!(printed(&shell, &lines), wanted.clone(), "{:?}", shell);
            }
        }
    }
}
