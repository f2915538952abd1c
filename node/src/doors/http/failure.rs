//! Answers that say no.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use meshwork_crdt::{ApplyOp, EditSequence};
use meshwork_sync::{InvalidKey, ReadError, StoreFailure, WriteError};
use serde_json::{Value, json};

use crate::strong::{AcquireError, IdError, Refusal, ResetStrong, StrongError, StrongKeyError};
use crate::{InviteError, RequestError};

/// A request was refused or failed: a status, a code for programs and a text for people.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            status,
            code,
            message,
        }
    }

    pub(super) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    pub(super) fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    pub(super) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", message)
    }

    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    pub(super) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is nothing under this key",
        )
    }

    /// Where a copy was asked that may be old, as of this revision.
    pub(super) fn not_found_at(revision: u64) -> Self {
        let message = format!("there is nothing under this key as of revision {revision}");
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    pub(super) fn stopped() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopped",
            "the node has stopped: start it again",
        )
    }

    pub(super) fn stopping() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "the node is stopping already",
        )
    }

    /// The lock is somebody else's, and nobody waits for it here any more.
    pub(super) fn held() -> Self {
        Self::conflict("held", "somebody else holds the lock")
    }

    /// What it says, as it is sent.
    pub(super) fn body(&self) -> Value {
        json!({"error": {"code": self.code, "message": self.message}})
    }

    fn unavailable(code: &'static str, error: impl ToString) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, error.to_string())
    }

    fn timeout(error: impl ToString) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", error.to_string())
    }

    fn damaged(error: impl ToString) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "damaged",
            error.to_string(),
        )
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let headers = [(header::CONTENT_TYPE, JSON)];
        let mut response = (self.status, headers, self.body().to_string()).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, bearer);
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            let second = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, second);
        }
        response
    }
}

/// What JSON answers are labelled with.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl From<InvalidKey> for Failure {
    fn from(error: InvalidKey) -> Self {
        Self::bad("bad_key", error.to_string())
    }
}

impl<E: Into<Self>> From<RequestError<E>> for Failure {
    fn from(error: RequestError<E>) -> Self {
        match error {
            RequestError::Stopped => Self::stopped(),
            RequestError::Refused(error) => error.into(),
        }
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Apply(error) => error.into(),
            WriteError::ValueTooLarge { .. } | WriteError::ObjectTooLarge { .. } => {
                Self::too_large(error.to_string())
            }
            WriteError::Strong { .. } => Self::conflict("strong_namespace", error.to_string()),
            WriteError::Busy => Self::busy(error.to_string()),
            WriteError::OutboxFull { .. } => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "outbox_full",
                error.to_string(),
            ),
            WriteError::Unavailable { .. } => Self::unavailable("unavailable", error),
            WriteError::Timeout { .. } => Self::timeout(error),
            WriteError::Leaving => Self::unavailable("leaving", error),
            WriteError::Damaged => Self::damaged(error),
            WriteError::Store(error) => error.into(),
            error => Self::internal(error.to_string()),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Strong { .. } => Self::conflict("strong_namespace", error.to_string()),
            ReadError::Busy => Self::busy(error.to_string()),
            ReadError::Unavailable { .. } => Self::unavailable("unavailable", error),
            ReadError::Timeout { .. } => Self::timeout(error),
            ReadError::Damaged => Self::damaged(error),
            ReadError::Store(error) => error.into(),
            error => Self::internal(error.to_string()),
        }
    }
}

impl From<ApplyOp> for Failure {
    fn from(error: ApplyOp) -> Self {
        match error {
            ApplyOp::WrongKind { found, .. } => Self::conflict(
                "wrong_kind",
                format!(
                    "{error}: use operations for a {found}, another key, or delete this one first"
                ),
            ),
            ApplyOp::TooLarge { .. } => Self::too_large(error.to_string()),
            ApplyOp::MergeRefused(_) => Self::bad("payload_refused", error.to_string()),
            ApplyOp::FencedOff(_) => Self::conflict("fenced_off", error.to_string()),
            ApplyOp::NoRights(_) => Self::conflict("no_rights", error.to_string()),
            ApplyOp::Sequence(error) => error.into(),
            // Our mistake: stamps are made by the node.
            ApplyOp::DotUsed(_) | ApplyOp::BadStamp(_) => Self::internal(error.to_string()),
            error => Self::internal(error.to_string()),
        }
    }
}

