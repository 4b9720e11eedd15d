//! What all faults have in common: the cluster as it was, the watcher, runs with a short patience, and what is demanded of them.

use std::thread;
use std::time::{Duration, Instant};

use tests::story::{
    Crossing, Journal, NextJournal, Ran, Touched, Watcher, demand, differences, nothing_of_ours,
};
use tests::testbed::{ClusterLock, Error, Testbed, wait_until};

/// How long a run may take to come to a point.
pub(crate) const LIMIT: Duration = Duration::from_secs(150);

/// Exit code of an error.
pub(crate) const ERROR: i32 = 1;
/// Exit code of what is declined or refused.
pub(crate) const REFUSED: i32 = 6;

/// A testbed on which something is going to go wrong.
pub(crate) struct Stage<'a> {
    pub(crate) testbed: &'a Testbed,
    pub(crate) crossing: Crossing<'a>,

    before: Touched,
    watcher: Option<Watcher>,
    name: &'static str,
    began: Instant,
}

impl<'a> Stage<'a> {
    /// The cluster as it is, and somebody who watches it from now on.
    pub(crate) fn begin(
        name: &'static str,
        testbed: &'a Testbed,
        _lock: &'a ClusterLock,
    ) -> Result<Self, Error> {
        let crossing = Crossing::new(testbed)?;
        let before = crossing.settled()?;
        let watcher = Some(Watcher::start(testbed));
        Ok(Self { testbed, crossing, before, watcher, name, began: Instant::now() })
    }

    /// The words of an `enable` that soon gives up, with more behind them.
    pub(crate) fn words(&self, more: &[&str]) -> Vec<String> {
        let usual = ["enable", "--disable-kube-proxy", "--node-timeout=10"];
        let mut words: Vec<String> = usual.iter().chain(more).map(|it| (*it).to_owned()).collect();
        let lacks = |words: &[String], flag: &str| !words.iter().any(|it| it.starts_with(flag));
        for (flag, value) in [
            ("--api-endpoint", self.crossing.endpoint()),
            ("--watch-kube-proxy", "2".to_owned()),
            ("--step-timeout", "75".to_owned()),
        ] {
            if lacks(&words, flag) {
                words.push(format!("{flag}={value}"));
            }
        }
        if lacks(&words, "--dry-run") {
            words.push("--yes".to_owned());
        }
        words
    }

    /// Runs it.
    pub(crate) fn enable(&self, more: &[&str]) -> Result<Ran, Error> {
        let words = self.words(more);
        self.crossing.plugin.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Runs it, and does something meanwhile that looks at its journal.
    pub(crate) fn enable_while(
        &self,
        more: &[&str],
        meanwhile: impl FnOnce(&NextJournal) -> Result<(), Error> + Send,
    ) -> Result<Ran, Error> {
        let journal = NextJournal::of(&self.crossing.plugin);
        thread::scope(|scope| {
            let other = scope.spawn(move || meanwhile(&journal));
            let ran = self.enable(more)?;
            match other.join() {
                Ok(Ok(())) => Ok(ran),
                Ok(Err(error)) => Err(Error::Unmet {
                    what: "what is done meanwhile".to_owned(),
                    seen: format!("{error}; the run: {ran:?}"),
                }),
                Err(_) => Err(Error::Unmet {
                    what: "what is done meanwhile".to_owned(),
                    seen: "it panicked".to_owned(),
                }),
            }
        })
    }

    /// Another verb.
    pub(crate) fn run(&self, words: &[&str]) -> Result<Ran, Error> {
        self.crossing.plugin.run(words)
    }

    /// Every touched object, every node's data plane and kube-proxy are what they were, and nothing of ours is left.
    pub(crate) fn is_as_before(&self) -> Result<(), Error> {
        self.crossing.is_back()?;
        let lines = differences(&self.before, &self.crossing.settled()?);
        demand(lines.is_empty(), "every touched object is what it was", &lines)?;
        nothing_of_ours(self.testbed)
    }

    /// The same, and nobody was ever without somebody who served Services.
    pub(crate) fn end(mut self) -> Result<(), Error> {
        self.is_as_before()?;
        self.never_alone()?;
        println!("{}: {} s", self.name, self.began.elapsed().as_secs());
        Ok(())
    }

    /// The watcher saw nothing amiss, and looked.
    fn never_alone(&mut self) -> Result<(), Error> {
        let Some(watcher) = self.watcher.take() else { return Ok(()) };
        let watched = watcher.end();
        demand(watched.is_quiet(), "somebody served every node all the time", &watched)
    }
}

/// Prints what a person saw, without the plan.
pub(crate) fn tell(ran: &Ran) {
    let outcome = ran.stdout.split_once("Left out: ").map_or(ran.stdout.as_str(), |it| it.1);
    println!("exit code {}\n{outcome}{}", ran.code, ran.stderr);
}

/// The run ended so, and said all of this.
pub(crate) fn says(ran: &Ran, code: i32, words: &[&str]) -> Result<(), Error> {
    demand(ran.code == code, &format!("exit code {code}"), ran)?;
    for word in words {
        demand(is_said(ran, word), &format!("it says {word:?}"), ran)?;
    }
    Ok(())
}

/// The run ended well and said none of this: without the fault nobody speaks of it.
pub(crate) fn says_nothing_of(ran: &Ran, words: &[&str]) -> Result<(), Error> {
    demand(ran.code == 0, "exit code 0", ran)?;
    for word in words {
        demand(!is_said(ran, word), &format!("it does not say {word:?}"), ran)?;
    }
    Ok(())
}

/// However the lines are broken.
fn is_said(ran: &Ran, word: &str) -> bool {
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    flat(&ran.stdout).contains(word) || flat(&ran.stderr).contains(word)
}

/// Waits until a run is at this step.
pub(crate) fn wait_step(journal: &NextJournal, step: &str) -> Result<(), Error> {
    let is_at = |it: &Journal| it.states.last().is_some_and(|(name, _)| name == step);
    wait(journal, &format!("the run is at {step}"), is_at)
}

/// Waits until a run takes itself back.
pub(crate) fn wait_undoing(journal: &NextJournal) -> Result<(), Error> {
    wait(journal, "the run takes itself back", |it| !it.undoing.is_empty())
}

fn wait(journal: &NextJournal, what: &str, is: impl Fn(&Journal) -> bool) -> Result<(), Error> {
    wait_until(what, LIMIT, || {
        let seen = journal.read();
        if is(&seen) { Ok(()) } else { Err(format!("{:?}", seen.states)) }
    })
}
