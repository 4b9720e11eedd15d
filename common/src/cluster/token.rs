//! Tokens of ServiceAccounts, and how they are kept from being shown.

use std::fmt;

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::request::{Ask, JSON, encode};
use super::{ApiError, Cluster};

/// A text that is never shown: neither `Debug` nor `Display` prints any of it, and it cannot be serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// Takes a text into custody.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one place that must have it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}

impl fmt::Display for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

/// The part of a `TokenRequest` that is read.
#[derive(Deserialize)]
struct Issued {
    status: IssuedStatus,
}

#[derive(Deserialize)]
struct IssuedStatus {
    token: String,
}

impl Cluster {
    /// A fresh token of a ServiceAccount, for the API server's own audience. The server may grant less time than
    /// `expiration_seconds`, and grants no less than 600 s. Sent once; nothing is stored in the cluster.
    pub async fn token_request(
        &self,
        namespace: &str,
        service_account: &str,
        expiration_seconds: u64,
    ) -> Result<SecretText, ApiError> {
        let attempted = format!("request a token for ServiceAccount {namespace}/{service_account}");
        let path = format!(
            "/api/v1/namespaces/{}/serviceaccounts/{}/token",
            encode(namespace),
            encode(service_account)
        );
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": { "expirationSeconds": expiration_seconds },
        });
        let ask = Ask { attempted: &attempted, path: &path, accept: JSON };
        let body =
            self.send_once(Method::POST, &ask, Some(request.to_string().into_bytes())).await?;
        // serde's message could quote the answer, so it is left out.
        let issued = serde_json::from_slice::<Issued>(&body).ok().map(|it| it.status.token);
        issued.filter(|token| !token.is_empty()).map(SecretText).ok_or(ApiError::Other {
            attempted,
            message: "the server's answer holds no token".to_owned(),
        })
    }
}
