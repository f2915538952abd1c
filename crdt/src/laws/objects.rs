//! Our own kinds under test.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most operations are for other kinds than the one at hand"
)]

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;
use proptest::strategy::{BoxedStrategy, Union};

use super::history::{By, Write, in_turn};
use super::subject::Subject;
use crate::{CausalContext, Dot, Kind, Limits, Merges, Object, Op, ReplicaId, Value};

/// Objects of one kind, written with [`Object::apply`]; the model is a specification on who saw what (after Burckhardt, Gotsman, Yang,
/// Zawirski, "Replicated data types: specification, verification, optimality", 2014), and a sequential one where deletions meet sums.
#[derive(Clone, Debug)]
pub struct Objects {
    kind: Kind,
    merges: Merges,
}

/// The tag of an application's own kind that unites bits.
const BITS: u16 = 7;

impl Objects {
    /// Objects of a kind: of [`Kind::Map`] with fields of all kinds, of a custom one with payloads that nobody can join.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        let merges = Merges::default();
        Self { kind, merges }
    }

    /// Objects of an application's own kind whose merge is known.
    #[must_use]
    pub fn custom() -> Self {
        let mut merges = Merges::default();
        merges.register_fn(BITS, |mine, theirs| match (mine, theirs) {
            ([mine], [theirs]) => Ok(alloc::vec![mine | theirs]),
            _ => Err(crate::MergeRefused),
        });
        Self {
            kind: Kind::Custom(BITS),
            merges,
        }
    }

    /// Every kind that there is, and one of an application's own.
    pub fn all() -> impl Iterator<Item = Self> {
        let named = Kind::NAMED.iter().map(|row| Self::of(row.0));
        named.chain([Self::of(Kind::Custom(0)), Self::custom()])
    }

    /// Which kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }
}

/// What an application reads of a value. What reads as if nobody had written it is not there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// Of a flag.
    On,
    /// Of a counter, or a greatest or least number.
    Number(i128),
    /// Of a register its siblings, of a set its elements, of a document its chunks, of a custom kind its payload; sorted.
    Bytes(Vec<Vec<u8>>),
    /// Of a fenced value.
    Fenced(u64, Vec<u8>),
    /// Of a sequence, in order.
    List(Vec<(Dot, Vec<u8>)>),
    /// Of a map.
    Fields(BTreeMap<(Kind, Vec<u8>), Shown>),
}

impl Subject for Objects {
    type State = Object;
    type Op = Op;
    type View = Option<Shown>;

    fn start(&self) -> Object {
        Object::new()
    }

    fn ops(&self) -> BoxedStrategy<Op> {
        let deletes = Just(Op::Delete);
        prop_oneof![12 => ops(self.kind, 3), 1 => deletes].boxed()
    }

    fn write(&self, state: &mut Object, by: &By, op: &Op) -> Option<Object> {
        let delta = state.apply(&by.stamp, op, &self.merges).ok()?;
        state.join(&delta);
        Some(delta)
    }

    fn join(&self, state: &mut Object, other: &Object) {
        state.join(other);
    }

    fn view(&self, state: &Object) -> Option<Shown> {
        shown(state.value(self.kind)?, &self.merges)
    }

    fn expected(&self, writes: &[Write<Op>]) -> Option<Option<Shown>> {
        expected(self.kind, writes, &self.merges)
    }

    fn delta_since(&self, state: &Object, peer: &Object) -> Option<Object> {
        state.delta_since(peer.version())
    }

    fn encode(&self, state: &Object) -> Vec<u8> {
        state.encode()
    }

    fn decode(&self, bytes: &[u8]) -> Option<Object> {
        Object::decode(bytes, &Limits::DEFAULT).ok()
    }

    fn digest(&self, state: &Object) -> Vec<u8> {
        state.digest().to_vec()
    }
}

