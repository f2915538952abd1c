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
mod strong;

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

    /// A node that votes alone, and leads.
    async fn voting() -> Self {
        let options = SetupOptions {
            voter: true,
            ..SetupOptions::default()
        };
        let home = Self::found(&options, Merges::default(), |_| {}).await;
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
        while home
            .post("/v1/strong/namespaces", r#"{"name":"n"}"#)
            .await
            .status
            != 200
        {
            assert!(tokio::time::Instant::now() < deadline, "there is no group");
        }
        home
    }

    /// A node that knows kinds of an application's own.
    async fn knowing(merges: Merges, change: impl FnOnce(&mut HttpConfig)) -> Self {
        Self::found(&SetupOptions::default(), merges, change).await
    }

    async fn found(
        options: &SetupOptions,
        merges: Merges,
        change: impl FnOnce(&mut HttpConfig),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let member = setup::found(folder.path(), "home", options).unwrap();
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
        self.stream("GET", &format!("/v1/watch?prefix={prefix}"))
            .await
    }

    async fn stream(&self, method: &str, path: &str) -> (u16, Stream) {
        let head = self.head(method, path, "");
        Stream::open(self.http.address(), &head).await
    }

    async fn close(self) {
        self.mesh.stop().await;
        self.http.stop().await;
    }
}
