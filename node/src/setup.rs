//! Making a data folder into a member of a mesh: by founding one, or by a ticket.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use meshwork_membership::NodeId;

use crate::admission::{
    CertificateRequest, Credential, IssueCredential, KeyFile, KeyPurpose, Keypair, MAY_ADMIT,
    MeshId, NoEntropy, RejectCredential, Ticket,
};
use crate::net::JoinMesh;
use crate::settings::{ReadSettings, Settings};
use crate::store::{DataDir, OpenDataDir, write_atomically};
use crate::wall;

/// What a data folder holds besides its store.
#[derive(Debug)]
pub struct Member {
    /// The node's key.
    pub keypair: Keypair,
    /// The mesh.
    pub mesh: MeshId,
    /// The mesh's name for people.
    pub mesh_name: String,
    /// Whether the mesh began here.
    pub founder: bool,
    /// Proof of membership.
    pub credential: Credential,
    /// Members to find the mesh by, from the ticket.
    pub seeds: BTreeMap<NodeId, Vec<SocketAddr>>,
    /// Settings that a user may edit.
    pub settings: Settings,
}

/// How a node is set up; what is left out is chosen.
#[derive(Clone, Debug, Default)]
pub struct SetupOptions {
    /// The node's name for people; the host's name when left out.
    pub name: Option<String>,
    /// The failure zone; empty when left out.
    pub zone: Option<String>,
    /// Where to listen for members (UDP).
    pub listen: Option<SocketAddr>,
    /// Where the HTTP door listens (TCP).
    pub http: Option<SocketAddr>,
    /// Whether the node may vote in the strong group.
    pub voter: bool,
}

