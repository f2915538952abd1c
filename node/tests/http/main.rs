//! The HTTP door from outside.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by panicking"
)]

mod client;
mod documents;
mod keys;
mod kinds;
mod node;
mod refusals;

use std::net::SocketAddr;

use meshwork::doors::http::{Http, HttpConfig};
use meshwork::setup::{self, SetupOptions};
use meshwork::{Mesh, Settings, StoreEngine};
use meshwork_crdt::Merges;

use client::{Reply, Stream};

/// A node alone in its mesh, with its door open.
struct Home {
    folder: tempfile::TempDir,
    mesh: Mesh,
    http: Http,
    token: String,
}

impl Home {
    async fn open() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut HttpConfig)) -> Self {
        Self::knowing(Merges::default(), change).await
    }

    /// A node that knows kinds of an application's own.
    async fn knowing(merges: Merges, change: impl FnOnce(&mut HttpConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let member = setup::found(folder.path(), "home", &SetupOptions::default()).unwrap();
        let settings = Settings {
            store: StoreEngine::Memory,
            ..member.settings
        };
        std::fs::write(Settings::path(folder.path()), settings.to_toml()).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mesh = Mesh::builder(folder.path())
            .listen(any)
            .merges(merges)
            .start()
            .await
            .unwrap();
        let mut config = HttpConfig {
            folder: folder.path().to_path_buf(),
            listen: any,
            faults: false,
        };
        change(&mut config);
        let http = Http::start(mesh.clone(), config).unwrap();
        let token = std::fs::read_to_string(folder.path().join("door.token")).unwrap();
        Self {
            folder,
            mesh,
            http,
            token,
        }
    }

    /// The head of a request that is let in.
    fn head(&self, method: &str, path: &str, more: &str) -> String {
        let (address, token) = (self.http.address(), &self.token);
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
        )
    }

    async fn send(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> Reply {
        let body = body.as_ref();
        let length = format!("Content-Length: {}\r\n", body.len());
        client::raw(self.http.address(), &self.head(method, path, &length), body).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "").await
    }

    async fn post(&self, path: &str, body: &str) -> Reply {
        self.send("POST", path, body).await
    }

    async fn watch(&self, prefix: &str) -> (u16, Stream) {
        let head = self.head("GET", &format!("/v1/watch?prefix={prefix}"), "");
        Stream::open(self.http.address(), &head).await
    }

    async fn close(self) {
        self.mesh.stop().await;
        self.http.stop().await;
    }
}
