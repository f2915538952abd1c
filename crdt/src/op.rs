//! What an application does to an object.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::{
    Bound, CausalContext, Dot, EditSequence, FencedOff, Hlc, Kind, Limits, MergeRefused, NoRights,
    ReplicaId,
};

/// The identity of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The write's own dot.
    pub dot: Dot,
    /// `Some(p)`: the writer knows that none of its dots `p + 1 ..= dot.counter - 1` belongs to this object, so the
    /// delta claims the whole run; this keeps contexts compact although counters are store-wide. `None`: only the dot itself.
    pub claim_after: Option<u64>,
    /// When it was written, as a hint for what is shown first.
    pub hlc: Hlc,
}

impl Stamp {
    /// The same write by one who has seen all that its replica wrote after `claim_after`, rather than nothing being there: so that what it
    /// wrote without gaps before is known as well.
    pub(crate) fn with_seen(&self, version: &CausalContext) -> Self {
        let Dot { replica, counter } = self.dot;
        let after = self.claim_after.unwrap_or(counter.saturating_sub(1));
        let run = version.run_of(Dot::new(replica, after));
        let claim_after = Some(run.map_or(after, |run| run.start().saturating_sub(1)));
        Self {
            claim_after,
            ..*self
        }
    }
}

/// One operation on an object, or on a field of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Turns a flag on.
    Enable,
    /// Turns a flag off.
    Disable,
    /// Adds to a counter; sums stay at the ends of `i64`.
    Add(i64),
    /// Writes a register.
    Put(Vec<u8>),
    /// Inserts an element into a set.
    Insert(Vec<u8>),
    /// Removes an element from a set.
    Remove(Vec<u8>),
    /// Does something to a field of a map.
    Field {
        /// Name of the field.
        name: Vec<u8>,
        /// Kind of its value, which is part of its name.
        kind: Kind,
        /// What is done to the value.
        op: Box<Op>,
    },
    /// Removes a field of a map.
    RemoveField {
        /// Name of the field.
        name: Vec<u8>,
        /// Kind of its value.
        kind: Kind,
    },
    /// Adds the changes of one commit to a document.
    Chunk(Vec<u8>),
    /// Adds a chunk to a document in the place of others of the same store, whose changes are in it.
    Pack {
        /// The chunk.
        chunk: Vec<u8>,
        /// The dots of the others; what is of another store or not there is passed over.
        replaces: CausalContext,
    },
    /// Joins a payload into a value of the application's own kind.
    Merge {
        /// Tag of the kind.
        tag: u16,
        /// The encoded value to join in.
        payload: Vec<u8>,
    },
    /// Turns a disable-wins flag on or off.
    Switch(bool),
    /// Adds to a grow-only counter; a replica's sum stays at the end of `u64`.
    Increase(u64),
    /// Writes a number, of which the greatest counts.
    Max(i64),
    /// Writes a number, of which the least counts.
    Min(i64),
    /// Inserts an element into a grow-only set.
    Gather(Vec<u8>),
    /// Inserts an element into a remove-wins set.
    Admit(Vec<u8>),
    /// Removes an element from a remove-wins set.
    Ban(Vec<u8>),
    /// Writes a value under a fencing token.
    PutFenced {
        /// The token.
        token: u64,
        /// The value.
        value: Vec<u8>,
    },
    /// Adds to a bounded counter, and to the writer's rights.
    Deposit(u64),
    /// Takes from a bounded counter, within the writer's rights.
    Withdraw(u64),
    /// Gives rights on a bounded counter to another replica.
    GiveRights {
        /// To which replica.
        to: ReplicaId,
        /// How many.
        amount: u64,
    },
    /// Inserts an element into a sequence, which is then named by the dot of this write.
    InsertAfter {
        /// The element in front of it; none to insert in front of all.
        after: Option<Dot>,
        /// The value.
        value: Vec<u8>,
    },
    /// Moves an element of a sequence.
    MoveAfter {
        /// The element.
        element: Dot,
        /// The element in front of it then; none to move in front of all.
        after: Option<Dot>,
    },
    /// Writes the value of an element of a sequence.
    WriteElement {
        /// The element.
        element: Dot,
        /// The value.
        value: Vec<u8>,
    },
    /// Removes an element of a sequence.
    RemoveElement(Dot),
    /// Removes all that is there, of any kind.
    Delete,
}

