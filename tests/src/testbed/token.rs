//! Service-account tokens signed with the testbed's own key, for tokens that the API server would not issue (expired ones).

use super::command::Invocation;
use super::error::{Error, FileContext};
use super::layout::Layout;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::time::Duration;

/// The issuer of the API server's tokens, and their audience.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc";

/// For whom and until when a token is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claims<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) service_account: &'a str,
    pub(crate) uid: &'a str,
    /// Seconds since 1970.
    pub(crate) issued: i64,
    /// Seconds since 1970.
    pub(crate) expires: i64,
}

/// A signed token of the form that the API server issues.
pub(crate) fn sign(layout: &Layout, claims: Claims<'_>) -> Result<String, Error> {
    let header = json!({"alg": "RS256", "kid": key_id(layout)?});
    let Claims { namespace, service_account, uid, issued, expires } = claims;
    let payload = json!({
        "aud": [ISSUER], "iss": ISSUER, "exp": expires, "iat": issued, "nbf": issued,
        "jti": "00000000-0000-4000-8000-000000000000",
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": service_account, "uid": uid}},
        "sub": format!("system:serviceaccount:{namespace}:{service_account}"),
    });
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&payload));
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature(layout, &signed)?)))
}

fn signature(layout: &Layout, text: &str) -> Result<Vec<u8>, Error> {
    let encoded = Invocation::of("sh")
        .args(["-c", r#"openssl dgst -sha256 -sign "$0" -binary | openssl base64 -A"#])
        .arg(layout.pki().join("sa.key"))
        .input(text)
        .limit(Duration::from_secs(10))
        .check()?;
    STANDARD.decode(encoded.trim()).map_err(|error| Error::Odd {
        what: "openssl's signature".to_owned(),
        why: error.to_string(),
    })
}

/// The `kid` that the API server gives its key: the SHA-256 of the public key in DER, base64url.
pub(crate) fn key_id(layout: &Layout) -> Result<String, Error> {
    let path = layout.pki().join("sa.pub");
    let pem = fs::read_to_string(&path).file("read", &path)?;
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD
        .decode(body.trim())
        .map_err(|error| Error::Odd { what: path.display().to_string(), why: error.to_string() })?;
    Ok(URL_SAFE_NO_PAD.encode(Sha256::digest(der)))
}

#[cfg(test)]
mod tests {
    use super::super::certificates;
    use super::*;

    #[test]
    fn the_signature_is_made_by_the_testbeds_key() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(0, folder.path(), folder.path()).unwrap();
        certificates::make_all(&layout, &[]).unwrap();
        let claims = Claims {
            namespace: "kube-system",
            service_account: "x",
            uid: "u",
            issued: 1,
            expires: 2,
        };
        let token = sign(&layout, claims).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        assert_eq!(parts.len(), 3);
        let header: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
        assert_eq!(header["kid"], key_id(&layout).unwrap());
        let file = folder.path().join("signature");
        fs::write(&file, URL_SAFE_NO_PAD.decode(parts[2]).unwrap()).unwrap();
        let public = layout.pki().join("sa.pub");
        let verify = |text: String| {
            Invocation::of("openssl")
                .args(["dgst", "-sha256", "-verify"])
                .arg(&public)
                .arg("-signature")
                .arg(&file)
                .input(text)
                .check()
        };
        verify(format!("{}.{}", parts[0], parts[1])).unwrap();
        verify(format!("{}.{}x", parts[0], parts[1])).unwrap_err();
    }
}
