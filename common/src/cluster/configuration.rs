//! The client's configuration from flags and kubeconfig.

use std::path::{Path, PathBuf};

use kube::config::{AuthInfo, ExecAuthCluster};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::kubeconfig::{self, Chosen, Sources};
use super::proxy::ProxyVariables;
use super::{ConnectError, ConnectOptions, TargetInfo};

/// Configuration and target from flags, kubeconfig and environment.
pub(super) fn configuration(
    options: &ConnectOptions,
    sources: &Sources,
    proxies: &ProxyVariables,
) -> Result<(kube::Config, TargetInfo), ConnectError> {
    let chosen = match kubeconfig::load(sources)? {
        Some(config) => kubeconfig::choose(
            &config,
            options.context.as_deref(),
            options.cluster.as_deref(),
            options.user.as_deref(),
        )?,
        None if options.server.is_some() => Chosen::default(),
        None => return in_cluster(options, sources),
    };
    from_chosen(with_flags(chosen, options), options, proxies)
}

/// Inside a pod, without any kubeconfig.
fn in_cluster(
    options: &ConnectOptions,
    sources: &Sources,
) -> Result<(kube::Config, TargetInfo), ConnectError> {
    let no_kubeconfig = || ConnectError::NoKubeconfig { tried: sources.tried() };
    if matches!(sources, Sources::Explicit(_)) || options.context.is_some() {
        return Err(no_kubeconfig());
    }
    let mut config = kube::Config::incluster_env().map_err(|_| no_kubeconfig())?;
    let flags = with_flags(Chosen::default(), options).user;
    config.auth_info.impersonate = flags.impersonate;
    config.auth_info.impersonate_groups = flags.impersonate_groups;
    config.auth_info.impersonate_uid = flags.impersonate_uid;
    config.auth_info.impersonate_user_extra = flags.impersonate_user_extra;
    if flags.token.is_some() {
        config.auth_info.token = flags.token;
        config.auth_info.token_file = None;
    }
    let target = TargetInfo {
        context: String::new(),
        cluster_name: String::new(),
        server: config.cluster_url.to_string().trim_end_matches('/').to_owned(),
        namespace: options.namespace.clone().unwrap_or_else(|| config.default_namespace.clone()),
    };
    Ok((config, target))
}

/// Lays the flags over what the kubeconfig says.
fn with_flags(mut chosen: Chosen, options: &ConnectOptions) -> Chosen {
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    let cluster = &mut chosen.cluster;
    if let Some(server) = &options.server {
        cluster.server = Some(server.clone());
    }
    if let Some(name) = &options.tls_server_name {
        cluster.tls_server_name = Some(name.clone());
    }
    if let Some(file) = &options.certificate_authority {
        cluster.certificate_authority = Some(text(file));
        cluster.certificate_authority_data = None;
    }
    if options.insecure_skip_tls_verify {
        cluster.insecure_skip_tls_verify = Some(true);
    }
    if options.disable_compression {
        cluster.disable_compression = Some(true);
    }
    let user = &mut chosen.user;
    if let Some(file) = &options.client_certificate {
        user.client_certificate = Some(text(file));
        user.client_certificate_data = None;
    }
    if let Some(file) = &options.client_key {
        user.client_key = Some(text(file));
        user.client_key_data = None;
    }
    // A token given by flag goes before every other kind of bearer or basic credentials.
    if let Some(token) = &options.token {
        *user = AuthInfo { token: Some(token.clone().into()), ..certificate_of(user) };
    }
    if let (Some(name), Some(password)) = (&options.username, &options.password) {
        user.username = Some(name.clone());
        user.password = Some(password.clone().into());
    }
    impersonate(user, options);
    if options.namespace.is_some() {
        chosen.namespace.clone_from(&options.namespace);
    }
    chosen
}

fn certificate_of(user: &AuthInfo) -> AuthInfo {
    AuthInfo {
        client_certificate: user.client_certificate.clone(),
        client_certificate_data: user.client_certificate_data.clone(),
        client_key: user.client_key.clone(),
        client_key_data: user.client_key_data.clone(),
        impersonate: user.impersonate.clone(),
        impersonate_uid: user.impersonate_uid.clone(),
        impersonate_groups: user.impersonate_groups.clone(),
        impersonate_user_extra: user.impersonate_user_extra.clone(),
        ..AuthInfo::default()
    }
}

fn impersonate(user: &mut AuthInfo, options: &ConnectOptions) {
    if options.as_user.is_some() {
        user.impersonate.clone_from(&options.as_user);
    }
    if options.as_uid.is_some() {
        user.impersonate_uid.clone_from(&options.as_uid);
    }
    if !options.as_groups.is_empty() {
        user.impersonate_groups = Some(options.as_groups.clone());
    }
    for pair in &options.as_user_extra {
        if let Some((key, value)) = pair.split_once('=') {
            let extra = user.impersonate_user_extra.get_or_insert_default();
            extra.entry(key.to_owned()).or_default().push(value.to_owned());
        }
    }
}

