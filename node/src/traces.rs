//! Recorded editing histories of text documents, in the formats of the public collection `josephg/editing-traces`.
//!
//! A *sequential* history is one person's: `{startContent, endContent, txns: [{patches: [[position, delete, insert], …]}]}`.
//! A *concurrent* one has several authors: `{kind: "concurrent", endContent, numAgents, txns: [{parents, agent, patches}, …]}`, where
//! a transaction's positions are relative to the merge of its parents' states. Positions count Unicode code points.
//! Both are read into one [`Trace`], and [`Trace::replay`] turns it into the chunks of a mesh document.

mod plan;
mod replay;

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

pub use replay::{Chunk, Replay, ReplayTrace};

/// An editing history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The text at the end.
    pub end: String,
    /// How many people wrote it.
    pub agents: usize,
    /// What they did, parents before children.
    pub transactions: Vec<Transaction>,
}

/// Edits by one author in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The transactions whose merged state it was made on, by index; none: the empty text.
    pub parents: Vec<usize>,
    /// Who made it, from 0.
    pub agent: usize,
    /// The edits, each relative to the state after the one before.
    pub patches: Vec<Patch>,
}

/// One edit. Positions and lengths count Unicode code points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Where.
    pub at: usize,
    /// How much is deleted there.
    pub delete: usize,
    /// What is inserted there then.
    pub insert: String,
}

/// A history was not read. The file's fault, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadTrace {
    /// The file cannot be read or unpacked.
    #[error("the file cannot be read")]
    Io(#[source] io::Error),
    /// It is larger than [`Trace::BYTES_MAX`] when unpacked.
    #[error("the history has more than {} MiB when unpacked", Trace::BYTES_MAX >> 20)]
    TooLarge,
    /// It is no editing history of a known format.
    #[error("the file is no editing history")]
    Format(#[source] serde_json::Error),
    /// A transaction names a parent that does not come before it.
    #[error("transaction {transaction} has parent {parent}, which does not come before it")]
    Parent {
        /// Index of the transaction.
        transaction: usize,
        /// The parent it names.
        parent: usize,
    },
    /// A transaction names an author that there is not.
    #[error("transaction {transaction} is by author {agent} of {agents}")]
    Agent {
        /// Index of the transaction.
        transaction: usize,
        /// The author it names.
        agent: usize,
        /// How many there are.
        agents: usize,
    },
}

impl Trace {
    /// The largest history that is read, in bytes after unpacking: 64 MiB.
    pub const BYTES_MAX: u64 = 64 << 20;

    /// Reads a file, packed with gzip or not.
    ///
    /// # Errors
    /// [`ReadTrace`].
    pub fn open(path: &Path) -> Result<Self, ReadTrace> {
        Self::read(File::open(path).map_err(ReadTrace::Io)?)
    }

    /// Reads a history, packed with gzip or not, to its end.
    ///
    /// Takes memory in proportion to the unpacked size, at most about ten times [`Trace::BYTES_MAX`].
    ///
    /// # Errors
    /// [`ReadTrace`].
    pub fn read(source: impl Read) -> Result<Self, ReadTrace> {
        let mut source = BufReader::new(source);
        let packed = source.fill_buf().map_err(ReadTrace::Io)?.starts_with(&GZIP);
        if packed {
            Self::read_plain(flate2::bufread::MultiGzDecoder::new(source))
        } else {
            Self::read_plain(source)
        }
    }

    fn read_plain(source: impl Read) -> Result<Self, ReadTrace> {
        let mut json = Vec::new();
        let read = source.take(Self::BYTES_MAX + 1).read_to_end(&mut json);
        if read.map_err(ReadTrace::Io)? as u64 > Self::BYTES_MAX {
            return Err(ReadTrace::TooLarge);
        }
        let file: TraceFile = serde_json::from_slice(&json).map_err(ReadTrace::Format)?;
        let trace = match file.kind.as_deref() {
            Some("concurrent") => file.concurrent(),
            _ => file.sequential(),
        };
        trace.check()?;
        Ok(trace)
    }

    /// How many edits there are in all.
    #[must_use]
    pub fn patches_len(&self) -> usize {
        self.transactions.iter().map(|txn| txn.patches.len()).sum()
    }

    fn check(&self) -> Result<(), ReadTrace> {
        for (transaction, txn) in self.transactions.iter().enumerate() {
            if let Some(&parent) = txn.parents.iter().find(|parent| **parent >= transaction) {
                return Err(ReadTrace::Parent {
                    transaction,
                    parent,
                });
            }
            let (agent, agents) = (txn.agent, self.agents);
            if agent >= agents {
                return Err(ReadTrace::Agent {
                    transaction,
                    agent,
                    agents,
                });
            }
        }
        Ok(())
    }
}

/// The files of both formats; what is not listed is skipped.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct TraceFile {
    kind: Option<String>,
    #[serde(default)]
    start_content: String,
    end_content: String,
    num_agents: Option<usize>,
    txns: Vec<TransactionRecord>,
}

