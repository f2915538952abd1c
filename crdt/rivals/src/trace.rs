//! Editing traces of real authors, in the formats of github.com/josephg/editing-traces.

use std::io::Read;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use serde_json::Value as Json;

/// A history of edits to one text.
#[derive(Debug)]
pub struct Trace {
    /// The transactions, each after its parents.
    pub txns: Vec<Txn>,
    /// The text at the end.
    pub end: String,
}

/// What one author did at once.
#[derive(Debug)]
pub struct Txn {
    /// Who, from 0.
    pub agent: usize,
    /// The transactions that it follows.
    pub parents: Vec<usize>,
    /// Which of the transactions of agents 0 and 1 were seen, itself included, as counts.
    pub knows: [usize; 2],
    /// What was done.
    pub patches: Vec<Patch>,
}

/// Deletes `delete` code points at a position, then inserts there.
#[derive(Clone, Debug)]
pub struct Patch {
    pub at: usize,
    pub delete: usize,
    pub insert: String,
}

impl Trace {
    /// The trace of this name, or `None`, which is said, where the data is missing.
    ///
    /// Looked for in `editing-traces/` below `MESHWORK_DATA`, and below `../shared/data` beside the repository.
    pub fn load(name: &str) -> Option<Self> {
        let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
        let roots = [
            std::env::var_os("MESHWORK_DATA").map(PathBuf::from),
            Some(PathBuf::from(beside)),
        ];
        let paths = roots
            .into_iter()
            .flatten()
            .map(|root| root.join("editing-traces").join(format!("{name}.json.gz")));
        let Some(packed) = paths.filter_map(|path| std::fs::read(path).ok()).next() else {
            println!("SKIPPED: no {name} in MESHWORK_DATA or ../shared/data (editing-traces/)");
            return None;
        };
        let mut json = String::new();
        GzDecoder::new(&packed[..])
            .read_to_string(&mut json)
            .expect("a trace is packed with gzip");
        Some(Self::parse(
            &serde_json::from_str(&json).expect("a trace is JSON"),
        ))
    }

    /// How many patches there are in all.
    pub fn patches(&self) -> usize {
        self.txns.iter().map(|txn| txn.patches.len()).sum()
    }

    fn parse(json: &Json) -> Self {
        let mut txns: Vec<Txn> = Vec::new();
        for (index, txn) in list(&json["txns"]).iter().enumerate() {
            let agent = number(&txn["agent"]);
            let parents: Vec<usize> = match &txn["parents"] {
                Json::Array(parents) => parents.iter().map(number).collect(),
                _ => index.checked_sub(1).into_iter().collect(),
            };
            let mut knows = [0, 0];
            for parent in &parents {
                let seen = txns[*parent].knows;
                knows = [0, 1].map(|agent: usize| knows[agent].max(seen[agent]));
            }
            knows[agent] += 1;
            txns.push(Txn {
                agent,
                parents,
                knows,
                patches: list(&txn["patches"]).iter().map(patch).collect(),
            });
        }
        let end = json["endContent"].as_str().unwrap_or_default().to_owned();
        Self { txns, end }
    }
}

fn list(json: &Json) -> &[Json] {
    json.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn number(json: &Json) -> usize {
    let number = json.as_u64().unwrap_or_default();
    usize::try_from(number).expect("it indexes what is in memory")
}

fn patch(json: &Json) -> Patch {
    Patch {
        at: number(&json[0]),
        delete: number(&json[1]),
        insert: json[2].as_str().unwrap_or_default().to_owned(),
    }
}
