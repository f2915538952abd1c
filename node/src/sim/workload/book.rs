//! What is known of one key.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meshwork_crdt::{CausalContext, Dot, Kind};

use super::check::{Check, hash, never_written};
use super::record::Write;
use super::token::pieces;
use super::{Effect, Failure, Look, Outcome, Placement, Seen, Shown, Slot, Wrong};

/// What is known of one key.
#[derive(Debug, Default)]
pub(super) struct Book {
    writes: Vec<Write>,
    places: BTreeMap<Slot, Place>,
    /// Writes that take away at more than one place.
    pub(super) wide: Vec<usize>,
    /// The versions at which something was shown first.
    present: BTreeMap<usize, CausalContext>,
    /// The versions at which something that was there had been taken away.
    pub(super) gone: BTreeMap<usize, CausalContext>,
    /// The last version that each client was shown, with its node and when.
    last: BTreeMap<(u32, u32), (Duration, CausalContext)>,
    /// All that was ever shown.
    shown: CausalContext,
    /// Which commit of its history each text is, by hash.
    pub(super) history: BTreeMap<[u8; 32], usize>,
    commits: usize,
    /// Something was written that is not followed.
    opaque: bool,
}

/// The writes at one place under the key.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Those that leave something.
    pub(super) leave: Vec<usize>,
    /// Which of them leaves a value.
    pub(super) values: BTreeMap<Vec<u8>, usize>,
    /// Those that take away whatever is here.
    pub(super) cover: Vec<usize>,
    /// Those that take away one value.
    pub(super) take: BTreeMap<Vec<u8>, Vec<usize>>,
}

/// What was found wrong, and the writes that it is about.
pub(super) type Finding = (Wrong, Vec<usize>);

impl Book {
    pub(super) fn begin(&mut self, write: Write) -> usize {
        let index = self.writes.len();
        self.opaque |= write.effect == Effect::Other;
        match write.effect.slot() {
            None => self.wide.push(index),
            Some(slot) if slot.kind == Kind::Map => self.wide.push(index),
            Some(slot) => {
                let place = self.places.entry(slot.clone()).or_default();
                place.note(index, &write.effect);
            }
        }
        self.writes.push(write);
        index
    }

    /// Takes in the answer to a write. Returns what it shows to be wrong.
    pub(super) fn end(
        &mut self,
        index: usize,
        now: Duration,
        answer: Result<Option<Dot>, Failure>,
    ) -> Option<Finding> {
        let write = self.writes.get_mut(index)?;
        let node = write.request.node;
        let was_shown = write.is_kept();
        write.end = Some(now);
        match answer {
            Ok(dot) => {
                write.dot = dot;
                write.outcome = Outcome::Acknowledged;
                write.known.entry(node).or_insert(now);
            }
            Err(failure) => {
                match &failure {
                    Failure::Kept(_) => drop(write.known.entry(node).or_insert(now)),
                    Failure::Unknown(_) => write.end = None,
                    Failure::Refused(_) => {}
                }
                write.outcome = Outcome::Failed(failure);
            }
        }
        (write.is_refused() && was_shown).then(|| (Wrong::Refused, vec![index]))
    }

    /// The next text of the history that is replayed into the key.
    pub(super) fn add_commit(&mut self, text: &str) -> usize {
        self.history.entry(hash("")).or_insert(0);
        self.commits += 1;
        self.history.insert(hash(text), self.commits);
        self.commits
    }

    pub(super) fn write(&self, index: usize) -> Option<&Write> {
        self.writes.get(index)
    }

    /// Looks for what is wrong with what a read shows, and learns from it.
    pub(super) fn look(&mut self, placement: Placement, look: &Look, seen: &Seen) -> Vec<Finding> {
        let mut found = Vec::new();
        self.check_version(placement, look, seen, &mut found);
        if !self.opaque {
            let places = self.places.keys().chain(seen.values.keys());
            for slot in places.cloned().collect::<BTreeSet<Slot>>() {
                self.check_place(placement, look, (&slot, seen), &mut found);
            }
        }
        self.learn_version(placement, look, seen);
        found
    }

