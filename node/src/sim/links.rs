//! Connections: dialled, lost, noticed late.

use std::time::Duration;

use meshwork_membership::NodeId;
use rand::RngExt;

use super::machine::Process;
use super::network::{IDLE_TIMEOUT, end, latency, pair};
use super::queue::{Event, Local, ms};
use super::world::Inner;

impl Inner {
    /// A node wants a connection to a peer.
    pub(crate) fn want(&mut self, machine: usize, peer: NodeId, addresses: Vec<String>) {
        if let Some(process) = &mut self.machines[machine].process {
            process.wanted.insert(peer, addresses);
        }
        self.dial_soon(machine, peer);
    }

    fn dial_soon(&mut self, machine: usize, peer: NodeId) {
        let run = self.machines[machine].run;
        let Some(process) = &mut self.machines[machine].process else {
            return;
        };
        if process.wanted.contains_key(&peer) && process.dialling.insert(peer) {
            let wait = ms(self.network_rng.random_range(1..50));
            let dial = Local::Dial { peer, failures: 0 };
            self.later_on(machine, run, wait, dial);
        }
    }

    pub(crate) fn dial(&mut self, machine: usize, peer: NodeId, failures: u32) {
        let run = self.machines[machine].run;
        let Some(process) = &mut self.machines[machine].process else {
            return;
        };
        let addresses = process.wanted.get(&peer).cloned();
        let found = self.machines.iter().position(|other| other.id == peer);
        let up = found.is_some_and(|found| self.network.up(machine, found).is_some());
        let (Some(addresses), Some(found), false) = (addresses, found, up) else {
            if let Some(process) = &mut self.machines[machine].process {
                process.dialling.remove(&peer);
            }
            return;
        };
        let other = &self.machines[found];
        let there = addresses.contains(&other.address) && !other.is_frozen();
        if let Some(other_run) = other.running().filter(|_| there)
            && self.network.is_open(machine, found)
        {
            let way = [machine, found].map(|n| &self.machines[n].distance);
            let round_trip = 3 * latency(&mut self.network_rng, way);
            let ends = [(machine, run), (found, other_run)];
            self.queue
                .push(self.now + round_trip, Event::Connect { ends });
        } else {
            let backoff = Process::backoff(failures);
            let wait = backoff.mul_f64(self.network_rng.random_range(0.5..1.0));
            let failures = failures + 1;
            self.later_on(machine, run, wait, Local::Dial { peer, failures });
        }
    }

    /// A dial of the first end has come through, unless something came between.
    pub(crate) fn connect(&mut self, [(a, a_run), (b, b_run)]: [(usize, u64); 2]) {
        let (a_id, b_id) = (self.machines[a].id, self.machines[b].id);
        if self.machines[a].running() == Some(a_run)
            && let Some(process) = &mut self.machines[a].process
        {
            process.dialling.remove(&b_id);
        }
        let there = |machine: usize, run| {
            let machine = &self.machines[machine];
            machine.running() == Some(run) && !machine.is_frozen()
        };
        if !there(a, a_run) || !there(b, b_run) || !self.network.is_open(a, b) {
            return self.dial_soon(a, b_id);
        }
        if self.network.up(a, b).is_some() && self.network.up(b, a).is_some() {
            return;
        }
        // What is left of an old connection gives way.
        if let Some(old) = self.network.link(a, b).map(|link| link.id) {
            self.lose(a, b, old);
            self.lose(b, a, old);
        }
        self.network.links.remove(&pair(a, b));
        self.network.connect(a, b);
        self.note(format_args!("n{a} and n{b} are connected"));
        let now = self.now;
        self.on(a, |process| process.node.handle_connected(now, b_id));
        self.on(b, |process| process.node.handle_connected(now, a_id));
    }

    /// One end takes a link for lost.
    pub(crate) fn lose(&mut self, machine: usize, peer: usize, id: u64) {
        let Some(link) = self.network.links.get_mut(&pair(machine, peer)) else {
            return;
        };
        let own = end(machine, peer);
        if link.id != id || !link.up[own] {
            return;
        }
        link.up[own] = false;
        if link.is_gone() {
            self.network.links.remove(&pair(machine, peer));
        }
        let (now, peer_id) = (self.now, self.machines[peer].id);
        self.note(format_args!("n{machine} has lost n{peer}"));
        self.on(machine, |process| {
            process.node.handle_disconnected(now, peer_id);
        });
        self.dial_soon(machine, peer_id);
    }

