//! The search for a history that breaks a law.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::check;
use super::history::{Plan, Run, Step, plans};
use super::law::Law;
use super::report::Broken;
use super::subject::Subject;

/// How long to search.
#[derive(Clone, Debug)]
pub struct Effort {
    /// Histories; 300.
    pub histories: u32,
    /// Steps of a history at the most; 24.
    pub steps_max: usize,
    /// The same seed gives the same histories; 0.
    pub seed: u64,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            histories: 300,
            steps_max: 24,
            seed: 0,
        }
    }
}

/// All laws held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// In so many histories.
    pub histories: u32,
    /// With so many writes.
    pub writes: u64,
}

/// Looks for a history that breaks one of the laws.
///
/// # Errors
/// [`Broken`]: the first law that did not hold, with the smallest history in which it does not.
pub fn hunt<S: Subject>(subject: &S, laws: &[Law], effort: &Effort) -> Result<Kept, Broken> {
    let mut seed = [0; 32];
    seed.iter_mut()
        .zip(effort.seed.to_be_bytes())
        .for_each(|(to, from)| *to = from);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut search = Search::new(subject, laws, effort.steps_max, rng);
    let mut writes = 0;
    for histories in 1..=effort.histories {
        writes += search.one(histories)?;
    }
    let histories = effort.histories;
    Ok(Kept { histories, writes })
}

/// Checks every law; for a `#[test]`.
///
/// # Panics
/// If one does not hold: see [`Broken`].
pub fn assert_laws<S: Subject>(subject: &S) {
    if let Err(broken) = hunt(subject, Law::ALL, &Effort::default()) {
        panic!("{broken}");
    }
}

/// Checks every law on the history that a fuzzer's bytes stand for; for a `fuzz_target!`.
///
/// # Panics
/// If one does not hold: see [`Broken`].
pub fn fuzz<S: Subject>(subject: &S, data: &[u8]) {
    let plan = Plan::from_bytes(&subject.ops(), data, Effort::default().steps_max);
    if let Err((law, _)) = attempt_plan(subject, Law::ALL, &plan) {
        panic!("{}", broken(subject, law, plan, 1));
    }
}

/// Leaves out all steps that the law is broken without.
fn broken<S: Subject>(subject: &S, law: Law, mut plan: Plan<S::Op>, histories: u32) -> Broken {
    let mut step = plan.len();
    while let Some(earlier) = step.checked_sub(1) {
        step = earlier;
        let less = plan.without(step);
        if attempt_plan(subject, &[law], &less).is_err() {
            // What was needed only for this step comes later in the history.
            step = less.len();
            plan = less;
        }
    }
    let detail = match attempt_plan(subject, &[law], &plan) {
        Err((_, detail)) => detail,
        Ok(_) => String::new(),
    };
    Broken::new(subject, law, detail, &steps(subject, &plan), histories)
}

/// Checks one law on one history: what the test that [`Broken`] prints calls.
///
/// # Errors
/// [`Broken`].
pub fn replay<S: Subject>(subject: &S, law: Law, steps: &[Step<S::Op>]) -> Result<(), Broken> {
    let made = || {
        let mut run = Run::new(subject);
        steps.iter().for_each(|step| run.step(subject, step));
        run
    };
    let (law, detail) = match attempt(subject, &[law], made) {
        Ok(_) => return Ok(()),
        Err(found) => found,
    };
    Err(Broken::new(subject, law, detail, steps, 1))
}

struct Search<'a, S: Subject> {
    subject: &'a S,
    laws: &'a [Law],
    steps_max: usize,
    runner: TestRunner,
}

/// A smaller history is looked for so many times.
const SHRINKS_MAX: u32 = 4_000;

impl<'a, S: Subject> Search<'a, S> {
    fn new(subject: &'a S, laws: &'a [Law], steps_max: usize, rng: TestRng) -> Self {
        Self {
            subject,
            laws,
            steps_max,
            runner: TestRunner::new_with_rng(Config::default(), rng),
        }
    }

    /// One history, the `number`-th; how many writes it had.
    fn one(&mut self, number: u32) -> Result<u64, Broken> {
        let strategy = plans(self.subject, self.steps_max);
        let Ok(mut tree) = strategy.new_tree(&mut self.runner) else {
            // The subject's operations rejected everything that was made up.
            return Ok(0);
        };
        let (law, _) = match attempt_plan(self.subject, self.laws, &tree.current()) {
            Ok(writes) => return Ok(writes),
            Err(found) => found,
        };
        let mut smallest = tree.current();
        let mut goes_on = tree.simplify();
        for _ in 0..SHRINKS_MAX {
            if !goes_on {
                break;
            }
            let smaller = tree.current();
            goes_on = match attempt_plan(self.subject, &[law], &smaller) {
                Err(_) => {
                    smallest = smaller;
                    tree.simplify()
                }
                Ok(_) => tree.complicate(),
            };
        }
        Err(broken(self.subject, law, smallest, number))
    }
}

fn attempt_plan<S: Subject>(
    subject: &S,
    laws: &[Law],
    plan: &Plan<S::Op>,
) -> Result<u64, (Law, String)> {
    attempt(subject, laws, || Run::of(subject, plan))
}

/// The steps that a plan makes; as far as they go where one panics.
fn steps<S: Subject>(subject: &S, plan: &Plan<S::Op>) -> Vec<Step<S::Op>> {
    let mut runs = (0..=plan.len()).rev().filter_map(|length| {
        let first = plan.first(length)?;
        catch_unwind(AssertUnwindSafe(|| Run::of(subject, &first))).ok()
    });
    runs.next().map(|run| run.steps).unwrap_or_default()
}

/// The first law that does not hold, and why; or how many writes there were.
fn attempt<S: Subject>(
    subject: &S,
    laws: &[Law],
    made: impl FnOnce() -> Run<S>,
) -> Result<u64, (Law, String)> {
    let run = quietly(made).map_err(|panic| (Law::Total, panic))?;
    for law in laws {
        match quietly(|| check::check(subject, *law, &run)) {
            Ok(Ok(())) => {}
            Ok(Err(detail)) | Err(detail) => return Err((*law, detail)),
        }
    }
    Ok(run.writes.len() as u64)
}

/// What was done, or what the panic said.
fn quietly<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        format!("a panic: {}", text.unwrap_or_default())
    })
}
