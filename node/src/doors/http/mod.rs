//! The HTTP door: JSON over HTTP/1.1 and HTTP/2 for programs on this machine, events by server-sent events, metrics for Prometheus.
//!
//! It is described by `openapi.json`, served at `/v1/openapi.json`. Who has the token in the data folder may do all that the
//! door offers. A web page can do nothing, even in a browser on this machine: requests with an `Origin`, or addressed to a
//! name (which somebody's DNS may point anywhere), are refused before anything else is looked at.
//!
//! Everything that a client can fill has a bound: connections, requests under way, streams, heads, bodies, and the time that
//! each may take. Most bounds end in 413, 429 or 408; connections beyond theirs wait in the system's backlog.

mod beside;
mod body;
mod documents;
mod element;
mod failure;
mod guard;
mod keys;
mod marks;
mod metrics;
mod node;
mod ops;
mod patience;
mod request;
mod routes;
mod server;
mod state;
mod strong_backup;
mod strong_hold;
mod strong_ids;
mod strong_keys;
mod strong_leases;
mod strong_locks;
mod strong_request;
mod strong_txn;
mod strong_watch;
mod tally;
mod token;
mod values;
mod watch;

pub use server::{Http, HttpConfig, StartHttp};
