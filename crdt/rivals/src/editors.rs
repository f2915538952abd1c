//! One text in each of the libraries, behind one trait: local edits, commits that give an update, and updates of others.

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ActorId, AutoCommit, ObjId, ObjType, ROOT, ReadDoc, TextEncoding};
use diamond_types::list::OpLog;
use loro::{ExportMode, IdSpan, LoroDoc, LoroText};
use meshwork_crdt::{
    ActorSeed, CausalContext, Document, Dot, Hlc, Limits, Merges, Object, Op, ReplicaId, Stamp,
    Text,
};
use yrs::block::ClientID;
use yrs::updates::decoder::Decode;
use yrs::{Doc, GetString, OffsetKind, Options, Text as _, Transact, Update};

use crate::trace::{Patch, Txn};

/// A text that somebody edits.
pub trait Editor {
    const NAME: &str;
    /// An empty text, and an author.
    fn open(author: u8) -> Self;
    fn splice(&mut self, patch: &Patch);
    /// Ends a commit, and gives what others need to have it.
    fn commit(&mut self) -> Option<Vec<u8>>;
    /// Takes over what others committed.
    fn absorb(&mut self, updates: &[Vec<u8>]);
    fn text(&self) -> String;
}

/// A text as a node keeps and edits it: an object with a document, an open editor, encoded deltas.
pub struct Ours {
    text: Text,
    object: Object,
    replica: ReplicaId,
    merges: Merges,
}

impl Editor for Ours {
    const NAME: &str = "ours";

    fn open(author: u8) -> Self {
        let replica = ReplicaId::from_bytes([author; 8]);
        let seed = ActorSeed::new(replica, 1);
        Self {
            text: Text::open(&Document::default(), &CausalContext::new(), seed),
            object: Object::new(),
            replica,
            merges: Merges::default(),
        }
    }

    fn splice(&mut self, patch: &Patch) {
        let spliced = self.text.splice(patch.at, patch.delete, &patch.insert);
        spliced.expect("the trace fits");
    }

    fn commit(&mut self) -> Option<Vec<u8>> {
        let chunk = self.text.commit()?;
        let last = self.object.version().max_of(self.replica);
        let stamp = Stamp {
            dot: Dot::new(self.replica, last + 1),
            claim_after: Some(last),
            hlc: Hlc::default(),
        };
        let delta = self.object.apply(&stamp, &Op::Chunk(chunk), &self.merges);
        let delta = delta.expect("it holds a document");
        self.object.join(&delta);
        Some(delta.encode())
    }

    fn absorb(&mut self, updates: &[Vec<u8>]) {
        for update in updates {
            let delta = Object::decode(update, &Limits::DEFAULT);
            self.object.join(&delta.expect("another has encoded it"));
        }
        if let Some(document) = self.object.as_document() {
            self.text.absorb(document, self.object.version());
        }
    }

    fn text(&self) -> String {
        self.text.text()
    }
}

/// automerge without anything around it.
pub struct Bare {
    doc: AutoCommit,
    text: ObjId,
    unsent: Vec<u8>,
}

impl Bare {
    fn seal(&mut self) {
        let hash = self.doc.commit_with(CommitOptions::default().with_time(0));
        if let Some(change) = hash.and_then(|hash| self.doc.get_change_by_hash(&hash)) {
            self.unsent.extend_from_slice(change.raw_bytes());
        }
    }
}

impl Editor for Bare {
    const NAME: &str = "bare automerge";

    fn open(author: u8) -> Self {
        let doc = AutoCommit::new_with_encoding(TextEncoding::UnicodeCodePoint);
        // The same first change for all, so that there is one text.
        let mut doc = doc.with_actor(ActorId::from(&[0][..]));
        let text = doc.put_object(ROOT, "text", ObjType::Text).expect("a map");
        doc.commit_with(CommitOptions::default().with_time(0));
        doc.set_actor(ActorId::from(&[author; 20][..]));
        let unsent = Vec::new();
        Self { doc, text, unsent }
    }

    fn splice(&mut self, patch: &Patch) {
        let delete = isize::try_from(patch.delete).expect("a length");
        let spliced = self
            .doc
            .splice_text(&self.text, patch.at, delete, &patch.insert);
        spliced.expect("the trace fits");
    }

    fn commit(&mut self) -> Option<Vec<u8>> {
        self.seal();
        let update = std::mem::take(&mut self.unsent);
        (!update.is_empty()).then_some(update)
    }

    fn absorb(&mut self, updates: &[Vec<u8>]) {
        self.seal();
        // In one call, since each costs time in proportion to the whole document.
        let loaded = self.doc.load_incremental(&updates.concat());
        loaded.expect("another has encoded it");
    }

