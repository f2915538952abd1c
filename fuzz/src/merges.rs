//! Histories of replicas that write and take in each other's deltas, checked against the laws of merging.

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use meshwork_crdt::{Kind, Limits, Object, Op, Value};

use crate::writing::{AnyOp, Name, Writer, merges};

const REPLICAS: usize = 3;
/// Longer histories find no more and take longer.
const STEPS_MAX: usize = 48;

/// What happens, and in which order everything is delivered in the end.
#[derive(Arbitrary, Clone, Debug)]
pub struct History {
    /// Whether removals are left out, so that all that was added must be there.
    grows: bool,
    steps: Vec<Step>,
    order: Vec<u8>,
}

/// One thing that happens.
#[derive(Arbitrary, Clone, Debug)]
enum Step {
    Write {
        replica: u8,
        claims: bool,
        wall_ms: u8,
        op: AnyOp,
    },
    Deliver {
        replica: u8,
        delta: u8,
    },
    Elsewhere {
        replica: u8,
        dots: u8,
    },
    Exchange {
        from: u8,
        to: u8,
    },
}

/// Replicas that write, take in each other's deltas and whole states, and then settle: the laws of merging hold between all states,
/// every order of delivery ends alike, and what was acknowledged is there.
pub fn object_merge(history: History) {
    let run = run(&history);
    laws(&run.states);
    parts_and_bytes(&run.states);
    let all = run
        .states
        .iter()
        .fold(Object::new(), |all, state| joined(&all, state));
    let settled = deliver(&run.deltas, &history.order);
    assert_eq!(settled, all, "every order of delivery ends alike");
    let mut seen = run.states;
    seen.extend(run.deltas);
    seen.push(settled);
    digests_tell_states_apart(&seen);
    if history.grows {
        assert_eq!(Totals::of(&all), run.totals, "what was added is there");
    }
}

struct Run {
    states: Vec<Object>,
    deltas: Vec<Object>,
    totals: Totals,
}

fn run(history: &History) -> Run {
    let merges = merges();
    let mut writers = [0, 1, 2].map(Writer::new);
    let mut run = Run {
        states: vec![Object::new(); REPLICAS],
        deltas: Vec::new(),
        totals: Totals::default(),
    };
    for step in history.steps.iter().take(STEPS_MAX) {
        match step {
            Step::Write { op, .. } if history.grows && op.removes() => {}
            Step::Write {
                replica,
                claims,
                wall_ms,
                op,
            } => {
                let at = usize::from(*replica) % REPLICAS;
                let stamp = writers[at].stamp(*claims, *wall_ms);
                let op = op.op();
                let Ok(delta) = run.states[at].apply(&stamp, &op, &merges) else {
                    continue;
                };
                writers[at].wrote();
                assert!(
                    delta.version().contains(stamp.dot),
                    "every write has its dot"
                );
                run.totals.count(&op);
                run.states[at].join(&delta);
                run.deltas.push(delta);
            }
            Step::Deliver { replica, delta } if !run.deltas.is_empty() => {
                let delta = &run.deltas[usize::from(*delta) % run.deltas.len()];
                run.states[usize::from(*replica) % REPLICAS].join(delta);
            }
            Step::Deliver { .. } => {}
            Step::Elsewhere { replica, dots } => {
                writers[usize::from(*replica) % REPLICAS].skip(dots % 4)
            }
            Step::Exchange { from, to } => {
                let (from, to) = (usize::from(*from) % REPLICAS, usize::from(*to) % REPLICAS);
                if let Some(missing) = run.states[from].delta_since(run.states[to].version()) {
                    let whole = joined(&run.states[to], &run.states[from]);
                    run.states[to].join(&missing);
                    assert_eq!(run.states[to], whole, "what is missing makes it whole");
                }
            }
        }
    }
    run
}

/// All deltas in an order of the fuzzer's, some of them again, then whatever was left out.
fn deliver(deltas: &[Object], order: &[u8]) -> Object {
    let mut settled = Object::new();
    for at in order.iter().take(2 * STEPS_MAX) {
        if let Some(delta) = deltas.get(usize::from(*at) % deltas.len().max(1)) {
            settled.join(delta);
        }
    }
    deltas.iter().rev().for_each(|delta| settled.join(delta));
    settled
}

/// The laws of merging between states, of which there are at least three.
pub fn laws(states: &[Object]) {
    for a in states {
        assert_eq!(&joined(a, a), a, "idempotent");
        assert_eq!(&joined(a, &Object::new()), a, "nothing changes nothing");
        for b in states {
            assert_eq!(joined(a, b), joined(b, a), "commutative");
        }
    }
    if let [a, b, c, ..] = states {
        assert_eq!(
            joined(&joined(a, b), c),
            joined(a, &joined(b, c)),
            "associative"
        );
    }
}

