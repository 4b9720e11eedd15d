//! What Calico calls the host's end of a pod's interface.

use sha1::{Digest, Sha1};

/// Prefix unless FelixConfiguration says otherwise; only such names are judged.
const PREFIX: &str = "cali";

/// Hex digits of the hash that follow.
const DIGITS: usize = 11;

/// `cali` and the first 11 hex digits of the SHA-1 of `<namespace>.<name>`.
pub fn of_pod(namespace: &str, name: &str) -> String {
    let digest = Sha1::digest(format!("{namespace}.{name}").as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{}", &hex[..DIGITS])
}

/// True when a name is of that form.
pub fn is_one(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| {
        rest.len() == DIGITS && rest.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_names_are_known() {
        // From a real node: Calico v3.28's own log says so.
        assert_eq!(of_pod("batch", "db-0"), "calic8081152cfa");
        assert!(is_one("calic8081152cfa"));
        for other in ["cali", "calico-eth0", "calic8081152cfA", "tunl0", "bwcalic8081152c"] {
            assert!(!is_one(other), "{other}");
        }
    }
}
