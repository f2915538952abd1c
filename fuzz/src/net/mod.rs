//! What nodes say before either trusts the other: the node's own files, without its network.

#[path = "../../../node/src/net/refusal.rs"]
pub mod refusal;
#[path = "../../../node/src/net/wire.rs"]
#[expect(dead_code, reason = "only the decoders are called here")]
pub mod wire;
