//! Finds the fewest faults with which a run still fails.
//!
//! Source: Zeller, Hildebrandt, "Simplifying and isolating failure-inducing input", TSE 2002 (ddmin). Where we differ: a run that fails in
//! another way than the first does not count, as it would lead astray.

use std::mem::discriminant;
use std::rc::Rc;
use std::time::Duration;

use super::run::{Keep, Outcome, Plan};
use super::schedule::Planned;
use crate::sim::violation::Violation;
use crate::traces::Trace as History;

/// A plan that fails with less, and how.
#[derive(Debug, Clone)]
pub struct Shrunken {
    /// The plan.
    pub plan: Plan,
    /// Which of the first plan's faults are left, by their place in it.
    pub kept: Vec<usize>,
    /// What becomes of it.
    pub outcome: Outcome,
    /// Runs that it took.
    pub runs: usize,
}

impl Plan {
    /// The same with only those faults whose places are named.
    #[must_use]
    pub fn keeping(&self, kept: &[usize]) -> Self {
        let faults = kept.iter().filter_map(|place| self.faults.get(*place));
        Self {
            faults: faults.cloned().collect(),
            ..self.clone()
        }
    }

    /// Leaves out faults and time for as long as the run goes on to fail as `outcome` did, in at most `runs_max` runs.
    ///
    /// Returns nothing when the outcome was good.
    #[must_use]
    pub fn shrink(
        &self,
        outcome: Outcome,
        history: Option<&Rc<History>>,
        runs_max: usize,
    ) -> Option<Shrunken> {
        let violation = outcome.violation.clone()?;
        let mut found = Shrunken {
            plan: self.clone(),
            kept: (0..self.faults.len()).collect(),
            outcome,
            runs: 0,
        };
        found.end_sooner(&violation, history);
        let mut parts = 2;
        while found.kept.len() > 1 && found.runs < runs_max {
            let size = found.kept.len().div_ceil(parts);
            let less = (0..parts).find_map(|part| {
                let kept = found.kept.iter().enumerate();
                let kept = kept.filter(|(place, _)| place / size != part);
                let kept: Vec<usize> = kept.map(|(_, fault)| *fault).collect();
                let shorter = kept.len() < found.kept.len() && found.runs < runs_max;
                (shorter && found.fails(self, &violation, history, kept)).then_some(())
            });
            if less.is_some() {
                parts = parts.saturating_sub(1).max(2);
            } else if size <= 1 {
                break;
            } else {
                parts = (parts * 2).min(found.kept.len());
            }
        }
        if found.kept.len() == 1 {
            found.fails(self, &violation, history, Vec::new());
        }
        Some(found)
    }
}

impl Shrunken {
    /// Goes on with these faults, if the run still fails with them alone.
    fn fails(
        &mut self,
        whole: &Plan,
        violation: &Violation,
        history: Option<&Rc<History>>,
        kept: Vec<usize>,
    ) -> bool {
        let plan = Plan {
            lasts: self.plan.lasts,
            ..whole.keeping(&kept)
        };
        self.runs += 1;
        let outcome = plan.run(history, Keep::Timeline);
        let same = |found: &Violation| discriminant(found) == discriminant(violation);
        let fails = outcome.violation.as_ref().is_some_and(same);
        if fails {
            self.plan = plan;
            self.kept = kept;
            self.outcome = outcome;
        }
        fails
    }

    /// Load and faults after the last moment that matters tell nothing.
    fn end_sooner(&mut self, violation: &Violation, history: Option<&Rc<History>>) {
        let seconds = self.plan.lasts.as_secs();
        for share in [8, 4, 2] {
            let lasts = Duration::from_secs((seconds / share).max(1));
            let kept: Vec<usize> = self
                .kept
                .iter()
                .copied()
                .filter(|place| is_before(self.plan.faults.get(*place), lasts))
                .collect();
            let whole = Plan {
                lasts,
                ..self.plan.clone()
            };
            let before = std::mem::replace(&mut self.plan.lasts, lasts);
            if self.fails(&whole, violation, history, kept) {
                return;
            }
            self.plan.lasts = before;
        }
    }
}

fn is_before(planned: Option<&Planned>, end: Duration) -> bool {
    planned.is_some_and(|planned| planned.at < end)
}
