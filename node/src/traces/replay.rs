//! Makes the changes of a document out of an editing history, as its authors' editors would have.

use meshwork_crdt::{
    ActorSeed, ApplyOp, Dot, EditText, Hlc, Merges, Object, Op, ReplicaId, Stamp, Text,
};

use super::Trace;
use super::plan::{EditorPlan, Plan, Step};

/// Changes to write to a document, in the order in which they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Automerge changes, to be written as they are with [`Op::Chunk`].
    pub bytes: Vec<u8>,
    /// How many transactions of the history are done with this chunk and those before.
    pub transactions: usize,
}

/// A history was not replayed. What was handed out before is consistent, but not the whole history.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayTrace {
    /// An edit reaches beyond the text: the file is damaged.
    #[error("transaction {transaction} does not fit the text that it edits")]
    Patch {
        /// Index of the transaction.
        transaction: usize,
        /// How it does not fit.
        #[source]
        source: EditText,
    },
    /// An edit is larger than a chunk may be.
    #[error("an edit does not fit a document")]
    Chunk(#[source] ApplyOp),
    /// More lines of work at once than are followed: 1,024, fewer in very long histories.
    #[error("the history has too many concurrent branches")]
    TooConcurrent,
    /// The result is not the text that the history says it ends with.
    #[error("the history ends with another text than it says")]
    OtherEnd,
}

/// An iterator over the chunks of a history. It does the work as it goes.
#[derive(Debug)]
pub struct Replay<'a> {
    trace: &'a Trace,
    plan: Plan,
    origin: [u8; 4],
    editors: Vec<Option<Editor>>,
    /// What each editor has committed, with the count of its transactions up to there.
    commits: Vec<Vec<(usize, Object)>>,
    next: usize,
    packed: Vec<u8>,
    ended: bool,
}

/// An author's open document.
#[derive(Debug)]
struct Editor {
    text: Text,
    object: Object,
    replica: ReplicaId,
    count: usize,
    /// Edits since the last commit, and the bytes that they inserted.
    edits: usize,
    bytes: usize,
    /// How many commits of each editor are in.
    taken: Vec<usize>,
}

/// A chunk with so much in it is full. With one more change it has at most 256 KiB, so that it travels in one frame among others;
/// only a single edit that is larger makes a larger one.
const CHUNK_BYTES_FULL: usize = 128 << 10;
/// Edits in one change. More make larger changes, fewer more of them; both cost bytes.
const COMMIT_EDITS: usize = 1_000;
/// Bytes inserted by one change.
const COMMIT_BYTES: usize = 64 << 10;

impl Trace {
    /// Replays the history: each author edits a copy at exactly the state that its transactions were made on.
    ///
    /// The same history and `origin` give the same bytes. `origin` must be new for each document, at random, or two documents
    /// that are merged later might hold the same changes.
    ///
    /// # Errors
    /// [`ReplayTrace::TooConcurrent`].
    ///
    /// # Examples
    /// ```
    /// use meshwork::traces::Trace;
    /// let json = r#"{"endContent": "ab", "txns": [{"patches": [[0, 0, "b"], [0, 0, "a"]]}]}"#;
    /// let trace = Trace::read(json.as_bytes())?;
    /// let chunks = trace.replay([1; 4])?.collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(chunks.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replay(&self, origin: [u8; 4]) -> Result<Replay<'_>, ReplayTrace> {
        let plan = Plan::new(self)?;
        let commits = vec![Vec::new(); plan.editors.len()];
        let editors = plan.editors.iter().map(|_| None).collect();
        Ok(Replay {
            trace: self,
            plan,
            origin,
            editors,
            commits,
            next: 0,
            packed: Vec::new(),
            ended: false,
        })
    }
}

impl Iterator for Replay<'_> {
    type Item = Result<Chunk, ReplayTrace>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended && self.packed.len() < CHUNK_BYTES_FULL {
            if let Err(error) = self.step() {
                self.ended = true;
                self.packed.clear();
                return Some(Err(error));
            }
        }
        let bytes = core::mem::take(&mut self.packed);
        let transactions = self.next;
        (!bytes.is_empty()).then_some(Ok(Chunk {
            bytes,
            transactions,
        }))
    }
}

