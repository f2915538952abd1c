//! What a workload is made of.

use std::ops::RangeInclusive;
use std::time::Duration;

/// What clients do, how often, and with how much patience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    /// How often keys of each kind are chosen.
    pub kinds: Kinds,
    /// Keys of each kind in each namespace. Few make clients collide. Default 2.
    pub keys: u32,
    /// Of 100 requests so many begin with a read; half of the writes are followed by one as well. Default 30.
    pub reads_percent: u32,
    /// How long a client waits between two requests, about evenly spread. Default 5 to 100 ms.
    pub think: RangeInclusive<Duration>,
    /// When a request is given up, about evenly spread. Default 0.2 to 3 s.
    pub timeout: RangeInclusive<Duration>,
    /// Most transactions of a history in one commit. Default 40.
    pub commit_transactions: usize,
}

/// How often keys of each kind are chosen, in relation to each other; 0 for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds {
    /// Counters, up and down.
    pub counter: u32,
    /// Registers, a new value each time.
    pub register: u32,
    /// Sets: elements are new, and removed at most as often as they were seen.
    pub set: u32,
    /// Maps of a counter, a register and a set, which are removed now and then.
    pub map: u32,
    /// Flags.
    pub flag: u32,
    /// Keys that are deleted and written again, perhaps as another kind.
    pub life: u32,
    /// Texts that clients type into, and delete what they typed. A read takes as long as the text is old, so have fewer of these.
    pub text: u32,
}

impl Default for Mix {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            kinds: Kinds::default(),
            keys: 2,
            reads_percent: 30,
            think: ms(5)..=ms(100),
            timeout: ms(200)..=ms(3_000),
            commit_transactions: 40,
        }
    }
}

impl Default for Kinds {
    fn default() -> Self {
        Self {
            counter: 4,
            register: 4,
            set: 4,
            map: 4,
            flag: 3,
            life: 4,
            text: 1,
        }
    }
}

/// What is done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    Counter,
    Register,
    Set,
    Map,
    Flag,
    Life,
    Text,
}

impl Topic {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Register => "register",
            Self::Set => "set",
            Self::Map => "map",
            Self::Flag => "flag",
            Self::Life => "life",
            Self::Text => "text",
        }
    }
}

impl Kinds {
    pub(super) const fn weights(&self) -> [(Topic, u32); 7] {
        [
            (Topic::Counter, self.counter),
            (Topic::Register, self.register),
            (Topic::Set, self.set),
            (Topic::Map, self.map),
            (Topic::Flag, self.flag),
            (Topic::Life, self.life),
            (Topic::Text, self.text),
        ]
    }
}