/// Few and small operations, maps up to `depth` deep.
fn ops(kind: Kind, depth: u8) -> BoxedStrategy<Op> {
    let bytes = || vec(0..3_u8, 0..2);
    let replica = || (0..3_u8).prop_map(|id| ReplicaId::from_bytes([id; 8]));
    let dot = move || (replica(), 1..9_u64).prop_map(|(by, counter)| Dot::new(by, counter));
    let after = move || prop_oneof![1 => Just(None), 3 => dot().prop_map(Some)];
    match kind {
        Kind::Flag => prop_oneof![2 => Just(Op::Enable), 1 => Just(Op::Disable)].boxed(),
        Kind::Counter => prop_oneof![4 => -3..4_i64, 1 => -(1 << 40)..1_i64 << 40]
            .prop_map(Op::Add)
            .boxed(),
        Kind::Register => bytes().prop_map(Op::Put).boxed(),
        Kind::Set => {
            prop_oneof![2 => bytes().prop_map(Op::Insert), 1 => bytes().prop_map(Op::Remove)]
                .boxed()
        }
        Kind::Map => fields(depth.saturating_sub(1)),
        Kind::Document => {
            let dots = vec(dot(), 0..4).prop_map(CausalContext::from_dots);
            let pack = (bytes(), dots).prop_map(|(chunk, replaces)| Op::Pack { chunk, replaces });
            prop_oneof![4 => bytes().prop_map(Op::Chunk), 1 => pack].boxed()
        }
        Kind::DwFlag => any::<bool>().prop_map(Op::Switch).boxed(),
        Kind::GCounter => prop_oneof![4 => 0..4_u64, 1 => 0..1_u64 << 40]
            .prop_map(Op::Increase)
            .boxed(),
        Kind::Max => (-2..3_i64).prop_map(Op::Max).boxed(),
        Kind::Min => (-2..3_i64).prop_map(Op::Min).boxed(),
        Kind::GSet => bytes().prop_map(Op::Gather).boxed(),
        Kind::RwSet => {
            prop_oneof![2 => bytes().prop_map(Op::Admit), 1 => bytes().prop_map(Op::Ban)].boxed()
        }
        Kind::Fenced => (0..3_u64, bytes())
            .prop_map(|(token, value)| Op::PutFenced { token, value })
            .boxed(),
        Kind::BoundedCounter => prop_oneof![
            3 => (0..9_u64).prop_map(Op::Deposit),
            3 => (0..4_u64).prop_map(Op::Withdraw),
            1 => (replica(), 0..3_u64).prop_map(|(to, amount)| Op::GiveRights { to, amount }),
        ]
        .boxed(),
        Kind::Sequence => prop_oneof![
            4 => (after(), bytes()).prop_map(|(after, value)| Op::InsertAfter { after, value }),
            2 => (dot(), after()).prop_map(|(element, after)| Op::MoveAfter { element, after }),
            1 => (dot(), bytes()).prop_map(|(element, value)| Op::WriteElement { element, value }),
            1 => dot().prop_map(Op::RemoveElement),
        ]
        .boxed(),
        // A payload of two bytes is one that the merge refuses.
        Kind::Custom(tag) => vec(any::<u8>(), 1..3)
            .prop_map(move |payload| Op::Merge { tag, payload })
            .boxed(),
        Kind::Unknown(..) => Just(Op::Delete).boxed(),
    }
}

fn fields(depth: u8) -> BoxedStrategy<Op> {
    let name = || vec(0..2_u8, 0..2);
    let kinds = Kind::NAMED.iter().map(|row| row.0);
    let kinds = kinds.filter(|kind| depth > 0 || *kind != Kind::Map);
    let kinds: Vec<Kind> = kinds.collect();
    let writes = kinds.iter().map(|kind| {
        let kind = *kind;
        let op = prop_oneof![8 => ops(kind, depth), 1 => Just(Op::Delete)];
        let field = (name(), op).prop_map(move |(name, op)| Op::Field {
            name,
            kind,
            op: Box::new(op),
        });
        field.boxed()
    });
    let removes = (name(), proptest::sample::select(kinds.clone()))
        .prop_map(|(name, kind)| Op::RemoveField { name, kind });
    prop_oneof![8 => Union::new(writes), 1 => removes].boxed()
}

fn shown(value: &Value, merges: &Merges) -> Option<Shown> {
    let number = |number: i128| (number != 0).then_some(Shown::Number(number));
    let on = |on: bool| on.then_some(Shown::On);
    let all = |elements: Vec<Vec<u8>>| (!elements.is_empty()).then_some(Shown::Bytes(elements));
    match value {
        Value::Flag(flag) => on(flag.is_enabled()),
        Value::DwFlag(flag) => on(flag.is_enabled()),
        Value::Counter(counter) => number(counter.value()),
        Value::GCounter(counter) => number(i128::try_from(counter.value()).unwrap_or(i128::MAX)),
        Value::BoundedCounter(counter) => {
            number(i128::try_from(counter.value()).unwrap_or(i128::MAX))
        }
        Value::Max(max) => max.value().map(|max| Shown::Number(max.into())),
        Value::Min(min) => min.value().map(|min| Shown::Number(min.into())),
        Value::Register(register) => {
            let siblings = register.siblings().map(|(_, _, value)| value.clone());
            all(sorted(siblings))
        }
        Value::Set(set) => all(set.iter().cloned().collect()),
        Value::GSet(set) => all(set.iter().cloned().collect()),
        Value::RwSet(set) => all(set.iter().cloned().collect()),
        Value::Document(document) => {
            all(sorted(document.chunks().map(|(_, chunk)| chunk.to_vec())))
        }
        Value::Fenced(fenced) => {
            let held = fenced.value();
            held.map(|(token, value)| Shown::Fenced(token, value.clone()))
        }
        Value::Sequence(sequence) => {
            let elements = sequence.elements().into_iter();
            let elements: Vec<_> = elements.map(|(id, value)| (id, value.to_vec())).collect();
            (!elements.is_empty()).then_some(Shown::List(elements))
        }
        Value::Custom(tag, custom) => all(custom.joined(*tag, merges).into_iter().collect()),
        Value::Map(map) => {
            let fields = map.fields().filter_map(|(kind, name, value)| {
                Some(((kind, name.to_vec()), shown(value, merges)?))
            });
            let fields: BTreeMap<_, _> = fields.collect();
            (!fields.is_empty()).then_some(Shown::Fields(fields))
        }
        Value::Unknown(..) => None,
    }
}