    fn text(&self) -> String {
        self.doc.text(&self.text).expect("it is a text")
    }
}

/// yrs, with a transaction for each commit.
pub struct Yrs {
    doc: Doc,
    text: yrs::TextRef,
    pending: Vec<Patch>,
    unsent: Vec<Vec<u8>>,
}

impl Yrs {
    /// A transaction borrows the document, so edits wait until there is one for all.
    fn seal(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let mut txn = self.doc.transact_mut();
        for Patch { at, delete, insert } in self.pending.drain(..) {
            let at = u32::try_from(at).expect("texts are short");
            if delete > 0 {
                let delete = u32::try_from(delete).expect("texts are short");
                self.text.remove_range(&mut txn, at, delete);
            }
            if !insert.is_empty() {
                self.text.insert(&mut txn, at, &insert);
            }
        }
        self.unsent.push(txn.encode_update_v1());
    }
}

impl Editor for Yrs {
    const NAME: &str = "yrs";

    fn open(author: u8) -> Self {
        let doc = Doc::with_options(Options {
            // The traces have no character that takes two units of UTF-16.
            offset_kind: OffsetKind::Utf16,
            ..Options::with_client_id(ClientID::new(u64::from(author)))
        });
        Self {
            text: doc.get_or_insert_text("text"),
            doc,
            pending: Vec::new(),
            unsent: Vec::new(),
        }
    }

    fn splice(&mut self, patch: &Patch) {
        self.pending.push(patch.clone());
    }

    fn commit(&mut self) -> Option<Vec<u8>> {
        self.seal();
        let updates = std::mem::take(&mut self.unsent);
        match &updates[..] {
            [] => None,
            [_] => updates.into_iter().next(),
            more => Some(yrs::merge_updates_v1(more).expect("it has encoded them")),
        }
    }

    fn absorb(&mut self, updates: &[Vec<u8>]) {
        self.seal();
        let mut txn = self.doc.transact_mut();
        for update in updates {
            let update = Update::decode_v1(update).expect("another has encoded it");
            txn.apply_update(update).expect("it is an update");
        }
    }

    fn text(&self) -> String {
        self.text.get_string(&self.doc.transact())
    }
}

/// loro.
pub struct Loro {
    doc: LoroDoc,
    text: LoroText,
    sent: i32,
}

impl Editor for Loro {
    const NAME: &str = "loro";

    fn open(author: u8) -> Self {
        let doc = LoroDoc::new();
        doc.set_peer_id(u64::from(author)).expect("nothing is open");
        let text = doc.get_text("text");
        Self { doc, text, sent: 0 }
    }

    fn splice(&mut self, patch: &Patch) {
        if patch.delete > 0 {
            let deleted = self.text.delete(patch.at, patch.delete);
            deleted.expect("the trace fits");
        }
        if !patch.insert.is_empty() {
            let inserted = self.text.insert(patch.at, &patch.insert);
            inserted.expect("the trace fits");
        }
    }

    fn commit(&mut self) -> Option<Vec<u8>> {
        self.doc.commit();
        let peer = self.doc.peer_id();
        let end = self.doc.oplog_vv().get(&peer).copied().unwrap_or(0);
        let from = std::mem::replace(&mut self.sent, end);
        let span = vec![IdSpan::new(peer, from, end)];
        (from < end).then(|| {
            let update = self.doc.export(ExportMode::updates_in_range(span));
            update.expect("it is all there")
        })
    }

    fn absorb(&mut self, updates: &[Vec<u8>]) {
        self.doc
            .import_batch(updates)
            .expect("another has encoded it");
    }

    fn text(&self) -> String {
        self.text.to_string()
    }
}

/// diamond-types: a history of edits with their parents, from which the text is made.
#[derive(Default)]
pub struct Diamond {
    history: OpLog,
    /// The version after each transaction.
    versions: Vec<Vec<usize>>,
}

impl Diamond {
    /// Notes what a transaction did; its parents were added before.
    pub fn add(&mut self, txn: &Txn) {
        let agent = self.history.get_or_create_agent_id(["0", "1"][txn.agent]);
        let parents = txn
            .parents
            .iter()
            .flat_map(|parent| &self.versions[*parent]);
        let mut version: Vec<usize> = parents.copied().collect();
        version.sort_unstable();
        version.dedup();
        for Patch { at, delete, insert } in &txn.patches {
            if *delete > 0 {
                let range = *at..at + delete;
                version = vec![self.history.add_delete_at(agent, &version, range)];
            }
            if !insert.is_empty() {
                version = vec![self.history.add_insert_at(agent, &version, *at, insert)];
            }
        }
        self.versions.push(version);
    }

    /// The text with everything in it.
    pub fn merged(&self) -> String {
        self.history.checkout_tip().content().to_string()
    }
}
