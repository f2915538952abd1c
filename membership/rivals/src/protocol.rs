//! What a membership protocol must be able to do to be measured.

/// Microseconds of virtual time.
pub type Micros = u64;

/// The world's name for a member: 0, 1, 2...
pub type Node = u32;

/// What a member finds out about another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It is alive, in its n-th life.
    Alive(u8),
    /// It is suspected; still a member.
    Suspect,
    /// It is dead, or has left.
    Gone,
}

/// What a call on a member led to.
#[derive(Debug, Default)]
pub struct Outbox {
    pub sends: Vec<(Node, Vec<u8>)>,
    pub seen: Vec<(Node, Seen)>,
}

/// What a process starts from.
#[derive(Debug)]
pub struct Process<'a, P: Protocol> {
    pub config: &'a P::Config,
    pub me: Node,
    /// How often it was started before.
    pub life: u8,
    pub seed: u64,
    pub memory: Option<P::Memory>,
}

/// One member's core.
pub trait Protocol: Sized {
    /// Settings, the same for all members.
    type Config: Clone;
    /// What a member keeps on disk.
    type Memory;

    /// A process starts with what its disk holds.
    fn start(process: Process<'_, Self>, now: Micros, out: &mut Outbox) -> Self;
    /// What its disk would hold now.
    fn memory(&self) -> Self::Memory;
    /// What a disk holds that knows the first `size` members, all in their first life.
    fn memory_of_all(me: Node, size: usize) -> Self::Memory;
    /// Joins through one member.
    fn join(&mut self, now: Micros, seed: Node, out: &mut Outbox);
    /// Says goodbye.
    fn leave(&mut self, now: Micros, out: &mut Outbox);
    fn handle_message(&mut self, now: Micros, from: Node, bytes: &[u8], out: &mut Outbox);
    fn handle_timers(&mut self, now: Micros, out: &mut Outbox);
    fn next_timer(&self) -> Option<Micros>;
    /// Calls `f` for each other member that it holds for alive.
    fn for_each_alive(&self, f: impl FnMut(Node, u8));
}