fn sorted(values: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut sorted: Vec<_> = values.collect();
    sorted.sort();
    sorted
}

/// The writes that nobody overwrote: no write that `overwrites` says has seen them.
fn standing(
    writes: &[Write<Op>],
    overwrites: impl Fn(&Op, &Op) -> bool,
) -> impl Iterator<Item = &Write<Op>> {
    writes.iter().filter(move |write| {
        let mut later = writes.iter();
        !later.any(|later| later.saw(write) && overwrites(&later.op, &write.op))
    })
}

/// Outer: whether the model says anything. Inner: whether anything is there to read.
#[expect(
    clippy::option_option,
    reason = "two questions: whether the model says anything, and whether anything is there"
)]
fn expected(kind: Kind, writes: &[Write<Op>], merges: &Merges) -> Option<Option<Shown>> {
    let mut standing = standing(writes, |_, _| true);
    Some(match kind {
        Kind::Flag => standing
            .any(|write| write.op == Op::Enable)
            .then_some(Shown::On),
        Kind::DwFlag => {
            let switched: Vec<&Op> = standing
                .map(|write| &write.op)
                .filter(|op| **op != Op::Delete)
                .collect();
            let on = !switched.is_empty() && switched.iter().all(|op| **op == Op::Switch(true));
            on.then_some(Shown::On)
        }
        Kind::Register => several(sorted(standing.filter_map(|write| match &write.op {
            Op::Put(value) => Some(value.clone()),
            _ => None,
        }))),
        Kind::Fenced => {
            let held = standing.filter_map(|write| match &write.op {
                Op::PutFenced { token, value } => Some((*token, write.by.stamp.dot, value.clone())),
                _ => None,
            });
            held.max()
                .map(|(token, _, value)| Shown::Fenced(token, value))
        }
        Kind::Document => several(sorted(chunks(writes))),
        Kind::GSet => several(
            gathered(writes)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
        ),
        Kind::Set | Kind::RwSet => set(writes),
        Kind::Counter | Kind::GCounter | Kind::BoundedCounter | Kind::Max | Kind::Min => {
            return summed(kind, writes);
        }
        Kind::Sequence => {
            let elements = in_turn(writes, Vec::new(), list)?;
            (!elements.is_empty()).then_some(Shown::List(elements))
        }
        Kind::Custom(_) if deleted(writes) => return None,
        Kind::Custom(tag) => {
            let payloads = writes.iter().map(|write| write.op.payload());
            let merge = merges.get(tag);
            let joined = payloads.fold(None, |joined: Option<Vec<u8>>, payload| {
                merge?(joined.as_deref().unwrap_or(payload), payload).ok()
            });
            several(joined.into_iter().collect())
        }
        Kind::Map => return map(writes, merges),
        Kind::Unknown(..) => None,
    })
}

fn several(values: Vec<Vec<u8>>) -> Option<Shown> {
    (!values.is_empty()).then_some(Shown::Bytes(values))
}

fn deleted(writes: &[Write<Op>]) -> bool {
    writes.iter().any(|write| write.op == Op::Delete)
}

/// What was brought along and not deleted since.
fn gathered(writes: &[Write<Op>]) -> impl Iterator<Item = Vec<u8>> {
    let kept = standing(writes, |later, _| later == &Op::Delete);
    kept.filter(|write| write.op != Op::Delete)
        .map(|write| write.op.payload().to_vec())
}

/// The same, without what its own store packed.
fn chunks(writes: &[Write<Op>]) -> impl Iterator<Item = Vec<u8>> {
    let kept = writes.iter().filter(move |write| {
        let dot = write.by.stamp.dot;
        let mut later = writes.iter().filter(move |later| later.saw(write));
        let gone = later.any(|later| match &later.op {
            Op::Pack { replaces, .. } => {
                later.by.replica == write.by.replica && replaces.contains(dot)
            }
            op => *op == Op::Delete,
        });
        !gone && write.op != Op::Delete
    });
    kept.map(|write| write.op.payload().to_vec())
}

