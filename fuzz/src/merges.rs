//! Merges: our kinds and an application's own under the law kit, and merge functions that keep no law.

use arbitrary::Arbitrary;
use meshwork_crdt::laws::{self, Objects};
use meshwork_crdt::{Object, Op};

use crate::own;
use crate::writing::{Name, Writer, merges};

const REPLICAS: usize = 3;
/// Longer histories find no more and take longer.
const STEPS_MAX: usize = 48;

/// Every kind keeps every law and reads as its model says, in the history that the bytes stand for; the first says which kind.
pub fn object_merge(bytes: &[u8]) {
    if let Some((which, history)) = bytes.split_first() {
        let kinds: Vec<Objects> = Objects::all().collect();
        laws::fuzz(&kinds[usize::from(*which) % kinds.len()], history);
    }
}

/// So does the merge in `own.rs`.
pub fn own_merge(bytes: &[u8]) {
    laws::fuzz(&own::subject(), bytes);
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
    alike(&states);
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

/// The laws of merging between states, of which there are three.
fn alike(states: &[Object]) {
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

/// Both, merged.
pub fn joined(a: &Object, b: &Object) -> Object {
    let mut joined = a.clone();
    joined.join(b);
    joined
}
