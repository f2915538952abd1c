//! Editing traces through `Text` and `Object`, beside bare automerge, yrs, loro and diamond-types.

use std::collections::BTreeSet;
use std::time::Duration;

use meshwork_crdt_rivals::editors::{Bare, Diamond, Editor, Loro, Ours, Yrs};
use meshwork_crdt_rivals::table::{Target, heading, judged, line, ratio, shown};
use meshwork_crdt_rivals::timing::{Run, medians, time};
use meshwork_crdt_rivals::trace::{Trace, Txn};

const ROUNDS: usize = 5;
/// Edits in a commit: what a node's import makes of a trace, a few words, and each key on its own.
const COMMIT_EDITS: [usize; 3] = [1_000, 20, 1];

fn main() {
    for name in ["sveltecomponent", "seph-blog1"] {
        heading(&format!("replay of {name}"));
        if let Some(trace) = Trace::load(name) {
            replays(&trace);
        }
    }
    heading("friendsforever: two authors");
    if let Some(trace) = Trace::load("friendsforever") {
        two_authors(&trace);
    }
}

/// Row 5: one author, all patches in order.
fn replays(trace: &Trace) {
    line("patches", &trace.patches().to_string());
    for edits in COMMIT_EDITS {
        let [mine, bare] = medians(
            ROUNDS,
            [
                Box::new(|| replay::<Ours>(trace, edits)) as Run<'_>,
                Box::new(|| replay::<Bare>(trace, edits)),
            ],
        );
        let times = ratio(mine, bare);
        judged(
            &format!("ours / bare automerge, {edits} edits a commit"),
            &format!("{} / {} = {times:.2}x", shown(mine), shown(bare)),
            times,
            Target::AtMost(1.15),
        );
    }
    let edits = COMMIT_EDITS[0];
    let [yrs, loro, diamond] = medians(
        3,
        [
            Box::new(|| replay::<Yrs>(trace, edits)) as Run<'_>,
            Box::new(|| replay::<Loro>(trace, edits)),
            Box::new(|| diamond(trace).0),
        ],
    );
    line("yrs, with updates", &shown(yrs));
    line("loro, with updates", &shown(loro));
    line("diamond-types", &shown(diamond));
}

fn replay<E: Editor>(trace: &Trace, commit_edits: usize) -> Duration {
    let mut editor = E::open(1);
    let took = time(|| {
        let mut edits = 0;
        for patch in trace.txns.iter().flat_map(|txn| &txn.patches) {
            editor.splice(patch);
            edits += 1;
            if edits % commit_edits == 0 {
                editor.commit();
            }
        }
        editor.commit();
    });
    assert_eq!(editor.text(), trace.end, "the replay is right");
    took
}

fn diamond(trace: &Trace) -> (Duration, String) {
    let mut text = String::new();
    let took = time(|| {
        let mut history = Diamond::default();
        trace.txns.iter().for_each(|txn| history.add(txn));
        text = history.merged();
    });
    (took, text)
}

