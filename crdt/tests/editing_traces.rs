//! Replays real editing histories, as two stores that write one document at the same time.
#![cfg(feature = "document")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;

use meshwork_crdt::{ActorSeed, Dot, Hlc, Merges, Object, Op, ReplicaId, Stamp, Text};
use serde_json::Value as Json;

/// Who wrote it, what it knows of both authors (counts of transactions, itself included), and its patches.
struct Txn {
    agent: usize,
    knows: [usize; 2],
    patches: Vec<(usize, usize, String)>,
}

struct Trace {
    txns: Vec<Txn>,
    end: String,
}

impl Trace {
    fn parse(json: &Json) -> Self {
        let number = |json: &Json| usize::try_from(json.as_u64().unwrap()).unwrap();
        let mut txns: Vec<Txn> = Vec::new();
        for json in json["txns"].as_array().unwrap() {
            let agent = number(&json["agent"]);
            let mut knows = [0, 0];
            for parent in json["parents"].as_array().unwrap() {
                let parent = &txns[number(parent)];
                knows = [0, 1].map(|agent| parent.knows[agent].max(knows[agent]));
            }
            let own = txns.iter().rev().find(|txn| txn.agent == agent);
            assert_eq!(
                own.map_or(0, |txn| txn.knows[agent]),
                knows[agent],
                "authors do not fork"
            );
            knows[agent] += 1;
            let patch = |json: &Json| {
                (
                    number(&json[0]),
                    number(&json[1]),
                    json[2].as_str().unwrap().to_owned(),
                )
            };
            let patches = json["patches"]
                .as_array()
                .unwrap()
                .iter()
                .map(patch)
                .collect();
            txns.push(Txn {
                agent,
                knows,
                patches,
            });
        }
        Self {
            txns,
            end: json["endContent"].as_str().unwrap().to_owned(),
        }
    }

    /// After which of an author's transactions the other takes over: there a commit must end.
    fn cuts(&self, agent: usize) -> BTreeSet<usize> {
        self.txns
            .iter()
            .filter(|txn| txn.agent != agent)
            .map(|txn| txn.knows[agent])
            .collect()
    }
}

/// One author: a store with the object and an open editor.
struct Author {
    text: Text,
    object: Object,
    replica: ReplicaId,
    /// The deltas written, each with the count of transactions up to its end.
    deltas: Vec<(usize, Object)>,
    /// How many deltas of the other are in.
    taken: usize,
    absorbs: usize,
}

impl Author {
    fn new(id: u8) -> Self {
        let (object, replica) = (Object::new(), ReplicaId::from_bytes([id; 8]));
        let text = Text::open(
            &Default::default(),
            object.version(),
            ActorSeed::new(replica, 1),
        );
        Self {
            text,
            object,
            replica,
            deltas: Vec::new(),
            taken: 0,
            absorbs: 0,
        }
    }

    fn commit(&mut self, count: usize) {
        if let Some(chunk) = self.text.commit() {
            let counter = self.deltas.len() as u64 + 1;
            let dot = Dot::new(self.replica, counter);
            let stamp = Stamp {
                dot,
                claim_after: Some(counter - 1),
                hlc: Hlc::default(),
            };
            let delta = self
                .object
                .apply(&stamp, &Op::Chunk(chunk), &Merges::default())
                .unwrap();
            self.object.join(&delta);
            self.deltas.push((count, delta));
        }
    }

    /// Joins the other's deltas up to a count of transactions, and takes them into the text in one batch.
    fn follow(&mut self, other: &Self, count: usize) {
        let before = self.taken;
        for (_, delta) in other.deltas[before..]
            .iter()
            .take_while(|delta| delta.0 <= count)
        {
            self.object.join(delta);
            self.taken += 1;
        }
        if self.taken > before {
            self.text
                .absorb(self.object.as_document().unwrap(), self.object.version());
            self.absorbs += 1;
        }
    }
}

/// The texts of both authors after each has all, and what it took.
fn replay(trace: &Trace, ids: [u8; 2]) -> [Author; 2] {
    let cuts = [0, 1].map(|agent| trace.cuts(agent));
    let mut authors = ids.map(Author::new);
    let mut last = [0, 0];
    for txn in &trace.txns {
        let [first, second] = &mut authors;
        let (me, other) = if txn.agent == 0 {
            (first, second)
        } else {
            (second, first)
        };
        me.follow(other, txn.knows[1 - txn.agent]);
        for (position, delete, insert) in &txn.patches {
            me.text.splice(*position, *delete, insert).unwrap();
        }
        last[txn.agent] = txn.knows[txn.agent];
        if cuts[txn.agent].contains(&last[txn.agent]) {
            me.commit(last[txn.agent]);
        }
    }
    let [first, second] = &mut authors;
    first.commit(last[0]);
    second.commit(last[1]);
    first.follow(second, usize::MAX);
    second.follow(first, usize::MAX);
    authors
}

fn load(name: &str) -> Option<Trace> {
    let roots = [
        std::env::var_os("MESHWORK_DATA").map(PathBuf::from),
        Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data")),
    ];
    let paths = roots
        .into_iter()
        .flatten()
        .map(|root| root.join("editing-traces").join(name));
    let packed = paths.filter_map(|path| std::fs::read(path).ok()).next()?;
    let mut json = String::new();
    flate2::read::GzDecoder::new(&packed[..])
        .read_to_string(&mut json)
        .unwrap();
    Some(Trace::parse(&serde_json::from_str(&json).unwrap()))
}

#[test]
fn two_authors_end_with_the_recorded_text() {
    let Some(mut trace) = load("friendsforever.json.gz") else {
        println!("SKIPPED: no editing-traces in MESHWORK_DATA or ../shared/data");
        return;
    };
    // automerge takes time in proportion to the document for every batch: 10 s of CPU in release, minutes in debug.
    let whole = !cfg!(debug_assertions);
    if !whole {
        println!("SHORTENED: only a release build replays all and compares with the recorded end");
        trace.txns.truncate(4_000);
    }
    let authors = replay(&trace, [1, 2]);
    for author in &authors {
        println!(
            "{} commits, {} absorbs",
            author.deltas.len(),
            author.absorbs
        );
        assert_eq!(
            (author.text.refused_len(), author.text.waiting_len()),
            (0, 0)
        );
    }
    let [first, second] = &authors;
    assert_eq!(first.object, second.object);
    assert_eq!(first.text.text(), second.text.text());
    let seed = ActorSeed::new(ReplicaId::from_bytes([3; 8]), 1);
    let reader = Text::open(
        first.object.as_document().unwrap(),
        first.object.version(),
        seed,
    );
    assert_eq!(reader.text(), first.text.text(), "read in one batch");
    assert_eq!(whole, first.text.text() == trace.end);
}