/// A folder was not made into a member. What was made before is kept, and trying again goes on from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetUp {
    /// The folder belongs to a member already. Use it, or choose another folder.
    #[error("{} belongs to a member of mesh {mesh_name:?} already: run `meshwork up` there, or choose another folder with --dir", folder.display())]
    Member {
        /// The folder.
        folder: PathBuf,
        /// Of which mesh.
        mesh_name: String,
    },
    /// The name of the mesh or node is empty, too long or has control characters. Choose another.
    #[error("a name has 1 to 64 bytes and no control characters")]
    Name,
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] OpenDataDir),
    /// A key file cannot be made or read.
    #[error(transparent)]
    Key(#[from] KeyFile),
    /// The operating system has no random bytes.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// A file cannot be written: no room, or no right.
    #[error("{} cannot be written: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The mesh was not joined.
    #[error("the mesh was not joined: {}", chain(.0))]
    Join(#[source] JoinMesh),
}

/// The folder is no member's, or what it holds cannot be used. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadMember {
    /// There is no member here.
    #[error("{} holds no node yet: run `meshwork init --mesh <name>` to found a mesh, or `meshwork join <ticket>` to join one", folder.display())]
    NoMember {
        /// The folder.
        folder: PathBuf,
    },
    /// A file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it should: the disk's fault, or somebody edited it. Restore it from a backup.
    #[error("{} is damaged: restore it from a backup, or join anew in another folder", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// The settings do not make sense.
    #[error(transparent)]
    Settings(#[from] ReadSettings),
    /// The node's key cannot be read.
    #[error(transparent)]
    Key(#[from] KeyFile),
    /// The credential proves nothing: another mesh's, another node's, or expired.
    #[error("the certificate in {} does not let this node in: {source}; ask a member for a ticket and join anew", folder.display())]
    Credential {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        source: RejectCredential,
    },
}

/// Names of the files in a data folder.
mod file {
    pub(super) const NODE_KEY: &str = "node.key";
    pub(super) const MESH_KEY: &str = "mesh.key";
    pub(super) const MEMBER: &str = "member";
}

/// The port that is tried first, so that a firewall rule can be written once.
const LISTEN_PORT: u16 = 7117;
/// The door's port that is tried first.
const HTTP_PORT: u16 = 7118;

/// Founds a mesh: makes its key, this node's key and certificate, and the settings.
///
/// # Errors
/// [`SetUp`]; a folder that is a member's already is left alone.
pub fn found(folder: &Path, mesh_name: &str, options: &SetupOptions) -> Result<Member, SetUp> {
    let opened = claim(folder)?;
    let keypair = load_or_make(&folder.join(file::NODE_KEY), KeyPurpose::Node)?;
    let mesh_key = load_or_make(&folder.join(file::MESH_KEY), KeyPurpose::Mesh)?;
    let settings = options.settings();
    let credential = Credential::issue_by_mesh(
        &mesh_key,
        CertificateRequest {
            subject: keypair.node_id(),
            name: settings.name.clone(),
            issued_s: wall::now_s(),
            expires_s: None,
            roles: MAY_ADMIT,
        },
    )
    .map_err(name_only)?;
    let member = Member {
        mesh: mesh_key.mesh_id(),
        mesh_name: checked_name(mesh_name)?,
        founder: true,
        keypair,
        credential,
        seeds: BTreeMap::new(),
        settings,
    };
    member.save(folder)?;
    drop(opened);
    Ok(member)
}

/// Joins a mesh with a ticket. Trying again with the same ticket after a failure is fine as long as it has not expired.
///
/// # Errors
/// [`SetUp`]; a folder that is a member's already is left alone.
///
/// # Panics
/// Outside a tokio runtime with I/O and time enabled.
pub async fn join(
    folder: &Path,
    ticket: &Ticket,
    options: &SetupOptions,
    deadline: Duration,
) -> Result<Member, SetUp> {
    let opened = claim(folder)?;
    let keypair = load_or_make(&folder.join(file::NODE_KEY), KeyPurpose::Node)?;
    let settings = options.settings();
    let joined = crate::net::join_mesh(&keypair, ticket, &settings.name, deadline)
        .await
        .map_err(SetUp::Join)?;
    let member = Member {
        keypair,
        mesh: joined.mesh,
        mesh_name: checked_name(&joined.mesh_name)?,
        founder: false,
        credential: joined.credential,
        seeds: BTreeMap::from([(joined.inviter, joined.addresses)]),
        settings,
    };
    member.save(folder)?;
    drop(opened);
    Ok(member)
}

/// What is written in the file `member`: everything that setting up decided once.
#[derive(serde::Serialize, serde::Deserialize)]
struct Record {
    mesh: MeshId,
    mesh_name: String,
    founder: bool,
    credential: Vec<u8>,
    seeds: Vec<(NodeId, Vec<SocketAddr>)>,
}

/// Version of that file.
const RECORD_VERSION: u8 = 1;

impl Member {
    /// Reads a member's folder.
    ///
    /// # Errors
    /// [`LoadMember`].
    pub fn load(folder: &Path) -> Result<Self, LoadMember> {
        let path = folder.join(file::MEMBER);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(LoadMember::NoMember {
                    folder: folder.to_path_buf(),
                });
            }
            Err(source) => return Err(LoadMember::Read { path, source }),
        };
        let damaged = || LoadMember::Damaged { path: path.clone() };
        let record: Record = match bytes.split_first() {
            Some((&RECORD_VERSION, body)) => postcard::from_bytes(body).ok(),
            _ => None,
        }
        .ok_or_else(damaged)?;
        let keypair = Keypair::load(&folder.join(file::NODE_KEY), KeyPurpose::Node)?;
        let credential = Credential::decode(&record.credential)
            .ok()
            .ok_or_else(damaged)?;
        credential
            .verify(record.mesh, keypair.node_id(), wall::now_s())
            .map_err(|source| LoadMember::Credential {
                folder: folder.to_path_buf(),
                source,
            })?;
        Ok(Self {
            keypair,
            mesh: record.mesh,
            mesh_name: record.mesh_name,
            founder: record.founder,
            credential,
            seeds: record.seeds.into_iter().collect(),
            settings: Settings::read(folder)?,
        })
    }

    fn save(&self, folder: &Path) -> Result<(), SetUp> {
        let write = |path: PathBuf, bytes: &[u8]| {
            write_atomically(&path, bytes).map_err(|source| SetUp::Write { path, source })
        };
        write(Settings::path(folder), self.settings.to_toml().as_bytes())?;
        let record = Record {
            mesh: self.mesh,
            mesh_name: self.mesh_name.clone(),
            founder: self.founder,
            credential: self.credential.encode(),
            seeds: self
                .seeds
                .iter()
                .map(|(id, at)| (*id, at.clone()))
                .collect(),
        };
        let bytes = postcard::to_extend(&record, vec![RECORD_VERSION])
            .expect("encoding into a growing vector cannot fail");
        // Last, since it is what makes the folder a member's.
        write(folder.join(file::MEMBER), &bytes)
    }
}

