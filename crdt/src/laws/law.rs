//! The laws.

use core::fmt;

/// What must hold of a type whose values are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// Writing and joining never panic.
    Total,
    /// `a ⊔ b = b ⊔ a`: replicas that hear of each other at once agree.
    Commutative,
    /// `(a ⊔ b) ⊔ c = a ⊔ (b ⊔ c)`: it does not matter who heard from whom first.
    Associative,
    /// `a ⊔ a = a`: what arrives twice counts once.
    Idempotent,
    /// `(a ⊔ b) ⊔ a = a ⊔ b`: what was joined is inside.
    Inflation,
    /// The state before a write, joined with the write's delta, is the state after it.
    Delta,
    /// Every delta and every replica's state is inside of what all end with.
    NoLostUpdate,
    /// What a peer lacks makes it whole, is nothing only if it lacks nothing, and is no larger than the whole state.
    DeltaSince,
    /// What was encoded decodes to an equal value.
    RoundTrip,
    /// Equal values have equal digests, others have not.
    Digest,
    /// Bytes that were cut, changed or made up are refused, or are the one encoding of a value; that value joins as any other.
    DamagedBytes,
    /// Replicas that got every delta, in any order, some of them twice, are equal.
    Convergence,
    /// The same for every schedule of a few writes: who saw what when it wrote, and which order they arrive in.
    EveryInterleaving,
    /// The value reads as the model says.
    Model,
}

impl Law {
    /// Laws on joining values.
    pub const JOINS: &'static [Self] = &[
        Self::Total,
        Self::Commutative,
        Self::Associative,
        Self::Idempotent,
        Self::Inflation,
    ];
    /// Laws on what a write adds, and on what a peer lacks.
    pub const DELTAS: &'static [Self] = &[
        Self::Total,
        Self::Delta,
        Self::NoLostUpdate,
        Self::DeltaSince,
    ];
    /// Laws on encodings.
    pub const BYTES: &'static [Self] = &[
        Self::Total,
        Self::RoundTrip,
        Self::Digest,
        Self::DamagedBytes,
    ];
    /// Laws on what replicas end with.
    pub const REPLICAS: &'static [Self] = &[
        Self::Total,
        Self::Convergence,
        Self::EveryInterleaving,
        Self::Model,
    ];
    /// All of them, in the order in which they are checked.
    pub const ALL: &'static [Self] = &[
        Self::Total,
        Self::Commutative,
        Self::Associative,
        Self::Idempotent,
        Self::Inflation,
        Self::Delta,
        Self::NoLostUpdate,
        Self::DeltaSince,
        Self::RoundTrip,
        Self::Digest,
        Self::DamagedBytes,
        Self::Convergence,
        Self::EveryInterleaving,
        Self::Model,
    ];

    /// What the law asks for, in one sentence.
    #[must_use]
    pub const fn asks(self) -> &'static str {
        match self {
            Self::Total => "writing and joining never panic",
            Self::Commutative => "a joined with b is b joined with a",
            Self::Associative => "it does not matter which two of three are joined first",
            Self::Idempotent => "joining the same twice changes nothing",
            Self::Inflation => "what was joined is inside: joining it again changes nothing",
            Self::Delta => "the state before a write joined with its delta is the state after it",
            Self::NoLostUpdate => "every delta and every replica's state is in what all end with",
            Self::DeltaSince => "what a peer lacks makes it whole and is no larger than the state",
            Self::RoundTrip => "what was encoded decodes to an equal value",
            Self::Digest => "equal values have equal digests, and others have not",
            Self::DamagedBytes => "damaged bytes are refused or are the one encoding of a value",
            Self::Convergence => "the same deltas in any order, repeated or not, give one state",
            Self::EveryInterleaving => "so do all schedules of a few writes, each one tried",
            Self::Model => "the value reads as the model says",
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Total => "total",
            Self::Commutative => "commutative",
            Self::Associative => "associative",
            Self::Idempotent => "idempotent",
            Self::Inflation => "inflation",
            Self::Delta => "delta",
            Self::NoLostUpdate => "no lost update",
            Self::DeltaSince => "delta since",
            Self::RoundTrip => "round trip",
            Self::Digest => "digest",
            Self::DamagedBytes => "damaged bytes",
            Self::Convergence => "convergence",
            Self::EveryInterleaving => "every interleaving",
            Self::Model => "model",
        })
    }
}