fn parts_and_bytes(states: &[Object]) {
    for state in states {
        assert_eq!(
            Object::decode(&state.encode(), &Limits::DEFAULT).as_ref(),
            Ok(state)
        );
        let parts = state.split(64);
        let whole = parts
            .iter()
            .rev()
            .fold(Object::new(), |whole, part| joined(&whole, part));
        assert_eq!(&whole, state, "the parts make the whole");
    }
}

fn digests_tell_states_apart(states: &[Object]) {
    let mut encodings = BTreeMap::new();
    for state in states {
        let encoding = encodings
            .entry(state.digest())
            .or_insert_with(|| state.encode());
        assert_eq!(encoding, &state.encode(), "equal digests mean equal states");
    }
}

/// Both, merged.
pub fn joined(a: &Object, b: &Object) -> Object {
    let mut joined = a.clone();
    joined.join(b);
    joined
}

/// The plain model: what was added to each counter and how often each document was committed to, by path; and set elements.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    counters: BTreeMap<Path, i128>,
    chunks: BTreeMap<Path, usize>,
    elements: BTreeMap<(Path, Vec<u8>), ()>,
}

type Path = Vec<(Kind, Vec<u8>)>;

impl Totals {
    fn count(&mut self, op: &Op) {
        let (mut op, mut path) = (op, Path::new());
        while let Op::Field {
            name,
            kind,
            op: inner,
        } = op
        {
            path.push((*kind, name.clone()));
            op = inner;
        }
        match op {
            Op::Add(amount) => *self.counters.entry(path).or_default() += i128::from(*amount),
            Op::Chunk(_) => *self.chunks.entry(path).or_default() += 1,
            Op::Insert(element) => {
                self.elements.insert((path, element.clone()), ());
            }
            _ => {}
        }
    }

    fn of(object: &Object) -> Self {
        let mut totals = Self::default();
        object
            .values()
            .for_each(|value| totals.add(&Path::new(), value));
        totals
    }

    fn add(&mut self, path: &Path, value: &Value) {
        match value {
            Value::Counter(counter) => {
                self.counters.insert(path.clone(), counter.value());
            }
            Value::Document(document) => {
                self.chunks.insert(path.clone(), document.len());
            }
            Value::Set(set) => {
                for element in set.iter() {
                    self.elements.insert((path.clone(), element.clone()), ());
                }
            }
            Value::Map(map) => {
                for (kind, name, value) in map.fields() {
                    let mut path = path.clone();
                    path.push((kind, name.to_vec()));
                    self.add(&path, value);
                }
            }
            _ => {}
        }
    }
}

/// Writes of one custom kind by replicas, some of which do not know its merge.
#[derive(Arbitrary, Clone, Debug)]
pub struct CustomHistory {
    tag: u8,
    steps: Vec<CustomStep>,
}

#[derive(Arbitrary, Clone, Debug)]
enum CustomStep {
    Write {
        replica: u8,
        payload: u8,
        more: Option<Name>,
    },
    Deliver {
        replica: u8,
        delta: u8,
    },
}

/// Merge functions that refuse, repeat or depend on the order never keep replicas from agreeing, and every one reads the same.
pub fn custom_merge(history: CustomHistory) {
    let tag = u16::from(history.tag % 5);
    let known = [merges(), merges(), meshwork_crdt::Merges::default()];
    let mut writers = [0, 1, 2].map(Writer::new);
    let mut states = vec![Object::new(); REPLICAS];
    let mut deltas = Vec::new();
    for step in history.steps.iter().take(STEPS_MAX) {
        match step {
            CustomStep::Write {
                replica,
                payload,
                more,
            } => {
                let at = usize::from(*replica) % REPLICAS;
                let mut payload = vec![*payload];
                payload.extend(more.iter().flat_map(|more| more.bytes()));
                let stamp = writers[at].stamp(true, 0);
                if let Ok(delta) = states[at].apply(&stamp, &Op::Merge { tag, payload }, &known[at])
                {
                    writers[at].wrote();
                    states[at].join(&delta);
                    deltas.push(delta);
                }
            }
            CustomStep::Deliver { replica, delta } => {
                if let Some(delta) = deltas.get(usize::from(*delta) % deltas.len().max(1)) {
                    states[usize::from(*replica) % REPLICAS].join(delta);
                }
            }
        }
    }
    laws(&states);
    let forward = deltas
        .iter()
        .fold(Object::new(), |all, delta| joined(&all, delta));
    let backward = deltas
        .iter()
        .rev()
        .fold(Object::new(), |all, delta| joined(&all, delta));
    assert_eq!(forward, backward, "replicas agree on the payloads");
    let read = |object: &Object| object.custom(tag).map(|value| value.joined(tag, &merges()));
    assert_eq!(read(&forward), read(&backward), "and read the same");
}