impl Replay<'_> {
    /// Makes one transaction, or finds that there are no more.
    fn step(&mut self) -> Result<(), ReplayTrace> {
        let Some(step) = self.plan.steps.get(self.next) else {
            self.ended = true;
            return self.finish();
        };
        let number = step.editor;
        let taken = self.editors.get_mut(number).and_then(Option::take);
        let mut editor = taken.unwrap_or_else(|| Editor::new(self.origin, number));
        editor.follow(&self.commits, &step.follow);
        self.edit(&mut editor, step)?;
        let plan = self.plan.editors.get(number);
        let done = plan.is_none_or(|plan: &EditorPlan| plan.last_step == self.next);
        let cut = plan.is_some_and(|plan| plan.cuts.contains(&editor.count));
        if done || cut || editor.is_heavy() {
            self.commit(number, &mut editor)?;
        }
        self.next += 1;
        // The last one sees the end; those who are done make room.
        let last = self.next == self.plan.steps.len();
        if let (Some(place), true) = (self.editors.get_mut(number), last || !done) {
            *place = Some(editor);
        }
        Ok(())
    }

    fn edit(&self, editor: &mut Editor, step: &Step) -> Result<(), ReplayTrace> {
        let transaction = self.next;
        let txn = self.trace.transactions.get(transaction);
        for patch in txn.map_or(&[][..], |txn| &txn.patches) {
            editor
                .text
                .splice(patch.at, patch.delete, &patch.insert)
                .map_err(|source| ReplayTrace::Patch {
                    transaction,
                    source,
                })?;
            editor.edits += 1;
            editor.bytes += patch.insert.len();
        }
        editor.count = step.count;
        Ok(())
    }

    fn commit(&mut self, number: usize, editor: &mut Editor) -> Result<(), ReplayTrace> {
        (editor.edits, editor.bytes) = (0, 0);
        let (Some(chunk), Some(commits)) = (editor.text.commit(), self.commits.get_mut(number))
        else {
            return Ok(());
        };
        self.packed.extend_from_slice(&chunk);
        let counter = commits.len() as u64 + 1;
        let stamp = Stamp {
            dot: Dot::new(editor.replica, counter),
            claim_after: Some(counter - 1),
            hlc: Hlc::default(),
        };
        let delta = editor
            .object
            .apply(&stamp, &Op::Chunk(chunk), &Merges::default())
            .map_err(ReplayTrace::Chunk)?;
        editor.object.join(&delta);
        commits.push((editor.count, delta));
        Ok(())
    }

    /// Compares the merge of everything with what the history says.
    fn finish(&mut self) -> Result<(), ReplayTrace> {
        let last = self.plan.steps.last().map_or(0, |step| step.editor);
        let place = self.editors.get_mut(last).and_then(Option::take);
        let mut editor = place.unwrap_or_else(|| Editor::new(self.origin, last));
        let all: Vec<(usize, usize)> = (0..self.commits.len())
            .filter(|other| *other != last)
            .map(|other| (other, usize::MAX))
            .collect();
        editor.follow(&self.commits, &all);
        if editor.text.text() == self.trace.end {
            Ok(())
        } else {
            Err(ReplayTrace::OtherEnd)
        }
    }
}

impl Editor {
    /// Editors are ordered as the history's authors began, which decides where concurrent insertions at one place go.
    fn new(origin: [u8; 4], number: usize) -> Self {
        let [a, b, c, d] = origin;
        let [e, f, g, h] = u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
        let replica = ReplicaId::from_bytes([a, b, c, d, e, f, g, h]);
        let object = Object::new();
        let seed = ActorSeed::new(replica, 1);
        Self {
            text: Text::open(&Default::default(), object.version(), seed),
            object,
            replica,
            count: 0,
            edits: 0,
            bytes: 0,
            taken: Vec::new(),
        }
    }

    const fn is_heavy(&self) -> bool {
        self.edits >= COMMIT_EDITS || self.bytes >= COMMIT_BYTES
    }

