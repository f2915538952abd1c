//! A mesh of ten thousand in which a few members are whole, and the others do only what a whole one notices at rest: they
//! ping a random member once a second and answer pings. Ten thousand whole lists of ten thousand do not fit into memory.

use meshwork_membership::{Config, Message, Purpose};

use crate::ours::Ours;
use crate::protocol::{Micros, Node, Outbox, Process, Protocol};
use crate::world::SECOND;

/// So many members are whole.
pub const WHOLE: usize = 200;

pub enum Crowd {
    Whole(Box<Ours>),
    Extra {
        random: u64,
        size: u64,
        next: Micros,
    },
}

/// The settings, and how many members there are.
pub type CrowdConfig = (Config, usize);

impl Protocol for Crowd {
    type Config = CrowdConfig;
    type Memory = <Ours as Protocol>::Memory;

    fn start(process: Process<'_, Self>, now: Micros, out: &mut Outbox) -> Self {
        let (config, size) = process.config;
        let Process { me, life, seed, .. } = process;
        if me as usize >= WHOLE {
            return Self::Extra {
                random: seed | 1,
                size: *size as u64,
                next: now + seed % SECOND,
            };
        }
        let memory = process.memory;
        let whole = Process {
            config,
            me,
            life,
            seed,
            memory,
        };
        Self::Whole(Box::new(Ours::start(whole, now, out)))
    }

    fn memory(&self) -> Self::Memory {
        Default::default()
    }

    fn memory_of_all(me: Node, size: usize) -> Self::Memory {
        if (me as usize) < WHOLE {
            Ours::memory_of_all(me, size)
        } else {
            Default::default()
        }
    }

    fn join(&mut self, _now: Micros, _seed: Node, _out: &mut Outbox) {}

    fn leave(&mut self, _now: Micros, _out: &mut Outbox) {}

    fn handle_message(&mut self, now: Micros, from: Node, bytes: &[u8], out: &mut Outbox) {
        match self {
            Self::Whole(core) => core.handle_message(now, from, bytes, out),
            Self::Extra { .. } => {
                let purpose = match Message::decode(bytes).map(|message| message.purpose) {
                    Ok(Purpose::Ping { sequence }) => Purpose::Ack {
                        sequence,
                        coordinate: None,
                    },
                    Ok(Purpose::ExchangeAsk { .. }) => Purpose::ExchangeAnswer,
                    _ => return,
                };
                let claims = Vec::new();
                out.sends.push((from, Message { purpose, claims }.encode()));
            }
        }
    }

    fn handle_timers(&mut self, now: Micros, out: &mut Outbox) {
        match self {
            Self::Whole(core) => core.handle_timers(now, out),
            Self::Extra { random, size, next } => {
                *next += SECOND;
                *random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let to = ((*random >> 33) % *size) as Node;
                // What is sent among those that are not whole nobody counts.
                if (to as usize) < WHOLE {
                    let purpose = Purpose::Ping {
                        sequence: *random >> 50,
                    };
                    let claims = Vec::new();
                    out.sends.push((to, Message { purpose, claims }.encode()));
                }
            }
        }
    }

    fn next_timer(&self) -> Option<Micros> {
        match self {
            Self::Whole(core) => core.next_timer(),
            Self::Extra { next, .. } => Some(*next),
        }
    }

    fn for_each_alive(&self, f: impl FnMut(Node, u8)) {
        if let Self::Whole(core) = self {
            core.for_each_alive(f);
        }
    }
}
