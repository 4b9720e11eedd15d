//! Kills the way to eBPF and back at every point, goes on or back, and watches that Services are served all the while.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::process::{Work, process};
use super::simulation::{Felix, NEVER, RUN, World};
use crate::execute::journal::{RunState, find};
use crate::execute::simulation::once_given_up;
use crate::plan::{Action, Condition, Outcome, RunResult, StepState, Undo};
use crate::snapshot::InstallMethod;

const METHODS: [InstallMethod; 2] = [InstallMethod::Manifest, InstallMethod::Operator];

async fn finish(world: &Arc<World>, directory: &Path, work: Work<'_>, about: &str) {
    let ended = process(world, directory, work, NEVER).await.unwrap();
    assert_eq!(ended.result, RunResult::Done, "{about}: {ended:#?}");
}

fn is_there(world: &World, about: &str) {
    assert!(world.has_bpf() && !world.has_kube_proxy() && !world.has_rules(), "{about}");
    no_alarm(world, about);
}

fn no_alarm(world: &World, about: &str) {
    assert_eq!(*world.alarms.lock().unwrap(), Vec::<String>::new(), "{about}");
}

/// Lets a run die at every point, each in a world of its own. How many points there were.
async fn at_every_death(
    method: InstallMethod,
    then: impl AsyncFn(&str, &Arc<World>, &Path),
) -> usize {
    let mut deaths = 0;
    loop {
        let directory = tempfile::tempdir().unwrap();
        let world = World::new(method);
        let plan = world.plan();
        let run = process(&world, directory.path(), Work::Run(&plan), deaths + 1).await;
        if let Some(ended) = run {
            assert_eq!(ended.result, RunResult::Done, "{ended:#?}");
            is_there(&world, "nobody died");
            return deaths;
        }
        deaths += 1;
        then(&format!("{method:?}, death {deaths}"), &world, directory.path()).await;
    }
}

#[tokio::test]
async fn wherever_it_dies_it_goes_on_to_the_goal_and_back_to_the_start() {
    for method in METHODS {
        let start = World::new(method).state();
        let deaths = at_every_death(method, async |death, world, directory| {
            finish(world, directory, Work::Resume, death).await;
            is_there(world, death);
            finish(world, directory, Work::TakeBack, death).await;
            assert_eq!(world.state(), start, "{death}");
            no_alarm(world, death);
        })
        .await;
        assert!(deaths >= 40, "only {deaths} points to die at");
    }
}

#[tokio::test]
async fn wherever_it_dies_it_goes_back_to_the_start() {
    for method in METHODS {
        let start = World::new(method).state();
        at_every_death(method, async |death, world, directory| {
            finish(world, directory, Work::TakeBack, death).await;
            assert_eq!(world.state(), start, "{death}");
            no_alarm(world, death);
        })
        .await;
    }
}

#[tokio::test]
async fn wherever_the_way_back_dies_the_next_one_ends_it() {
    for method in METHODS {
        let mut deaths = 0;
        loop {
            let directory = tempfile::tempdir().unwrap();
            let directory = directory.path();
            let world = World::new(method);
            let start = world.state();
            finish(&world, directory, Work::Run(&world.plan()), "there").await;
            if process(&world, directory, Work::TakeBack, deaths + 1).await.is_some() {
                break;
            }
            deaths += 1;
            let death = format!("{method:?}, death {deaths} on the way back");
            once_given_up(directory);
            let state = find(directory, "c", RUN).unwrap().state();
            assert!(
                matches!(state, RunState::PartlyUndone),
                "{death}: {state:?}, so that going on means going back"
            );
            finish(&world, directory, Work::TakeBack, &death).await;
            assert_eq!(world.state(), start, "{death}");
            no_alarm(&world, &death);
        }
        assert!(deaths > 15, "only {deaths} points to die at");
    }
}

#[tokio::test]
async fn whichever_proof_fails_everything_can_be_taken_back() {
    for method in METHODS {
        for proof in 1.. {
            let directory = tempfile::tempdir().unwrap();
            let directory = directory.path();
            let world = World::new(method);
            let start = world.state();
            world.proof_fails.store(proof, Ordering::SeqCst);
            let plan = world.plan();
            let ended = process(&world, directory, Work::Run(&plan), NEVER).await.unwrap();
            if ended.result == RunResult::Done {
                assert!(proof >= 4, "only {proof} proofs");
                break;
            }
            world.proof_fails.store(0, Ordering::SeqCst);
            finish(&world, directory, Work::TakeBack, &format!("proof {proof}")).await;
            assert_eq!(world.state(), start, "proof {proof}");
            no_alarm(&world, &format!("proof {proof}"));
        }
    }
}

#[tokio::test]
async fn without_a_journal_the_way_back_ends_at_calicos_defaults() {
    for method in METHODS {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let world = World::new(method);
        let mut start = world.state();
        finish(&world, directory, Work::Run(&world.plan()), "there").await;
        let back = world.plan_back("01BACK");
        finish(&world, directory, Work::Run(&back), "back").await;
        no_alarm(&world, "on the way back");
        let mut state = world.state();
        if method == InstallMethod::Manifest {
            // The field says what it meant before, and a rollout leaves its mark.
            for all in [&mut state, &mut start] {
                all.retain(|name, _| !name.contains("calico-node") && !name.contains("Felix"));
            }
            assert!(!world.has_bpf());
        }
        assert_eq!(state, start, "{method:?}");
        assert!(world.plan_back("01AGAIN").steps.is_empty(), "{method:?}");
    }
}

