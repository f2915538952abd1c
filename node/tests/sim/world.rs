//! What an application can rely on in a simulated world.

use std::time::Duration;

use meshwork::sim::{Setup, Simulation, Violation, World};
use meshwork::{Options, RequestError};
use meshwork_sync::Level;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn running(world: &World) {
    (0..world.machines()).for_each(|machine| world.start(machine));
    world.sleep(secs(10)).await;
}

async fn add(world: &World, machine: usize) {
    let stats = world.mesh(machine).unwrap().namespace("stats").unwrap();
    stats.counter("visits").add(1).await.unwrap();
}

async fn visits(world: &World, machine: usize) -> i128 {
    let stats = world.mesh(machine).unwrap().namespace("stats").unwrap();
    let here = stats.with(Options::level(Level::Local));
    here.counter("visits").get().await.unwrap()
}

#[test]
fn both_sides_of_a_split_write_and_have_both_afterwards() {
    let simulation = Simulation::new(Setup::lan(7, 3));
    let (apart, together) = simulation
        .run(|world| async move {
            running(&world).await;
            world.split(&[&[0], &[1, 2]]);
            add(&world, 0).await;
            add(&world, 2).await;
            world.sleep(secs(30)).await;
            let apart = [visits(&world, 0).await, visits(&world, 1).await];
            world.heal();
            world.sleep(secs(60)).await;
            (apart, [visits(&world, 0).await, visits(&world, 1).await])
        })
        .unwrap();
    assert_eq!((apart, together), ([1, 1], [2, 2]));
}

#[test]
fn a_killed_node_answers_nothing_and_comes_back_with_what_it_acknowledged() {
    let simulation = Simulation::new(Setup::lan(8, 1));
    simulation
        .run(|world| async move {
            running(&world).await;
            let before = world.mesh(0).unwrap();
            add(&world, 0).await;
            world.kill(0);
            assert!(world.mesh(0).is_none());
            let stats = before.namespace("stats").unwrap();
            let gone = stats.counter("visits").get().await.unwrap_err();
            assert!(
                gone.to_string()
                    .contains(&RequestError::<std::fmt::Error>::Stopped.to_string())
            );
            world.start(0);
            assert_eq!(visits(&world, 0).await, 1);
        })
        .unwrap();
}

#[test]
fn a_frozen_node_answers_once_it_goes_on() {
    let simulation = Simulation::new(Setup::lan(9, 1));
    let waited = simulation
        .run(|world| async move {
            running(&world).await;
            world.pause(0, secs(40));
            let begun = world.now();
            assert_eq!(visits(&world, 0).await, 0);
            world.now() - begun
        })
        .unwrap();
    assert_eq!(waited, secs(40));
}

#[test]
fn a_node_that_leaves_hands_over_all_it_has() {
    let simulation = Simulation::new(Setup::lan(10, 4));
    let (handed_over, left) = simulation
        .run(|world| async move {
            running(&world).await;
            for machine in 0..4 {
                add(&world, machine).await;
            }
            let handed_over = world.mesh(3).unwrap().leave(secs(30)).await;
            world.sleep(secs(5)).await;
            assert!(world.mesh(3).is_none());
            (handed_over, visits(&world, 0).await)
        })
        .unwrap();
    assert_eq!((handed_over, left), (Some(true), 4));
}

#[test]
fn an_application_that_waits_for_nothing_is_told_so() {
    let simulation = Simulation::new(Setup::lan(11, 1));
    let ran = simulation.run(|_| std::future::pending::<()>());
    assert!(matches!(ran, Err(Violation::Unanswered { .. })));
}

#[test]
fn tasks_run_beside_each_other_in_virtual_time() {
    let simulation = Simulation::new(Setup::lan(12, 0));
    let began = std::time::Instant::now();
    let order = simulation
        .run(|world| async move {
            let order = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
            for seconds in [30, 10, 20] {
                let (world, order) = (world.clone(), std::rc::Rc::clone(&order));
                world.clone().spawn(async move {
                    world.sleep(secs(seconds)).await;
                    order.borrow_mut().push(seconds);
                });
            }
            world.sleep(secs(86_400)).await;
            order.take()
        })
        .unwrap();
    assert_eq!(order, [10, 20, 30]);
    assert!(began.elapsed() < secs(10), "a day takes no day");
}
