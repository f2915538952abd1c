//! Random operations on objects, small enough that they often meet.

use arbitrary::Arbitrary;
use meshwork_crdt::{Dot, Hlc, Kind, MergeRefused, Merges, Op, ReplicaId, Stamp};

/// One of a few names, so that writers choose the same.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Name(u8);

impl Name {
    /// Its bytes; the empty name is one of them.
    pub fn bytes(self) -> Vec<u8> {
        vec![b'a'; usize::from(self.0 % 3)]
    }
}

/// An operation of any kind, maps in maps included.
#[derive(Arbitrary, Clone, Debug)]
pub enum AnyOp {
    Enable,
    Disable,
    Add(i8),
    Put(Name),
    Insert(Name),
    Remove(Name),
    Field(Name, Box<AnyOp>),
    /// As `Field`, with a kind that may not fit.
    MisnamedField(Name, AnyKind, Box<AnyOp>),
    RemoveField(Name, AnyKind),
    Chunk(Name),
    Merge {
        tag: u8,
        payload: u8,
    },
    Switch(bool),
    Increase(u8),
    Max(i8),
    Gather(Name),
    Admit(Name),
    Ban(Name),
    PutFenced(u8, Name),
    Deposit(u8),
    Withdraw(u8),
    Append(Name),
    Move {
        replica: u8,
        counter: u8,
    },
    Delete,
}

/// A kind of value.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum AnyKind {
    Flag,
    Counter,
    Register,
    Set,
    Map,
    Document,
    Custom(u8),
}

impl AnyKind {
    /// The kind itself.
    pub fn kind(self) -> Kind {
        match self {
            Self::Flag => Kind::Flag,
            Self::Counter => Kind::Counter,
            Self::Register => Kind::Register,
            Self::Set => Kind::Set,
            Self::Map => Kind::Map,
            Self::Document => Kind::Document,
            Self::Custom(tag) => Kind::Custom(custom_tag(tag)),
        }
    }
}

impl AnyOp {
    /// The operation itself.
    pub fn op(&self) -> Op {
        match self {
            Self::Enable => Op::Enable,
            Self::Disable => Op::Disable,
            Self::Add(amount) => Op::Add((*amount).into()),
            Self::Put(name) => Op::Put(name.bytes()),
            Self::Insert(name) => Op::Insert(name.bytes()),
            Self::Remove(name) => Op::Remove(name.bytes()),
            Self::Field(name, op) => {
                let op = op.op();
                field(*name, op.kind().unwrap_or(Kind::Map), op)
            }
            Self::MisnamedField(name, kind, op) => field(*name, kind.kind(), op.op()),
            Self::RemoveField(name, kind) => Op::RemoveField {
                name: name.bytes(),
                kind: kind.kind(),
            },
            Self::Chunk(name) => Op::Chunk(name.bytes()),
            Self::Merge { tag, payload } => Op::Merge {
                tag: custom_tag(*tag),
                payload: vec![*payload],
            },
            Self::Switch(on) => Op::Switch(*on),
            Self::Increase(amount) => Op::Increase((*amount).into()),
            Self::Max(number) => Op::Max((*number).into()),
            Self::Gather(name) => Op::Gather(name.bytes()),
            Self::Admit(name) => Op::Admit(name.bytes()),
            Self::Ban(name) => Op::Ban(name.bytes()),
            Self::PutFenced(token, name) => Op::PutFenced {
                token: (*token).into(),
                value: name.bytes(),
            },
            Self::Deposit(amount) => Op::Deposit((*amount).into()),
            Self::Withdraw(amount) => Op::Withdraw((*amount).into()),
            Self::Append(name) => Op::InsertAfter {
                after: None,
                value: name.bytes(),
            },
            Self::Move { replica, counter } => Op::MoveAfter {
                element: Dot::new(ReplicaId::from_bytes([*replica; 8]), (*counter).into()),
                after: None,
            },
            Self::Delete => Op::Delete,
        }
    }
}

fn field(name: Name, kind: Kind, op: Op) -> Op {
    let (name, op) = (name.bytes(), Box::new(op));
    Op::Field { name, kind, op }
}

/// A tag from 0 to 4; those of [`merges`] are 0 to 3.
fn custom_tag(tag: u8) -> u16 {
    u16::from(tag % 5)
}

/// Merges of an application: 0 is right, the others break every promise that they can.
pub fn merges() -> Merges {
    let mut merges = Merges::default();
    merges.register_fn(0, |mine, theirs| {
        let bits = |bytes: &[u8]| bytes.first().copied().filter(|_| bytes.len() == 1);
        let (mine, theirs) = (
            bits(mine).ok_or(MergeRefused)?,
            bits(theirs).ok_or(MergeRefused)?,
        );
        Ok(vec![mine | theirs])
    });
    // Neither commutative nor idempotent.
    merges.register_fn(1, |mine, theirs| {
        Ok(mine.iter().chain(theirs).take(32).copied().collect())
    });
    // Refuses some pairs, but no value for itself.
    merges.register_fn(2, |mine, theirs| match mine.first() > theirs.first() {
        true => Err(MergeRefused),
        false => Ok(theirs.to_vec()),
    });
    merges.register_fn(3, |_, theirs| {
        if theirs == [0] {
            Ok(Vec::new())
        } else {
            Err(MergeRefused)
        }
    });
    merges
}

/// A store that writes: its dots are used once, and not all of them for the object that is looked at.
#[derive(Clone, Debug)]
pub struct Writer {
    replica: ReplicaId,
    counter: u64,
    written: u64,
}

impl Writer {
    /// The writer with this number.
    pub fn new(number: u8) -> Self {
        Self {
            replica: ReplicaId::from_bytes([number; 8]),
            counter: 0,
            written: 0,
        }
    }

    /// Uses `dots` of its dots for other objects.
    pub fn skip(&mut self, dots: u8) {
        self.counter += u64::from(dots);
    }

    /// The next stamp, which may claim the dots since the last write to this object.
    pub fn stamp(&mut self, claims: bool, wall_ms: u8) -> Stamp {
        self.counter += 1;
        Stamp {
            dot: Dot::new(self.replica, self.counter),
            claim_after: claims.then_some(self.written),
            hlc: Hlc::new(wall_ms.into(), 0),
        }
    }

    /// The last stamp was for this object.
    pub fn wrote(&mut self) {
        self.written = self.counter;
    }
}