/// The control: the order that is documented, eBPF off before kube-proxy is back, sets the watcher off.
#[tokio::test]
async fn in_the_documented_order_nobody_serves_services_for_a_while() {
    for method in METHODS {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let world = World::new(method);
        let mut plan = world.plan();
        // Undone last to first, the way back of kube-proxy comes after that of eBPF.
        let off = plan.steps.iter().position(|it| it.id.0 == "kube-proxy-off").unwrap();
        let back = plan.steps[off].undo.clone();
        plan.steps[off].undo = Undo::NotNeeded { why: "the control".into() };
        let Undo::By { action, verify } = &mut plan.steps[0].undo else { panic!("no way back") };
        **action = back.action().unwrap();
        verify.clear();
        finish(&world, directory, Work::Run(&plan), "there").await;
        no_alarm(&world, "on the way there");
        process(&world, directory, Work::TakeBack, NEVER).await.unwrap();
        let alarms = world.alarms.lock().unwrap();
        assert!(alarms.iter().any(|it| it == "nobody serves Services"), "{alarms:?}");
    }
}

/// Runs with a Felix that does not remove what it is to remove; then everything is taken back.
async fn fails_and_goes_back(method: InstallMethod) -> (Outcome, Outcome) {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let world = World::new(method);
    let start = world.state();
    *world.felix.lock().unwrap() = Felix::NeverRemoves;
    let plan = world.plan();
    let ended = process(&world, directory, Work::Run(&plan), NEVER).await.unwrap();
    assert_eq!(ended.result, RunResult::Failed, "{ended:#?}");
    let back = process(&world, directory, Work::TakeBack, NEVER).await.unwrap();
    assert_eq!((back.result, world.state()), (RunResult::Done, start), "{back:#?}");
    assert!(world.has_rules() && world.has_kube_proxy());
    no_alarm(&world, "there and back");
    (ended, back)
}

fn why_failed<'a>(ended: &'a Outcome, step: &str) -> &'a str {
    let found = ended.steps.iter().find(|it| it.id.0 == step).unwrap();
    let StepState::Failed { why } = &found.state else { panic!("{found:#?}") };
    why
}

/// The control of what a step promises about kube-proxy's rules.
#[tokio::test]
async fn rules_that_felix_does_not_remove_are_noticed_and_all_is_taken_back() {
    for method in METHODS {
        let (ended, back) = fails_and_goes_back(method).await;
        assert_eq!(
            why_failed(&ended, "cleanup-on"),
            "not true after 120 s: iptables of every node has no rules of kube-proxy: n1: Felix has not removed kube-proxy's \
             rules: chain KUBE-SERVICES is in iptables-nft"
        );
        // What changed nothing is no part of the way back.
        let ids: Vec<&str> = back.steps.iter().map(|it| it.id.0.as_str()).collect();
        assert!(!ids.contains(&"watch") && !ids.contains(&"proof-bpf"), "{ids:?}");
        assert!(ids.contains(&"proof-before") && ids.contains(&"cleanup-on"), "{ids:?}");
    }
}

#[tokio::test]
async fn rules_that_felix_is_told_to_leave_are_not_demanded_to_go() {
    for method in METHODS {
        let directory = tempfile::tempdir().unwrap();
        let world = World::new(method);
        *world.felix.lock().unwrap() = Felix::IsToldToLeave;
        let plan = world.plan();
        finish(&world, directory.path(), Work::Run(&plan), "told to leave them").await;
        assert!(world.has_bpf() && !world.has_kube_proxy() && world.has_rules());
        let step = plan.steps.iter().find(|it| it.id.0 == "cleanup-on").unwrap();
        let is = |it: &Condition| matches!(it, Condition::Patched { .. });
        assert!(step.verify.iter().any(|it| is(&it.condition)), "{:#?}", step.verify);
    }
}

#[test]
fn every_step_that_changes_something_knows_its_way_back() {
    for method in METHODS {
        let plan = World::new(method).plan();
        for step in &plan.steps {
            let changes =
                !matches!(step.action, Action::ProveServices { .. } | Action::Hold { .. });
            assert!(!changes || step.undo.is_possible(), "{}", step.id);
            assert!(!step.verify.is_empty(), "{}", step.id);
            assert!(!changes || !step.undo.verifications().is_empty(), "{}", step.id);
        }
        let ids: Vec<_> = plan.steps.iter().map(|it| it.id.0.as_str()).collect();
        let at = |id: &str| ids.iter().position(|it| *it == id).unwrap();
        assert!(at("endpoint") < at("bpf-on") && at("proof-bpf") < at("kube-proxy-off"));
        assert!(at("kube-proxy-off") < at("watch") && at("watch") < at("cleanup-on"));
    }
}
