//! `meshwork-membership`.

use core::time::Duration;

use meshwork_membership::{
    Config, Event, Membership, Meta, NodeId, Output, Remembered, State, Time,
};

use crate::protocol::{Micros, Node, Outbox, Process, Protocol, Seen};

pub struct Ours {
    core: Membership,
}

/// Our core with memberlist's published LAN defaults: not memberlist, but our algorithm at its timings.
pub fn memberlist_timings() -> Config {
    Config {
        // SuspicionMult 4: 4 s times the decimal logarithm of the size, 8.4 s for 128.
        suspicion_per_doubling: Duration::from_millis(1_053),
        // RetransmitMult 4: 9 times for 128. Ours are 16, of which half are heard from others and not sent.
        retransmit_multiplier: 2,
        suspicion_stretch: 6,
        confirmations: 2,
        push_pull_period: Duration::from_secs(30),
        ..Config::lan()
    }
}

fn id(n: Node) -> NodeId {
    let mut bytes = [0x5a; 32];
    let mixed = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bytes[..8].copy_from_slice(&mixed.to_be_bytes());
    bytes[28..].copy_from_slice(&n.to_be_bytes());
    NodeId::from_bytes(bytes)
}

fn node(id: NodeId) -> Node {
    let bytes = id.as_bytes();
    u32::from_be_bytes([bytes[28], bytes[29], bytes[30], bytes[31]])
}

/// About what a node of a real mesh says about itself: 80 bytes.
fn meta(n: Node, life: u8) -> Meta {
    Meta {
        name: format!("node-{n}"),
        addresses: vec![format!(
            "/ip4/10.0.{}.{}/udp/4001/quic-v1",
            n / 250,
            n % 250
        )],
        zone: format!("zone-{}", n % 3),
        weight: 64,
        wire_min: 1,
        wire_max: 1,
        instance: (u64::from(n) << 40) | (1 << 39) | u64::from(life),
        replica: u64::from(n).to_le_bytes(),
        ..Meta::default()
    }
}

fn life_of(meta: &Meta) -> u8 {
    (meta.instance & 0xff) as u8
}

impl Ours {
    fn drain(&mut self, out: &mut Outbox) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send { to, message } => out.sends.push((node(to), message)),
                Output::Event(event) => self.note(event, out),
                _ => {}
            }
        }
    }

    fn note(&self, event: Event, out: &mut Outbox) {
        match event {
            Event::Joined(id) | Event::Changed(id) | Event::Recovered(id) => {
                if let Some(member) = self.core.member(id)
                    && member.state.is_live()
                {
                    let seen = Seen::Alive(life_of(&member.meta));
                    out.seen.push((node(id), seen));
                }
            }
            Event::Suspected(id) => out.seen.push((node(id), Seen::Suspect)),
            Event::Down(id) | Event::Left(id) | Event::Expired(id) => {
                out.seen.push((node(id), Seen::Gone));
            }
            _ => {}
        }
    }
}

impl Protocol for Ours {
    type Config = Config;
    type Memory = (u64, Vec<Remembered>);

    fn start(process: Process<'_, Self>, now: Micros, out: &mut Outbox) -> Self {
        let Process {
            config, me, life, ..
        } = process;
        let (floor, memory) = process.memory.unwrap_or_default();
        let core = Membership::new(
            id(me),
            meta(me, life),
            floor,
            config.clone(),
            process.seed,
            Time(now),
        );
        let mut ours = Self {
            core: core.expect("the metadata keeps the limits"),
        };
        ours.core.restore(Time(now), memory);
        ours.drain(out);
        ours
    }

    fn memory(&self) -> Self::Memory {
        let entry = |member: &meshwork_membership::Member| Remembered {
            id: member.id,
            incarnation: member.incarnation,
            state: if member.state.is_live() {
                State::Alive
            } else {
                member.state
            },
            gone_for: Duration::ZERO,
            meta: member.meta.clone(),
        };
        (
            self.core.me().incarnation + 1,
            self.core.members().map(entry).collect(),
        )
    }

    fn memory_of_all(me: Node, size: usize) -> Self::Memory {
        let others = (0..size as Node).filter(|n| *n != me);
        let entry = |n| Remembered {
            id: id(n),
            incarnation: 0,
            state: State::Alive,
            gone_for: Duration::ZERO,
            meta: meta(n, 0),
        };
        (0, others.map(entry).collect())
    }

    fn join(&mut self, now: Micros, seed: Node, out: &mut Outbox) {
        self.core.join(Time(now), id(seed));
        self.drain(out);
    }

    fn leave(&mut self, now: Micros, out: &mut Outbox) {
        self.core.leave(Time(now));
        self.drain(out);
    }

    fn handle_message(&mut self, now: Micros, from: Node, bytes: &[u8], out: &mut Outbox) {
        // Refusals are part of life: late acks, requests that come too soon.
        self.core.handle_message(Time(now), id(from), bytes).ok();
        self.drain(out);
    }

    fn handle_timers(&mut self, now: Micros, out: &mut Outbox) {
        self.core.handle_timeout(Time(now));
        self.drain(out);
    }

    fn next_timer(&self) -> Option<Micros> {
        self.core.poll_timeout().map(|at| at.0)
    }

    fn for_each_alive(&self, mut f: impl FnMut(Node, u8)) {
        for member in self.core.members().filter(|member| member.state.is_live()) {
            f(node(member.id), life_of(&member.meta));
        }
    }
}
