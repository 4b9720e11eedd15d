//! `explain`: the page of a check, or of a guard of `calico-purge`, offline.

use clap::Args;
use common::checks;
use common::cli::{Exit, Failure, Kind, OutputFormat};
use common::plan::safeguards::{self, Safeguard};
use common::report::v1::API_VERSION;
use common::report::{json, yaml};

use common::verbs::Session;

#[derive(Args, Clone, Debug)]
pub(crate) struct ExplainFlags {
    /// Code of a finding, e.g. CAL-CNI-006, or of a guard, e.g. CAL-GRD-001
    #[arg(value_name = "CODE")]
    code: String,
}

pub(crate) fn run(session: &Session, flags: &ExplainFlags) -> Result<Exit, Failure> {
    if let Some(guard) = safeguards::find(&flags.code) {
        return explain_guard(session, guard);
    }
    let Some(check) = checks::find(&flags.code) else {
        let failure = Failure::new(Kind::Usage, format!("there is no check {:?}", flags.code));
        return Err(failure.hint(format!("list them: {} checks", session.program)));
    };
    let mut page = format!("{} · {} · {}\n\n", check.code, check.severity, check.group);
    for line in check.explain.lines() {
        page.push_str(line.strip_prefix(' ').unwrap_or(line));
        page.push('\n');
    }
    let document = serde_json::json!({
        "apiVersion": API_VERSION, "kind": "CheckPage", "code": check.code,
        "title": check.title, "severity": check.severity, "page": page,
    });
    print(session, &page, &document)
}

fn explain_guard(session: &Session, guard: &Safeguard) -> Result<Exit, Failure> {
    let Safeguard { code, title, explain, .. } = guard;
    let overridden = if guard.is_overridable() {
        format!("Overridden with: kubectl calico-purge node NODE --all-state --force={code}")
    } else {
        "Nothing overrides it.".to_owned()
    };
    let page = format!("{code} · guard\n\n{title}\n\n{explain}\n\n{overridden}\n");
    let document = serde_json::json!({
        "apiVersion": API_VERSION, "kind": "GuardPage", "code": code, "title": title, "page": page,
    });
    print(session, &page, &document)
}

fn print(session: &Session, page: &str, document: &serde_json::Value) -> Result<Exit, Failure> {
    match session.format {
        OutputFormat::Text => session.printer.data(page)?,
        OutputFormat::Json => session.printer.data(&json(document))?,
        OutputFormat::Yaml => session.printer.data(&yaml(document))?,
    }
    Ok(Exit::Good)
}
