//! Sets.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use proptest::prelude::{Strategy, any};
use proptest::strategy::BoxedStrategy;

use super::Mistake;
use crate::laws::{By, Sketch, Write, in_turn};

/// Whether an element is inserted, or removed; and which.
type Change = (bool, u8);
type Elements = BTreeSet<u8>;
/// What is in, and what was removed.
type Tombstones = (Elements, Elements);
/// An element under a tag for each insertion, and the tags that were removed.
type Tagged = (BTreeMap<(u8, u64), u8>, BTreeSet<(u8, u64)>);

pub(super) fn mistakes() -> Vec<Mistake> {
    alloc::vec![
        Mistake::new(
            "removed without a trace",
            "removing takes the element out, and joining unites: whoever still has it brings it back",
            "say in the delta what was removed, as a causal context does",
            Sketch::<Elements, Change>::new(
                changes,
                |state, _, (inserts, element)| {
                    let is_new = if *inserts {
                        state.insert(*element)
                    } else {
                        !state.remove(element)
                    };
                    Some(if is_new {
                        state.clone()
                    } else {
                        Elements::new()
                    })
                },
                |mine, theirs| mine.extend(theirs),
            ),
        ),
        Mistake::new(
            "tombstone resurrection",
            "a tombstone is dropped as soon as it has removed its element here: a copy that arrives later is new again",
            "keep it until every replica has it, or use a causal context, which needs none",
            Sketch::<Tombstones, Change>::new(changes, two_phase, |mine, theirs| {
                mine.1.extend(&theirs.1);
                mine.0.extend(&theirs.0);
                let met: Elements = mine.0.intersection(&mine.1).copied().collect();
                mine.0.retain(|element| !met.contains(element));
                mine.1.retain(|element| !met.contains(element));
            },),
        ),
        Mistake::new(
            "removed for ever",
            "a tombstone holds for the element and not for its insertions: what was removed once cannot be inserted again",
            "give each insertion a tag of its own, and remove tags",
            Sketch::new(changes, two_phase, unite).reads(
                |state: &Tombstones| state.0.difference(&state.1).copied().collect(),
                plain,
            ),
        ),
        Mistake::new(
            "tombstones that expire",
            "removals are forgotten after a while by the clock: whoever was away longer brings the element back",
            "forget when every replica has acknowledged, not when a timer says so",
            Sketch::<(u64, Elements, BTreeMap<u8, u64>), Change>::new(
                changes,
                |state, by, (inserts, element)| {
                    state.0 = state.0.max(by.wall_ms);
                    if *inserts {
                        state.1.insert(*element);
                        state.2.remove(element);
                    } else {
                        state.1.remove(element);
                        state.2.insert(*element, by.wall_ms);
                    }
                    Some(state.clone())
                },
                |mine, theirs| {
                    mine.0 = mine.0.max(theirs.0);
                    for (element, at) in &theirs.2 {
                        let own = mine.2.entry(*element).or_insert(*at);
                        *own = (*own).max(*at);
                    }
                    mine.1.extend(&theirs.1);
                    mine.1.retain(|element| !mine.2.contains_key(element));
                    mine.2.retain(|_, at| *at + 5 > mine.0);
                },
            ),
        ),
        Mistake::new(
            "tag used again",
            "a new insertion takes the tag after the greatest that is left: after a removal it is one that is dead already",
            "count on, whatever was removed: a dot is used once, ever",
            Sketch::new(
                changes,
                |state: &mut Tagged, by, (inserts, element)| {
                    let replica = by.replica;
                    if *inserts {
                        let own = state.0.keys().filter(|tag| tag.0 == replica);
                        let tag = (replica, own.map(|tag| tag.1).max().unwrap_or(0) + 1);
                        state.0.insert(tag, *element);
                        state.0.retain(|tag, _| !state.1.contains(tag));
                    } else {
                        remove(state, *element);
                    }
                    Some(state.clone())
                },
                unite_tagged,
            )
            .reads(elements, plain),
        ),
        Mistake::new(
            "counting insertions",
            "an element is in when it was inserted more often than removed: inserted twice and removed once, it stays",
            "remove all insertions that were seen",
            Sketch::new(
                changes,
                |state: &mut BTreeMap<(u8, u8), [u64; 2]>, by, (inserts, element)| {
                    let counts = state.entry((*element, by.replica)).or_default();
                    let [inserted, removed] = counts;
                    *(if *inserts { inserted } else { removed }) += 1;
                    Some([((*element, by.replica), *counts)].into())
                },
                |mine, theirs| {
                    for (at, theirs) in theirs {
                        let mine = mine.entry(*at).or_default();
                        *mine = [mine[0].max(theirs[0]), mine[1].max(theirs[1])];
                    }
                },
            )
            .reads(
                |state| {
                    let mut counts: BTreeMap<u8, [u64; 2]> = BTreeMap::new();
                    for ((element, _), [inserted, removed]) in state {
                        let count = counts.entry(*element).or_default();
                        *count = [count[0] + inserted, count[1] + removed];
                    }
                    let inside = counts
                        .into_iter()
                        .filter(|(_, [inserted, removed])| inserted > removed);
                    inside.map(|(element, _)| element).collect()
                },
                plain,
            ),
        ),
        Mistake::new(
            "first come",
            "a set that holds three elements keeps those that arrived first",
            "keep the three that come first by their value or their dot",
            Sketch::<Elements, Change>::new(
                changes,
                |state, _, (_, element)| {
                    insert_if_room(state, *element);
                    Some([*element].into())
                },
                |mine, theirs| theirs
                    .iter()
                    .for_each(|element| insert_if_room(mine, *element)),
            ),
        ),
        Mistake::new(
            "gaps taken for seen",
            "a version vector says that all up to its counter was seen, though an earlier delta is still on its way: it is dropped when it comes",
            "keep the dots beyond the gap apart: a causal context",
            Sketch::<(BTreeMap<u8, u64>, BTreeMap<(u8, u64), u8>), Change>::new(
                changes,
                |state, by, (_, element)| {
                    let dot = (by.replica, by.stamp.dot.counter);
                    state.0.insert(dot.0, dot.1);
                    state.1.insert(dot, *element);
                    Some(([dot].into(), [(dot, *element)].into()))
                },
                |mine, theirs| {
                    for (dot, element) in &theirs.1 {
                        if mine.0.get(&dot.0).is_none_or(|seen| *seen < dot.1) {
                            mine.1.insert(*dot, *element);
                        }
                    }
                    for (replica, counter) in &theirs.0 {
                        let seen = mine.0.entry(*replica).or_default();
                        *seen = (*seen).max(*counter);
                    }
                },
            ),
        ),
        Mistake::new(
            "what a peer lacks, without removals",
            "a peer is sent the insertions that it lacks, and never hears of removals",
            "send what it lacks of the context, too",
            Sketch {
                delta_since: |state: &Tagged, peer| {
                    let insertions = state.0.iter().filter(|(tag, _)| !peer.0.contains_key(tag));
                    let insertions = insertions.map(|(tag, element)| (*tag, *element));
                    Some((insertions.collect(), BTreeSet::new()))
                },
                ..tagged()
            },
        ),
        Mistake::new(
            "what a peer lacks, by the last counter",
            "a peer is sent what is beyond the greatest counter that it has of each replica: what it missed before never comes",
            "compare with all that it has seen, gaps included",
            Sketch {
                delta_since: |state: &Tagged, peer| {
                    let last = |replica| {
                        let tags = peer.0.keys().chain(&peer.1);
                        tags.filter(|tag| tag.0 == replica).map(|tag| tag.1).max()
                    };
                    let insertions = state.0.iter().filter(|(tag, _)| Some(tag.1) > last(tag.0));
                    let insertions = insertions.map(|(tag, element)| (*tag, *element));
                    Some((insertions.collect(), state.1.clone()))
                },
                ..tagged()
            },
        ),
    ]
}

