//! The smallest useful embedded node: a sensor that counts, whether or not anybody can be reached.
//!
//! Run it with `cargo run --example embed_edge`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use meshwork::Mesh;
use meshwork::setup::{SetupOptions, found};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    found(folder.path(), "greenhouse", &SetupOptions::default())?;
    let mesh = Mesh::builder(folder.path())
        .listen("127.0.0.1:0".parse()?)
        .start()
        .await?;

    let sensors = mesh.namespace("sensors")?;
    sensors.counter("door-openings").add(1).await?;
    sensors.register("temperature").put("21.5").await?;
    println!(
        "door openings: {}",
        sensors.counter("door-openings").get().await?
    );

    mesh.stop().await;
    Ok(())
}
