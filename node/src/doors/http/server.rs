//! The listening socket and the tasks behind it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::beside::{Beside, Requests};
use super::guard::{Routes, guard};
use super::patience::Patient;
use super::routes;
use super::state::{Door, Errand};
use super::token::{LoadToken, Token};
use crate::Mesh;
use crate::admission::NoEntropy;
use crate::store::write_atomically;

/// A running HTTP door. Dropping it stops it in the background; [`Http::stop`] waits for it.
///
/// # Examples
/// ```
/// use meshwork::doors::http::{Http, HttpConfig};
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
/// let folder = tempfile::tempdir()?;
/// meshwork::setup::found(folder.path(), "home", &meshwork::setup::SetupOptions::default())?;
/// let mesh = meshwork::Mesh::builder(folder.path()).listen("127.0.0.1:0".parse()?).start().await?;
/// let config = HttpConfig { folder: folder.path().into(), listen: "127.0.0.1:0".parse()?, faults: false };
/// let http = Http::start(mesh.clone(), config)?;
/// assert_eq!(std::fs::read_to_string(folder.path().join("door.addr"))?, http.url());
/// mesh.stop().await;
/// http.stop().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Http {
    address: SocketAddr,
    serving: Mutex<Option<JoinHandle<()>>>,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

/// What a door is started with.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// The node's data folder, for `door.token` (made at the first start, kept) and `door.addr` (there while the door runs).
    pub folder: PathBuf,
    /// Where to listen (TCP); port 0 lets the system choose. Anything but loopback sends token and values in the clear.
    pub listen: SocketAddr,
    /// Whether clients may cut links, for demonstrations of partitions.
    pub faults: bool,
}

/// The door did not open. Nothing runs and nothing is bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartHttp {
    /// Another program listens there.
    #[error(
        "another program listens on {address}: choose another address with --http or `http` in settings.toml"
    )]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; choose another address with --http or `http` in settings.toml"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// A file in the data folder cannot be read or written.
    #[error("{} cannot be used: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The token's file holds something else.
    #[error("{} holds no token: delete it, and a new one is made", path.display())]
    BadToken {
        /// Which.
        path: PathBuf,
    },
    /// The operating system has no random bytes.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

impl Http {
    /// Binds, writes the two files and serves on the current tokio runtime.
    ///
    /// The door holds a handle on the node, and goes on answering (503 where the node is needed) when the node has stopped.
    ///
    /// # Errors
    /// [`StartHttp`].
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time enabled.
    pub fn start(mesh: Mesh, config: HttpConfig) -> Result<Self, StartHttp> {
        let token = Token::load_or_make(&config.folder)?;
        let (listener, address) = bind(config.listen)?;
        let notice = Notice::write(&config.folder, address)?;
        let stop = CancellationToken::new();
        let (errands, wanted) = mpsc::channel(ERRANDS_MAX);
        let door = Door::new(mesh, token, &config, address, errands, stop.clone())?;
        let door = Arc::new(door);
        let server = Server {
            listener,
            routes: TowerToHyperService::new(routes::router(Arc::clone(&door))),
            door,
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            tasks: JoinSet::new(),
            stop: stop.clone(),
            notice,
        };
        Ok(Self {
            address,
            serving: Mutex::new(Some(tokio::spawn(server.run(wanted)))),
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where programs on this machine reach it, as in `door.addr`: `http://127.0.0.1:7118`.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.address)
    }

    /// Takes no more connections, lets requests under way end for up to 5 s, then closes what is left and removes `door.addr`.
    ///
    /// Dropping the future does not call it off. A second call returns at once.
    pub async fn stop(&self) {
        self.stop.cancel();
        let serving = self
            .serving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(serving) = serving
            && let Err(error) = serving.await
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// The task that owns the socket and all other tasks.
struct Server {
    listener: TcpListener,
    door: Arc<Door>,
    routes: Routes,
    places: Arc<Semaphore>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    notice: Notice,
}

impl Server {
    async fn run(mut self, mut wanted: mpsc::Receiver<Errand>) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(errand) = wanted.recv() => {
                    self.tasks.spawn(errand.run());
                }
                (stream, place) = accept(&self.listener, &self.places) => {
                    let (door, routes) = (Arc::clone(&self.door), self.routes.clone());
                    let served = serve(stream, (door, routes), self.stop.clone(), place);
                    self.tasks.spawn(served);
                }
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a request ended in a panic");
                    }
                }
            }
        }
        drop((self.listener, wanted));
        let quiet = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, quiet).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "requests were cut off");
        }
        self.tasks.shutdown().await;
        self.notice.remove();
    }
}

/// The next connection and its place among those allowed.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let place = Arc::clone(places).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                // Most likely out of file descriptors; to try again at once would spin.
                tracing::warn!(%error, "a connection was not taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    (door, routes): (Arc<Door>, Routes),
    stop: CancellationToken,
    place: OwnedSemaphorePermit,
) {
    // Answers are small and whole; waiting to fill a packet would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::trace!(%error, "a socket option was not set");
    }
    let beside = Beside::default();
    let mut builder = auto::Builder::new(beside.clone());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(STREAM_HEAD_BYTES_MAX)
        .max_send_buf_size(STREAM_BYTES_MAX);
    let service = service_fn(|request| guard(Arc::clone(&door), routes.clone(), request));
    let connection = builder.serve_connection(TokioIo::new(Patient::new(stream)), service);
    let mut connection = std::pin::pin!(connection);
    let mut requests = Requests::default();
    let ended = tokio::select! {
        ended = requests.drive(&beside, connection.as_mut()) => Some(ended),
        () = stop.cancelled() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            requests.drive(&beside, connection).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
    drop(place);
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartHttp> {
    let bound = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((TcpListener::from_std(listener)?, address))
    });
    bound.map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            return StartHttp::InUse { address };
        }
        StartHttp::Listen { address, source }
    })
}

/// The file `door.addr`, which tells programs on this machine where to knock.
struct Notice(PathBuf);

impl Notice {
    fn write(folder: &Path, address: SocketAddr) -> Result<Self, StartHttp> {
        let path = folder.join("door.addr");
        match write_atomically(&path, url(address).as_bytes()) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(StartHttp::File { path, source }),
        }
    }

    fn remove(&self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a file was not removed");
        }
    }
}

impl From<LoadToken> for StartHttp {
    fn from(error: LoadToken) -> Self {
        match error {
            LoadToken::File { path, source } => Self::File { path, source },
            LoadToken::Malformed { path } => Self::BadToken { path },
            LoadToken::Entropy(error) => Self::Entropy(error),
        }
    }
}

/// A door that listens everywhere is reached from this machine by loopback.
pub(super) fn url(mut address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    format!("http://{address}")
}

/// Connections at once; the next ones wait in the system's backlog.
const CONNECTIONS_MAX: usize = 512;
/// Errands that wait to be begun: stopping and leaving, of which one at a time makes sense.
const ERRANDS_MAX: usize = 2;
/// How long a client may take for the head of a request, and leave a connection idle; one that speaks HTTP/2 is asked whether it is there.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest head: the longest key, percent-encoded, with much room.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// The same of a request over HTTP/2.
const STREAM_HEAD_BYTES_MAX: u32 = 16 << 10;
/// Requests at once on one connection of HTTP/2.
const STREAMS_MAX: u32 = 128;
/// Of an answer over HTTP/2 that its client does not take, so much is kept for it.
const STREAM_BYTES_MAX: usize = 64 << 10;
/// How long requests under way have to end when the door is stopped.
const GRACE: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
