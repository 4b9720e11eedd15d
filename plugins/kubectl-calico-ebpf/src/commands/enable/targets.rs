//! Which Services are asked before, between and after the steps.

use common::bpf::{Situation, text};
use common::cli::{Failure, Kind};
use common::plan::PlanId;
use common::plan::ebpf::{Objects, ProofTarget, Question, ServiceProof, Translator};
use common::snapshot::Known;
use serde_json::Value;

/// Always asked, where they exist: what every pod needs.
const USUAL: [&str; 2] = ["default/kubernetes", "kube-system/kube-dns"];
/// Port of DNS.
const DNS: u16 = 53;
/// Seconds that Services may take to answer after a step. Felix and kube-proxy program a change within seconds.
const WITHIN_SECONDS: u64 = 90;

/// The proof with everything that is to be asked; what did not answer before is taken out by a measurement.
pub(in crate::commands) fn proof(
    situation: &Situation<'_>,
    objects: &Objects,
    run: &PlanId,
    wished: &[String],
) -> Result<ServiceProof, Failure> {
    let Known::Known(services) = &situation.services else {
        let why = situation.services.gap().map_or_else(String::new, |gap| gap.detail.clone());
        return Err(Failure::new(Kind::Incomplete, format!("Services cannot be read: {why}")));
    };
    let mut targets = Vec::new();
    for name in USUAL.iter().copied().chain(wished.iter().map(String::as_str)) {
        match services.iter().find(|it| full_name(it) == name) {
            Some(service) => targets.extend(of(name, service)),
            None if wished.iter().any(|it| it == name) => {
                return Err(Failure::new(Kind::NotFound, format!("there is no Service {name}"))
                    .hint("name it as namespace/name: kubectl get services -A"));
            }
            None => {}
        }
    }
    Ok(ServiceProof {
        name: "baseline".to_owned(),
        run: run.0.clone(),
        agent: objects.agent.name.clone(),
        by: Translator::Any,
        from_pods: true,
        node_ports: true,
        targets,
        within_seconds: WITHIN_SECONDS,
    })
}

fn full_name(service: &Value) -> String {
    let part = |path| text(service, path).unwrap_or_default();
    format!("{}/{}", part("/metadata/namespace"), part("/metadata/name"))
}

/// Its TCP ports by connections, and a port of DNS by a question.
fn of(name: &str, service: &Value) -> Vec<ProofTarget> {
    let address = text(service, "/spec/clusterIP").unwrap_or_default();
    if address.is_empty() || address == "None" {
        return Vec::new();
    }
    let ports = service.pointer("/spec/ports").and_then(Value::as_array);
    let target = |port: &Value| {
        let number = port["port"].as_u64().and_then(|it| u16::try_from(it).ok())?;
        let question = match port["protocol"].as_str() {
            Some("TCP") | None => Question::Tcp,
            Some("UDP") if number == DNS => Question::Dns,
            _ => return None,
        };
        let service = format!("{name}:{number}");
        let address = address.to_owned();
        Some(ProofTarget { service, address, port: number, question, silent_before: Vec::new() })
    };
    ports.into_iter().flatten().filter_map(target).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_that_can_be_asked_are() {
        let dns = json!({ "spec": { "clusterIP": "10.96.0.10", "ports": [
            { "port": 53, "protocol": "UDP" }, { "port": 53, "protocol": "TCP" },
            { "port": 9153, "protocol": "TCP" }, { "port": 7, "protocol": "SCTP" },
            { "port": 99999 },
        ] } });
        let asked: Vec<_> =
            of("kube-system/kube-dns", &dns).into_iter().map(|it| (it.port, it.question)).collect();
        assert_eq!(asked, [(53, Question::Dns), (53, Question::Tcp), (9153, Question::Tcp)]);
        let headless = json!({ "spec": { "clusterIP": "None", "ports": [{ "port": 80 }] } });
        assert!(of("a/b", &headless).is_empty() && of("a/b", &json!(7)).is_empty());
    }
}
