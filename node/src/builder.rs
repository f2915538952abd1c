//! Starting a node: data folder, store, network and core, in this order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use meshwork_crdt::{Merges, ReplicaId};
use meshwork_membership::{Meta, Time};
use meshwork_sync::{ReadStore, Space, Store};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::admission::{Invites, NoEntropy};
use crate::core::{Node, NodeConfig, NodeSetup, OpenNode, roles};
use crate::driver::{Clock, Driver, Running};
use crate::invites;
use crate::mesh::Mesh;
use crate::net::{Net, NetConfig, NetLimits, StartNet};
use crate::settings::Settings;
use crate::setup::{LoadMember, Member};
use crate::store::{
    Committer, DataDir, OpenDataDir, OpenStore, OpenStoreError, Opened, Origin, Outcome,
    StoreConfig,
};

/// Builds a [`Mesh`] from a data folder. What is not set comes from the folder's `settings.toml`.
#[derive(Debug)]
pub struct Builder {
    folder: PathBuf,
    listen: Option<SocketAddr>,
    config: NodeConfig,
    merges: Merges,
    net: NetLimits,
}

/// A node did not start. Nothing runs; what it opened is closed again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartMesh {
    /// The folder holds no usable member.
    #[error(transparent)]
    Member(#[from] LoadMember),
    /// The folder cannot be used, or another process uses it.
    #[error(transparent)]
    Folder(#[from] OpenDataDir),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] OpenStoreError),
    /// The store opened and cannot be read.
    #[error(transparent)]
    Read(#[from] ReadStore),
    /// The first batch could not be written: no room, or a broken disk.
    #[error("the store takes no writes: {0}")]
    Write(String),
    /// The network did not start, such as when the port is in use.
    #[error("{}", net_text(.0))]
    Net(#[from] StartNet),
    /// The node's settings break a limit.
    #[error(transparent)]
    Node(#[from] OpenNode),
    /// The operating system has no random bytes.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

fn net_text(error: &StartNet) -> String {
    match error {
        StartNet::Listen { source, .. } => {
            format!("{error}: {source}; choose another address with --listen or in settings.toml")
        }
        StartNet::Credential(reason) => format!("{error}: {reason}"),
    }
}

/// Commands that wait for the driver; callers wait when it is full.
const COMMANDS: usize = 1_024;

impl Builder {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            listen: None,
            config: NodeConfig::default(),
            merges: Merges::default(),
            net: NetLimits::default(),
        }
    }

    /// Where to listen for members (UDP); port 0 lets the system choose.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// Periods and bounds of the cores. The replication factor is taken from the folder's settings.
    #[must_use]
    pub fn config(mut self, config: NodeConfig) -> Self {
        self.config = config;
        self
    }

    /// Bounds and timeouts of the network.
    #[must_use]
    pub fn net_limits(mut self, limits: NetLimits) -> Self {
        self.net = limits;
        self
    }

    /// The merge functions of the application's own kinds.
    #[must_use]
    pub fn merges(mut self, merges: Merges) -> Self {
        self.merges = merges;
        self
    }

    /// Starts the node on the current tokio runtime.
    ///
    /// # Errors
    /// [`StartMesh`].
    ///
    /// # Panics
    /// Outside a tokio runtime with time and I/O enabled.
    pub async fn start(mut self) -> Result<Mesh, StartMesh> {
        let opened = DataDir::open(&self.folder)?;
        let member = Member::load(&self.folder)?;
        self.config.replication.replication_factor = member.settings.replication_factor.max(1);
        let mut disk = Disk::open(&opened, &member.settings)?;
        let adopted = adopt(opened, &mut disk, &member).await?;
        let instance = random_u64()?;
        let (net, events) = Net::start(NetConfig {
            keypair: member.keypair.clone(),
            mesh: member.mesh,
            credential: member.credential.clone(),
            instance,
            listen: vec![self.listen.unwrap_or(member.settings.listen)],
            limits: self.net,
        })?;
        let setup = NodeSetup {
            id: member.keypair.node_id(),
            meta: meta(&member.settings, instance, adopted.replica),
            replica: adopted.replica,
            mesh_key: *member.mesh.as_bytes(),
            origin: adopted.origin,
            founder: member
                .credential
                .founder()
                .unwrap_or(member.keypair.node_id()),
            config: self.config,
            merges: self.merges.clone(),
            seeds: member
                .seeds
                .iter()
                .map(|(id, at)| (*id, texts(at)))
                .collect(),
            random_seed: random_u64()?,
        };
        let invites = Invites::from_records(invites::load(&*disk.store)?);
        let clock = Clock::start();
        let node = Node::open(setup, disk.store, Time::ZERO)?;
        let (commands, received) = mpsc::channel(COMMANDS);
        let (report, ended) = watch::channel(None);
        let running = Arc::new(Running {
            id: member.keypair.node_id(),
            mesh_name: member.mesh_name.clone(),
            merges: self.merges,
            replica: adopted.replica,
            next_session: random_u64()?.into(),
            net: Some(net.clone()),
            stop: CancellationToken::new(),
            ended,
        });
        let driver = Driver::new(
            node,
            member,
            invites,
            Arc::clone(&running),
            net,
            disk.committer,
            adopted.dir,
            clock,
        );
        tokio::spawn(driver.run(received, events, disk.outcomes, report));
        Ok(Mesh { commands, running })
    }
}

/// What a node says about itself when it starts; where it listens is said once the system has.
fn meta(settings: &Settings, instance: u64, replica: ReplicaId) -> Meta {
    Meta {
        name: settings.name.clone(),
        addresses: texts(&settings.advertise),
        zone: settings.zone.clone(),
        weight: settings.weight.max(1),
        roles: roles_of(settings),
        wire_min: meshwork_sync::WIRE_VERSION,
        wire_max: meshwork_sync::WIRE_VERSION,
        instance,
        replica: replica.to_bytes(),
    }
}

fn roles_of(settings: &Settings) -> u32 {
    let storage = if settings.weight == 0 {
        0
    } else {
        roles::STORAGE
    };
    let voter = if settings.voter { roles::VOTER } else { 0 };
    storage | voter
}

/// An open store: where to read, where to write, and where it says what became of that.
struct Disk {
    store: Arc<dyn Store + Send + Sync>,
    committer: Committer,
    outcomes: mpsc::Receiver<Outcome>,
}

impl Disk {
    fn open(opened: &Opened, settings: &Settings) -> Result<Self, OpenStoreError> {
        let (stored, outcomes) = mpsc::channel(64);
        let config = StoreConfig {
            engine: settings.store.into(),
            cache_bytes: settings.cache_mib << 20,
            ..StoreConfig::default()
        };
        // The channel closes only after the driver has stopped listening.
        let on_outcome = move |outcome: Outcome| drop(stored.blocking_send(outcome));
        let (store, committer) = OpenStore::open(&opened.dir.store_folder(), config, on_outcome)?;
        Ok(Self {
            store,
            committer,
            outcomes,
        })
    }
}

/// A store whose records are known to be this node's own.
struct Adopted {
    replica: ReplicaId,
    origin: meshwork_sync::Origin,
    dir: DataDir,
}

/// Finds out whose records the store holds, and draws a replica id where they are not this folder's own.
async fn adopt(mut opened: Opened, disk: &mut Disk, member: &Member) -> Result<Adopted, StartMesh> {
    let found = opened.origin(&*disk.store)?;
    let recorded = match disk.store.get(Space::Meta, REPLICA) {
        Ok(bytes) => bytes.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()),
        Err(ReadStore::Damaged { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let replica = match (found, recorded) {
        (Origin::Here, Some(bytes)) => bytes,
        (Origin::Copied(sign), _) => {
            tracing::warn!(
                ?sign,
                "the data folder is a copy or was restored: a new replica id"
            );
            random_u64()?.to_be_bytes()
        }
        (Origin::New | Origin::Here, _) => random_u64()?.to_be_bytes(),
    };
    let others = disk
        .store
        .scan(Space::Members, &[], None, 2)
        .map_or(0, |found| found.len());
    let origin = match (found, member.founder) {
        // Where nobody else is, nobody has what an older state lacks.
        (Origin::Copied(_), founder) if !founder || others > 1 => meshwork_sync::Origin::Restored,
        (Origin::New | Origin::Here | Origin::Copied(_), true) => meshwork_sync::Origin::Founder,
        (Origin::New | Origin::Here | Origin::Copied(_), false) => meshwork_sync::Origin::Joiner,
    };
    let mut batch = opened.dir.next_generation();
    batch.put(Space::Meta, REPLICA, replica);
    if origin == meshwork_sync::Origin::Restored {
        // The next start takes the store for its own: after a crash before the first batch it would count for quorums.
        meshwork_sync::forget_complete(&mut batch);
        crate::strong::forget_group(&*disk.store, &mut batch)?;
    }
    disk.committer
        .submit(0, batch)
        .map_err(|error| StartMesh::Write(error.to_string()))?;
    match disk.outcomes.recv().await {
        Some(Outcome::Stored { .. }) => {}
        Some(Outcome::StoreFailed { reason, .. }) => {
            return Err(StartMesh::Write(reason.to_string()));
        }
        None => return Err(StartMesh::Write("the storage thread is gone".into())),
    }
    let mut dir = opened.dir;
    let folder = dir.folder().to_path_buf();
    dir.confirm()
        .map_err(|source| OpenDataDir::Io { folder, source })?;
    Ok(Adopted {
        replica: ReplicaId::from_bytes(replica),
        origin,
        dir,
    })
}

/// The record of the store's replica id.
const REPLICA: &[u8] = b"replica";

fn texts(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().map(SocketAddr::to_string).collect()
}

fn random_u64() -> Result<u64, NoEntropy> {
    crate::admission::random().map(|bytes| u64::from_be_bytes(*bytes))
}
