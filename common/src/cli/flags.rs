//! kubectl's connection flags, spelled as kubectl spells them, and the flags about output.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use super::Failure;
use crate::cluster::ConnectOptions;

const HEADING: &str = "Kubernetes options";

/// How to reach the cluster. Every flag means what it means to kubectl.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = HEADING)]
pub struct ConnectionFlags {
    /// Path of the kubeconfig file
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig to use
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Cluster of the kubeconfig to use
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub cluster: Option<String>,
    /// User of the kubeconfig to use
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub user: Option<String>,
    /// Namespace for what is namespaced and not Calico's own
    #[arg(short = 'n', long, global = true, value_name = "NAME", hide_short_help = true)]
    pub namespace: Option<String>,
    /// Address and port of the API server
    #[arg(short = 's', long, global = true, value_name = "URL", hide_short_help = true)]
    pub server: Option<String>,
    /// Name that the API server's certificate must hold
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub tls_server_name: Option<String>,
    /// Do not check the API server's certificate
    #[arg(long, global = true, hide_short_help = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub insecure_skip_tls_verify: bool,
    /// File with the authority of the API server's certificate
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub certificate_authority: Option<PathBuf>,
    /// File with the client certificate
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub client_certificate: Option<PathBuf>,
    /// File with the client certificate's key
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub client_key: Option<PathBuf>,
    /// Bearer token
    #[arg(long, global = true, value_name = "TOKEN", hide_short_help = true)]
    pub token: Option<String>,
    /// Name for basic authentication
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub username: Option<String>,
    /// Password for basic authentication
    #[arg(long, global = true, value_name = "PASSWORD", hide_short_help = true)]
    pub password: Option<String>,
    /// User to act as
    #[arg(long = "as", global = true, value_name = "NAME", hide_short_help = true)]
    pub as_user: Option<String>,
    /// Group to act as (can be repeated)
    #[arg(long = "as-group", global = true, value_name = "NAME", action = ArgAction::Append, hide_short_help = true)]
    pub as_group: Vec<String>,
    /// Uid to act as
    #[arg(long = "as-uid", global = true, value_name = "UID", hide_short_help = true)]
    pub as_uid: Option<String>,
    /// Extra field of the user to act as, KEY=VALUE (can be repeated)
    #[arg(long = "as-user-extra", global = true, value_name = "KEY=VALUE", action = ArgAction::Append, hide_short_help = true)]
    pub as_user_extra: Vec<String>,
    /// How long one request may take, e.g. 1s, 2m (30s if not given); 0 means no limit
    #[arg(long, global = true, value_name = "DURATION", value_parser = parse_duration, hide_short_help = true)]
    pub request_timeout: Option<Duration>,
    /// Do not ask for compressed answers
    #[arg(long, global = true, hide_short_help = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", hide_default_value = true, hide_possible_values = true, value_name = "BOOL")]
    pub disable_compression: bool,
    /// Accepted as kubectl accepts it; nothing is cached there
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub cache_dir: Option<PathBuf>,
}

impl ConnectionFlags {
    /// The same for the client.
    pub fn options(&self) -> ConnectOptions {
        let it = self.clone();
        ConnectOptions {
            kubeconfig: it.kubeconfig,
            context: it.context,
            cluster: it.cluster,
            user: it.user,
            namespace: it.namespace,
            server: it.server,
            tls_server_name: it.tls_server_name,
            insecure_skip_tls_verify: it.insecure_skip_tls_verify,
            certificate_authority: it.certificate_authority,
            client_certificate: it.client_certificate,
            client_key: it.client_key,
            token: it.token,
            username: it.username,
            password: it.password,
            as_user: it.as_user,
            as_groups: it.as_group,
            as_uid: it.as_uid,
            as_user_extra: it.as_user_extra,
            request_timeout: it.request_timeout,
            disable_compression: it.disable_compression,
            cache_dir: it.cache_dir,
        }
    }
}

/// Without the secrets among the flags.
impl fmt::Debug for ConnectionFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options().fmt(f)
    }
}

/// Formats of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputFormat {
    /// For people
    #[default]
    Text,
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
}

/// How to print.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output options")]
pub struct OutputFlags {
    /// Output format: text (the default), json or yaml
    #[arg(short = 'o', long = "output", global = true, value_name = "FORMAT")]
    pub output: Option<String>,
    /// More detail; -vv also logs what is asked of the cluster. A number is accepted as kubectl accepts it: -v=2
    #[arg(short = 'v', long = "verbose", alias = "v", global = true, action = ArgAction::Append, num_args = 0..=1, require_equals = true, default_missing_value = "1", value_name = "LEVEL")]
    pub verbose: Vec<u8>,
    /// No colour
    #[arg(long = "no-color", global = true)]
    pub no_color: bool,
}

impl OutputFlags {
    /// The format that was asked for. (`collect` takes its file by the same flag, so the value is read late.)
    ///
    /// # Errors
    /// When there is no such format.
    pub fn format(&self) -> Result<OutputFormat, Failure> {
        match self.output.as_deref() {
            None | Some("text") => Ok(OutputFormat::Text),
            Some("json") => Ok(OutputFormat::Json),
            Some("yaml") => Ok(OutputFormat::Yaml),
            Some(other) => Err(Failure::usage(format!(
                "unable to match a printer suitable for the output format {other:?}, allowed formats are: json,text,yaml"
            ))),
        }
    }

    /// How much detail is wanted: the sum of all `-v`.
    pub fn level(&self) -> u32 {
        self.verbose.iter().map(|level| u32::from(*level)).sum()
    }
}

/// A duration as Go writes it: `300ms`, `1.5s`, `2m`, `1h30m`; a bare number means seconds, as kubectl has it.
///
/// # Errors
/// When it is none.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write 30s, 2m or 1h30m");
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let amount: f64 = rest.get(..digits).and_then(|it| it.parse().ok()).ok_or_else(wrong)?;
        rest = rest.get(digits..).ok_or_else(wrong)?;
        let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let seconds = match rest.get(..unit_end).ok_or_else(wrong)? {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let part = Duration::try_from_secs_f64(amount * seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = rest.get(unit_end..).ok_or_else(wrong)?;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::parse_duration;
    use std::time::Duration;

    #[test]
    fn durations_are_those_of_go() {
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert_eq!(parse_duration("5"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        for wrong in ["", "s", "5x", "-1s", "1h-3m", "99999999999999999999h", "1..2s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
