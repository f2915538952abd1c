//! The laws that every kind and every object must keep, checked by one function on states that grow from random operations.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::fmt::Debug;

use meshwork_crdt::{
    AwSet, Causal, CausalContext, Custom, Decode, Document, Dot, DotStore, Edit, Encode, EwFlag,
    Hlc, Kind, Lattice, Limits, MergeRefused, Merges, MvRegister, Object, Op, PnCounter, ReplicaId,
    Stamp,
};
use proptest::prelude::*;

/// What the laws need to know of a state.
trait State: Clone + Debug + PartialEq + Default {
    fn joined(&self, other: &Self) -> Self;
    fn context(&self) -> &CausalContext;
    fn removed(&self) -> &CausalContext;
    fn live(&self) -> CausalContext;
    fn missing(&self, seen: &CausalContext) -> Option<Self>;
    fn parts(&self) -> Vec<Self>;
}

impl<S: DotStore + Default> State for Causal<S> {
    fn joined(&self, other: &Self) -> Self {
        let mut joined = self.clone();
        joined.join(other);
        joined
    }

    fn context(&self) -> &CausalContext {
        Causal::context(self)
    }

    fn removed(&self) -> &CausalContext {
        Causal::removed(self)
    }

    fn live(&self) -> CausalContext {
        let mut dots = Vec::new();
        self.store().visit(&mut |dot| dots.push(dot));
        CausalContext::from_dots(dots)
    }

    fn missing(&self, seen: &CausalContext) -> Option<Self> {
        self.delta_since(seen)
    }

    fn parts(&self) -> Vec<Self> {
        self.split(&mut |_| false)
    }
}

impl State for Object {
    fn joined(&self, other: &Self) -> Self {
        let mut joined = self.clone();
        joined.join(other);
        joined
    }

    fn context(&self) -> &CausalContext {
        self.version()
    }

    fn removed(&self) -> &CausalContext {
        Object::removed(self)
    }

    fn live(&self) -> CausalContext {
        let mut dots = Vec::new();
        self.values()
            .for_each(|value| value.visit(&mut |dot| dots.push(dot)));
        CausalContext::from_dots(dots)
    }

    fn missing(&self, seen: &CausalContext) -> Option<Self> {
        self.delta_since(seen)
    }

    fn parts(&self) -> Vec<Self> {
        self.split(40)
    }
}

const REPLICAS: usize = 4;

/// One step of a history: a replica writes, or takes in the delta that another once wrote.
#[derive(Clone, Debug)]
enum Step<O> {
    Write {
        replica: usize,
        op: O,
    },
    Deliver {
        replica: usize,
        delta: prop::sample::Index,
    },
    /// A store's counters are for all its objects: skips some.
    Elsewhere {
        replica: usize,
    },
}

fn steps<O: Debug + Clone + 'static>(
    op: impl Strategy<Value = O> + Clone + 'static,
) -> impl Strategy<Value = Vec<Step<O>>> {
    let step = prop_oneof![
        5 => (0..REPLICAS, op).prop_map(|(replica, op)| Step::Write { replica, op }),
        4 => (0..REPLICAS, any::<prop::sample::Index>())
            .prop_map(|(replica, delta)| Step::Deliver { replica, delta }),
        1 => (0..REPLICAS).prop_map(|replica| Step::Elsewhere { replica }),
    ];
    prop::collection::vec(step, 1..40)
}

/// What came of a history: every replica's state, and every delta.
struct History<S> {
    states: Vec<S>,
    deltas: Vec<S>,
}

fn run<S: State, O>(
    steps: &[Step<O>],
    apply: impl Fn(&S, &Stamp, &O) -> Option<S>,
) -> Result<History<S>, TestCaseError> {
    let mut states = vec![S::default(); REPLICAS];
    let mut deltas: Vec<S> = Vec::new();
    let (mut counters, mut claimed) = ([0_u64; REPLICAS], [0_u64; REPLICAS]);
    for (now, step) in steps.iter().enumerate() {
        match step {
            Step::Write { replica, op } => {
                counters[*replica] += 1;
                let id = u8::try_from(*replica).unwrap();
                let stamp = Stamp {
                    dot: Dot::new(ReplicaId::from_bytes([id; 8]), counters[*replica]),
                    claim_after: (now % 3 > 0).then_some(claimed[*replica]),
                    hlc: Hlc::new(now as u64 % 5, 0),
                };
                let state = &mut states[*replica];
                let Some(delta) = apply(state, &stamp, op) else {
                    continue;
                };
                claimed[*replica] = counters[*replica];
                let after = state.joined(&delta);
                prop_assert!(
                    delta.context().contains(stamp.dot),
                    "every mutation has its dot"
                );
                prop_assert!(after.context().is_superset(state.context()));
                *state = after;
                deltas.push(delta);
            }
            Step::Deliver { replica, delta } if !deltas.is_empty() => {
                states[*replica] = states[*replica].joined(delta.get(&deltas));
            }
            Step::Elsewhere { replica } => counters[*replica] += 1,
            Step::Deliver { .. } => {}
        }
    }
    Ok(History { states, deltas })
}