    fn check_place(
        &mut self,
        placement: Placement,
        look: &Look,
        (slot, seen): (&Slot, &Seen),
        found: &mut Vec<Finding>,
    ) {
        let shown = seen.values.get(slot);
        let Some(place) = self.places.get(slot) else {
            found.extend(shown.map(|shown| (never_written(slot, shown), Vec::new())));
            return;
        };
        let check = Check {
            book: self,
            place,
            placement,
            look,
            version: seen.version.as_ref(),
        };
        let visible = match (slot.kind, shown) {
            (Kind::Flag, shown) => return found.extend(check.flag(shown)),
            (Kind::Counter, Some(Shown::Number(sum))) => {
                return found.extend(check.sum(slot, *sum));
            }
            (Kind::Counter, _) => return found.extend(check.sum(slot, 0)),
            (Kind::Document, _) if !self.history.is_empty() => {
                let (wrong, visible) = check.history(seen.text_at(slot));
                found.extend(wrong);
                visible
            }
            (Kind::Document, _) => {
                let pieces = pieces(seen.text_at(slot));
                let values = pieces.iter().map(|(_, piece)| piece.as_bytes().to_vec());
                check.values(slot, values.collect(), found)
            }
            (_, Some(Shown::Values(values))) => {
                check.values(slot, values.iter().cloned().collect(), found)
            }
            (_, _) => check.values(slot, Vec::new(), found),
        };
        self.learn(look, slot, seen, &visible);
    }

    /// What is shown is held by the node that shows it; what is not, and is in the version, has been taken away.
    fn learn(&mut self, look: &Look, slot: &Slot, seen: &Seen, visible: &BTreeSet<usize>) {
        if let Look::Live(request, end) = look {
            for index in visible {
                if let Some(write) = self.writes.get_mut(*index) {
                    write.known.entry(request.node).or_insert(*end);
                }
            }
        }
        // A change of a document that has arrived may still wait for others.
        let Some(version) = seen
            .version
            .as_ref()
            .filter(|_| slot.kind != Kind::Document)
        else {
            return;
        };
        let leave = self.places.get(slot).map_or(&[][..], |place| &place.leave);
        for index in leave {
            if self.gone.contains_key(index) {
                continue;
            }
            if visible.contains(index) {
                let present = self.present.entry(*index);
                present.or_insert_with(|| version.clone());
                continue;
            }
            let dot = self.writes.get(*index).and_then(|write| write.dot);
            let present = self.present.get(index);
            if dot.is_some_and(|dot| version.contains(dot))
                || present.is_some_and(|present| version.is_superset(present))
            {
                self.present.remove(index);
                self.gone.insert(*index, version.clone());
            }
        }
    }

    fn check_version(
        &self,
        placement: Placement,
        look: &Look,
        seen: &Seen,
        found: &mut Vec<Finding>,
    ) {
        let Some(version) = &seen.version else { return };
        let missing = |write: &Write| {
            let dot = write.dot.filter(|dot| !version.contains(*dot));
            dot.is_some() && placement.must_show(write, look)
        };
        let lost: Vec<usize> = (0..self.writes.len())
            .filter(|index| self.writes.get(*index).is_some_and(missing))
            .collect();
        if !lost.is_empty() {
            found.push((Wrong::Lost, lost));
        }
        match look {
            Look::Live(request, _) if placement.nodes_keep_copies() => {
                let before = self
                    .last
                    .iter()
                    .filter(|((node, _), (end, _))| *node == request.node && *end <= request.start);
                for (_, (_, last)) in before {
                    if !version.is_superset(last) {
                        found.push((Wrong::WentBack, Vec::new()));
                    }
                }
            }
            Look::End { .. } if !version.is_superset(&self.shown) => {
                found.push((Wrong::Forgotten, Vec::new()));
            }
            Look::Live(..) | Look::End { .. } | Look::Answer => {}
        }
    }

    fn learn_version(&mut self, placement: Placement, look: &Look, seen: &Seen) {
        let (Look::Live(request, end), Some(version)) = (look, &seen.version) else {
            return;
        };
        self.shown.join(version);
        let last = (*end, version.clone());
        self.last.insert((request.node, request.client), last);
        if !placement.nodes_keep_copies() {
            return;
        }
        for write in &mut self.writes {
            if write.dot.is_some_and(|dot| !version.contains(dot)) {
                let until = write.lacked.entry(request.node).or_default();
                *until = request.start.max(*until);
            }
        }
    }
}

impl Place {
    fn note(&mut self, index: usize, effect: &Effect) {
        if let Effect::Take(_, value) = effect {
            self.take.entry(value.clone()).or_default().push(index);
            return;
        }
        if matches!(effect, Effect::Put(..) | Effect::Clear(_)) {
            self.cover.push(index);
        }
        if !matches!(effect, Effect::Clear(_)) {
            self.leave.push(index);
        }
        if let Some(value) = effect.value() {
            self.values.insert(value.clone(), index);
        }
    }
}
