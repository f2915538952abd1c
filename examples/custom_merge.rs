//! A type of the application's own in the mesh: a high-score table that keeps the best three.
//!
//! 1. Write the type with a `join`, a way to bytes, and a way back that refuses what is not its own.
//! 2. Say how it is written and what should be read ([`Lawful`]), and let the law kit look for a history in which replicas
//!    would not agree. In the first draft of this example it found JSON with a blank in it: one table in two spellings, so that nodes with
//!    the same table would have compared different bytes.
//! 3. Register it under a tag, and use it like any other kind.
//!
//! Run it with `cargo run --example custom_merge`. `meshwork laws` shows what the laws are for; fuzz/README.md how to fuzz a type.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use meshwork::Mesh;
use meshwork::setup::{SetupOptions, found};
use meshwork_crdt::laws::proptest::{prelude::*, sample::select};
use meshwork_crdt::laws::{By, Effort, Law, Lawful, Of, Write, hunt};
use meshwork_crdt::{Decode, Encode, Lattice, MergeRefused, Merges};

/// The best score of each player; only the best three players are kept.
#[derive(Clone, Debug, Default, PartialEq)]
struct HighScores(BTreeMap<String, u64>);

/// How many players are kept.
const KEPT: usize = 3;

/// The kind's tag: any number that the application's other kinds do not use.
const HIGH_SCORES: u16 = 1;

impl HighScores {
    fn of(player: &str, score: u64) -> Self {
        Self(BTreeMap::from([(player.to_owned(), score)]))
    }

    fn ranking(&self) -> Vec<(&str, u64)> {
        let mut ranking: Vec<_> = self
            .0
            .iter()
            .map(|(name, score)| (name.as_str(), *score))
            .collect();
        // Equal scores are ordered by name: any rule does, as long as it is the same on every node.
        ranking.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        ranking
    }
}

impl Lattice for HighScores {
    fn join(&mut self, other: &Self) {
        for (player, score) in &other.0 {
            let best = self.0.entry(player.clone()).or_default();
            *best = (*best).max(*score);
        }
        let kept = self.ranking().into_iter().take(KEPT);
        self.0 = kept.map(|(name, score)| (name.to_owned(), score)).collect();
    }
}

impl Encode for HighScores {
    fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).expect("names and numbers always fit JSON")
    }
}

impl Decode for HighScores {
    fn decode(bytes: &[u8]) -> Result<Self, MergeRefused> {
        // Bytes from elsewhere may be anything: refuse, never panic.
        let scores = serde_json::from_slice(bytes).map(Self);
        let valid = scores
            .ok()
            .filter(|scores| scores.0.len() <= KEPT && scores.encode() == bytes);
        valid.ok_or(MergeRefused)
    }
}

impl Lawful for HighScores {
    type Op = (String, u64);
    type View = Vec<(String, u64)>;

    /// Few players and small scores, so that replicas often write about the same.
    fn ops() -> BoxedStrategy<Self::Op> {
        let player = select(&["ada", "bob", "cyd", "dan"][..]).prop_map(str::to_owned);
        (player, 0..4_u64).boxed()
    }

    /// What was written is the delta.
    fn write(&mut self, _: &By, (player, score): &Self::Op) -> Option<Self> {
        let delta = Self::of(player, *score);
        self.join(&delta);
        Some(delta)
    }

    fn view(&self) -> Self::View {
        let ranking = self.ranking().into_iter();
        ranking
            .map(|(name, score)| (name.to_owned(), score))
            .collect()
    }

    /// The plain model: look at all scores there ever were.
    fn expected(writes: &[Write<Self::Op>]) -> Option<Self::View> {
        let mut best = BTreeMap::new();
        for write in writes {
            let (player, score) = write.op.clone();
            let entry = best.entry(player).or_insert(score);
            *entry = score.max(*entry);
        }
        let mut ranking: Vec<_> = best.into_iter().collect();
        ranking.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        ranking.truncate(KEPT);
        Some(ranking)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // In your own project this is a test: `law_tests!(high_scores, Of::<HighScores>::new());`
    let kept = hunt(&Of::<HighScores>::new(), Law::ALL, &Effort::default())?;
    println!(
        "all laws hold in {} histories with {} writes",
        kept.histories, kept.writes
    );

    let mut merges = Merges::default();
    merges.register::<HighScores>(HIGH_SCORES);

    let folder = tempfile::tempdir()?;
    found(folder.path(), "arcade", &SetupOptions::default())?;
    let mesh = Mesh::builder(folder.path())
        .listen("127.0.0.1:0".parse()?)
        .merges(merges)
        .start()
        .await?;

    let scores = mesh.namespace("games")?.custom("pinball", HIGH_SCORES);
    for (player, score) in [
        ("ada", 900),
        ("bob", 700),
        ("ada", 300),
        ("cyd", 800),
        ("dan", 100),
    ] {
        scores.merge(HighScores::of(player, score).encode()).await?;
    }
    let bytes = scores.get().await?.context("nothing was written")?;
    let table = HighScores::decode(&bytes)?;
    for (player, score) in table.ranking() {
        println!("{score:>5}  {player}");
    }
    ensure!(table.ranking() == [("ada", 900), ("cyd", 800), ("bob", 700)]);
    mesh.stop().await;
    Ok(())
}