/// The laws, for the states and deltas of one history.
fn check<S: State>(history: &History<S>) -> Result<(), TestCaseError> {
    let [a, b, c] = [0, 1, 2].map(|replica| &history.states[replica]);
    prop_assert_eq!(a.joined(b), b.joined(a), "commutative");
    prop_assert_eq!(a.joined(b).joined(c), a.joined(&b.joined(c)), "associative");
    prop_assert_eq!(&a.joined(a), a, "idempotent");
    prop_assert_eq!(&a.joined(&S::default()), a, "nothing changes nothing");
    never_loses(a, b)?;
    transfers_completely(a, b)?;
    converges(history)
}

fn never_loses<S: State>(a: &S, b: &S) -> Result<(), TestCaseError> {
    let joined = a.joined(b);
    let mut unknown = a.live();
    unknown.subtract(b.context());
    unknown.subtract(b.removed());
    prop_assert!(
        joined.live().is_superset(&unknown),
        "what the other never saw survives"
    );
    let mut both = a.context().clone();
    both.join(b.context());
    prop_assert_eq!(joined.context(), &both);
    prop_assert!(joined.context().is_superset(&joined.live()));
    Ok(())
}

fn transfers_completely<S: State>(a: &S, b: &S) -> Result<(), TestCaseError> {
    let full = a.joined(b);
    match b.missing(a.context()) {
        Some(missing) => prop_assert_eq!(a.joined(&missing), full.clone()),
        None => prop_assert_eq!(a, &full),
    }
    // Who only says what it has seen is told again what was removed before it arrived.
    prop_assert_eq!(a.missing(a.context()).is_none(), a.removed().is_empty());
    let parts = b.parts();
    let forward = parts
        .iter()
        .fold(a.clone(), |state, part| state.joined(part));
    let backward = parts
        .iter()
        .rev()
        .fold(S::default(), |state, part| state.joined(part));
    prop_assert_eq!(forward, full);
    prop_assert_eq!(&backward, b);
    for part in &parts {
        prop_assert!(b.live().is_superset(&part.live()));
        prop_assert_eq!(&b.joined(part), b, "a part of a state is in it");
    }
    Ok(())
}

/// Any order, with repeats and with losses that are made up for, ends in one state; equal contexts mean equal states.
fn converges<S: State>(history: &History<S>) -> Result<(), TestCaseError> {
    let all = history
        .states
        .iter()
        .fold(S::default(), |all, state| all.joined(state));
    let join = |all: S, delta: &S| all.joined(delta);
    let forward = history.deltas.iter().fold(S::default(), join);
    let backward = history.deltas.iter().rev().fold(S::default(), join);
    let lossy = history
        .deltas
        .iter()
        .step_by(2)
        .chain(&history.deltas)
        .fold(S::default(), join);
    prop_assert_eq!(&forward, &all, "deltas give the state");
    prop_assert_eq!(&backward, &all);
    prop_assert_eq!(&lossy, &all);
    let mut seen: Vec<S> = history.states.clone();
    let mut state = S::default();
    for delta in history.deltas.iter().rev() {
        state = state.joined(delta);
        seen.push(state.clone());
    }
    for a in &seen {
        for b in &seen {
            prop_assert_eq!(
                a.context() == b.context(),
                a == b,
                "equal contexts, equal states"
            );
        }
    }
    Ok(())
}

/// Sets of bits: a lattice of an application's own.
#[derive(Debug)]
struct Bits(u8);

const BITS: u16 = 7;
const UNKNOWN: u16 = 8;

impl Lattice for Bits {
    fn join(&mut self, other: &Self) {
        self.0 |= other.0;
    }
}

impl Encode for Bits {
    fn encode(&self) -> Vec<u8> {
        vec![self.0]
    }
}

impl Decode for Bits {
    fn decode(bytes: &[u8]) -> Result<Self, MergeRefused> {
        match bytes {
            [bits] => Ok(Self(*bits)),
            _ => Err(MergeRefused),
        }
    }
}

fn merges() -> Merges {
    let mut merges = Merges::default();
    merges.register::<Bits>(BITS);
    merges
}

