//! Texts that clients write together, made of tokens that can be told apart.

/// Splits a text into its tokens, with the place of each in code points; what is no token is a piece of its own.
///
/// A token is `[`, other characters than brackets, and `]`.
pub(super) fn pieces(text: &str) -> Vec<(usize, &str)> {
    let mut pieces = Vec::new();
    let (mut rest, mut at) = (text, 0);
    while !rest.is_empty() {
        let end = match rest.strip_prefix('[') {
            Some(inner) => match inner.find(['[', ']']) {
                Some(end) if inner[end..].starts_with(']') => end + 2,
                Some(end) => end + 1,
                None => rest.len(),
            },
            None => rest.find('[').unwrap_or(rest.len()),
        };
        let (piece, after) = rest.split_at(end);
        pieces.push((at, piece));
        at += piece.chars().count();
        rest = after;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_token_is_a_piece_of_its_own() {
        assert_eq!(pieces("[a][b]"), [(0, "[a]"), (3, "[b]")]);
        assert_eq!(pieces("é[a]x"), [(0, "é"), (1, "[a]"), (4, "x")]);
        assert_eq!(pieces("[a[b]]"), [(0, "[a"), (2, "[b]"), (5, "]")]);
        assert_eq!(pieces("[a"), [(0, "[a")]);
        assert!(pieces("").is_empty());
    }
}