    fn links_of(&self, machine: usize) -> Vec<(usize, u64)> {
        let links = self.network.links.iter();
        links
            .filter(|((a, b), _)| *a == machine || *b == machine)
            .map(|((a, b), link)| (if *a == machine { *b } else { *a }, link.id))
            .collect()
    }

    fn lose_later(&mut self, machine: usize, peer: usize, link: u64, after: Duration) {
        let jitter = Duration::from_micros(self.network_rng.random_range(0..1_000_000));
        let run = self.machines[machine].run;
        let lost = Local::LinkLost { peer, link };
        self.later_on(machine, run, after + jitter, lost);
    }

    /// The process is gone; its peers notice after a while.
    pub(crate) fn lose_links_of(&mut self, machine: usize, after: Duration) {
        for (peer, id) in self.links_of(machine) {
            if let Some(link) = self.network.links.get_mut(&pair(machine, peer)) {
                link.dead = true;
                link.up[end(machine, peer)] = false;
                if link.is_gone() {
                    self.network.links.remove(&pair(machine, peer));
                    continue;
                }
            }
            self.lose_later(peer, machine, id, after);
        }
    }

    /// The process answers nothing from now on, or answers again.
    pub(crate) fn hear_of(&mut self, machine: usize) {
        for (peer, _) in self.links_of(machine) {
            self.path_changed(machine, peer);
        }
    }

    /// Frames from one machine to another get lost from now on.
    pub(crate) fn block(&mut self, from: usize, to: usize) {
        let was_open = self.network.is_open(from, to);
        self.network.block(from, to);
        if was_open {
            self.path_changed(from, to);
        }
    }

    pub(crate) fn unblock(&mut self, from: usize, to: usize) {
        self.network.unblock(from, to);
        if self.network.reaches(from, to) {
            self.path_changed(from, to);
        }
    }

    pub(crate) fn unblock_all(&mut self) {
        self.network.unblock_all();
        for (a, b) in self.network.links.keys().copied().collect::<Vec<_>>() {
            self.path_changed(a, b);
        }
    }

    fn path_changed(&mut self, a: usize, b: usize) {
        let frozen = [a, b].iter().any(|end| self.machines[*end].is_frozen());
        let silent = frozen || !self.network.is_open(a, b);
        let Some(link) = self.network.links.get_mut(&pair(a, b)) else {
            return;
        };
        if link.silent != silent {
            link.silent = silent;
            link.silence += 1;
            let (link, silence) = (link.id, link.silence);
            if silent {
                let silent = Event::LinkSilent {
                    pair: pair(a, b),
                    link,
                    silence,
                };
                self.queue.push(self.now + IDLE_TIMEOUT, silent);
            }
        }
        for carried in self.network.take_stalled(a, b) {
            self.give_to_network(carried);
        }
    }

    pub(crate) fn link_silent(&mut self, (a, b): (usize, usize), id: u64, silence: u64) {
        let Some(link) = self.network.link(a, b) else {
            return;
        };
        if link.id == id && link.silence == silence {
            self.lose_later(a, b, id, Duration::ZERO);
            self.lose_later(b, a, id, Duration::ZERO);
        }
    }

    /// A machine is at another address from now on: its links are dead, and its node says so to whom it reaches.
    pub(crate) fn move_address(&mut self, machine: usize, address: String) {
        self.note(format_args!("n{machine} moves to {address}"));
        self.machines[machine].address.clone_from(&address);
        for (peer, id) in self.links_of(machine) {
            if let Some(link) = self.network.links.get_mut(&pair(machine, peer)) {
                link.dead = true;
            }
            self.lose_later(machine, peer, id, ms(100));
            self.lose_later(peer, machine, id, IDLE_TIMEOUT);
        }
        let now = self.now;
        self.on(machine, |process| {
            let mut meta = process.node.meta().clone();
            meta.addresses = vec![address];
            let kept = process.node.set_meta(now, meta);
            debug_assert!(kept.is_ok(), "an address breaks no limit");
        });
    }
}
