//! What a mesh may be tuned by.

use core::time::Duration;

/// Periods and bounds. All members of one mesh should use the same periods; nothing breaks if they differ.
///
/// `Config::default()` is [`Config::lan`]. Change single fields with struct update syntax:
///
/// ```
/// use core::time::Duration;
/// use meshwork_membership::Config;
///
/// let config = Config { forget_after: Duration::from_secs(3600), ..Config::lan() };
/// assert!(config.probe_timeout < config.probe_period);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// One member is probed in every period. Longer: less traffic, later detection. Default 1 s.
    pub probe_period: Duration,
    /// How long a direct ping, repeated meanwhile, may take before others are asked to ping too; the rest of the period is
    /// for them. At least three round trips to that member are waited, if those were measured and are longer.
    /// Longer: fewer indirect probes on slow links, less time for the indirect ones. Default 500 ms.
    pub probe_timeout: Duration,
    /// How many others are asked when a ping is not answered. More: fewer false suspicions, more messages. Default 3.
    pub indirect_probes: usize,
    /// A suspect has this long, times the doublings in the mesh's size (at least 3), to refute.
    /// Longer: fewer false deaths, later detection. Default 700 ms: 2.1 s for 5 members, 5.6 s for 128.
    pub suspicion_per_doubling: Duration,
    /// As long as only one member accuses it, a suspect has this many times that time; each further accuser shortens it.
    /// More: a member whose own network is bad does less harm, and a crash that few noticed is found later. Default 6.
    pub suspicion_stretch: u32,
    /// How far a node may slow itself down when its own probes fail: to this many times its periods, and one more
    /// (Lifeguard's local health multiplier). More: a slow node accuses fewer, and finds crashes later. Default 8.
    pub strain_max: u32,
    /// So many further accusers shorten a suspicion to its least time, and so many distinct peers that say "down" or
    /// "left" count as a confirmation. More: more liars are needed to be believed, later detection. Default 2; for "down"
    /// and "left" 0 counts as 1.
    pub confirmations: usize,
    /// While there is news, it is sent this often to `gossip_fanout` random members. Longer: slower news. Default 200 ms.
    pub gossip_period: Duration,
    /// Receivers of each round of news. More: faster news, more repeats. Default 3.
    pub gossip_fanout: usize,
    /// A piece of news is sent this many times, times the doublings in the mesh's size, by each member (the λ of SWIM).
    /// Hearing it from others counts too. More: survives more loss, more bytes. Default 2: 16 times among 128, of which about
    /// half are heard.
    pub retransmit_multiplier: u32,
    /// Bytes of news that a ping or ack may carry. More: news needs fewer messages. Default 1,200: one datagram.
    pub piggyback_bytes_max: usize,
    /// Bytes of news in a message that has no other purpose. Default 4,096.
    pub gossip_bytes_max: usize,
    /// Digests are compared with a random member at least this often, sooner after changes, and what differs is exchanged.
    /// Longer: less traffic at rest, later repair of lost news. Default 30 s.
    pub push_pull_period: Duration,
    /// Bytes of one message of an exchange; longer lists are sent in parts. At most [`MESSAGE_BYTES_MAX`]. Default 1 MiB.
    ///
    /// [`MESSAGE_BYTES_MAX`]: crate::MESSAGE_BYTES_MAX
    pub exchange_bytes_max: usize,
    /// One `Down` member is probed this often, so that the halves of a split mesh find each other.
    /// Longer: fewer dials to the dead, later healing. Default 10 s.
    pub dead_probe_period: Duration,
    /// A member that has been `Down` for this long is expired: forgotten, and its data placed elsewhere.
    /// Longer: long absences cost no data movement; shorter: full replication is restored sooner. Default 7 days.
    pub forget_after: Duration,
    /// Members that may be `Alive` or `Suspect` at once; more are refused and counted. Default 16,384 (about 8 MiB).
    pub members_max: usize,
    /// Members that may be `Down` or `Left` at once. At the bound, one that was never heard from goes first,
    /// else the one that is nearest to its expiry. Default 1,024.
    pub dead_remembered_max: usize,
    /// Pings done for others that may be open at once; more are refused. Default 256.
    pub relays_max: usize,
    /// Members that a leaver tells directly; the others hear it by gossip. Default 128.
    pub leave_direct_max: usize,
    /// Changes wait this long to be written together. Longer: fewer writes, more to learn again after a crash. Default 1 s.
    pub remember_delay: Duration,
}

impl Config {
    /// For machines on one network, and for meshes over the internet: a crash is known to 5 members in 2 to 5 s.
    #[must_use]
    pub const fn lan() -> Self {
        Self {
            probe_period: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            indirect_probes: 3,
            suspicion_per_doubling: Duration::from_millis(700),
            suspicion_stretch: 6,
            strain_max: 8,
            confirmations: 2,
            gossip_period: Duration::from_millis(200),
            gossip_fanout: 3,
            retransmit_multiplier: 2,
            piggyback_bytes_max: 1_200,
            gossip_bytes_max: 4_096,
            push_pull_period: Duration::from_secs(30),
            exchange_bytes_max: crate::MESSAGE_BYTES_MAX,
            dead_probe_period: Duration::from_secs(10),
            forget_after: Duration::from_secs(7 * 24 * 3_600),
            members_max: 16_384,
            dead_remembered_max: 1_024,
            relays_max: 256,
            leave_direct_max: 128,
            remember_delay: Duration::from_secs(1),
        }
    }

    /// For several nodes on one machine, as in tests and demos: five times as fast as [`Config::lan`].
    #[must_use]
    pub const fn loopback() -> Self {
        Self {
            probe_period: Duration::from_millis(200),
            probe_timeout: Duration::from_millis(100),
            suspicion_per_doubling: Duration::from_millis(140),
            gossip_period: Duration::from_millis(40),
            push_pull_period: Duration::from_secs(6),
            dead_probe_period: Duration::from_secs(2),
            remember_delay: Duration::from_millis(200),
            ..Self::lan()
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::lan()
    }
}
