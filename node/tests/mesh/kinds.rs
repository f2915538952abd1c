//! Values of every kind, from node to node.

use std::collections::BTreeSet;

use meshwork::{Mesh, Namespace, Options, RequestError, ValueError};
use meshwork_crdt::{ApplyOp, EditSequence, Kind, Merges, NoRights, Op, Text};
use meshwork_sync::{Level, WriteError};

use crate::members::{Member, key, mesh_of, quick, until};

/// What is acknowledged at the level of all is there on whichever node writes next.
fn namespace(mesh: &Mesh) -> Namespace {
    let all = Options::level(Level::All);
    mesh.namespace("kinds").unwrap().with(all)
}

fn refused<T>(result: Result<T, ValueError>) -> ApplyOp {
    match result {
        Err(ValueError::Write(RequestError::Refused(WriteError::Apply(refusal)))) => refusal,
        Err(other) => panic!("failed otherwise: {other}"),
        Ok(_) => panic!("not refused"),
    }
}

fn bytes<const N: usize>(texts: [&str; N]) -> BTreeSet<Vec<u8>> {
    texts.map(|text| text.as_bytes().to_vec()).into()
}

async fn stop(members: Vec<Member>) {
    for member in members {
        member.mesh.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_writes_as_any_kind_another_reads() {
    let members = mesh_of(3).await;
    let [writer, reader] = [0, 1].map(|n| namespace(&members[n].mesh));

    writer.dw_flag("dw-flag").enable().await.unwrap();
    assert!(reader.dw_flag("dw-flag").get().await.unwrap());
    reader.dw_flag("dw-flag").disable().await.unwrap();
    assert!(!writer.dw_flag("dw-flag").get().await.unwrap());

    writer.g_counter("g-counter").add(u64::MAX).await.unwrap();
    reader.g_counter("g-counter").add(1).await.unwrap();
    let sum = writer.g_counter("g-counter").get().await.unwrap();
    assert_eq!(sum, u128::from(u64::MAX) + 1);

    for number in [3, -7, 5] {
        writer.max("max").put(number).await.unwrap();
        writer.min("min").put(number).await.unwrap();
    }
    assert_eq!(reader.max("max").get().await.unwrap(), Some(5));
    assert_eq!(reader.min("min").get().await.unwrap(), Some(-7));

    writer.g_set("g-set").add("a").await.unwrap();
    reader.g_set("g-set").add("b").await.unwrap();
    let elements = writer.g_set("g-set").elements().await.unwrap();
    assert_eq!(elements, bytes(["a", "b"]));

    writer.rw_set("rw-set").add("ann").await.unwrap();
    writer.rw_set("rw-set").add("bob").await.unwrap();
    reader.rw_set("rw-set").remove("bob").await.unwrap();
    let elements = writer.rw_set("rw-set").elements().await.unwrap();
    assert_eq!(elements, bytes(["ann"]));

    writer.fenced("fenced").put(8, "new").await.unwrap();
    let late = refused(reader.fenced("fenced").put(7, "old").await);
    assert!(matches!(late, ApplyOp::FencedOff(by) if by.held == 8));
    let held = reader.fenced("fenced").get().await.unwrap();
    assert_eq!(held, Some((8, b"new".to_vec())));
    stop(members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_counter_is_spent_by_whoever_has_the_rights() {
    let members = mesh_of(3).await;
    let [giver, taker] = [0, 1].map(|n| namespace(&members[n].mesh).bounded_counter("seats"));
    giver.add(10).await.unwrap();
    assert_eq!(taker.get().await.unwrap(), 10);
    let poor = refused(taker.take(1).await);
    assert_eq!(poor, ApplyOp::NoRights(NoRights { have: 0, wanted: 1 }));
    let replica = members[1].mesh.replica();
    giver.give_rights(replica, 4).await.unwrap();
    assert_eq!(giver.rights_of(replica).await.unwrap(), 4);
    taker.take(3).await.unwrap();
    assert_eq!(taker.rights().await.unwrap(), 1);
    assert_eq!(giver.rights().await.unwrap(), 6);
    assert_eq!(giver.get().await.unwrap(), 7);
    let status = members[0].mesh.status().await.unwrap();
    let told = status.members.iter().find(|member| member.name == "n1");
    assert_eq!(told.unwrap().replica, replica.to_string());
    stop(members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_ordered_by_all_nodes() {
    let members = mesh_of(3).await;
    let [writer, reader] = [0, 1].map(|n| namespace(&members[n].mesh).sequence("tasks"));
    let tea = writer.push("tea").await.unwrap().dot;
    let call = reader.push("call").await.unwrap().dot;
    let wake = writer.insert_after(None, "wake").await.unwrap().dot;
    reader.move_after(call, Some(wake)).await.unwrap();
    writer.write(call, "call home").await.unwrap();
    let expected = [(wake, "wake"), (call, "call home"), (tea, "tea")];
    let expected = expected.map(|(name, value)| (name, value.as_bytes().to_vec()));
    assert_eq!(reader.elements().await.unwrap(), expected);
    reader.remove(wake).await.unwrap();
    let gone = refused(writer.write(wake, "get up").await);
    assert_eq!(gone, ApplyOp::Sequence(EditSequence::NoElement(wake)));
    assert_eq!(writer.elements().await.unwrap(), expected[1..]);
    stop(members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_holds_fields_of_every_kind_at_any_depth() {
    let members = mesh_of(3).await;
    let [writer, reader] = [0, 1].map(|n| namespace(&members[n].mesh).map("me"));
    writer.register("city").put("Lisbon").await.unwrap();
    writer.counter("city").add(2).await.unwrap();
    let inner = writer.map("more").map("and more");
    inner.set("tags").add("sea").await.unwrap();
    inner.sequence("list").push("first").await.unwrap();
    inner
        .document("text")
        .edit(|text| text.splice(0, 0, "hello"))
        .await
        .unwrap();
    inner.custom("own", 7).merge("payload").await.unwrap();

    let city = reader.register("city").latest().await.unwrap();
    assert_eq!(city.as_deref(), Some(&b"Lisbon"[..]));
    assert_eq!(reader.counter("city").get().await.unwrap(), 2);
    let inner = reader.map("more").map("and more");
    assert_eq!(inner.set("tags").elements().await.unwrap(), bytes(["sea"]));
    assert_eq!(inner.sequence("list").elements().await.unwrap().len(), 1);
    let document = inner.document("text");
    assert_eq!(document.text().await.unwrap().as_deref(), Some("hello"));
    document
        .edit(|text: &mut Text| text.splice(5, 0, "!"))
        .await
        .unwrap();
    let text = writer.map("more").map("and more").document("text");
    assert_eq!(text.text().await.unwrap().as_deref(), Some("hello!"));
    assert_eq!(inner.get().await.unwrap().len(), 4);

    reader.register("city").delete().await.unwrap();
    reader
        .map("more")
        .remove("and more", Kind::Map)
        .await
        .unwrap();
    assert_eq!(writer.register("city").latest().await.unwrap(), None);
    let left = writer.get().await.unwrap();
    let left: Vec<_> = left.fields().map(|(kind, name, _)| (kind, name)).collect();
    assert_eq!(left, [(Kind::Counter, &b"city"[..])]);
    stop(members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_one_node_knows_passes_through_those_that_do_not() {
    let mut members = mesh_of(3).await;
    let knowing = members.remove(2);
    knowing.mesh.stop().await;
    let mut merges = Merges::default();
    merges.register_fn(7, |a, b| Ok(a.max(b).to_vec()));
    let builder = Mesh::builder(knowing.folder.path()).config(quick());
    let mesh = builder.merges(merges).start().await.unwrap();
    let place = key("kinds/own");
    for (n, payload) in ["low", "top", "mid"].into_iter().enumerate() {
        let (tag, payload) = (7, payload.as_bytes().to_vec());
        let op = Op::Merge { tag, payload };
        let member = &members[n % 2].mesh;
        member
            .write(&place, op, Options::level(Level::Quorum))
            .await
            .unwrap();
    }
    let own = mesh.namespace("kinds").unwrap().custom("own", 7);
    until(
        "the node that knows the kind joins what others wrote",
        || async { own.get().await.unwrap().as_deref() == Some(b"top") },
    )
    .await;
    let unknown = namespace(&members[0].mesh).custom("own", 7);
    assert_eq!(unknown.get().await.unwrap(), None);
    mesh.stop().await;
    stop(members).await;
}
