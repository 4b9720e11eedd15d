//! What a plan would change in every object: a line that goes and a line that comes, for each value.

use serde_json::Value;

use super::escape::escape;
use super::layout::TextOptions;
use crate::plan::{Action, JsonPatch, PatchOperation, Plan, describe};

/// The differences, object by object in the order of the steps. What controllers change of their own accord is not known
/// before, and not in it.
pub fn differences(plan: &Plan, options: &TextOptions) -> String {
    let mut out = String::from("Differences:\n");
    for step in &plan.steps {
        of_action(&step.action, &mut out);
    }
    options.plain(out)
}

fn of_action(action: &Action, out: &mut String) {
    match action {
        Action::Patch { object, patch, .. } => {
            out.push_str(&format!("  {}\n", escape(&describe::object(object))));
            for line in lines(patch) {
                out.push_str(&format!("    {line}\n"));
            }
        }
        Action::Create { object, manifest } => {
            out.push_str(&format!("  {} (new)\n", escape(&describe::object(object))));
            for line in super::yaml(manifest).lines() {
                let text = line.trim_start();
                let indent = " ".repeat(line.len() - text.len());
                out.push_str(&format!("    + {indent}{}\n", escape(text)));
            }
        }
        Action::Delete { object, .. } | Action::DeleteCreated { object, .. } => {
            out.push_str(&format!("  {} (goes)\n", escape(&describe::object(object))));
        }
        Action::Sequence { actions } => actions.iter().for_each(|it| of_action(it, out)),
        _ => {}
    }
}

/// `- spec.bpfEnabled: absent`, `+ spec.bpfEnabled: true`
fn lines(patch: &JsonPatch) -> Vec<String> {
    let before = |wanted: &str| {
        patch.0.iter().find_map(|it| match it {
            PatchOperation::Test { path, value } if path == wanted => Some(value),
            _ => None,
        })
    };
    let line = |sign: char, path: &str, value: Option<&Value>| {
        let shown = match value {
            None | Some(Value::Null) => "absent".to_owned(),
            Some(value) => value.to_string(),
        };
        escape(&format!("{sign} {}: {shown}", describe::member(path)))
    };
    let mut all = Vec::new();
    for change in patch.changes() {
        let after = match change {
            PatchOperation::Add { value, .. } => Some(value),
            _ => None,
        };
        all.push(line('-', change.path(), before(change.path())));
        all.push(line('+', change.path(), after));
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_goes_stands_before_what_comes() {
        let patch = JsonPatch::default()
            .change("/spec/bpfEnabled", None, Some(json!(true)))
            .change("/spec/template/metadata/annotations/a~1b", Some(json!("x")), None);
        assert_eq!(
            lines(&patch),
            [
                "- spec.bpfEnabled: absent",
                "+ spec.bpfEnabled: true",
                "- spec.template.metadata.annotations.a/b: \"x\"",
                "+ spec.template.metadata.annotations.a/b: absent",
            ]
        );
    }
}
