//! A counter that never falls below zero, without asking anybody.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::kinds::leaf::Leaf;
use crate::kinds::ledger::{Ledger, Tally};
use crate::kinds::{shape_of_store, wire_of_store};
use crate::{Dot, Edit, ReplicaId, Stamp};

/// A counter with a bound that holds at every moment on every node: 0, from which the application counts.
///
/// Whoever adds gets as many *rights*; taking away uses them up, and they can be given to another replica, which then can take
/// away while the giver cannot be reached. A replica without rights is refused, although the counter as a whole may have enough.
///
/// One live dot for each replica that ever added, took or gave, with 16 bytes, 16 more for each replica that it gave to, and 1 to 9 for how
/// far back it reaches: without what came between, two rows of one replica do not count twice, unless the store dropped its copy between
/// the two. Every operation is `O(replicas)`. A write by a store that has not its own earlier rows (it dropped its copy, and no replica was
/// in reach) adds to them.
/// Removing the counter takes back the rows that were seen: do not remove one that somebody still takes from.
///
/// Source: Balegas, Serra, Duarte, Ferreira, Shapiro, Rodrigues, Preguiça, "Extending eventually consistent cloud databases for enforcing
/// numeric invariants" (2015), section 4. Where we differ: a row for each replica instead of a matrix, so that only its owner writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoundedCounter(Ledger<Row>);

shape_of_store!(BoundedCounter);
wire_of_store!(BoundedCounter);

/// What one replica did.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    added: u64,
    taken: u64,
    /// By receiver; no amount is 0.
    given: BTreeMap<ReplicaId, u64>,
}

impl BoundedCounter {
    /// What was added and not taken away; never negative, whatever a hostile replica claims.
    #[must_use]
    pub fn value(&self) -> u128 {
        let rows = || self.0.iter().map(|(_, row)| row);
        let added: u128 = rows().map(|row| u128::from(row.added)).sum();
        let taken = rows().map(|row| u128::from(row.taken)).sum();
        added.saturating_sub(taken)
    }

    /// How much a replica may take away or give.
    #[must_use]
    pub fn rights(&self, replica: ReplicaId) -> u64 {
        let (mut gained, mut used) = (0_u128, 0_u128);
        for (owner, row) in self.0.iter() {
            if owner == replica {
                gained += u128::from(row.added);
                used += u128::from(row.taken);
                used += row.given.values().copied().map(u128::from).sum::<u128>();
            }
            gained += u128::from(row.given.get(&replica).copied().unwrap_or(0));
        }
        u64::try_from(gained.saturating_sub(used)).unwrap_or(u64::MAX)
    }

    /// Adds `amount`, and as many rights for the dot's replica. What one replica added stays at `u64::MAX` when it would pass it.
    #[must_use]
    pub fn add(&self, by: &Stamp, amount: u64) -> Edit<Self> {
        self.change(by, |row| row.added = row.added.saturating_add(amount))
    }

    /// Takes `amount` away.
    ///
    /// # Errors
    /// [`NoRights`] if the dot's replica has not so many. Nothing changed.
    pub fn take(&self, by: &Stamp, amount: u64) -> Result<Edit<Self>, NoRights> {
        self.check(by.dot, amount)?;
        Ok(self.change(by, |row| row.taken = row.taken.saturating_add(amount)))
    }

    /// Gives `amount` of the rights of the dot's replica to another.
    ///
    /// # Errors
    /// [`NoRights`] if it has not so many. Nothing changed.
    pub fn give(&self, by: &Stamp, to: ReplicaId, amount: u64) -> Result<Edit<Self>, NoRights> {
        self.check(by.dot, amount)?;
        Ok(self.change(by, |row| {
            let own = to == by.dot.replica || amount == 0;
            if !own {
                let given = row.given.entry(to).or_default();
                *given = given.saturating_add(amount);
            }
        }))
    }

    fn check(&self, dot: Dot, wanted: u64) -> Result<(), NoRights> {
        match self.rights(dot.replica) {
            have if have < wanted => Err(NoRights { have, wanted }),
            _ => Ok(()),
        }
    }

    /// The replica's own row with a change, in place of what it was.
    fn change(&self, by: &Stamp, change: impl FnOnce(&mut Row)) -> Edit<Self> {
        self.0.change(by, change).map(Self)
    }
}

impl Tally for Row {
    fn add(&mut self, other: &Self) {
        self.added.add(&other.added);
        self.taken.add(&other.taken);
        for (to, amount) in &other.given {
            self.given.entry(*to).or_default().add(amount);
        }
    }
}

