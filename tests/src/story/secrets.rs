//! Tokens and keys, and the places in which none of them may be found.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::testbed::{Error, Invocation};

/// Secrets by a name that may be told, each as the texts in which it would be recognised.
#[derive(Default)]
pub struct Secrets(BTreeMap<String, Vec<String>>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.0.keys()).finish()
    }
}

impl Secrets {
    /// Adds the tokens and private keys that a kubeconfig holds.
    pub fn add_kubeconfig(&mut self, name: &str, text: &str) -> Result<(), Error> {
        let before = self.0.len();
        for line in text.lines() {
            let Some((key, value)) = line.trim().split_once(": ") else { continue };
            let value = value.trim().trim_matches('"');
            match key.trim_start_matches("- ") {
                "token" => self.add_token(&format!("{name}: token"), value)?,
                "client-key-data" => self.add_key(&format!("{name}: client key"), value)?,
                _ => {}
            }
        }
        if self.0.len() == before {
            return Err(Error::Missing(format!("{name} holds no secret")));
        }
        Ok(())
    }

    /// Adds a JSON web token. What must not be found is its signature: header and claims are no secret, and probes tell them.
    pub fn add_token(&mut self, name: &str, token: &str) -> Result<(), Error> {
        let signature = token.rsplit_once('.').map(|(_, it)| it).filter(|it| it.len() >= 40);
        let signature = signature.ok_or_else(|| Error::Missing(format!("{name} is no token")))?;
        self.add(name, signature);
        Ok(())
    }

    /// Adds a private key, given as a kubeconfig holds it.
    fn add_key(&mut self, name: &str, base64: &str) -> Result<(), Error> {
        let odd = |why: String| Error::Odd { what: name.to_owned(), why };
        let pem = base64::engine::general_purpose::STANDARD.decode(base64);
        let pem = pem.map_err(|error| odd(error.to_string()))?;
        let pem = String::from_utf8(pem).map_err(|error| odd(error.to_string()))?;
        let body = pem.lines().find(|line| line.len() >= 40 && !line.starts_with('-'));
        let body = body.ok_or_else(|| odd("it is no key in PEM".to_owned()))?;
        self.add(name, body);
        Ok(())
    }

    /// A secret as it is, and as it looks in the base64 of any text around it.
    fn add(&mut self, name: &str, secret: &str) {
        let encoded = (0..3).map(|shift| {
            let text =
                STANDARD_NO_PAD.encode([" ".repeat(shift).as_bytes(), secret.as_bytes()].concat());
            // The first and last characters depend on the neighbours.
            text[4..text.len() - 4].to_owned()
        });
        let mut texts: Vec<String> = encoded.collect();
        texts.push(secret.to_owned());
        self.0.insert(name.to_owned(), texts);
    }

    /// The names of the secrets that are in any file of a folder, with the files.
    pub fn found_in(&self, folder: &Path) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        for (name, texts) in &self.0 {
            // The texts go by standard input: they are to be in no list of processes either.
            let output = Invocation::of("grep")
                .args(["-r", "-l", "-a", "-F", "-f", "-", "--"])
                .arg(folder)
                .input(texts.join("\n"))
                .output()?;
            match output.status {
                Some(0) => found.extend(output.stdout.lines().map(|it| format!("{name} in {it}"))),
                Some(1) => {}
                _ => {
                    return Err(Error::Odd {
                        what: format!("searching {}", folder.display()),
                        why: output.stderr,
                    });
                }
            }
        }
        Ok(found)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// Writes text into a folder that is to be searched.
pub fn keep(folder: &Path, name: &str, text: &str) -> Result<(), Error> {
    let path = folder.join(name);
    let odd = |source| Error::File { what: "write", path: path.clone(), source };
    fs::create_dir_all(folder).map_err(odd)?;
    fs::write(&path, text).map_err(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str =
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5cSflKxwRJS";

    #[test]
    fn a_secret_is_found_as_it_is_and_in_any_base64() {
        let mut secrets = Secrets::default();
        secrets.add_kubeconfig("file", &format!("users:\n- user:\n    token: {TOKEN}\n")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        keep(folder.path(), "claims", &TOKEN[..40]).unwrap();
        assert_eq!(secrets.found_in(folder.path()).unwrap(), Vec::<String>::new());
        for shift in 0..3 {
            let text = STANDARD_NO_PAD.encode(format!("{}{TOKEN}\n", "x".repeat(shift)));
            keep(folder.path(), "encoded", &text).unwrap();
            assert_eq!(secrets.found_in(folder.path()).unwrap().len(), 1, "{shift}");
        }
        keep(folder.path(), "encoded", "").unwrap();
        keep(folder.path(), "plain", TOKEN).unwrap();
        assert_eq!(secrets.found_in(folder.path()).unwrap().len(), 1);
        assert!(secrets.add_kubeconfig("none", "server: https://x").is_err());
        assert!(!format!("{secrets:?}").contains("Sfl"));
    }
}
