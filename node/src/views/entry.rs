//! Where the value of a view is.

use meshwork_crdt::{
    AwSet, BoundedCounter, CausalContext, Document, DwFlag, EditText, EwFlag, Fenced, GCounter,
    GSet, Kind, Max, Min, MvRegister, Object, Op, OrMap, PnCounter, RwSet, Sequence, Value,
};
use meshwork_sync::{InvalidKey, Key, ReadError, WriteError, Written};

use crate::mesh::{Mesh, Options, RequestError};

/// A key of a namespace, or a field of a map under one, before it is known what its value is.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    mesh: Mesh,
    key: Result<Key, InvalidKey>,
    options: Options,
    /// The maps on the way down by their names, and then the field; none for the key itself.
    path: Vec<Vec<u8>>,
}

/// A request through a typed view failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The key's name breaks a limit. The caller's mistake.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// The write was not acknowledged.
    #[error(transparent)]
    Write(#[from] RequestError<WriteError>),
    /// The read was not answered.
    #[error(transparent)]
    Read(#[from] RequestError<ReadError>),
    /// An edit lay outside the text. The caller's mistake; nothing was written.
    #[error(transparent)]
    Edit(#[from] EditText),
}

impl Entry {
    pub(crate) const fn new(mesh: Mesh, key: Result<Key, InvalidKey>, options: Options) -> Self {
        Self {
            mesh,
            key,
            options,
            path: Vec::new(),
        }
    }

    /// A field of the map that is here.
    pub(super) fn field(&self, name: &str) -> Self {
        let mut field = self.clone();
        field.path.push(name.into());
        field
    }

    pub(super) const fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// Carries an operation out that is for one kind.
    pub(super) async fn write(&self, op: Op) -> Result<Written, ValueError> {
        self.send(within(&self.path, op)).await
    }

    /// Removes the value of a kind; where it is the key's own, all that is under the key.
    pub(super) async fn remove(&self, kind: Kind) -> Result<Written, ValueError> {
        let op = match self.path.split_last() {
            Some((name, maps)) => {
                let name = name.clone();
                within(maps, Op::RemoveField { name, kind })
            }
            None => Op::Delete,
        };
        self.send(op).await
    }

    /// What `show` makes of the value, if there is one of this kind.
    pub(super) async fn read<S: Stored, T>(
        &self,
        show: impl FnOnce(&S) -> T,
    ) -> Result<Option<T>, ValueError> {
        let object = self.object().await?;
        Ok(self.value(&object, S::KIND).and_then(S::of).map(show))
    }

    /// All that is under the key.
    pub(super) async fn object(&self) -> Result<Object, ValueError> {
        let key = self.key.as_ref().map_err(Clone::clone)?;
        let read = self.mesh.read(key, CausalContext::default(), self.options);
        Ok(read.await?.object)
    }

    /// The value of a kind within what is under the key.
    pub(super) fn value<'a>(&self, object: &'a Object, kind: Kind) -> Option<&'a Value> {
        let Some((name, maps)) = self.path.split_last() else {
            return object.value(kind);
        };
        let mut map = object.as_map()?;
        for name in maps {
            map = map.get(Kind::Map, name).and_then(OrMap::of)?;
        }
        map.get(kind, name)
    }

    async fn send(&self, op: Op) -> Result<Written, ValueError> {
        let key = self.key.as_ref().map_err(Clone::clone)?;
        Ok(self.mesh.write(key, op, self.options).await?)
    }
}

/// The operation on the map under the key that does `op` at the end of a path of fields.
fn within(path: &[Vec<u8>], op: Op) -> Op {
    path.iter().rev().fold(op, |op, name| match op.kind() {
        Some(kind) => Op::Field {
            name: name.clone(),
            kind,
            op: Box::new(op),
        },
        None => op,
    })
}

/// What the values of one kind are in memory.
pub(super) trait Stored: Sized {
    const KIND: Kind;

    /// The value as what it is; `None` if it is of another kind.
    fn of(value: &Value) -> Option<&Self>;
}

macro_rules! stored {
    ($($kind:ident: $of:ty;)+) => {
        $(
            impl Stored for $of {
                const KIND: Kind = Kind::$kind;

                fn of(value: &Value) -> Option<&Self> {
                    if let Value::$kind(value) = value {
                        Some(value)
                    } else {
                        None
                    }
                }
            }
        )+
    };
}

stored! {
    Flag: EwFlag;
    Counter: PnCounter;
    Register: MvRegister<Vec<u8>>;
    Set: AwSet<Vec<u8>>;
    Map: OrMap;
    Document: Document;
    DwFlag: DwFlag;
    GCounter: GCounter;
    Max: Max;
    Min: Min;
    GSet: GSet<Vec<u8>>;
    RwSet: RwSet<Vec<u8>>;
    Fenced: Fenced<Vec<u8>>;
    BoundedCounter: BoundedCounter;
    Sequence: Sequence;
}