impl SetupOptions {
    fn settings(&self) -> Settings {
        Settings {
            name: self.name.clone().unwrap_or_else(host_name),
            zone: self.zone.clone().unwrap_or_default(),
            voter: self.voter,
            listen: self.listen.unwrap_or_else(|| {
                let any = SocketAddr::from(([0, 0, 0, 0], LISTEN_PORT));
                free_udp(any).unwrap_or(any)
            }),
            http: self.http.unwrap_or_else(|| {
                let local = SocketAddr::from(([127, 0, 0, 1], HTTP_PORT));
                free_tcp(local).unwrap_or(local)
            }),
            ..Settings::default()
        }
    }
}

/// Opens a folder that is nobody's yet, and keeps it locked for as long as the answer lives.
fn claim(folder: &Path) -> Result<DataDir, SetUp> {
    let opened = DataDir::open(folder)?;
    match Member::load(folder) {
        Err(LoadMember::NoMember { .. }) => Ok(opened.dir),
        Ok(member) => Err(SetUp::Member {
            folder: folder.to_path_buf(),
            mesh_name: member.mesh_name,
        }),
        // Damaged or not, it is somebody's: nothing is written over.
        Err(_) => Err(SetUp::Member {
            folder: folder.to_path_buf(),
            mesh_name: "?".into(),
        }),
    }
}

/// Reads a key that an earlier attempt made, or makes one.
fn load_or_make(path: &Path, purpose: KeyPurpose) -> Result<Keypair, SetUp> {
    if path.exists() {
        return Ok(Keypair::load(path, purpose)?);
    }
    let keypair = Keypair::generate()?;
    keypair.save_new(path, purpose)?;
    Ok(keypair)
}

fn checked_name(name: &str) -> Result<String, SetUp> {
    let fits = !name.is_empty() && name.len() <= 64 && !name.chars().any(char::is_control);
    if fits {
        Ok(name.to_owned())
    } else {
        Err(SetUp::Name)
    }
}

/// The only thing that can be wrong with a certificate that the mesh key issues is the name in it.
fn name_only(_: IssueCredential) -> SetUp {
    SetUp::Name
}

fn host_name() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    checked_name(&name).unwrap_or_else(|_| "node".to_owned())
}

/// The wanted port, or a free one when it is taken, so that several nodes on one machine need no settings.
fn free_udp(wanted: SocketAddr) -> io::Result<SocketAddr> {
    let mut any = wanted;
    any.set_port(0);
    UdpSocket::bind(wanted)
        .or_else(|_| UdpSocket::bind(any))?
        .local_addr()
}

fn free_tcp(wanted: SocketAddr) -> io::Result<SocketAddr> {
    let mut any = wanted;
    any.set_port(0);
    std::net::TcpListener::bind(wanted)
        .or_else(|_| std::net::TcpListener::bind(any))?
        .local_addr()
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