/// Operations on the kinds that came after the first release.
fn later_op() -> impl Strategy<Value = Op> + Clone {
    let value = || prop::collection::vec(0_u8..3, 0..2);
    let replica = || (0..4_u8).prop_map(|replica| ReplicaId::from_bytes([replica; 8]));
    let element = move || (replica(), 1..9_u64).prop_map(|(by, counter)| Dot::new(by, counter));
    let after = move || prop::option::of(element());
    prop_oneof![
        any::<bool>().prop_map(Op::Switch),
        any::<u64>().prop_map(Op::Increase),
        (0..4_u64).prop_map(Op::Increase),
        (-2..3_i64).prop_map(Op::Max),
        (-2..3_i64).prop_map(Op::Min),
        value().prop_map(Op::Gather),
        value().prop_map(Op::Admit),
        value().prop_map(Op::Ban),
        (0..3_u64, value()).prop_map(|(token, value)| Op::PutFenced { token, value }),
        (0..4_u64).prop_map(Op::Deposit),
        (0..4_u64).prop_map(Op::Withdraw),
        (replica(), 0..3_u64).prop_map(|(to, amount)| Op::GiveRights { to, amount }),
        (after(), value()).prop_map(|(after, value)| Op::InsertAfter { after, value }),
        (element(), after()).prop_map(|(element, after)| Op::MoveAfter { element, after }),
        (element(), value()).prop_map(|(element, value)| Op::WriteElement { element, value }),
        element().prop_map(Op::RemoveElement),
    ]
    .boxed()
}

fn op() -> impl Strategy<Value = Op> + Clone {
    let key = || prop::collection::vec(0_u8..3, 0..2);
    let leaf = prop_oneof![
        Just(Op::Enable),
        Just(Op::Disable),
        any::<i64>().prop_map(Op::Add),
        (-3_i64..4).prop_map(Op::Add),
        key().prop_map(Op::Put),
        key().prop_map(Op::Insert),
        key().prop_map(Op::Remove),
        key().prop_map(Op::Chunk),
        any::<u8>().prop_map(|bits| Op::Merge {
            tag: BITS,
            payload: vec![bits]
        }),
        key().prop_map(|payload| Op::Merge {
            tag: UNKNOWN,
            payload
        }),
        Just(Op::Delete),
        later_op(),
    ];
    let kind = || {
        prop_oneof![
            Just(Kind::Flag),
            Just(Kind::Set),
            Just(Kind::Map),
            Just(Kind::Counter)
        ]
    };
    leaf.prop_recursive(3, 12, 1, move |inner| {
        prop_oneof![
            4 => (key(), inner, kind()).prop_map(|(name, op, kind)| Op::Field {
                name,
                kind: op.kind().unwrap_or(kind),
                op: Box::new(op),
            }),
            1 => (key(), kind()).prop_map(|(name, kind)| Op::RemoveField { name, kind }),
        ]
    })
    .boxed()
}

/// Mostly operations on one map, so that histories are not all refusals.
fn object_op() -> impl Strategy<Value = Op> + Clone {
    let field = (prop::collection::vec(0_u8..2, 0..2), op()).prop_map(|(name, op)| Op::Field {
        name,
        kind: op.kind().unwrap_or(Kind::Map),
        op: Box::new(op),
    });
    prop_oneof![3 => field, 1 => op()].boxed()
}

fn apply(object: &Object, stamp: &Stamp, op: &Op) -> Option<Object> {
    object.apply(stamp, op, &merges()).ok()
}

macro_rules! laws {
    ($($name:ident: $state:ty, $op:expr, |$store:ident, $stamp:ident, $with:pat_param| $edit:expr;)+) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(150))]
            $(
                #[test]
                fn $name(steps in steps($op)) {
                    let apply = |state: &Causal<$state>, $stamp: &Stamp, op: &_| {
                        let ($store, $with) = (state.store(), op);
                        let edit: Edit<$state> = $edit;
                        Some(edit.at($stamp))
                    };
                    check(&run(&steps, apply)?)?;
                }
            )+
        }
    };
}

