//! `foca`, as its documentation recommends: a configuration for the size, identities that renew themselves.

use std::collections::BinaryHeap;
use std::num::NonZeroU32;
use std::time::Duration;

use foca::{
    AccumulatingRuntime, Config, Foca, Identity, Member, NoCustomBroadcast, OwnedNotification,
    PostcardCodec, Timer,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::protocol::{Micros, Node, Outbox, Process, Protocol, Seen};

/// As in foca's example of an agent: an address, and a number that grows with each renewal. No public key, no metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Id {
    address: u32,
    port: u16,
    life: u8,
    bump: u32,
}

impl Identity for Id {
    type Addr = u32;

    fn renew(&self) -> Option<Self> {
        Some(Self {
            bump: self.bump + 1,
            ..*self
        })
    }

    fn addr(&self) -> u32 {
        self.address
    }

    fn win_addr_conflict(&self, other: &Self) -> bool {
        (self.life, self.bump) > (other.life, other.bump)
    }
}

fn id(n: Node, life: u8) -> Id {
    Id {
        address: 0x0a00_0000 | n,
        port: 4001,
        life,
        bump: 0,
    }
}

fn node(id: &Id) -> Node {
    id.address & 0xff_ffff
}

struct Due {
    at: Micros,
    timer: Timer<Id>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // The heap gives the greatest first.
        (other.at, &other.timer).cmp(&(self.at, &self.timer))
    }
}

pub struct Rival {
    core: Foca<Id, PostcardCodec, ChaCha8Rng, NoCustomBroadcast>,
    runtime: AccumulatingRuntime<Id>,
    timers: BinaryHeap<Due>,
}

/// `Config::new_lan` for the size, with everything periodic that it has.
pub fn config(size: usize) -> Config {
    Config::new_lan(NonZeroU32::new(size.max(2) as u32).expect("at least two"))
}

impl Rival {
    /// What was known is so again, and three members are asked, at places that depend on who asks.
    fn restore(&mut self, memory: Vec<Member<Id>>) {
        let known: Vec<Id> = memory.iter().map(|member| *member.id()).collect();
        let applied = memory.into_iter();
        self.core.apply_many(applied, false, &mut self.runtime).ok();
        let me = node(self.core.identity()) as usize;
        for turn in 0..3 {
            if let Some(to) = known.get((me * 7 + turn * 31 + 1) % known.len().max(1)) {
                self.core.announce(*to, &mut self.runtime).ok();
            }
        }
    }

    fn drain(&mut self, now: Micros, out: &mut Outbox) {
        while let Some((to, data)) = self.runtime.to_send() {
            out.sends.push((node(&to), data.to_vec()));
        }
        while let Some((after, timer)) = self.runtime.to_schedule() {
            let at = now + micros(after);
            self.timers.push(Due { at, timer });
        }
        while let Some(notification) = self.runtime.to_notify() {
            match notification {
                OwnedNotification::MemberUp(id) => {
                    out.seen.push((node(&id), Seen::Alive(id.life)));
                }
                OwnedNotification::MemberDown(id) => out.seen.push((node(&id), Seen::Gone)),
                OwnedNotification::Rename(_, new) => {
                    if self.core.iter_members().any(|member| *member.id() == new) {
                        out.seen.push((node(&new), Seen::Alive(new.life)));
                    }
                }
                _ => {}
            }
        }
    }
}

fn micros(duration: Duration) -> Micros {
    duration.as_micros() as Micros
}

impl Protocol for Rival {
    type Config = Config;
    type Memory = Vec<Member<Id>>;

    fn start(process: Process<'_, Self>, now: Micros, out: &mut Outbox) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(process.seed);
        let me = id(process.me, process.life);
        let mut rival = Self {
            core: Foca::new(me, process.config.clone(), rng, PostcardCodec),
            runtime: AccumulatingRuntime::new(),
            timers: BinaryHeap::new(),
        };
        rival.restore(process.memory.unwrap_or_default());
        rival.drain(now, out);
        rival
    }

    fn memory(&self) -> Self::Memory {
        self.core.iter_members().cloned().collect()
    }

    fn memory_of_all(me: Node, size: usize) -> Self::Memory {
        let others = (0..size as Node).filter(|n| *n != me);
        others.map(|n| Member::alive(id(n, 0))).collect()
    }

    fn join(&mut self, now: Micros, seed: Node, out: &mut Outbox) {
        self.core.announce(id(seed, 0), &mut self.runtime).ok();
        self.drain(now, out);
    }

    fn leave(&mut self, now: Micros, out: &mut Outbox) {
        self.core.leave_cluster(&mut self.runtime).ok();
        self.drain(now, out);
    }

    fn handle_message(&mut self, now: Micros, _from: Node, bytes: &[u8], out: &mut Outbox) {
        self.core.handle_data(bytes, &mut self.runtime).ok();
        self.drain(now, out);
    }

    fn handle_timers(&mut self, now: Micros, out: &mut Outbox) {
        while self.timers.peek().is_some_and(|due| due.at <= now) {
            if let Some(due) = self.timers.pop() {
                self.core.handle_timer(due.timer, &mut self.runtime).ok();
                self.drain(now, out);
            }
        }
    }

    fn next_timer(&self) -> Option<Micros> {
        self.timers.peek().map(|due| due.at)
    }

    fn for_each_alive(&self, mut f: impl FnMut(Node, u8)) {
        for member in self.core.iter_members() {
            f(node(member.id()), member.id().life);
        }
    }
}