impl From<EditSequence> for Failure {
    fn from(error: EditSequence) -> Self {
        match error {
            EditSequence::NoElement(_) => {
                Self::new(StatusCode::NOT_FOUND, "no_element", error.to_string())
            }
            EditSequence::TooDeep => Self::conflict("too_deep", error.to_string()),
        }
    }
}

impl From<StoreFailure> for Failure {
    fn from(error: StoreFailure) -> Self {
        let (status, code) = match error {
            StoreFailure::Full => (StatusCode::INSUFFICIENT_STORAGE, "store_full"),
            StoreFailure::Broken { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "store_broken"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<InviteError> for Failure {
    fn from(error: InviteError) -> Self {
        match error {
            InviteError::MayNotAdmit => Self::forbidden("may_not_admit", error.to_string()),
            InviteError::Issue(_) => Self::busy(error.to_string()),
            InviteError::NoAddress => Self::conflict("no_address", error.to_string()),
            InviteError::Entropy => Self::internal(error.to_string()),
        }
    }
}

impl From<StrongError> for Failure {
    fn from(error: StrongError) -> Self {
        match error {
            StrongError::NoGroup => Self::unavailable("no_strong_group", error),
            StrongError::Unavailable => Self::unavailable("strong_unavailable", error),
            StrongError::Unknown => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "unknown_outcome",
                error.to_string(),
            ),
            StrongError::Busy => Self::busy(error.to_string()),
            StrongError::Refused(refusal) => refusal.into(),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::SessionExpired { .. } => Self::conflict("session_expired", message),
            Refusal::NoNamespace { .. } => {
                Self::new(StatusCode::NOT_FOUND, "no_namespace", message)
            }
            Refusal::TooLarge { .. } => Self::too_large(message),
            Refusal::Full(_) => Self::new(StatusCode::INSUFFICIENT_STORAGE, "full", message),
            Refusal::Held { .. } => Self::conflict("held", message),
            Refusal::NotBlank => Self::conflict("not_blank", message),
            Refusal::Restoring { .. } => Self::conflict("restoring", message),
            Refusal::BadBackup(_) => Self::bad("bad_backup", message),
            Refusal::Deadlock { .. } => Self::conflict("deadlock", message),
            Refusal::Forgotten { .. }
            | Refusal::TooManyAnswers { .. }
            | Refusal::OutOfPlace { .. } => Self::conflict("refused", message),
        }
    }
}

impl From<ResetStrong> for Failure {
    fn from(error: ResetStrong) -> Self {
        let message = error.to_string();
        match error {
            ResetStrong::Asks
            | ResetStrong::NoGroup
            | ResetStrong::Alive
            | ResetStrong::Others
            | ResetStrong::Restart => Self::conflict("not_lost", message),
            ResetStrong::Store(_) => Self::internal(message),
        }
    }
}

impl From<StrongKeyError> for Failure {
    fn from(error: StrongKeyError) -> Self {
        match error {
            StrongKeyError::Key(error) => error.into(),
            StrongKeyError::Request(error) => error.into(),
        }
    }
}

impl From<IdError> for Failure {
    fn from(error: IdError) -> Self {
        match error {
            IdError::Lost => Self::unavailable("strong_unavailable", error),
            IdError::NoWorker => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "full", error.to_string())
            }
            IdError::Over => Self::internal(error.to_string()),
            IdError::Request(error) => error.into(),
        }
    }
}

impl From<AcquireError> for Failure {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::Deadlock(cycle) => Refusal::Deadlock { cycle }.into(),
            AcquireError::TimedOut => Self::conflict("held", error.to_string()),
            AcquireError::Request(error) => error.into(),
        }
    }
}
