//! What the fuzz targets check, as plain functions that run under any toolchain.
//!
//! Each file in `fuzz_targets/` hands libFuzzer's input to one function of [`TARGETS`]. `cargo test` in this folder replays all
//! seeds and crashes kept in `corpus/` and `artifacts/` through the same functions.
//!
//! A target is either a *decoder* (any bytes decode to a value that encodes to itself, or are refused) or a *history*: operations
//! against real cores, checked against the laws of merging and a plain model.

pub mod doors;
pub mod identifiers;
pub mod members;
pub mod merges;
pub mod objects;
pub mod own;
pub mod pieces;
pub mod placement;
pub mod reconciliation;
pub mod records;
pub mod replication;
#[expect(
    dead_code,
    reason = "the node calls more of its own files than the targets do"
)]
pub mod strong;
pub mod texts;
pub mod writing;

// The node's decoders of what strangers send. Their own files are compiled here, because the node's crate would bring the whole
// network stack along: minutes of building for code that does not touch it.
#[path = "../../node/src/admission/mod.rs"]
#[expect(unused_imports, reason = "only the decoders are called here")]
pub mod admission;
pub mod net;

use arbitrary::{Arbitrary, Unstructured};

/// Every target by its name: what it does with an input.
pub const TARGETS: &[(&str, fn(&[u8]))] = &[
    ("context_decode", objects::context_decode),
    ("credential_decode", doors::credential_decode),
    ("custom_merge", |bytes| typed(bytes, merges::custom_merge)),
    ("document_chunks", texts::document_chunks),
    ("door_frames", doors::door_frames),
    ("invite_decode", doors::invite_decode),
    ("keys_and_partitions", identifiers::keys_and_partitions),
    ("membership_message", |bytes| {
        typed(bytes, members::membership_message)
    }),
    ("membership_remembered", members::membership_remembered),
    ("object_decode", objects::object_decode),
    ("object_merge", merges::object_merge),
    ("object_merge_hostile", objects::object_merge_hostile),
    ("own_merge", merges::own_merge),
    ("placement_moves", |bytes| {
        typed(bytes, placement::placement_moves)
    }),
    ("reconcile_decoder", reconciliation::reconcile_decoder),
    ("reconcile_messages", reconciliation::reconcile_messages),
    ("reconcile_sets", |bytes| {
        typed(bytes, reconciliation::reconcile_sets)
    }),
    ("strong_backup", strong::strong_backup),
    ("strong_commands", |bytes| {
        typed(bytes, strong::strong_commands)
    }),
    ("strong_snapshot", strong::strong_snapshot),
    ("sync_message", |bytes| {
        typed(bytes, replication::sync_message)
    }),
    ("ticket_parse", doors::ticket_parse),
];

/// Reads an input of some structure as libFuzzer's targets do, and checks it; bytes that are none do nothing.
fn typed<T: for<'a> Arbitrary<'a>>(bytes: &[u8], check: fn(T)) {
    if let Ok(input) = T::arbitrary_take_rest(Unstructured::new(bytes)) {
        check(input);
    }
}
