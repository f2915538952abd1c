//! Documents whose chunks come from hostile peers.

use std::panic;
use std::sync::Once;

use meshwork_crdt::{ActorSeed, Merges, Object, Op, ReplicaId, Text};
use sha2::{Digest, Sha256};

use crate::pieces;
use crate::writing::Writer;

/// Chunks that anybody may have made open, edit and merge without a panic, alike whether they come at once or one by one.
///
/// A piece whose first byte is odd is the content of a change, which gets a frame with the right checksum: a fuzzer
/// would hardly find one.
pub fn document_chunks(bytes: &[u8]) {
    // A panic inside automerge is caught by `Text`; libFuzzer's own hook would end the process before that.
    static CAUGHT: Once = Once::new();
    CAUGHT.call_once(|| panic::set_hook(Box::new(|panic| eprintln!("{panic}"))));
    let mut writer = Writer::new(7);
    let mut object = Object::new();
    let mut versions = Vec::new();
    for piece in pieces::split(bytes).take(6) {
        let chunk = match piece.split_first() {
            Some((first, content)) if first % 2 == 1 => framed(content),
            Some((_, chunk)) => chunk.to_vec(),
            None => Vec::new(),
        };
        let stamp = writer.stamp(true, 0);
        let delta = object.apply(&stamp, &Op::Chunk(chunk), &Merges::default());
        object.join(&delta.expect("the chunk is small and the dot is new"));
        writer.wrote();
        versions.push(object.clone());
    }
    let Some(document) = object.as_document() else {
        return;
    };
    let seed = |session| ActorSeed::new(ReplicaId::from_bytes([9; 8]), session);
    let mut at_once = Text::open(document, object.version(), seed(1));
    let mut one_by_one = Text::open(&Default::default(), &Default::default(), seed(2));
    for version in &versions {
        one_by_one.absorb(
            version.as_document().expect("something was committed"),
            version.version(),
        );
    }
    assert_eq!(at_once.text(), one_by_one.text());
    assert_eq!(at_once.heads(), one_by_one.heads());
    assert_eq!(at_once.refused_len(), one_by_one.refused_len());
    assert_eq!(at_once.waiting_len(), one_by_one.waiting_len());
    edit(&mut at_once);
}

/// A text with hostile changes in it can still be edited.
fn edit(text: &mut Text) {
    let length = text.len();
    text.splice(0, 0, "é!")
        .expect("an insertion at the start always fits");
    assert_eq!(text.len(), length + 2);
    text.splice(length + 2, 1, "")
        .expect_err("there is nothing to delete at the end");
    let chunk = text.commit().expect("something was edited");
    assert!(!chunk.is_empty());
}

/// The change with this content, as automerge writes it: magic, checksum, type, length, content.
fn framed(content: &[u8]) -> Vec<u8> {
    let mut body = vec![1];
    let mut length = content.len();
    while length >= 0x80 {
        body.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    body.push(u8::try_from(length).expect("seven bits"));
    body.extend(content);
    let checksum = Sha256::digest(&body);
    [&[0x85, 0x6f, 0x4a, 0x83], &checksum[..4], &body].concat()
}
