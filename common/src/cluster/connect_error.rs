//! Why no connection can be set up.

use std::path::PathBuf;

/// Why no connection can be set up. Nothing was sent yet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No kubeconfig was found, and this is no pod.
    #[error("no kubeconfig found (tried {})", paths(tried))]
    NoKubeconfig {
        /// Files that were looked for.
        tried: Vec<PathBuf>,
    },
    /// A file exists, or must exist, and cannot be read.
    #[error("cannot read kubeconfig {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no kubeconfig.
    #[error("kubeconfig {} is broken: {message}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// No context is chosen.
    #[error("the kubeconfig has no current context (it has {})", names(known))]
    NoCurrentContext {
        /// Contexts that exist.
        known: Vec<String>,
    },
    /// The chosen context does not exist.
    #[error("context \"{name}\" does not exist (there is {})", names(known))]
    UnknownContext {
        /// The name.
        name: String,
        /// Contexts that exist.
        known: Vec<String>,
    },
    /// The chosen cluster does not exist.
    #[error(
        "cluster \"{name}\" of context \"{context}\" does not exist in the kubeconfig (there is {})",
        names(known)
    )]
    UnknownCluster {
        /// The name.
        name: String,
        /// The context that names it; empty when a flag does.
        context: String,
        /// Clusters that exist.
        known: Vec<String>,
    },
    /// The chosen user does not exist.
    #[error("user \"{name}\" does not exist in the kubeconfig (there is {})", names(known))]
    UnknownUser {
        /// The name.
        name: String,
        /// Users that exist.
        known: Vec<String>,
    },
    /// The server's URL makes no sense.
    #[error("the server \"{server}\" of the kubeconfig or --server is no URL: {message}")]
    Server {
        /// The text.
        server: String,
        /// What is wrong with it.
        message: String,
    },
    /// A file that the kubeconfig or a flag names cannot be read.
    #[error("cannot read the {what} {}", path.display())]
    File {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Data in the kubeconfig cannot be used.
    #[error("the {what} cannot be used: {message}")]
    Data {
        /// Which data.
        what: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The program that should give credentials cannot be used.
    #[error("the kubeconfig's credential plugin \"{command}\" cannot be used: {message}")]
    Plugin {
        /// The program.
        command: String,
        /// Why.
        message: String,
        /// What the kubeconfig says about installing it.
        install_hint: Option<String>,
    },
    /// A variable is set that would change the target silently.
    #[error("{name} is set: it would send requests elsewhere than the kubeconfig says")]
    DebugVariable {
        /// The variable.
        name: &'static str,
    },
    /// The proxy cannot be used.
    #[error("the proxy \"{proxy}\" cannot be used: {message}")]
    Proxy {
        /// Its URL without user and password.
        proxy: String,
        /// Why.
        message: String,
    },
}

impl ConnectError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoKubeconfig { .. } => {
                "give one with --kubeconfig=FILE or $KUBECONFIG, or diagnose a bundle with --bundle=FILE".to_owned()
            }
            Self::NoCurrentContext { .. } | Self::UnknownContext { .. } => {
                "choose one with --context=NAME; `kubectl config get-contexts` lists them".to_owned()
            }
            Self::Plugin { install_hint: Some(hint), .. } => hint.clone(),
            Self::Plugin { command, .. } => format!("install `{command}`, or put it on the PATH"),
            Self::DebugVariable { name } => format!("unset {name}, and use --as, --as-group or --server instead"),
            Self::Broken { path, .. } => {
                format!("`kubectl config view --kubeconfig={}` shows what kubectl makes of it", path.display())
            }
            Self::File { .. } | Self::Data { .. } => {
                "fetch a fresh kubeconfig, or choose another --context".to_owned()
            }
            Self::Proxy { .. } => "check HTTPS_PROXY and the kubeconfig's proxy-url (http and socks5 work)".to_owned(),
            Self::Unreadable { .. } | Self::UnknownCluster { .. } | Self::UnknownUser { .. } | Self::Server { .. } => {
                return None;
            }
        })
    }
}

fn paths(tried: &[PathBuf]) -> String {
    if tried.is_empty() {
        return "no place: $KUBECONFIG is not set and there is no home directory".to_owned();
    }
    tried.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn names(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}
