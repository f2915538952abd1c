//! Maps.

use meshwork_crdt::{Kind, OrMap};
use meshwork_sync::Written;

use super::{Entry, ValueError};

/// A map whose fields hold values of any kind, maps included.
///
/// It opens the same views of its fields as a namespace does of its keys. A field is named by its name *and* its kind, so a counter
/// and a register of one name are two fields. Writing below a field wins over removing it concurrently.
///
/// ```
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
/// # let folder = tempfile::tempdir()?;
/// # meshwork::setup::found(folder.path(), "home", &meshwork::setup::SetupOptions::default())?;
/// # let mesh = meshwork::Mesh::builder(folder.path()).listen("127.0.0.1:0".parse()?).start().await?;
/// let profile = mesh.namespace("profiles")?.map("me");
/// profile.register("city").put("Lisbon").await?;
/// profile.map("visits").counter("2026").add(1).await?;
/// assert_eq!(profile.map("visits").counter("2026").get().await?, 1);
/// assert_eq!(profile.get().await?.len(), 2);
/// # mesh.stop().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Map(Entry);

impl Map {
    pub(super) const fn new(entry: Entry) -> Self {
        Self(entry)
    }

    pub(super) const fn at(&self) -> &Entry {
        &self.0
    }

    /// All fields at one moment; none when nothing was written yet.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn get(&self) -> Result<OrMap, ValueError> {
        Ok(self.0.read(OrMap::clone).await?.unwrap_or_default())
    }

    /// Removes a field, as far as this node has seen it: a counter that others add to meanwhile keeps what they add.
    ///
    /// # Errors
    /// [`ValueError`].
    pub async fn remove(&self, name: &str, kind: Kind) -> Result<Written, ValueError> {
        self.0.field(name).remove(kind).await
    }
}
