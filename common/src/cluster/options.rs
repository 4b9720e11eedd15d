//! kubectl's connection flags as values.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// kubectl's connection flags. What is empty or none leaves the kubeconfig as it is.
#[derive(Clone, Default)]
pub struct ConnectOptions {
    /// `--kubeconfig`: the one file to read.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`
    pub context: Option<String>,
    /// `--cluster`
    pub cluster: Option<String>,
    /// `--user`
    pub user: Option<String>,
    /// `--namespace`
    pub namespace: Option<String>,
    /// `--server`
    pub server: Option<String>,
    /// `--tls-server-name`
    pub tls_server_name: Option<String>,
    /// `--insecure-skip-tls-verify`
    pub insecure_skip_tls_verify: bool,
    /// `--certificate-authority`
    pub certificate_authority: Option<PathBuf>,
    /// `--client-certificate`
    pub client_certificate: Option<PathBuf>,
    /// `--client-key`
    pub client_key: Option<PathBuf>,
    /// `--token`
    pub token: Option<String>,
    /// `--username`
    pub username: Option<String>,
    /// `--password`
    pub password: Option<String>,
    /// `--as`
    pub as_user: Option<String>,
    /// `--as-group`
    pub as_groups: Vec<String>,
    /// `--as-uid`
    pub as_uid: Option<String>,
    /// `--as-user-extra`: `key=value`, a key may occur several times.
    pub as_user_extra: Vec<String>,
    /// `--request-timeout`; zero means no limit.
    pub request_timeout: Option<Duration>,
    /// `--disable-compression`
    pub disable_compression: bool,
    /// `--cache-dir`: accepted as kubectl does; nothing is cached yet.
    pub cache_dir: Option<PathBuf>,
}

/// Token and password are left out.
impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("kubeconfig", &self.kubeconfig)
            .field("context", &self.context)
            .field("cluster", &self.cluster)
            .field("user", &self.user)
            .field("namespace", &self.namespace)
            .field("server", &self.server)
            .field("has_token", &self.token.is_some())
            .field("has_password", &self.password.is_some())
            .field("as_user", &self.as_user)
            .field("request_timeout", &self.request_timeout)
            .finish_non_exhaustive()
    }
}