/// Builds the configuration by hand: kube's own loader applies `NO_PROXY` wrongly and fails on entries that Go passes over.
fn from_chosen(
    mut chosen: Chosen,
    options: &ConnectOptions,
    proxies: &ProxyVariables,
) -> Result<(kube::Config, TargetInfo), ConnectError> {
    let url = server_url(chosen.cluster.server.as_deref().unwrap_or_default())?;
    let mut config = kube::Config::new(url.clone());
    config.accept_invalid_certs = chosen.cluster.insecure_skip_tls_verify.unwrap_or(false);
    config.disable_compression = chosen.cluster.disable_compression.unwrap_or(false);
    config.tls_server_name = chosen.cluster.tls_server_name.clone().filter(|name| !name.is_empty());
    if !config.accept_invalid_certs {
        config.root_cert = authority(&chosen)?;
    }
    let proxy = chosen.cluster.proxy_url.clone().filter(|proxy| !proxy.is_empty());
    config.proxy_url =
        proxy.or_else(|| proxies.proxy_for(&url)).map(|it| proxy_url(&it)).transpose()?;
    let namespace = chosen.namespace.clone().or_else(|| options.namespace.clone());
    let namespace = namespace.unwrap_or_else(|| "default".to_owned());
    config.default_namespace.clone_from(&namespace);
    must_exist(
        "client certificate",
        chosen.user.client_certificate_data.as_ref(),
        chosen.user.client_certificate.as_ref(),
    )?;
    must_exist(
        "client key",
        chosen.user.client_key_data.as_ref(),
        chosen.user.client_key.as_ref(),
    )?;
    must_exist("token file", chosen.user.token.as_ref(), chosen.user.token_file.as_ref())?;
    if let Some(exec) = &mut chosen.user.exec
        && exec.provide_cluster_info
    {
        exec.cluster = ExecAuthCluster::try_from(&chosen.cluster).ok();
    }
    config.auth_info = chosen.user;
    let server = url.to_string().trim_end_matches('/').to_owned();
    let target = TargetInfo {
        context: chosen.context_name,
        cluster_name: chosen.cluster_name,
        server,
        namespace,
    };
    Ok((config, target))
}

/// kubectl takes `host`, `host:port` and URLs; without a scheme it means http.
fn server_url(server: &str) -> Result<http::Uri, ConnectError> {
    let fault = |message: String| ConnectError::Server { server: server.to_owned(), message };
    if server.is_empty() {
        return Err(fault("it is empty".to_owned()));
    }
    let full = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
    let url: http::Uri = full.parse().map_err(|error| fault(format!("{error}")))?;
    if url.host().is_none_or(str::is_empty) {
        return Err(fault("it names no host".to_owned()));
    }
    match url.scheme_str() {
        Some("http" | "https") => Ok(url),
        _ => Err(fault("only http and https are known".to_owned())),
    }
}

fn proxy_url(proxy: &str) -> Result<http::Uri, ConnectError> {
    let fault = |message: String| ConnectError::Proxy { proxy: without_user(proxy), message };
    let url: http::Uri = proxy.parse().map_err(|error| fault(format!("{error}")))?;
    match url.scheme_str() {
        Some("http" | "socks5") => Ok(url),
        // Go's socks5h resolves names at the proxy, which is what the socks5 connector does as well.
        Some("socks5h") => proxy
            .replacen("socks5h", "socks5", 1)
            .parse()
            .map_err(|error| fault(format!("{error}"))),
        other => Err(fault(format!("scheme {} is not supported", other.unwrap_or("(none)")))),
    }
}

fn without_user(proxy: &str) -> String {
    match (proxy.split_once("://"), proxy.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        _ => proxy.to_owned(),
    }
}

/// Certificates of the authority, as DER; none means the operating system's.
fn authority(chosen: &Chosen) -> Result<Option<Vec<Vec<u8>>>, ConnectError> {
    const WHAT: &str = "certificate authority";
    let fault = |message: String| ConnectError::Data { what: WHAT, message };
    let cluster = &chosen.cluster;
    let pem = match (&cluster.certificate_authority_data, &cluster.certificate_authority) {
        (Some(data), _) if !data.is_empty() => {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD
                .decode(data.split_ascii_whitespace().collect::<String>())
                .map_err(|error| {
                    fault(format!("certificate-authority-data is no base64: {error}"))
                })?
        }
        (_, Some(file)) if !file.is_empty() => read(WHAT, Path::new(file))?,
        _ => return Ok(None),
    };
    let mut all = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        all.push(certificate.map_err(|error| fault(format!("{error}")))?.to_vec());
    }
    if all.is_empty() { Err(fault("it holds no certificate".to_owned())) } else { Ok(Some(all)) }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(path).map_err(|source| ConnectError::File { what, path: path.to_owned(), source })
}

/// A file that is named, and not overridden by data, must be readable.
fn must_exist<T>(
    what: &'static str,
    data: Option<&T>,
    file: Option<&String>,
) -> Result<(), ConnectError> {
    match (data, file) {
        (None, Some(file)) if !file.is_empty() => read(what, Path::new(file)).map(drop),
        _ => Ok(()),
    }
}
