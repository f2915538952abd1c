//! Finds a bug of an application before its users do: seeded meshes, in which the link breaks while tickets are sold.
//!
//! Two box offices sell the same 20 seats. Whoever asks first how many are left, and then sells, oversells as soon as the offices do
//! not reach each other. With a bounded counter each office sells what it has the rights to, and never more.
//!
//! Run it with `cargo run --example simulate_app`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use meshwork::sim::{Setup, Simulation, World};
use meshwork::{Mesh, Options};
use meshwork_sync::Level;

/// Seats in the hall.
const SEATS: u64 = 20;
const SEEDS: u64 = 50;

fn main() -> anyhow::Result<()> {
    for (name, office) in [
        ("ask, then sell", Office::Asks),
        ("with rights", Office::HasRights),
    ] {
        let failed = (1..=SEEDS).find_map(|seed| {
            let sold = evening(seed, office);
            (sold > SEATS).then_some((seed, sold))
        });
        match failed {
            Some((seed, sold)) => println!("{name}: seed {seed} sold {sold} of {SEATS} seats"),
            None => println!("{name}: {SEEDS} evenings, never more than {SEATS} seats sold"),
        }
    }
    Ok(())
}

/// How an office sells.
#[derive(Clone, Copy)]
enum Office {
    Asks,
    HasRights,
}

/// One evening in a simulated mesh of three nodes; says how many seats were sold. A seed is always the same evening.
fn evening(seed: u64, office: Office) -> u64 {
    let simulation = Simulation::new(Setup::lan(seed, 3));
    let sold = simulation.run(move |world| async move {
        (0..3).for_each(|machine| world.start(machine));
        world.sleep(Duration::from_secs(10)).await;
        let offices = [world.mesh(0)?, world.mesh(1)?];
        offices[0].seats().add(SEATS).await.ok()?;
        let half = SEATS / 2;
        let other = offices[1].replica();
        offices[0].seats().give_rights(other, half).await.ok()?;

        // The link breaks at some time, and comes back.
        let (breaks, back) = (world.random() % 20, world.random() % 20);
        let network = world.clone();
        world.spawn(async move {
            network.sleep(Duration::from_secs(breaks)).await;
            network.split(&[&[0, 2], &[1]]);
            network.sleep(Duration::from_secs(back)).await;
            network.heal();
        });
        let mut sold = 0;
        for _ in 0..SEATS {
            for mesh in &offices {
                sold += u64::from(mesh.sell(office).await);
            }
            customer(&world).await;
        }
        Some(sold)
    });
    // Nothing but a broken promise of Meshwork ends a simulation early.
    sold.expect("the mesh keeps its promises").unwrap_or(0)
}

/// The next customer comes after a second or two.
async fn customer(world: &World) {
    let pause = 1_000 + world.random() % 1_000;
    world.sleep(Duration::from_millis(pause)).await;
}

/// What a box office does with its node: the same code as on a real one.
trait Sells {
    fn seats(&self) -> meshwork::BoundedCounter;
    async fn sell(&self, office: Office) -> bool;
}

impl Sells for Mesh {
    fn seats(&self) -> meshwork::BoundedCounter {
        let here = Options::level(Level::Local);
        let hall = self.namespace("hall").expect("a valid name").with(here);
        hall.bounded_counter("seats")
    }

    /// Says whether the customer has got a seat.
    async fn sell(&self, office: Office) -> bool {
        match office {
            Office::HasRights => self.seats().take(1).await.is_ok(),
            Office::Asks => {
                let here = Options::level(Level::Local);
                let hall = self.namespace("hall").expect("a valid name").with(here);
                let sold = hall.counter("sold");
                let left = sold.get().await.is_ok_and(|sold| sold < i128::from(SEATS));
                left && sold.add(1).await.is_ok()
            }
        }
    }
}
