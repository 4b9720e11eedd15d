//! Writes kubeconfig files with embedded client certificates.

use super::error::{Error, FileContext};
use super::layout::Layout;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The text of a kubeconfig for the holder of the certificate `user` of the testbed.
pub(crate) fn render(layout: &Layout, user: &str) -> Result<String, Error> {
    let encoded = |name: String| {
        let path = layout.pki().join(name);
        fs::read(&path).file("read", &path).map(|bytes| STANDARD.encode(bytes))
    };
    let (ca, certificate, key) = (
        encoded("ca.crt".to_owned())?,
        encoded(format!("{user}.crt"))?,
        encoded(format!("{user}.key"))?,
    );
    Ok(format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: testbed\n\
         clusters:\n- name: testbed\n  cluster:\n    server: {server}\n    certificate-authority-data: {ca}\n\
         users:\n- name: {user}\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n\
         contexts:\n- name: testbed\n  context:\n    cluster: testbed\n    user: {user}\n",
        server = layout.server()
    ))
}

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), Error> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(partial)
        .file("write", partial)?;
    file.write_all(content).file("write", partial)?;
    fs::rename(partial, path).file("rename", partial)
}