impl Op {
    /// The kind that the operation is for; `None` for [`Op::Delete`], which is for any.
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        Some(match self {
            Self::Enable | Self::Disable => Kind::Flag,
            Self::Add(_) => Kind::Counter,
            Self::Put(_) => Kind::Register,
            Self::Insert(_) | Self::Remove(_) => Kind::Set,
            Self::Field { .. } | Self::RemoveField { .. } => Kind::Map,
            Self::Chunk(_) | Self::Pack { .. } => Kind::Document,
            Self::Merge { tag, .. } => Kind::Custom(*tag),
            Self::Switch(_) => Kind::DwFlag,
            Self::Increase(_) => Kind::GCounter,
            Self::Max(_) => Kind::Max,
            Self::Min(_) => Kind::Min,
            Self::Gather(_) => Kind::GSet,
            Self::Admit(_) | Self::Ban(_) => Kind::RwSet,
            Self::PutFenced { .. } => Kind::Fenced,
            Self::Deposit(_) | Self::Withdraw(_) | Self::GiveRights { .. } => Kind::BoundedCounter,
            Self::InsertAfter { .. } | Self::MoveAfter { .. } => Kind::Sequence,
            Self::WriteElement { .. } | Self::RemoveElement(_) => Kind::Sequence,
            Self::Delete => return None,
        })
    }

    /// The bytes that the operation itself brings along: a value, an element, the name of a field.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        match self {
            Self::Put(bytes) | Self::Chunk(bytes) => bytes,
            Self::Pack { chunk, .. } => chunk,
            Self::Insert(bytes) | Self::Remove(bytes) => bytes,
            Self::Gather(bytes) | Self::Admit(bytes) | Self::Ban(bytes) => bytes,
            Self::Merge { payload, .. } => payload,
            Self::PutFenced { value, .. } => value,
            Self::InsertAfter { value, .. } | Self::WriteElement { value, .. } => value,
            Self::Field { name, .. } | Self::RemoveField { name, .. } => name,
            Self::Enable | Self::Disable | Self::Add(_) | Self::Delete => &[],
            Self::Switch(_) | Self::Increase(_) | Self::Max(_) | Self::Min(_) => &[],
            Self::Deposit(_) | Self::Withdraw(_) | Self::GiveRights { .. } => &[],
            Self::MoveAfter { .. } | Self::RemoveElement(_) => &[],
        }
    }

    /// Checks that what the operation writes can be decoded again within `limits`.
    ///
    /// # Errors
    /// [`ApplyOp::TooLarge`]: too deep, a name or element too long, a payload too large.
    pub fn check(&self, limits: &Limits) -> Result<(), ApplyOp> {
        let mut op = self;
        let max = limits.depth_max.min(Limits::DEPTH_MAX);
        for _ in 0..max {
            let Self::Field {
                name, op: inner, ..
            } = op
            else {
                return op.check_payload(limits);
            };
            within(Bound::KeyBytes, name, limits.key_bytes_max)?;
            op = inner;
        }
        Err(ApplyOp::TooLarge {
            bound: Bound::Depth,
            found: max + 1,
            max,
        })
    }
}

impl Op {
    /// Names and elements are kept shorter than what is read as a whole.
    fn check_payload(&self, limits: &Limits) -> Result<(), ApplyOp> {
        let names = matches!(
            self,
            Self::RemoveField { .. }
                | Self::Insert(_)
                | Self::Remove(_)
                | Self::Gather(_)
                | Self::Admit(_)
                | Self::Ban(_)
        );
        let (bound, max) = match names {
            true => (Bound::KeyBytes, limits.key_bytes_max),
            false => (Bound::Bytes, limits.bytes_max),
        };
        within(bound, self.payload(), max)
    }
}

/// Why an operation was not applied. The caller's mistake; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyOp {
    /// There is a value of another kind.
    #[error("the operation is for a {wanted}, and this is a {found}")]
    WrongKind {
        /// What is there.
        found: Kind,
        /// What the operation is for.
        wanted: Kind,
    },
    /// More than could be decoded again.
    #[error("{found} {bound}, more than {max}")]
    TooLarge {
        /// What there is too much of.
        bound: Bound,
        /// How much there is; for depth, at least so much.
        found: usize,
        /// How much there may be.
        max: usize,
    },
    /// The dot, or a dot that it claims, was seen in this object: a dot is used once, ever.
    #[error("dot {0} or one that it claims is used already")]
    DotUsed(Dot),
    /// The dot has counter 0, or claims dots from itself on.
    #[error("dot {0} is no dot, or claims dots beyond itself")]
    BadStamp(Dot),
    /// The merge of the custom kind refuses the payload.
    #[error(transparent)]
    MergeRefused(#[from] MergeRefused),
    /// A greater fencing token has been here.
    #[error(transparent)]
    FencedOff(#[from] FencedOff),
    /// The writer has too few rights on a bounded counter.
    #[error(transparent)]
    NoRights(#[from] NoRights),
    /// The sequence is not as the operation takes it to be.
    #[error(transparent)]
    Sequence(#[from] EditSequence),
}

impl ApplyOp {
    pub(crate) fn wrong_kind(found: Kind, op: &Op) -> Self {
        let wanted = op.kind().unwrap_or(found);
        Self::WrongKind { found, wanted }
    }
}

fn within(bound: Bound, bytes: &[u8], max: usize) -> Result<(), ApplyOp> {
    match bytes.len() {
        found if found > max => Err(ApplyOp::TooLarge { bound, found, max }),
        _ => Ok(()),
    }
}