/// Of an add-wins set removals leave nothing; of a remove-wins set any that stands keeps the element out.
fn set(writes: &[Write<Op>]) -> Option<Shown> {
    let same = |later: &Op, op: &Op| later == &Op::Delete || later.payload() == op.payload();
    let mut elements: BTreeMap<Vec<u8>, bool> = BTreeMap::new();
    for write in standing(writes, same) {
        match &write.op {
            Op::Insert(element) | Op::Admit(element) => {
                elements.entry(element.clone()).or_insert(true);
            }
            Op::Ban(element) => {
                elements.insert(element.clone(), false);
            }
            _ => {}
        }
    }
    let inside = elements.into_iter().filter(|(_, is_in)| *is_in);
    several(inside.map(|(element, _)| element).collect())
}

/// Sums and bounds; where they were deleted, too, only of writes in turn.
#[expect(clippy::option_option, reason = "as `expected`")]
fn summed(kind: Kind, writes: &[Write<Op>]) -> Option<Option<Shown>> {
    let value = if deleted(writes) {
        in_turn(writes, None, |value, write| {
            *value = match &write.op {
                Op::Delete => None,
                op => sum(kind, [*value, amount(op)].into_iter().flatten()),
            };
        })?
    } else {
        sum(kind, writes.iter().filter_map(|write| amount(&write.op)))
    };
    let is_bound = matches!(kind, Kind::Max | Kind::Min);
    let value = value.filter(|value| is_bound || *value != 0);
    Some(value.map(Shown::Number))
}

/// What an operation adds to a sum, or what it may raise or lower.
fn amount(op: &Op) -> Option<i128> {
    match op {
        Op::Add(amount) => Some((*amount).into()),
        Op::Increase(amount) | Op::Deposit(amount) => Some((*amount).into()),
        Op::Withdraw(amount) => Some(-i128::from(*amount)),
        Op::Max(number) | Op::Min(number) => Some((*number).into()),
        _ => None,
    }
}

fn sum(kind: Kind, numbers: impl Iterator<Item = i128>) -> Option<i128> {
    match kind {
        Kind::Max => numbers.max(),
        Kind::Min => numbers.min(),
        _ => Some(numbers.sum()),
    }
}

/// A plain list.
fn list(list: &mut Vec<(Dot, Vec<u8>)>, write: &Write<Op>) {
    let behind = |list: &[(Dot, Vec<u8>)], after: &Option<Dot>| match after {
        Some(after) => list.iter().position(|(id, _)| id == after).map(|at| at + 1),
        None => Some(0),
    };
    match &write.op {
        Op::InsertAfter { after, value } => {
            let at = behind(list, after).unwrap_or(list.len());
            list.insert(at, (write.by.stamp.dot, value.clone()));
        }
        Op::MoveAfter { element, after } if Some(*element) != *after => {
            let Some(from) = list.iter().position(|(id, _)| id == element) else {
                return;
            };
            let moved = list.remove(from);
            let at = behind(list, after).unwrap_or(list.len());
            list.insert(at, moved);
        }
        Op::WriteElement { element, value } => {
            let found = list.iter_mut().filter(|(id, _)| id == element);
            found.for_each(|(_, old)| old.clone_from(value));
        }
        Op::RemoveElement(element) => list.retain(|(id, _)| id != element),
        Op::Delete => list.clear(),
        _ => {}
    }
}

/// Field by field: what is done to others is nothing to one, and removing it deletes it.
#[expect(clippy::option_option, reason = "as `expected`")]
fn map(writes: &[Write<Op>], merges: &Merges) -> Option<Option<Shown>> {
    let named = writes.iter().filter_map(|write| match &write.op {
        Op::Field { name, kind, .. } => Some((*kind, name.clone())),
        _ => None,
    });
    let mut fields = BTreeMap::new();
    for field in named.collect::<BTreeSet<_>>() {
        let inside = writes.iter().map(|write| match &write.op {
            Op::Field { name, kind, op } if (*kind, name) == (field.0, &field.1) => {
                write.with(Some((**op).clone()))
            }
            Op::RemoveField { name, kind } if (*kind, name) == (field.0, &field.1) => {
                write.with(Some(Op::Delete))
            }
            Op::Delete => write.with(Some(Op::Delete)),
            _ => write.with(None),
        });
        let inside = inside.filter_map(|write| Some(write.with(write.op.clone()?)));
        if let Some(shown) = expected(field.0, &inside.collect::<Vec<_>>(), merges)? {
            fields.insert(field, shown);
        }
    }
    Some((!fields.is_empty()).then_some(Shown::Fields(fields)))
}