fn changes() -> BoxedStrategy<Change> {
    (
        proptest::bool::weighted(0.65),
        any::<u8>().prop_map(|element| element % 4),
    )
        .boxed()
}

fn two_phase(state: &mut Tombstones, _: &By, (inserts, element): &Change) -> Option<Tombstones> {
    let mut delta = Tombstones::default();
    if *inserts {
        delta.0.insert(*element);
    } else {
        delta.1.insert(*element);
    }
    unite(state, &delta);
    Some(delta)
}

fn unite(mine: &mut Tombstones, theirs: &Tombstones) {
    mine.0.extend(&theirs.0);
    mine.1.extend(&theirs.1);
}

/// A set of tags that is right, but for how it finds out what a peer lacks.
fn tagged() -> Sketch<Tagged, Change, Elements> {
    Sketch::new(
        changes,
        |state, by, (inserts, element)| {
            if *inserts {
                let tag = (by.replica, by.stamp.dot.counter);
                state.0.insert(tag, *element);
                return Some(([(tag, *element)].into(), BTreeSet::new()));
            }
            Some((BTreeMap::new(), remove(state, *element)))
        },
        unite_tagged,
    )
    .reads(elements, plain)
}

fn remove(state: &mut Tagged, element: u8) -> BTreeSet<(u8, u64)> {
    let tags = state.0.iter().filter(|(_, inside)| **inside == element);
    let tags: BTreeSet<_> = tags.map(|(tag, _)| *tag).collect();
    state.0.retain(|tag, _| !tags.contains(tag));
    state.1.extend(&tags);
    tags
}

fn unite_tagged(mine: &mut Tagged, theirs: &Tagged) {
    for (tag, element) in &theirs.0 {
        // Only a liar gives one tag two elements; the greater counts, wherever they meet.
        let own = mine.0.entry(*tag).or_insert(*element);
        *own = (*own).max(*element);
    }
    mine.1.extend(&theirs.1);
    mine.0.retain(|tag, _| !mine.1.contains(tag));
}

fn elements(state: &Tagged) -> Elements {
    state.0.values().copied().collect()
}

fn insert_if_room(set: &mut Elements, element: u8) {
    if set.len() < 3 {
        set.insert(element);
    }
}

/// A plain set.
fn plain(writes: &[Write<Change>]) -> Option<Elements> {
    in_turn(writes, Elements::new(), |set, write| {
        let (inserts, element) = write.op;
        if inserts {
            set.insert(element);
        } else {
            set.remove(&element);
        }
    })
}
