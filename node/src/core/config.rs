//! What a node is told about itself and its parts.

/// Bits of [`meshwork_membership::Meta::roles`].
pub mod roles {
    /// Holds replicas of partitions that are placed on it.
    pub const STORAGE: u32 = 1;
    /// May vote in the strong group.
    pub const VOTER: u32 = 2;
}

/// Settings of the cores inside a node.
#[derive(Clone, Debug, Default)]
pub struct NodeConfig {
    /// Membership: periods and bounds.
    pub membership: meshwork_membership::Config,
    /// Replication: copies, caches and bounds.
    pub replication: meshwork_sync::Config,
    /// The strong group: how it keeps time and how much it holds.
    pub strong: crate::strong::GroupConfig,
}
