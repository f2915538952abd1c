//! What a read showed.

/// The value of a key as an application sees it, whichever way it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {}
