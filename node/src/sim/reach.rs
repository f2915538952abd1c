//! How the clients of a proof reach the node on a machine, whichever process is there at the time.

use std::time::Duration;

use meshwork_crdt::{Dot, Object, Op};
use meshwork_sync::Key;

use super::workload::{Client, Clock, Failure, MeshClient};
use super::world::World;
use crate::Options;

/// A client of the node on one machine, over all lives of its process.
#[derive(Debug)]
pub(crate) struct Reach {
    machine: usize,
    world: World,
    client: MeshClient<World>,
}

impl Reach {
    pub(crate) fn new(world: &World, machine: usize) -> Self {
        Self {
            machine,
            world: world.clone(),
            client: MeshClient::new(world.clone()),
        }
    }

    fn client(&self) -> &MeshClient<World> {
        self.client.set_mesh(self.world.mesh(self.machine));
        &self.client
    }
}

impl Client for Reach {
    async fn write(&self, key: &Key, op: Op, options: Options) -> Result<Option<Dot>, Failure> {
        self.client().write(key, op, options).await
    }

    async fn object(&self, key: &Key, options: Options) -> Result<Object, Failure> {
        self.client().object(key, options).await
    }

    async fn sleep(&self, time: Duration) {
        self.world.sleep(time).await;
    }

    fn now(&self) -> Duration {
        self.world.now()
    }
}

impl Clock for World {
    async fn sleep(&self, time: Duration) {
        Self::sleep(self, time).await;
    }

    fn now(&self) -> Duration {
        Self::now(self)
    }
}
