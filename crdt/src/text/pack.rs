//! Many commits of one store in one chunk, and much smaller.
//!
//! A commit of one keystroke takes about 120 bytes, most of them the hash of the change before it, a checksum, and what is the same in every
//! change. A pack leaves out what can be computed again and deflates the rest. The changes in it are what they were, byte for byte: a
//! text's heads stay, and whoever was away may still build on any of them. History itself is not cut, because nobody can know that no
//! store which is offline has an edit that builds on it.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use std::io::{Read, Write};

use automerge::Change;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use sha2::{Digest, Sha256};

use crate::text::chunk::{self, CHANGE, MAGIC, unsigned};
use crate::{CausalContext, Document, Op, ReplicaId};

/// How a pack begins; a chunk that is none begins with automerge's [`MAGIC`].
const PACK: [u8; 4] = *b"mwp1";
/// So many chunks are packed at the least.
const CHUNKS_MIN: usize = 128;
/// What a pack may unpack to: so much, and so much for each of its bytes, but never more than the last.
const FREE_BYTES: u64 = 1 << 20;
const BYTES_PER_BYTE: u64 = 100;
const BYTES_MAX: u64 = 64 << 20;
const HASH_BYTES: usize = 32;
/// The change builds on the one before it in the pack and on no other.
const FOLLOWS: u8 = 1;

/// The operation that writes `commit`: on its own, or in a pack with all other chunks of the replica once those are many and larger
/// than what was packed before. So each change is packed a few times in its life at the most.
pub(crate) fn write(document: &Document, replica: ReplicaId, commit: Vec<u8>) -> Op {
    let own = || document.chunks_of(replica, 1..=u64::MAX);
    let (packs, chunks): (Vec<_>, Vec<_>) = own().partition(|(_, chunk)| chunk.starts_with(&PACK));
    let bytes = |chunks: &[(_, &[u8])]| chunks.iter().map(|(_, chunk)| chunk.len()).sum::<usize>();
    if chunks.len() < CHUNKS_MIN || bytes(&chunks) < bytes(&packs) {
        return Op::Chunk(commit);
    }
    let mut changes = Vec::new();
    let mut replaces = CausalContext::new();
    for (dot, chunk) in own() {
        // What cannot be read stays where it is.
        if let Some(read) = chunk::parse(chunk) {
            changes.extend(read);
            replaces.insert(dot);
        }
    }
    changes.extend(chunk::parse(&commit).unwrap_or_default());
    match pack(&changes) {
        Some(chunk) => Op::Pack { chunk, replaces },
        None => Op::Chunk(commit),
    }
}

/// `None` where the pack would not be unpacked again: changes that deflate beyond what a reader lets in.
fn pack(changes: &[Change]) -> Option<Vec<u8>> {
    let mut pack = DeflateEncoder::new(PACK.to_vec(), Compression::default());
    let mut packed = BTreeSet::new();
    let mut last = None;
    for change in changes {
        if !packed.insert(change.hash()) {
            continue;
        }
        let content = content(change.raw_bytes())?;
        let follows = last.is_some_and(|last| change.deps() == [last]);
        let rest = match follows {
            true => content.get(1 + HASH_BYTES..)?,
            false => content,
        };
        pack.write_all(&[u8::from(follows)]).ok()?;
        pack.write_all(&leb128(rest.len())).ok()?;
        pack.write_all(rest).ok()?;
        last = Some(change.hash());
    }
    let pack = pack.finish().ok()?;
    unpack(&pack).is_some().then_some(pack)
}

/// The changes of a pack as automerge writes them, one after the other. A chunk that is no pack is given as it is; `None` if it is
/// one that is not as [`pack`] writes it, or that unpacks to more than it may.
pub(crate) fn unpack(chunk: &[u8]) -> Option<alloc::borrow::Cow<'_, [u8]>> {
    let Some(deflated) = chunk.strip_prefix(&PACK) else {
        return Some(chunk.into());
    };
    let max = (FREE_BYTES + BYTES_PER_BYTE * deflated.len() as u64).min(BYTES_MAX);
    let mut inflated = Vec::new();
    let mut reader = DeflateDecoder::new(deflated).take(max + 1);
    reader.read_to_end(&mut inflated).ok()?;
    if inflated.len() as u64 > max {
        return None;
    }
    let mut left = inflated.as_slice();
    let mut changes = Vec::with_capacity(inflated.len());
    let mut last: Option<[u8; HASH_BYTES]> = None;
    while let Some((follows, rest)) = left.split_first() {
        left = rest;
        let length = usize::try_from(unsigned(&mut left)?).ok()?;
        let (rest, after) = left.split_at_checked(length)?;
        left = after;
        let mut body = alloc::vec![CHANGE];
        if *follows == FOLLOWS {
            body.extend(leb128(1 + HASH_BYTES + length));
            body.push(1);
            body.extend(last?);
        } else {
            body.extend(leb128(length));
        }
        body.extend_from_slice(rest);
        let hash: [u8; HASH_BYTES] = Sha256::digest(&body).into();
        changes.extend(MAGIC);
        changes.extend_from_slice(hash.first_chunk::<4>()?);
        changes.extend(body);
        last = Some(hash);
    }
    Some(changes.into())
}

/// What is behind magic, checksum, type and length.
fn content(change: &[u8]) -> Option<&[u8]> {
    let mut left = change.get(MAGIC.len() + 4 + 1..)?;
    unsigned(&mut left)?;
    Some(left)
}

fn leb128(number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut left = number;
    while left >= 0x80 {
        bytes.push(left.to_le_bytes()[0] | 0x80);
        left >>= 7;
    }
    bytes.push(left.to_le_bytes()[0]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_that_inflates_without_end_is_refused() {
        let mut bomb = DeflateEncoder::new(PACK.to_vec(), Compression::best());
        for _ in 0..200 {
            bomb.write_all(&[0; 1 << 20]).unwrap();
        }
        let bomb = bomb.finish().unwrap();
        assert!(bomb.len() < 1 << 20, "{} bytes", bomb.len());
        assert_eq!(unpack(&bomb), None);
        assert!(chunk::parse(&bomb).is_none());
    }

    #[test]
    fn damaged_packs_are_refused() {
        assert_eq!(unpack(b"mwp1 this is no deflated text"), None);
        let claims = |bytes: &[u8]| {
            let mut pack = DeflateEncoder::new(PACK.to_vec(), Compression::default());
            pack.write_all(bytes).unwrap();
            pack.finish().unwrap()
        };
        let huge = [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(unpack(&claims(&huge)), None, "a length beyond the end");
        assert_eq!(unpack(&claims(&[FOLLOWS, 0])), None, "follows nothing");
        assert!(
            chunk::parse(&claims(&[0, 3, 1, 2, 3])).is_none(),
            "no change"
        );
    }
}