    /// Takes over the first so many transactions of other editors, in one batch.
    fn follow(&mut self, commits: &[Vec<(usize, Object)>], follow: &[(usize, usize)]) {
        let mut new = false;
        for &(other, count) in follow {
            self.taken.resize(self.taken.len().max(other + 1), 0);
            let (Some(theirs), Some(taken)) = (commits.get(other), self.taken.get_mut(other))
            else {
                continue;
            };
            let open = theirs.get(*taken..).unwrap_or_default();
            for (_, delta) in open.iter().take_while(|(end, _)| *end <= count) {
                self.object.join(delta);
                *taken += 1;
                new = true;
            }
        }
        if let (Some(document), true) = (self.object.as_document(), new) {
            self.text.absorb(document, self.object.version());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Patch, Transaction};
    use super::*;

    fn txn(agent: usize, parents: &[usize], at: usize, insert: &str) -> Transaction {
        Transaction {
            parents: parents.to_vec(),
            agent,
            patches: vec![Patch {
                at,
                delete: 0,
                insert: insert.into(),
            }],
        }
    }

    fn text_of(chunks: &[Chunk]) -> String {
        let (mut object, replica) = (Object::new(), ReplicaId::from_bytes([9; 8]));
        for (index, chunk) in chunks.iter().enumerate() {
            let counter = index as u64 + 1;
            let stamp = Stamp {
                dot: Dot::new(replica, counter),
                claim_after: None,
                hlc: Hlc::default(),
            };
            let op = Op::Chunk(chunk.bytes.clone());
            let delta = object.apply(&stamp, &op, &Merges::default()).unwrap();
            object.join(&delta);
        }
        let seed = ActorSeed::new(replica, 1);
        let document = object.as_document().unwrap();
        let text = Text::open(document, object.version(), seed);
        assert_eq!((text.refused_len(), text.waiting_len()), (0, 0));
        text.text()
    }

    #[test]
    fn authors_who_fork_and_merge_end_with_the_recorded_text() {
        let trace = Trace {
            end: "hello, big world!".into(),
            agents: 2,
            transactions: vec![
                txn(0, &[], 0, "hello world"),
                txn(1, &[0], 5, ","),
                txn(0, &[0], 11, "!"),
                txn(0, &[1], 6, " big"),
                txn(1, &[2, 3], 0, ""),
            ],
        };
        let chunks: Vec<Chunk> = trace.replay([7; 4]).unwrap().map(Result::unwrap).collect();
        assert_eq!(text_of(&chunks), trace.end);
        assert_eq!(chunks.last().unwrap().transactions, 5);
    }

    #[test]
    fn a_history_that_ends_otherwise_is_refused() {
        let trace = Trace {
            end: "b".into(),
            agents: 1,
            transactions: vec![txn(0, &[], 0, "a")],
        };
        let last = trace.replay([7; 4]).unwrap().last();
        assert!(matches!(last, Some(Err(ReplayTrace::OtherEnd))));
    }

    #[test]
    fn an_edit_beyond_the_text_is_refused() {
        let trace = Trace {
            end: "a".into(),
            agents: 1,
            transactions: vec![txn(0, &[], 1, "a")],
        };
        let last = trace.replay([7; 4]).unwrap().last();
        assert!(matches!(
            last,
            Some(Err(ReplayTrace::Patch { transaction: 0, .. }))
        ));
    }

    #[test]
    fn long_histories_come_in_chunks_of_bounded_size() {
        let transactions = (0..100).map(|index: usize| {
            let parents: Vec<usize> = index.checked_sub(1).into_iter().collect();
            txn(0, &parents, 0, &"😀".repeat(1_000))
        });
        let trace = Trace {
            end: "😀".repeat(100_000),
            agents: 1,
            transactions: transactions.collect(),
        };
        let chunks: Vec<Chunk> = trace.replay([7; 4]).unwrap().map(Result::unwrap).collect();
        assert_eq!(text_of(&chunks), trace.end);
        assert!(chunks.len() >= 3);
        assert!(chunks.iter().all(|chunk| chunk.bytes.len() <= 256 << 10));
    }
}
