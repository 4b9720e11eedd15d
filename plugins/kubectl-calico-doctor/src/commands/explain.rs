//! `explain`: a check's page, offline.

use clap::Args;
use common::checks;
use common::cli::{Exit, Failure, Kind, OutputFormat};
use common::report::v1::API_VERSION;
use common::report::{json, yaml};

use common::verbs::Session;

#[derive(Args, Clone, Debug)]
pub(crate) struct ExplainFlags {
    /// Code of a finding, e.g. CAL-CNI-006
    #[arg(value_name = "CODE")]
    code: String,
}

pub(crate) fn run(session: &Session, flags: &ExplainFlags) -> Result<Exit, Failure> {
    let Some(check) = checks::find(&flags.code) else {
        let failure = Failure::new(Kind::Usage, format!("there is no check {:?}", flags.code));
        return Err(failure.hint(format!("list them: {} checks", session.program)));
    };
    let mut page = format!("{} · {} · {}\n\n", check.code, check.severity, check.group);
    for line in check.explain.lines() {
        page.push_str(line.strip_prefix(' ').unwrap_or(line));
        page.push('\n');
    }
    let document = || {
        serde_json::json!({
            "apiVersion": API_VERSION, "kind": "CheckPage", "code": check.code,
            "title": check.title, "severity": check.severity, "page": page,
        })
    };
    let text = match session.format {
        OutputFormat::Text => page,
        OutputFormat::Json => json(&document()),
        OutputFormat::Yaml => yaml(&document()),
    };
    session.printer.data(&text)?;
    Ok(Exit::Good)
}
