//! Several byte strings in one input, so that a mutation in one leaves the others whole.

/// The pieces of an input: each is two bytes of length, low end first, and its bytes. The last one may be cut short.
pub fn split(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = input.split_first_chunk()?;
        let length = usize::from(u16::from_le_bytes(*length));
        let (piece, rest) = rest.split_at(length.min(rest.len()));
        input = rest;
        Some(piece)
    })
}

/// The input that [`split`] takes apart again. A piece is at most 65,535 bytes long; the rest of it is left out.
pub fn join<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut input = Vec::new();
    for piece in pieces {
        let length = u16::try_from(piece.len()).unwrap_or(u16::MAX);
        input.extend(length.to_le_bytes());
        input.extend(&piece[..usize::from(length)]);
    }
    input
}
