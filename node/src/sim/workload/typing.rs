//! Several clients who type into one text.

use meshwork_crdt::{ActorSeed, Document, Kind, Object, Text};

use super::dice::Dice;
use super::token::pieces;
use super::{Effect, Slot};
use meshwork_crdt::Op;

/// The value that a client writes as its `serial`th: no other is the same.
pub(super) fn token(client: u32, serial: u64) -> Vec<u8> {
    format!("[{client}-{serial}]").into_bytes()
}

/// Types `token` between two others, or deletes one that the client typed itself. `None` if the text cannot be edited.
pub(super) fn edit(
    object: &Object,
    actor: ActorSeed,
    (client, token): (u32, &[u8]),
    dice: &mut Dice,
) -> Option<(Op, Effect)> {
    let new = Document::default();
    let document = object.as_document().unwrap_or(&new);
    let mut text = Text::open(document, object.version(), actor);
    let shown = text.text();
    let pieces = pieces(&shown);
    let own = format!("[{client}-");
    let mine = pieces.iter().filter(|(_, piece)| piece.starts_with(&own));
    let deletes = pieces.len() > TOKENS_MANY || dice.falls(1, 3);
    let effect = match dice.pick(mine) {
        Some((at, piece)) if deletes => {
            text.splice(*at, piece.chars().count(), "").ok()?;
            Effect::Take(SLOT, piece.as_bytes().to_vec())
        }
        Some(_) | None => {
            let ends = pieces.iter().map(|(at, _)| *at).chain([text.len()]);
            let at = dice.pick(ends)?;
            text.splice(at, 0, core::str::from_utf8(token).ok()?).ok()?;
            Effect::Insert(SLOT, token.to_vec())
        }
    };
    Some((text.commit_to(document)?, effect))
}

/// Where the text is.
pub(super) const SLOT: Slot = Slot::key(Kind::Document);

/// A text with more tokens than this loses some.
const TOKENS_MANY: usize = 60;
