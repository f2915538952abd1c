//! How far each replica was followed without a gap.

use alloc::collections::BTreeMap;

use crate::{CausalContext, Causality, Dot, ReplicaId};

/// For every replica the counter up to which *all* its dots were seen.
///
/// The form of a [`CausalContext`] without holes; what sessions and acknowledgements carry.
///
/// # Examples
/// ```
/// use meshwork_crdt::{Dot, ReplicaId, VersionVector};
/// let a = ReplicaId::from_bytes(*b"replicaA");
/// let mut seen = VersionVector::new();
/// seen.advance(Dot::new(a, 3));
/// assert!(seen.contains(Dot::new(a, 2)) && !seen.contains(Dot::new(a, 4)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionVector(BTreeMap<ReplicaId, u64>);

impl VersionVector {
    /// The vector that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The counter up to which `replica` was followed; 0 if not at all.
    #[must_use]
    pub fn get(&self, replica: ReplicaId) -> u64 {
        self.0.get(&replica).copied().unwrap_or(0)
    }

    /// Whether `dot` was seen.
    #[must_use]
    pub fn contains(&self, dot: Dot) -> bool {
        (1..=self.get(dot.replica)).contains(&dot.counter)
    }

    /// Notes that all dots of the replica up to `dot` were seen; an older dot changes nothing.
    pub fn advance(&mut self, dot: Dot) {
        if dot.counter > self.get(dot.replica) {
            self.0.insert(dot.replica, dot.counter);
        }
    }

    /// The greater counter of both, for every replica.
    pub fn join(&mut self, other: &Self) {
        other.iter().for_each(|dot| self.advance(dot));
    }

    /// How this vector stands to `other`.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Causality {
        let covers = |a: &Self, b: &Self| b.iter().all(|dot| a.contains(dot));
        match (covers(self, other), covers(other, self)) {
            (true, true) => Causality::Equal,
            (true, false) => Causality::After,
            (false, true) => Causality::Before,
            (false, false) => Causality::Concurrent,
        }
    }

    /// The last dot seen of every replica, by replica.
    pub fn iter(&self) -> impl Iterator<Item = Dot> + '_ {
        self.0
            .iter()
            .map(|(replica, counter)| Dot::new(*replica, *counter))
    }

    /// Whether nothing was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&VersionVector> for CausalContext {
    fn from(vector: &VersionVector) -> Self {
        let mut context = Self::new();
        vector
            .iter()
            .for_each(|dot| context.insert_run(dot.replica, 1..=dot.counter));
        context
    }
}

impl From<&CausalContext> for VersionVector {
    /// Keeps of each replica the run that starts at 1: what follows a hole is forgotten.
    fn from(context: &CausalContext) -> Self {
        let mut vector = Self::new();
        for (replica, run) in context.runs().filter(|(_, run)| *run.start() == 1) {
            vector.advance(Dot::new(replica, *run.end()));
        }
        vector
    }
}