laws! {
    flags_keep_the_laws: EwFlag, any::<bool>(), |flag, stamp, on| {
        if *on { flag.enable(stamp.dot) } else { flag.disable() }
    };
    counters_keep_the_laws: PnCounter, any::<i64>(), |counter, stamp, amount| {
        counter.add(stamp.dot, *amount)
    };
    registers_keep_the_laws: MvRegister<u8>, any::<u8>(), |register, stamp, value| {
        register.put(stamp.dot, stamp.hlc, *value)
    };
    sets_keep_the_laws: AwSet<u8>, (any::<bool>(), 0_u8..4), |set, stamp, (inserts, element)| {
        if *inserts { set.insert(stamp.dot, *element) } else { set.remove(element) }
    };
    documents_keep_the_laws: Document, any::<u8>(), |document, stamp, chunk| {
        document.commit(stamp.dot, vec![*chunk])
    };
    customs_keep_the_laws: Custom, any::<u8>(), |custom, stamp, bits| {
        custom.merge(stamp.dot, BITS, &[*bits], &merges()).unwrap()
    };
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn objects_keep_the_laws(steps in steps(object_op())) {
        check(&run(&steps, apply)?)?;
    }

    #[test]
    fn objects_survive_encoding(steps in steps(object_op())) {
        for object in run(&steps, apply)?.states {
            let bytes = object.encode();
            let again = Object::decode(&bytes, &Limits::DEFAULT);
            prop_assert_eq!(again.as_ref(), Ok(&object));
            prop_assert_eq!(again.unwrap().digest(), object.digest());
            let context = CausalContext::decode(&object.version().encode(), &Limits::DEFAULT);
            prop_assert_eq!(context.as_ref(), Ok(object.version()));
        }
    }

    #[test]
    fn damaged_objects_are_refused_or_are_valid(
        steps in steps(object_op()),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let object = run(&steps, apply)?.states.swap_remove(0);
        let mut bytes = object.encode();
        for (at, flip) in &flips {
            *at.get_mut(&mut bytes) ^= flip;
        }
        if let Ok(other) = Object::decode(&bytes, &Limits::DEFAULT) {
            prop_assert_eq!(other.encode(), bytes.clone(), "one encoding for one value");
            prop_assert_eq!(object.joined(&other), other.joined(&object));
            prop_assert_eq!(other.joined(&other), other);
        }
        let whole = object.encode();
        let shorter = &whole[..cut.index(whole.len())];
        prop_assert!(Object::decode(shorter, &Limits::DEFAULT).is_err());
    }

    #[test]
    fn any_bytes_decode_or_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(version) = bytes.first_mut() {
            *version = 1;
        }
        if let Ok(object) = Object::decode(&bytes, &Limits::DEFAULT) {
            prop_assert_eq!(object.encode(), bytes);
        }
    }
}

/// A side-by-side model of a context: the plain set of its dots.
mod contexts {
    use std::collections::BTreeSet;

    use meshwork_crdt::Causality;

    use super::*;

    fn dots() -> impl Strategy<Value = BTreeSet<Dot>> {
        let dot = (0_u8..3, 1_u64..30)
            .prop_map(|(replica, counter)| Dot::new(ReplicaId::from_bytes([replica; 8]), counter));
        prop::collection::btree_set(dot, 0..40)
    }

    fn model(context: &CausalContext) -> BTreeSet<Dot> {
        let runs = context.runs();
        runs.flat_map(|(replica, run)| run.map(move |counter| Dot::new(replica, counter)))
            .collect()
    }

    fn context(dots: &BTreeSet<Dot>) -> CausalContext {
        CausalContext::from_dots(dots.iter().rev().copied())
    }

    proptest! {
        #[test]
        fn contexts_are_sets_of_dots(a in dots(), b in dots(), runs in prop::collection::vec((1_u64..40, 0_u64..9), 0..9)) {
            let (ca, cb) = (context(&a), context(&b));
            prop_assert_eq!(&model(&ca), &a);
            let mut joined = ca.clone();
            joined.join(&cb);
            prop_assert_eq!(&joined, &context(&a.union(&b).copied().collect()));
            let mut less = ca.clone();
            less.subtract(&cb);
            prop_assert_eq!(&less, &context(&a.difference(&b).copied().collect()));
            prop_assert_eq!(ca.is_superset(&cb), a.is_superset(&b));
            prop_assert_eq!(ca.is_disjoint(&cb), a.is_disjoint(&b));
            let causality = match (a.is_superset(&b), b.is_superset(&a)) {
                (true, true) => Causality::Equal,
                (true, false) => Causality::After,
                (false, true) => Causality::Before,
                (false, false) => Causality::Concurrent,
            };
            prop_assert_eq!(ca.compare(&cb), causality);
            let replica = ReplicaId::from_bytes([0; 8]);
            let (mut grown, mut set) = (ca, a);
            for (first, more) in runs {
                let run = first..=first + more;
                prop_assert_eq!(grown.overlaps(replica, &run), run.clone().any(|c| set.contains(&Dot::new(replica, c))));
                grown.insert_run(replica, run.clone());
                set.extend(run.map(|counter| Dot::new(replica, counter)));
                prop_assert_eq!(&grown, &context(&set));
            }
        }
    }
}