/// Row 6: both authors live, then all they wrote merged at once by a third.
fn two_authors(trace: &Trace) {
    let (mine, my_updates) = live::<Ours>(trace);
    let (bare, bare_updates) = live::<Bare>(trace);
    let (yrs, yrs_updates) = live::<Yrs>(trace);
    let (loro, loro_updates) = live::<Loro>(trace);
    line(
        "live, each follows the other before it edits",
        &format!(
            "ours {}, bare automerge {}, yrs {}, loro {}",
            shown(mine),
            shown(bare),
            shown(yrs),
            shown(loro)
        ),
    );
    let [mine, bare, yrs, loro, diamond_took] = medians(
        ROUNDS,
        [
            Box::new(|| merge::<Ours>(&my_updates).0) as Run<'_>,
            Box::new(|| merge::<Bare>(&bare_updates).0),
            Box::new(|| merge::<Yrs>(&yrs_updates).0),
            Box::new(|| merge::<Loro>(&loro_updates).0),
            Box::new(|| diamond(trace).0),
        ],
    );
    for (who, took, text) in [
        ("ours", mine, merge::<Ours>(&my_updates).1),
        ("bare automerge", bare, merge::<Bare>(&bare_updates).1),
        ("yrs", yrs, merge::<Yrs>(&yrs_updates).1),
        ("loro", loro, merge::<Loro>(&loro_updates).1),
        (
            "diamond-types (adds the edits, too)",
            diamond_took,
            diamond(trace).1,
        ),
    ] {
        let equal = if text == trace.end {
            "equal to endContent"
        } else {
            "ANOTHER TEXT"
        };
        line(
            &format!("merge of all updates: {who}"),
            &format!("{}; {equal}", shown(took)),
        );
    }
    assert_eq!(merge::<Ours>(&my_updates).1, trace.end, "the target");
}

/// Takes all updates of both in one batch.
fn merge<E: Editor>(updates: &[Vec<u8>]) -> (Duration, String) {
    let mut reader = E::open(3);
    let mut text = String::new();
    let took = time(|| {
        reader.absorb(updates);
        text = reader.text();
    });
    (took, text)
}

/// One of the two, with the updates that it wrote, each with the count of transactions up to its end.
struct Author<E> {
    editor: E,
    updates: Vec<(usize, Vec<u8>)>,
    taken: usize,
}

impl<E: Editor> Author<E> {
    fn commit(&mut self, count: usize) {
        if let Some(update) = self.editor.commit() {
            self.updates.push((count, update));
        }
    }

    fn follow(&mut self, other: &Self, count: usize) {
        let new = other.updates[self.taken..].iter();
        let new: Vec<Vec<u8>> = new
            .take_while(|update| update.0 <= count)
            .map(|update| update.1.clone())
            .collect();
        self.taken += new.len();
        if !new.is_empty() {
            self.editor.absorb(&new);
        }
    }
}

/// Replays the edits of both as they happened, and gives all updates. Both must end with the recorded text.
fn live<E: Editor>(trace: &Trace) -> (Duration, Vec<Vec<u8>>) {
    let cuts = [0, 1].map(|agent| cuts(trace, agent));
    let mut authors = [1, 2].map(|id| Author {
        editor: E::open(id),
        updates: Vec::new(),
        taken: 0,
    });
    let took = time(|| {
        for txn in &trace.txns {
            step(&mut authors, txn, &cuts[txn.agent]);
        }
        let [first, second] = &mut authors;
        first.commit(usize::MAX);
        second.commit(usize::MAX);
        first.follow(second, usize::MAX);
        second.follow(first, usize::MAX);
    });
    let [first, second] = authors;
    let equal = [&first, &second].map(|author| author.editor.text() == trace.end);
    if equal != [true, true] {
        line(E::NAME, "ended live with ANOTHER TEXT than endContent");
    }
    let updates = first.updates.into_iter().chain(second.updates);
    (took, updates.map(|update| update.1).collect())
}

fn step<E: Editor>(authors: &mut [Author<E>; 2], txn: &Txn, cuts: &BTreeSet<usize>) {
    let [first, second] = authors;
    let (me, other) = if txn.agent == 0 {
        (first, second)
    } else {
        (second, first)
    };
    me.follow(other, txn.knows[1 - txn.agent]);
    txn.patches.iter().for_each(|patch| me.editor.splice(patch));
    let count = txn.knows[txn.agent];
    if cuts.contains(&count) {
        me.commit(count);
    }
}

/// After which of an author's transactions the other takes over: there a commit must end.
fn cuts(trace: &Trace, agent: usize) -> BTreeSet<usize> {
    let others = trace.txns.iter().filter(|txn| txn.agent != agent);
    others.map(|txn| txn.knows[agent]).collect()
}