impl Leaf for Row {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [self.added.to_be_bytes(), self.taken.to_be_bytes()].concat();
        for (to, amount) in &self.given {
            bytes.extend_from_slice(&to.to_bytes());
            bytes.extend_from_slice(&amount.to_be_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (added, rest) = bytes.split_first_chunk()?;
        let (taken, mut rest) = rest.split_first_chunk()?;
        let mut row = Self {
            added: u64::from_be_bytes(*added),
            taken: u64::from_be_bytes(*taken),
            given: BTreeMap::new(),
        };
        while !rest.is_empty() {
            let (to, after) = rest.split_first_chunk()?;
            let (amount, after) = after.split_first_chunk()?;
            let (to, amount) = (ReplicaId::from_bytes(*to), u64::from_be_bytes(*amount));
            let rises = row
                .given
                .last_key_value()
                .is_none_or(|(last, _)| *last < to);
            if amount == 0 || !rises {
                return None;
            }
            row.given.insert(to, amount);
            rest = after;
        }
        Some(row)
    }
}

/// A replica has too few rights: the caller's limit. Ask another replica to give some, or let it take away itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{wanted} cannot be taken with rights for {have}: another replica that has rights must give some, or take it itself"
)]
pub struct NoRights {
    /// Rights of the replica.
    pub have: u64,
    /// What it wanted to take or give.
    pub wanted: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Causal, Hlc};

    type Edited = Result<Edit<BoundedCounter>, NoRights>;

    fn write(
        state: &mut Causal<BoundedCounter>,
        counter: u64,
        edit: impl FnOnce(&BoundedCounter, &Stamp) -> Edited,
    ) -> Causal<BoundedCounter> {
        let replica = ReplicaId::from_bytes([1; 8]);
        let last = state.context().max_of(replica);
        let by = Stamp {
            dot: Dot::new(replica, counter),
            claim_after: (last > 0).then_some(last),
            hlc: Hlc::default(),
        };
        let seen = by.with_seen(state.context());
        let delta = edit(state.store(), &seen).unwrap().at(&by);
        state.join(&delta);
        delta
    }

    #[test]
    fn rights_count_once_whatever_is_missing() {
        let [owner, friend] = [1, 2].map(|n| ReplicaId::from_bytes([n; 8]));
        let mut own = Causal::default();
        let deltas = [
            write(&mut own, 18, |counter, by| Ok(counter.add(by, 9))),
            write(&mut own, 94, |counter, by| counter.give(by, friend, 2)),
            write(&mut own, 98, |counter, by| counter.take(by, 3)),
            write(&mut own, 99, |counter, by| counter.give(by, friend, 1)),
        ];
        // Value, rights of the owner and of the other, after each write.
        let after = [(9, 9, 0), (9, 7, 2), (6, 4, 2), (6, 3, 3)];
        for arrived in 1..1_usize << deltas.len() {
            let mut state = Causal::<BoundedCounter>::default();
            let arrived: Vec<_> = (0..deltas.len())
                .filter(|n| arrived >> n & 1 == 1)
                .collect();
            arrived.iter().rev().for_each(|n| state.join(&deltas[*n]));
            let shown = state.store();
            let shown = (shown.value(), shown.rights(owner), shown.rights(friend));
            assert_eq!(shown, after[*arrived.last().unwrap()], "{arrived:?}");
        }
    }

    #[test]
    fn a_replica_without_its_earlier_row_adds_to_it() {
        let owner = ReplicaId::from_bytes([1; 8]);
        let (mut own, mut anew) = (Causal::default(), Causal::default());
        write(&mut own, 1, |counter, by| Ok(counter.add(by, 9)));
        write(&mut own, 2, |counter, by| counter.take(by, 4));
        write(&mut anew, 7, |counter, by| Ok(counter.add(by, 1)));
        anew.join(&own);
        assert_eq!(anew.store().rights(owner), 6);
        write(&mut anew, 8, |counter, by| counter.take(by, 6));
        assert_eq!((anew.store().value(), anew.store().rights(owner)), (0, 0));
    }

    proptest! {
        #[test]
        fn rows_have_one_form_in_their_order(
            a: (u64, u64, BTreeMap<[u8; 8], u64>),
            b: (u64, u64, BTreeMap<[u8; 8], u64>),
            bytes in prop::collection::vec(0_u8..3, 0..50),
        ) {
            let row = |(added, taken, given): (u64, u64, BTreeMap<[u8; 8], u64>)| Row {
                added,
                taken,
                given: given.into_iter().map(|(to, n)| (ReplicaId::from_bytes(to), n.max(1))).collect(),
            };
            let (a, b) = (row(a), row(b));
            prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
            prop_assert_eq!(Row::from_bytes(&a.to_bytes()), Some(a));
            if let Some(row) = Row::from_bytes(&bytes) {
                prop_assert_eq!(row.to_bytes(), bytes);
            }
        }
    }
}
