//! Two nodes edit one note while they cannot reach each other, then meet.
//!
//! Run it with `cargo run --example offline_notes`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use anyhow::{Context, ensure};
use meshwork::setup::{self, SetupOptions};
use meshwork::{Mesh, Options};
use meshwork_sync::Level;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // A laptop founds the mesh, a phone joins it with a ticket.
    let (laptop_folder, phone_folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    setup::found(laptop_folder.path(), "home", &options("laptop")?)?;
    let laptop = Mesh::builder(laptop_folder.path()).start().await?;
    let ticket = invite(&laptop).await?;
    let patience = Duration::from_secs(10);
    setup::join(phone_folder.path(), &ticket, &options("phone")?, patience).await?;
    let phone = Mesh::builder(phone_folder.path()).start().await?;

    let here = Options::level(Level::Local);
    let on_laptop = laptop.namespace("notes")?.with(here).document("shopping");
    let on_phone = phone.namespace("notes")?.with(here).document("shopping");
    on_laptop
        .edit(|text| text.splice(0, 0, "milk\nbread\n"))
        .await?;
    wait_for("the phone has the note", || async {
        Ok(on_phone.text().await?.as_deref() == Some("milk\nbread\n"))
    })
    .await?;

    println!("the link is cut; both go on writing");
    laptop.cut([phone.id()]);
    phone.cut([laptop.id()]);
    on_laptop.edit(|text| text.splice(0, 0, "butter\n")).await?;
    on_phone
        .edit(|text| text.splice(text.len(), 0, "apples\n"))
        .await?;
    println!("laptop: {:?}", on_laptop.text().await?.unwrap_or_default());
    println!("phone:  {:?}", on_phone.text().await?.unwrap_or_default());

    println!("the link is back");
    laptop.cut([]);
    phone.cut([]);
    let merged = "butter\nmilk\nbread\napples\n";
    for note in [&on_laptop, &on_phone] {
        wait_for("both hold both edits", || async {
            Ok(note.text().await?.as_deref() == Some(merged))
        })
        .await?;
    }
    println!("both:   {merged:?}");
    phone.stop().await;
    laptop.stop().await;
    Ok(())
}

fn options(name: &str) -> anyhow::Result<SetupOptions> {
    Ok(SetupOptions {
        name: Some(name.into()),
        listen: Some("127.0.0.1:0".parse()?),
        http: Some("127.0.0.1:0".parse()?),
        ..SetupOptions::default()
    })
}

/// A ticket needs an address, and the system takes a moment to say which it is.
async fn invite(mesh: &Mesh) -> anyhow::Result<meshwork::admission::Ticket> {
    wait_for("the node listens", || async {
        Ok(!mesh.addresses().is_empty())
    })
    .await?;
    mesh.invite(Duration::from_secs(60))
        .await
        .context("no ticket")
}

/// Looks again and again until `condition` holds, for at most 20 s.
async fn wait_for<F>(what: &str, mut condition: impl FnMut() -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<bool>>,
{
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition().await? {
        ensure!(
            tokio::time::Instant::now() < deadline,
            "not within 20 s: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
