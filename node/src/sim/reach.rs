//! How the clients of a proof reach the node on a machine, whichever process is there at the time.

use std::time::Duration;

use super::workload::{Host, MeshClient};
use super::world::World;
use crate::Mesh;

/// One machine of a world, over all lives of its process.
#[derive(Debug)]
pub(crate) struct Reach {
    world: World,
    machine: usize,
}

impl Reach {
    pub(crate) fn new(world: &World, machine: usize) -> Self {
        let world = world.clone();
        Self { world, machine }
    }

    /// A client of the node on a machine.
    pub(crate) fn client(world: &World, machine: usize) -> MeshClient<Self> {
        MeshClient::new(Self::new(world, machine))
    }
}

impl Host for Reach {
    fn mesh(&self) -> Option<Mesh> {
        self.world.mesh(self.machine)
    }

    async fn sleep(&self, time: Duration) {
        self.world.sleep(time).await;
    }

    fn now(&self) -> Duration {
        self.world.now()
    }
}
