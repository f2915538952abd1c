//! Lists.

use meshwork_crdt::{Dot, Op};
use meshwork_sync::Written;

use super::{Entry, ValueError};

/// A list whose elements can be moved: the tasks of a board, the songs of a list.
///
/// An element keeps its name, the [`Written::dot`] of the write that inserted it, wherever it is moved and whatever is written to it.
/// Methods that name an element are refused with [`EditSequence`](meshwork_crdt::EditSequence) when it is gone.
///
/// ```
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
/// # let folder = tempfile::tempdir()?;
/// # meshwork::setup::found(folder.path(), "home", &meshwork::setup::SetupOptions::default())?;
/// # let mesh = meshwork::Mesh::builder(folder.path()).listen("127.0.0.1:0".parse()?).start().await?;
/// let tasks = mesh.namespace("board")?.sequence("today");
/// let tea = tasks.push("buy tea").await?.dot;
/// let call = tasks.push("call home").await?.dot;
/// tasks.move_after(call, None).await?;
/// tasks.write(tea, "buy green tea").await?;
/// let elements = tasks.elements().await?;
/// assert_eq!(elements, [(call, b"call home".to_vec()), (tea, b"buy green tea".to_vec())]);
/// # mesh.stop().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Sequence(Entry);

impl Sequence {
    pub(super) const fn new(entry: Entry) -> Self {
        Self(entry)
    }

    /// Inserts an element behind `after`, or in front of all. It is named by the write's dot.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn insert_after(
        &self,
        after: Option<Dot>,
        value: impl Into<Vec<u8>>,
    ) -> Result<Written, ValueError> {
        let value = value.into();
        self.0.write(Op::InsertAfter { after, value }).await
    }

    /// Inserts an element behind the last one that can be seen: two requests, of which the first reads.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn push(&self, value: impl Into<Vec<u8>>) -> Result<Written, ValueError> {
        let last = |list: &meshwork_crdt::Sequence| list.elements().last().map(|(name, _)| *name);
        let after = self.0.read(last).await?.flatten();
        self.insert_after(after, value).await
    }

    /// Moves an element behind `after`, or in front of all. Of concurrent moves of one element the latest counts.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn move_after(
        &self,
        element: Dot,
        after: Option<Dot>,
    ) -> Result<Written, ValueError> {
        self.0.write(Op::MoveAfter { element, after }).await
    }

    /// Writes the value of an element. Of concurrent writes to one element the latest counts.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn write(
        &self,
        element: Dot,
        value: impl Into<Vec<u8>>,
    ) -> Result<Written, ValueError> {
        let value = value.into();
        self.0.write(Op::WriteElement { element, value }).await
    }

    /// Removes an element; a concurrent move or write of it wins.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn remove(&self, element: Dot) -> Result<Written, ValueError> {
        self.0.write(Op::RemoveElement(element)).await
    }

    /// The elements in order, each with its name.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn elements(&self) -> Result<Vec<(Dot, Vec<u8>)>, ValueError> {
        let elements = |list: &meshwork_crdt::Sequence| {
            let elements = list.elements().into_iter();
            elements
                .map(|(name, value)| (name, value.to_vec()))
                .collect()
        };
        Ok(self.0.read(elements).await?.unwrap_or_default())
    }
}
