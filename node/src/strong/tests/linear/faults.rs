//! What happens to a group and those who ask it: one fault after another, each for a while.

use std::ops::RangeInclusive;

use rand::RngExt;

use super::Run;
use crate::strong::tests::net::ms;

#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// The next one is chosen.
    Strike,
    Crash(usize),
    Start(usize),
    Split(Vec<Vec<usize>>),
    Heal,
    /// All frames from one to another are lost, in this direction only.
    Mute(usize, usize),
    Unmute,
    Freeze(usize),
    Thaw(usize),
    Loss(u32),
    Full(usize),
    Room(usize),
}

impl Run {
    fn plan(&mut self, after: RangeInclusive<u64>, fault: Fault) {
        let at = self.net.now + ms(self.rng.random_range(after));
        let n = self.tick();
        self.faults.insert((at, n), fault);
    }

    fn any_node(&mut self) -> usize {
        let leader = self.net.leader().filter(|_| self.rng.random_ratio(2, 5));
        leader.unwrap_or_else(|| self.rng.random_range(0..self.net.hosts.len()))
    }

    /// Chooses a fault, when it ends, and when the next one comes.
    fn strike(&mut self) {
        let node = self.any_node();
        match self.rng.random_range(0..100) {
            0..15 => {
                self.happen(Fault::Crash(node));
                self.plan(200..=8_000, Fault::Start(node));
            }
            // As quick as a service manager, and some times over.
            15..27 => {
                self.happen(Fault::Crash(node));
                self.plan(0..=20, Fault::Start(node));
                self.plan(20..=150, Fault::Crash(node));
                self.plan(150..=170, Fault::Start(node));
            }
            27..30 => {
                for n in 0..self.net.hosts.len() {
                    self.happen(Fault::Crash(n));
                    self.plan(0..=1_000, Fault::Start(n));
                }
            }
            // The leader reaches nobody but one that asks it, restarts, and asks again.
            30..36 => {
                let leader = self.net.leader().unwrap_or(node);
                let other = self.rng.random_range(0..self.net.hosts.len());
                let rest = (0..self.net.hosts.len()).filter(|n| *n != leader && *n != other);
                let rest = rest.collect();
                self.happen(Fault::Split(vec![vec![leader, other], rest]));
                self.happen(Fault::Crash(other));
                self.plan(0..=20, Fault::Start(other));
                self.plan(30..=200, Fault::Crash(other));
                self.plan(200..=220, Fault::Start(other));
                self.plan(220..=900, Fault::Heal);
            }
            36..58 => {
                let sides = self.choose_sides();
                self.happen(Fault::Split(sides));
                self.plan(300..=6_000, Fault::Heal);
            }
            58..66 => {
                let other = self.rng.random_range(0..self.net.hosts.len());
                self.happen(Fault::Mute(node, other));
                self.plan(300..=5_000, Fault::Unmute);
            }
            66..80 => {
                self.happen(Fault::Freeze(node));
                self.plan(1_000..=5_000, Fault::Thaw(node));
            }
            80..90 => {
                let loss = self.rng.random_range(1..=100);
                self.happen(Fault::Loss(loss));
                self.plan(1_000..=8_000, Fault::Loss(0));
            }
            _ => {
                self.happen(Fault::Full(node));
                self.plan(200..=4_000, Fault::Room(node));
            }
        }
        self.plan(50..=2_500, Fault::Strike);
    }

    /// Who can talk to whom: one node alone, the leader in a minority, any two sides, or two that only one node reaches both of.
    fn choose_sides(&mut self) -> Vec<Vec<usize>> {
        let count = self.net.hosts.len();
        let node = self.any_node();
        let mut others: Vec<usize> = (0..count).filter(|n| *n != node).collect();
        for n in (1..others.len()).rev() {
            let other = self.rng.random_range(0..=n);
            others.swap(n, other);
        }
        let far = match self.rng.random_range(0..3) {
            0 => others.len(),
            1 => count / 2 + 1,
            _ => self.rng.random_range(1..count),
        };
        let mut near = others.split_off(far.min(others.len()));
        if self.rng.random_ratio(1, 5) {
            others.push(node);
        }
        near.push(node);
        vec![near, others]
    }

    pub(super) fn happen(&mut self, fault: Fault) {
        match fault {
            Fault::Strike => self.strike(),
            Fault::Crash(n) => self.crash(n),
            Fault::Start(n) => self.start(n),
            Fault::Split(sides) => {
                self.sides = Some(sides);
                self.split();
            }
            Fault::Heal => {
                self.sides = None;
                self.net.heal();
            }
            Fault::Mute(from, to) => drop(self.net.muted.insert((from, to))),
            Fault::Unmute => self.net.muted.clear(),
            Fault::Freeze(n) => {
                self.net.hosts[n].frozen = self.net.hosts[n].strong.is_some();
                let asked = self.clients.iter_mut().filter(|client| client.node == n);
                for (_, asked) in asked.filter_map(|client| client.asked.as_mut()) {
                    asked.excused = true;
                }
            }
            Fault::Thaw(n) => self.net.hosts[n].frozen = false,
            Fault::Loss(loss) => self.net.loss = loss,
            Fault::Full(n) => self.net.hosts[n].full = true,
            Fault::Room(n) => self.net.hosts[n].full = false,
        }
    }

    fn crash(&mut self, n: usize) {
        if self.net.hosts[n].strong.is_none() {
            return;
        }
        self.net.crash(n);
        self.net.hosts[n].frozen = false;
        for client in 0..self.clients.len() {
            if self.clients[client].node == n
                && let Some((_, asked)) = self.clients[client].asked.take()
            {
                self.note(&asked, None);
            }
        }
    }

    fn start(&mut self, n: usize) {
        if self.net.hosts[n].strong.is_none() {
            self.net.start(n);
            self.split();
        }
    }

    fn split(&mut self) {
        if let Some(sides) = &self.sides {
            let sides: Vec<&[usize]> = sides.iter().map(Vec::as_slice).collect();
            self.net.split(&sides);
        }
    }
}
