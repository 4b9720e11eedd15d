//! From flags and kubeconfig files to a connection.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderValue, USER_AGENT};
use kube::config::AuthInfo;

use super::clock::ServerClock;
use super::configuration::configuration;
use super::kubeconfig::Sources;
use super::proxy::ProxyVariables;
use super::{Cluster, ConnectError, ConnectOptions, DEFAULT_REQUEST_TIMEOUT, Notice};

/// Time that setting up a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit of a request when the user asked for none (`--request-timeout=0`, as kubectl spells "no limit").
const NO_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
/// Variables by which kube-rs changes the target behind the user's back.
const DEBUG_VARIABLES: [&str; 3] = [
    "KUBE_RS_DEBUG_IMPERSONATE_USER",
    "KUBE_RS_DEBUG_IMPERSONATE_GROUP",
    "KUBE_RS_DEBUG_OVERRIDE_URL",
];

impl Cluster {
    /// Sets up a client; nothing is sent to the API server yet, but the kubeconfig's credential plugin is run.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, ConnectError> {
        for name in DEBUG_VARIABLES {
            if std::env::var_os(name).is_some() {
                return Err(ConnectError::DebugVariable { name });
            }
        }
        let sources = Sources::of(
            options.kubeconfig.as_deref(),
            std::env::var_os("KUBECONFIG").as_deref(),
            dirs::home_dir().as_deref(),
        );
        Self::connect_with(options, &sources, &ProxyVariables::from_environment()).await
    }

    pub(super) async fn connect_with(
        options: &ConnectOptions,
        sources: &Sources,
        proxies: &ProxyVariables,
    ) -> Result<Self, ConnectError> {
        // Fails only when a provider is there already, which is just as good.
        rustls::crypto::ring::default_provider().install_default().ok();
        let (mut config, target) = configuration(options, sources, proxies)?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.default_retry = false;
        let agent = concat!("kubectl-calico/", env!("CARGO_PKG_VERSION"));
        config.headers.push((USER_AGENT, HeaderValue::from_static(agent)));
        let user = config.auth_info.clone();
        let client = client(config).await.map_err(|error| client_error(&error, &user))?;
        let limit = match options.request_timeout {
            None => DEFAULT_REQUEST_TIMEOUT,
            Some(Duration::ZERO) => NO_LIMIT,
            Some(limit) => limit,
        };
        let notice: Notice = Arc::new(|line| tracing::warn!("{line}"));
        Ok(Self { client, target, limit, notice, clock: ServerClock::default() })
    }
}

/// Building a client may run a credential plugin, which blocks, perhaps while a person logs in.
async fn client(config: kube::Config) -> Result<kube::Client, kube::Error> {
    match tokio::task::spawn_blocking(move || kube::Client::try_from(config)).await {
        Ok(client) => client,
        Err(fault) => Err(kube::Error::Service(Box::new(fault))),
    }
}

/// What went wrong while the client was built: credentials, mostly.
fn client_error(error: &kube::Error, user: &AuthInfo) -> ConnectError {
    use kube::client::AuthError;
    let exec = user.exec.clone().unwrap_or_default();
    let plugin = |message: String| ConnectError::Plugin {
        command: exec.command.clone().unwrap_or_default(),
        message,
        install_hint: exec.install_hint.clone(),
    };
    match error {
        kube::Error::Auth(AuthError::AuthExecStart(source)) => plugin(source.to_string()),
        kube::Error::Auth(AuthError::AuthExecRun { out, .. }) => {
            plugin(format!("it failed ({})", out.status))
        }
        kube::Error::Auth(AuthError::AuthExecParse(_)) => {
            plugin("it printed no ExecCredential".to_owned())
        }
        kube::Error::Auth(other) => {
            ConnectError::Data { what: "kubeconfig's user", message: other.to_string() }
        }
        other => ConnectError::Data {
            what: "kubeconfig's client certificate or key",
            message: other.to_string(),
        },
    }
}
