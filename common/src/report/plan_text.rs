//! A plan and its outcome as a person reads them, before and after.

use super::escape::escape;
use super::layout::{Mark, TextOptions, names, number};
use crate::plan::{
    Answer, Applicability, Outcome, Plan, Rehearsed, RunResult, Step, StepState, describe,
};

/// The plan: for which cluster, each step with what follows it and how it is taken back, and what is left out.
pub fn plan(plan: &Plan, options: &TextOptions) -> String {
    let target = &plan.target;
    let steps = plan.steps.len();
    let unit = if steps == 1 { "step" } else { "steps" };
    let head = format!(
        "Plan {} for context {} (cluster \"{}\", {}, as {}), {} {unit}",
        plan.id,
        target.context,
        target.cluster_name,
        target.server,
        target.user,
        number(steps)
    );
    let mut out = format!("{}\n", options.bold(&escape(&head)));
    let mut shown: Option<&Step> = None;
    for (n, step) in plan.steps.iter().enumerate() {
        let same = shown.is_some_and(|first| is_alike(first, step));
        out.push_str(&lines(n + 1, step, same && !options.verbose, options));
        if !same {
            shown = Some(step);
        }
    }
    out.push_str(&left_out(plan, options));
    options.plain(out)
}

/// The same promises, but for the node and its pods.
fn is_alike(a: &Step, b: &Step) -> bool {
    a.verify.len() == b.verify.len()
        && std::mem::discriminant(&a.action) == std::mem::discriminant(&b.action)
        && a.verify.iter().zip(&b.verify).all(|(a, b)| {
            std::mem::discriminant(&a.condition) == std::mem::discriminant(&b.condition)
        })
}

fn lines(n: usize, step: &Step, short: bool, options: &TextOptions) -> String {
    let how = match step.applicability {
        Applicability::Safe => "safe",
        Applicability::Ask => "think first",
        Applicability::Manual => "by hand",
    };
    let does = describe::action(&step.action);
    let title = options.bold(&escape(&step.title));
    let mut out = if does == step.title {
        format!("{n:>3}  {title}  {how}\n")
    } else {
        format!("{n:>3}  {title}  {}  {how}\n", escape(&does))
    };
    for (place, detail) in describe::details(&step.action).iter().enumerate() {
        let label = if place == 0 { "what" } else { "" };
        out.push_str(&format!("       {label:<6} {}\n", escape(detail)));
    }
    if short {
        out.push_str("       then   the same\n");
        return out;
    }
    if options.verbose {
        for guard in &step.guards {
            out.push_str(&format!("       {}\n", escape(&describe::guard(guard))));
        }
    }
    for verification in &step.verify {
        out.push_str(&format!("       then   {}\n", escape(&describe::verification(verification))));
    }
    out.push_str(&format!("       undo   {}\n", escape(&describe::undo(&step.undo))));
    out
}

fn left_out(plan: &Plan, options: &TextOptions) -> String {
    if plan.left_out.is_empty() {
        return "Left out: nothing.\n".to_owned();
    }
    let mut out = String::from("Left out:\n");
    for one in &plan.left_out {
        out.push_str(&options.block("", &escape(&format!("{}: {}", one.finding, one.why))));
    }
    out
}

/// What the API server said to the steps that it was asked about: one line each. Those of hosts are counted.
pub fn rehearsal(steps: &[Rehearsed], options: &TextOptions) -> String {
    let mut out = String::from("The API server was asked (dry run), and changed nothing:\n");
    for (n, step) in steps.iter().enumerate() {
        let mark = match step.answer {
            Answer::Accepted => Mark::Good,
            Answer::NothingToDo => Mark::Skip,
            Answer::Refused => Mark::Bad,
            Answer::NotAsked => continue,
        };
        let said = step.said.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
        let line = format!("{}  {}  {}{said}", n + 1, step.title, step.answer.word());
        out.push_str(&format!("  {} {}\n", options.mark(mark), escape(&line)));
    }
    match steps.iter().filter(|it| it.answer == Answer::NotAsked).count() {
        0 => {}
        1 => out.push_str("It has no say in 1 step on a host.\n"),
        many => out.push_str(&format!("It has no say in {} steps on hosts.\n", number(many))),
    }
    options.plain(out)
}

/// What became of the plan: one line per step, then the whole.
pub fn outcome(outcome: &Outcome, options: &TextOptions) -> String {
    let all = outcome.steps.len();
    let mut out = String::new();
    for (n, step) in outcome.steps.iter().enumerate() {
        let place = step.node.clone().unwrap_or_else(|| step.title.clone());
        let done: Vec<String> = step
            .verified
            .iter()
            .map(|it| format!("{} after {} s", it.what, it.after_seconds))
            .collect();
        let (mark, says) = match &step.state {
            StepState::Done => (Mark::Good, done.join(", ")),
            StepState::Skipped { why } => (Mark::Good, format!("nothing to do: {why}")),
            StepState::Failed { why } => (Mark::Bad, why.clone()),
            StepState::Pending => (Mark::Skip, "not begun".to_owned()),
            StepState::Started if done.is_empty() => (Mark::Warn, "begun, not verified".to_owned()),
            StepState::Started => (Mark::Warn, format!("begun, not verified: {}", done.join(", "))),
            StepState::Undone => (Mark::Skip, "taken back".to_owned()),
        };
        let line = format!("{}/{all} {}  {}", n + 1, escape(&place), escape(&says));
        out.push_str(&format!("  {} {line}\n", options.mark(mark)));
    }
    out.push_str(&format!("{} Journal {}.\n", result(outcome), outcome.plan));
    options.plain(out)
}

fn result(outcome: &Outcome) -> String {
    let failed: Vec<String> = outcome
        .steps
        .iter()
        .filter(|step| matches!(step.state, StepState::Failed { .. }))
        .map(|step| step.node.clone().unwrap_or_else(|| step.title.clone()))
        .collect();
    match outcome.result {
        RunResult::Done => format!("Done in {} s.", outcome.seconds),
        RunResult::Failed => format!("Failed on {} after {} s.", names(&failed), outcome.seconds),
        RunResult::Refused => "Refused: the cluster changed since the diagnosis.".to_owned(),
        RunResult::Interrupted => format!("Interrupted after {} s.", outcome.seconds),
    }
}