#[derive(serde::Deserialize)]
struct TransactionRecord {
    #[serde(default)]
    parents: Vec<usize>,
    #[serde(default)]
    agent: usize,
    patches: Vec<Patch>,
}

impl TraceFile {
    fn concurrent(self) -> Trace {
        let transactions = self.txns.into_iter().map(|txn| Transaction {
            parents: txn.parents,
            agent: txn.agent,
            patches: txn.patches,
        });
        Trace {
            end: self.end_content,
            agents: self.num_agents.unwrap_or(1),
            transactions: transactions.collect(),
        }
    }

    /// Every transaction follows the one before; a text to start with is the first.
    fn sequential(self) -> Trace {
        let start = (!self.start_content.is_empty()).then(|| {
            vec![Patch {
                at: 0,
                delete: 0,
                insert: self.start_content,
            }]
        });
        let all = start
            .into_iter()
            .chain(self.txns.into_iter().map(|txn| txn.patches));
        let transactions = all.enumerate().map(|(index, patches)| Transaction {
            parents: index.checked_sub(1).into_iter().collect(),
            agent: 0,
            patches,
        });
        Trace {
            end: self.end_content,
            agents: 1,
            transactions: transactions.collect(),
        }
    }
}

impl<'de> Deserialize<'de> for Patch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(PatchVisitor)
    }
}

/// Reads `[position, delete, insert]`, and whatever else follows, such as a time.
struct PatchVisitor;

impl<'de> Visitor<'de> for PatchVisitor {
    type Value = Patch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[position, delete, insert]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Patch, A::Error> {
        let short = |length| serde::de::Error::invalid_length(length, &PatchVisitor);
        let patch = Patch {
            at: seq.next_element()?.ok_or_else(|| short(0))?,
            delete: seq.next_element()?.ok_or_else(|| short(1))?,
            insert: seq.next_element()?.ok_or_else(|| short(2))?,
        };
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(patch)
    }
}

const GZIP: [u8; 2] = [0x1f, 0x8b];

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const CONCURRENT: &str = r#"{"kind":"concurrent","endContent":"ab","numAgents":2,"txns":[
        {"parents":[],"agent":0,"time":"x","patches":[[0,0,"a","1970"]]},
        {"parents":[0],"agent":1,"patches":[[1,0,"b"]]}]}"#;

    #[test]
    fn a_packed_history_is_the_same_as_a_plain_one() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(CONCURRENT.as_bytes()).unwrap();
        let packed = Trace::read(&packed.finish().unwrap()[..]).unwrap();
        assert_eq!(packed, Trace::read(CONCURRENT.as_bytes()).unwrap());
        assert_eq!((packed.agents, packed.patches_len()), (2, 2));
        assert_eq!(packed.transactions[1].parents, [0]);
    }

    #[test]
    fn a_text_to_start_with_is_the_first_transaction() {
        let json = r#"{"startContent":"a","endContent":"ab","txns":[{"patches":[[1,0,"b"]]}]}"#;
        let trace = Trace::read(json.as_bytes()).unwrap();
        assert_eq!(trace.transactions.len(), 2);
        assert_eq!(trace.transactions[0].patches[0].insert, "a");
        assert_eq!(trace.transactions[1].parents, [0]);
    }

    #[test]
    fn histories_that_make_no_sense_are_refused() {
        let wrong_parent = CONCURRENT.replace("\"parents\":[0]", "\"parents\":[1]");
        let wrong_agent = CONCURRENT.replace("\"agent\":1", "\"agent\":2");
        let short_patch = CONCURRENT.replace(r#"[1,0,"b"]"#, "[1,0]");
        let read = |text: &str| Trace::read(text.as_bytes()).unwrap_err();
        assert!(matches!(
            read(&wrong_parent),
            ReadTrace::Parent {
                transaction: 1,
                parent: 1
            }
        ));
        assert!(matches!(
            read(&wrong_agent),
            ReadTrace::Agent {
                agent: 2,
                agents: 2,
                ..
            }
        ));
        for text in [&*short_patch, "", "[]", "{\"endContent\":1}"] {
            assert!(matches!(read(text), ReadTrace::Format(_)), "{text}");
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_fills_the_memory() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::copy(
            &mut io::repeat(b' ').take(Trace::BYTES_MAX + 1),
            &mut packed,
        )
        .unwrap();
        let bomb = packed.finish().unwrap();
        assert!(matches!(Trace::read(&bomb[..]), Err(ReadTrace::TooLarge)));
    }
}
