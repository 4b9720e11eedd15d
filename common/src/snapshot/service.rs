//! Reads what systemd says of the kubelet and of the container runtime; where there is no systemd, which process runs.

use serde::Serialize;

use super::Known;

/// A service of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// A unit of systemd.
    Unit(Unit),
    /// A process; there is no systemd.
    Process {
        /// What it is called.
        name: String,
    },
}

/// A unit of systemd, in systemd's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// `kubelet.service`.
    pub name: String,
    /// `ActiveState`: `active`, `inactive`, `failed`, `activating`, …
    pub active: String,
    /// `SubState`: `running`, `dead`, `auto-restart`, …
    pub sub: String,
    /// `UnitFileState`: `enabled` starts at boot, `disabled` does not.
    pub enabled: String,
    /// `Result` of its last run: `success`, `exit-code`, …
    pub result: String,
    /// `NRestarts`: how often systemd restarted it by itself.
    pub restarts: u64,
    /// `ExecMainStatus`: exit code of its last run.
    pub exit_code: i64,
    /// `StateChangeTimestamp`, as systemd writes it.
    pub since: String,
}

impl Service {
    /// True while it runs. A unit that fails and is started again and again does not.
    pub fn is_running(&self) -> bool {
        match self {
            Self::Unit(unit) => matches!(unit.active.as_str(), "active" | "reloading"),
            Self::Process { .. } => true,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Unit(unit) => unit.name.trim_end_matches(".service"),
            Self::Process { name } => name,
        }
    }
}

/// The service of a section: the one that runs, else the first one that there is. Absent when there is none, which means
/// little where there is no systemd: programs can be called otherwise.
pub(super) fn parse(text: &str) -> Known<Service> {
    if let Some(processes) = text.strip_prefix("no systemd\n") {
        let names = processes.lines().filter_map(|line| line.split_once(' '));
        let mut found = names.map(|(_, name)| Service::Process { name: name.to_owned() });
        return Known::from_option(found.next());
    }
    let mut units: Vec<Service> = text.split("\n\n").filter_map(unit).map(Service::Unit).collect();
    let place = units.iter().position(Service::is_running).unwrap_or(0);
    if units.is_empty() { Known::Absent } else { Known::Known(units.swap_remove(place)) }
}

/// A block of `systemctl show`; none when no such unit is loaded.
fn unit(block: &str) -> Option<Unit> {
    let mut unit = Unit::default();
    let mut loaded = false;
    for line in block.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        let value = value.trim().to_owned();
        match key {
            "Id" => unit.name = value,
            "LoadState" => loaded = value == "loaded",
            "ActiveState" => unit.active = value,
            "SubState" => unit.sub = value,
            "UnitFileState" => unit.enabled = value,
            "Result" => unit.result = value,
            "NRestarts" => unit.restarts = value.parse().unwrap_or_default(),
            "ExecMainStatus" => unit.exit_code = value.parse().unwrap_or_default(),
            "StateChangeTimestamp" => unit.since = value,
            _ => {}
        }
    }
    loaded.then_some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaded_unit_counts() {
        let text = "Id=k3s.service\nLoadState=not-found\nActiveState=inactive\n\n\
                    Id=kubelet.service\nLoadState=loaded\nActiveState=activating\nSubState=auto-restart\n\
                    UnitFileState=disabled\nResult=exit-code\nNRestarts=7\nExecMainStatus=1\n";
        let Known::Known(service) = parse(text) else { panic!() };
        assert_eq!((service.name(), service.is_running()), ("kubelet", false));
        let Service::Unit(unit) = service else { panic!() };
        assert_eq!((unit.restarts, unit.exit_code, unit.enabled.as_str()), (7, 1, "disabled"));
        let two = "Id=docker.service\nLoadState=loaded\nActiveState=inactive\n\nId=containerd.service\nLoadState=loaded\nActiveState=active\n";
        assert_eq!(parse(two).known().unwrap().name(), "containerd");
        assert_eq!(parse("Id=a.service\nLoadState=not-found\n"), Known::Absent);
    }

    #[test]
    fn without_systemd_a_process_counts() {
        let process = Service::Process { name: "kubelet".to_owned() };
        assert_eq!(parse("no systemd\n12 kubelet\n13 kubelet\n"), Known::Known(process));
        assert_eq!(parse("no systemd\n"), Known::Absent);
    }
}
