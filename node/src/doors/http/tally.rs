//! What the door counts about its own requests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;

use crate::net::RefuseReason;

/// Classes of routes, few enough to count each with each status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Route {
    Health,
    Ready,
    Metrics,
    Keys,
    Docs,
    Watch,
    Strong,
    /// Status, invites, leaving, stopping, faults, description.
    Node,
    /// None of them.
    Other,
}

impl Route {
    pub(super) fn of(path: &str) -> Self {
        let mut segments = path.split('/').skip(1);
        match (segments.next(), segments.next()) {
            (Some("health"), None) => Self::Health,
            (Some("ready"), None) => Self::Ready,
            (Some("metrics"), None) => Self::Metrics,
            (Some("v1"), Some("keys")) => Self::Keys,
            (Some("v1"), Some("docs")) => Self::Docs,
            (Some("v1"), Some("watch")) => Self::Watch,
            (Some("v1"), Some("strong")) => Self::Strong,
            (
                Some("v1"),
                Some("status" | "invites" | "leave" | "stop" | "faults" | "openapi.json"),
            ) => Self::Node,
            _ => Self::Other,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Ready => "ready",
            Self::Metrics => "metrics",
            Self::Keys => "keys",
            Self::Docs => "docs",
            Self::Watch => "watch",
            Self::Strong => "strong",
            Self::Node => "node",
            Self::Other => "other",
        }
    }
}

/// Requests answered, and the time until their answers began.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Answered>);

/// As many entries as there are routes and statuses that the door gives.
#[derive(Clone, Debug, Default)]
pub(super) struct Answered {
    pub(super) requests: BTreeMap<(Route, u16), u64>,
    pub(super) took: BTreeMap<Route, (u64, Duration)>,
}

impl Tally {
    pub(super) fn note(&self, route: Route, status: StatusCode, took: Duration) {
        let mut answered = self.lock();
        *answered
            .requests
            .entry((route, status.as_u16()))
            .or_default() += 1;
        let (count, sum) = answered.took.entry(route).or_default();
        *count += 1;
        *sum = sum.saturating_add(took);
    }

    pub(super) fn snapshot(&self) -> Answered {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Answered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reason's name in labels and JSON.
pub(super) const fn reason_name(reason: RefuseReason) -> &'static str {
    match reason {
        RefuseReason::OtherMesh => "other_mesh",
        RefuseReason::BadCredential => "bad_credential",
        RefuseReason::Expired => "expired",
        RefuseReason::Version => "version",
        RefuseReason::DuplicateIdentity => "duplicate_identity",
        RefuseReason::Busy => "busy",
        RefuseReason::Malformed => "malformed",
        RefuseReason::Redundant => "redundant",
        RefuseReason::Timeout => "timeout",
    }
}
