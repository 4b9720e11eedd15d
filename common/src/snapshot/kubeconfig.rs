//! Reads the CNI plugin's kubeconfig as a probe shows it: without its credentials.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{CniKubeconfig, Gap, GapReason, Known, TokenFacts};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[derive(Default)]
struct Kubeconfig {
    current_context: Option<String>,
    contexts: Vec<Named<ContextEntry>>,
    clusters: Vec<Named<ClusterEntry>>,
    users: Vec<Named<UserEntry>>,
}

/// An element of one of kubeconfig's lists; the field beside `name` is called after the list.
#[derive(Deserialize)]
struct Named<T> {
    #[serde(default)]
    name: String,
    #[serde(alias = "context", alias = "cluster", alias = "user")]
    value: Option<T>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ContextEntry {
    cluster: String,
    user: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct ClusterEntry {
    server: Option<String>,
    certificate_authority_data: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct UserEntry {
    token: Option<Value>,
}

impl<T> Named<T> {
    fn pick<'a>(list: &'a [Self], name: Option<&str>) -> Option<&'a T> {
        let named = name.and_then(|name| list.iter().find(|it| it.name == name));
        named.or(list.first()).and_then(|it| it.value.as_ref())
    }
}

/// Facts of a kubeconfig; `what` names it in gaps.
pub(super) fn parse(what: &str, text: &str) -> Known<CniKubeconfig> {
    let config: Kubeconfig = match crate::yaml::from_str(text) {
        Ok(config) => config,
        Err(error) => {
            return Known::Unknown(Gap::new(what, GapReason::Undecodable, error.to_string()));
        }
    };
    let context = Named::pick(&config.contexts, config.current_context.as_deref());
    let cluster = Named::pick(&config.clusters, context.map(|it| it.cluster.as_str()));
    let user = Named::pick(&config.users, context.map(|it| it.user.as_str()));
    let undecodable = |detail: &str| Gap::new(what, GapReason::Undecodable, detail);
    let ca = cluster.and_then(|it| it.certificate_authority_data.as_deref()).unwrap_or_default();
    let token = user.and_then(|it| it.token.as_ref());
    Known::Known(CniKubeconfig {
        server: Known::from_option(cluster.and_then(|it| it.server.clone())),
        ca_sha256: match ca {
            "" => Known::Absent,
            ca => match ca_hash(ca) {
                Some(hash) => Known::Known(hash),
                None => Known::Unknown(undecodable("the CA is neither a hash nor base64")),
            },
        },
        token: match token {
            None | Some(Value::Null) => Known::Absent,
            Some(Value::String(token)) if token.is_empty() => Known::Absent,
            Some(token) => match token_facts(token) {
                Some(facts) => Known::Known(facts),
                None => Known::Unknown(undecodable("the token is no JWT")),
            },
        },
    })
}

/// SHA-256, in hex, of a CA's PEM text with its final newline.
pub(super) fn pem_sha256(pem: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(pem);
    if pem.last() != Some(&b'\n') {
        hash.update(b"\n");
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `sha256:<hex>` as a probe prints it, or the base64 of a PEM text as kubeconfigs hold it.
fn ca_hash(data: &str) -> Option<String> {
    if let Some(hex) = data.strip_prefix("sha256:") {
        let hex = hex.trim().to_ascii_lowercase();
        return (hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_hexdigit())).then_some(hex);
    }
    let data: String = data.split_whitespace().collect();
    STANDARD.decode(data).ok().filter(|pem| !pem.is_empty()).map(|pem| pem_sha256(&pem))
}

#[derive(Deserialize)]
struct Decoded {
    header: Value,
    claims: Value,
}

/// `{"header": …, "claims": …}`, or `<header>.<claims>[.<signature>]` in base64url.
fn token_facts(token: &Value) -> Option<TokenFacts> {
    let Decoded { header, claims } = match token {
        Value::String(text) if text.trim_start().starts_with('{') => {
            serde_json::from_str(text).ok()?
        }
        Value::String(text) => {
            let mut parts = text.trim().split('.');
            Decoded { header: segment(parts.next()?)?, claims: segment(parts.next()?)? }
        }
        decoded => Decoded::deserialize(decoded).ok()?,
    };
    claims.is_object().then(|| facts(&header, &claims))
}

fn segment(text: &str) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn facts(header: &Value, claims: &Value) -> TokenFacts {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let time =
        |value: &Value| value.as_i64().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let bound = &claims["kubernetes.io"];
    // Tokens from Secrets, which older installs use, name the ServiceAccount by flat claims.
    let legacy = |name: &str| text(&claims[format!("kubernetes.io/serviceaccount/{name}")]);
    TokenFacts {
        key_id: text(&header["kid"]),
        issuer: text(&claims["iss"]),
        subject: text(&claims["sub"]),
        namespace: text(&bound["namespace"]).or_else(|| legacy("namespace")),
        service_account: text(&bound["serviceaccount"]["name"])
            .or_else(|| legacy("service-account.name")),
        service_account_uid: text(&bound["serviceaccount"]["uid"])
            .or_else(|| legacy("service-account.uid")),
        issued_at: time(&claims["iat"]),
        expires_at: time(&claims["exp"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIMS: &str = r#"{"exp":1795348636,"iat":1795262236,"iss":"x","sub":"system:serviceaccount:n:s","kubernetes.io":{"namespace":"n","serviceaccount":{"name":"s","uid":"u"}}}"#;

    fn with_token(token: &str) -> Known<TokenFacts> {
        let text = format!(
            "clusters:\n- name: local\n  cluster:\n    server: https://a\nusers:\n- name: calico\n  user:\n    token: {token}\n"
        );
        let Known::Known(config) = parse("w", &text) else { panic!("{text}") };
        assert_eq!(config.ca_sha256, Known::Absent);
        assert_eq!(config.server, Known::Known("https://a".to_owned()));
        config.token
    }

    #[test]
    fn every_form_of_a_token_gives_the_same_facts() {
        let (header, claims) =
            (URL_SAFE_NO_PAD.encode(r#"{"kid":"k"}"#), URL_SAFE_NO_PAD.encode(CLAIMS));
        let json = with_token(&format!("{{\"header\":{{\"kid\":\"k\"}},\"claims\":{CLAIMS}}}"));
        assert_eq!(json.known().unwrap().service_account_uid.as_deref(), Some("u"));
        assert_eq!(json.known().unwrap().key_id.as_deref(), Some("k"));
        assert_eq!(json.known().unwrap().expires_at, Timestamp::from_second(1_795_348_636).ok());
        for form in [
            format!("{header}.{claims}"),
            format!("{header}.{claims}."),
            format!("\"{header}.{claims}.c2ln\""),
        ] {
            assert_eq!(with_token(&form), json, "{form}");
        }
    }

    #[test]
    fn tokens_that_make_no_sense_are_unknown() {
        assert_eq!(with_token("\"\""), Known::Absent);
        for form in ["abc", "a.b.c", "7", "{}"] {
            assert!(with_token(form).gap().is_some(), "{form}");
        }
    }

    #[test]
    fn a_whole_ca_is_hashed_with_its_final_newline() {
        let hash = pem_sha256(b"pem\n");
        for data in [STANDARD.encode("pem\n"), STANDARD.encode("pem"), format!("sha256:{hash}")] {
            let text = format!("clusters:\n- cluster:\n    certificate-authority-data: {data}\n");
            let config = parse("w", &text);
            assert_eq!(config.known().unwrap().ca_sha256, Known::Known(hash.clone()));
        }
        let bad = parse("w", "clusters:\n- cluster:\n    certificate-authority-data: sha256:12\n");
        assert!(bad.known().unwrap().ca_sha256.gap().is_some());
    }

    #[test]
    fn the_current_context_decides() {
        let text = "current-context: two\ncontexts:\n- name: two\n  context: {cluster: b, user: c}\n\
                    clusters:\n- {name: a, cluster: {server: 'https://a'}}\n- {name: b, cluster: {server: 'https://b'}}\n";
        assert_eq!(parse("w", text).known().unwrap().server, Known::Known("https://b".to_owned()));
        assert!(parse("w", "clusters: 7").gap().is_some());
    }
}
