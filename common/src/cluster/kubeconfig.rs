//! Finding and merging kubeconfig files as kubectl does, and choosing from them.

use std::path::{Path, PathBuf};

use kube::config::{AuthInfo, Cluster, Context, Kubeconfig, KubeconfigError};

use super::ConnectError;

/// Where kubeconfig files are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sources {
    /// `--kubeconfig`: it must exist.
    Explicit(PathBuf),
    /// `$KUBECONFIG` or the default place: files that do not exist are passed over.
    List(Vec<PathBuf>),
}

impl Sources {
    /// The sources that the flag, the value of `$KUBECONFIG` and the home directory make.
    pub(super) fn of(
        flag: Option<&Path>,
        variable: Option<&std::ffi::OsStr>,
        home: Option<&Path>,
    ) -> Self {
        if let Some(path) = flag.filter(|path| !path.as_os_str().is_empty()) {
            return Self::Explicit(path.to_owned());
        }
        match variable.filter(|value| !value.is_empty()) {
            Some(value) => Self::List(
                std::env::split_paths(value).filter(|path| !path.as_os_str().is_empty()).collect(),
            ),
            None => {
                Self::List(home.map(|home| home.join(".kube").join("config")).into_iter().collect())
            }
        }
    }

    /// For error texts.
    pub(super) fn tried(&self) -> Vec<PathBuf> {
        match self {
            Self::Explicit(path) => vec![path.clone()],
            Self::List(paths) => paths.clone(),
        }
    }
}

/// Reads and merges all files: of two entries of one name, and of two current contexts, the first wins. None when no
/// file says anything.
pub(super) fn load(sources: &Sources) -> Result<Option<Kubeconfig>, ConnectError> {
    let mut merged: Option<Kubeconfig> = None;
    for path in sources.tried() {
        let next = match Kubeconfig::read_from(&path) {
            Ok(next) => next,
            Err(KubeconfigError::ReadConfig(error, _))
                if error.kind() == std::io::ErrorKind::NotFound
                    && matches!(sources, Sources::List(_)) =>
            {
                continue;
            }
            Err(KubeconfigError::ReadConfig(source, _)) => {
                return Err(ConnectError::Unreadable { path, source });
            }
            Err(error) => return Err(ConnectError::Broken { path, message: innermost(&error) }),
        };
        let next = without_empty_names(next);
        merged = Some(match merged {
            None => next,
            Some(first) => first
                .merge(next)
                .map_err(|error| ConnectError::Broken { path, message: error.to_string() })?,
        });
    }
    Ok(merged.filter(|config| !is_empty(config)))
}

/// An empty current-context counts as none, so that a later file's one is taken.
fn without_empty_names(mut config: Kubeconfig) -> Kubeconfig {
    config.current_context = config.current_context.filter(|name| !name.is_empty());
    config
}

fn is_empty(config: &Kubeconfig) -> bool {
    config.clusters.is_empty() && config.contexts.is_empty() && config.current_context.is_none()
}

/// The YAML parser quotes the lines around a fault; only its first line is free of what the file holds.
fn innermost(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(fault) => {
            fault.to_string().lines().next().unwrap_or("not YAML").to_owned()
        }
        other => other.to_string(),
    }
}

/// What was chosen from a kubeconfig.
#[derive(Clone, Debug, Default)]
pub(super) struct Chosen {
    pub(super) context_name: String,
    pub(super) cluster_name: String,
    pub(super) namespace: Option<String>,
    pub(super) cluster: Cluster,
    pub(super) user: AuthInfo,
}

/// Chooses context, cluster and user by name; the names given by flags go before those of the context.
pub(super) fn choose(
    config: &Kubeconfig,
    context: Option<&str>,
    cluster: Option<&str>,
    user: Option<&str>,
) -> Result<Chosen, ConnectError> {
    let context_name = context.or(config.current_context.as_deref()).unwrap_or_default();
    let found = config.contexts.iter().find(|named| named.name == context_name);
    let chosen: Context = match found.and_then(|named| named.context.clone()) {
        Some(chosen) => chosen,
        None if context_name.is_empty() && cluster.is_some() => Context::default(),
        None if context_name.is_empty() => {
            return Err(ConnectError::NoCurrentContext { known: context_names(config) });
        }
        None => {
            return Err(ConnectError::UnknownContext {
                name: context_name.to_owned(),
                known: context_names(config),
            });
        }
    };
    let cluster_name = cluster.unwrap_or(&chosen.cluster);
    let entry = config.clusters.iter().find(|named| named.name == cluster_name);
    let entry = entry.and_then(|named| named.cluster.clone()).ok_or_else(|| {
        ConnectError::UnknownCluster {
            name: cluster_name.to_owned(),
            context: context_name.to_owned(),
            known: sorted(config.clusters.iter().map(|named| named.name.as_str())),
        }
    })?;
    Ok(Chosen {
        context_name: context_name.to_owned(),
        cluster_name: cluster_name.to_owned(),
        namespace: chosen.namespace.filter(|namespace| !namespace.is_empty()),
        cluster: entry,
        user: choose_user(config, user, chosen.user.as_deref())?,
    })
}

/// A user that only the context names may be missing (kubectl then goes without credentials); one given by flag must exist.
fn choose_user(
    config: &Kubeconfig,
    flag: Option<&str>,
    of_context: Option<&str>,
) -> Result<AuthInfo, ConnectError> {
    let Some(name) = flag.or(of_context) else { return Ok(AuthInfo::default()) };
    let found = config.auth_infos.iter().find(|named| named.name == name);
    match found {
        Some(named) => Ok(named.auth_info.clone().unwrap_or_default()),
        None if flag.is_none() => Ok(AuthInfo::default()),
        None => Err(ConnectError::UnknownUser {
            name: name.to_owned(),
            known: sorted(config.auth_infos.iter().map(|named| named.name.as_str())),
        }),
    }
}

fn context_names(config: &Kubeconfig) -> Vec<String> {
    sorted(config.contexts.iter().map(|named| named.name.as_str()))
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    names.sort();
    names
}
