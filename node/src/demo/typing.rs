//! Two simulated authors who type a text that ships with the program.
//!
//! The first one writes an outline, one mark for each paragraph. Then each types its paragraphs in front of their marks, word by
//! word and with slips of the finger, and takes the mark away when a paragraph is done. So the text that both end with is known
//! before they begin, however their changes interleave on the way.

use std::collections::VecDeque;

use meshwork_crdt::{EditText, Text};

/// What they type.
pub(super) const TEXT: &str = include_str!("text.txt");

/// One author.
#[derive(Debug)]
pub(super) struct Typist {
    outline: Option<String>,
    strokes: VecDeque<(String, Stroke)>,
}

/// What an author does before it commits.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stroke {
    Type(String),
    /// Takes back so many characters.
    Erase(usize),
    /// The paragraph is done: its mark goes.
    Finish,
}

/// One word in so many is typed wrong at first.
const SLIP: u64 = 12;

impl Typist {
    /// Author 0 has the outline and every other paragraph from the first on, author 1 the rest.
    pub(super) fn new(number: usize, seed: u64) -> Self {
        let mut random = Random(seed.wrapping_add(number as u64));
        let mut strokes = VecDeque::new();
        for (index, paragraph) in paragraphs().enumerate() {
            if index % 2 == number {
                let typed = strokes_of(paragraph, &mut random);
                strokes.extend(typed.into_iter().map(|stroke| (mark(index), stroke)));
            }
        }
        let outline = (number == 0).then(|| {
            let marks: Vec<String> = (0..paragraphs().count()).map(mark).collect();
            format!("{}\n", marks.join(PARAGRAPH_END))
        });
        Self { outline, strokes }
    }

    /// How many commits are still to come.
    pub(super) fn left(&self) -> usize {
        self.strokes.len() + usize::from(self.outline.is_some())
    }

    /// Whether it can begin only after the other's first commit.
    pub(super) const fn needs_outline(&self) -> bool {
        self.outline.is_none()
    }

    /// Does the next thing; `false` at the end.
    pub(super) fn go_on(&mut self, text: &mut Text) -> Result<bool, EditText> {
        if let Some(outline) = self.outline.take() {
            text.splice(0, 0, &outline)?;
            return Ok(true);
        }
        let Some((mark, stroke)) = self.strokes.pop_front() else {
            return Ok(false);
        };
        let shown = text.text();
        let before = shown.split(&*mark).next().unwrap_or_default();
        let cursor = before.chars().count();
        match stroke {
            Stroke::Type(word) => text.splice(cursor, 0, &word)?,
            Stroke::Erase(count) => text.splice(cursor.saturating_sub(count), count, "")?,
            Stroke::Finish => text.splice(cursor, mark.chars().count(), "")?,
        }
        Ok(true)
    }
}

fn paragraphs() -> impl Iterator<Item = &'static str> {
    TEXT.trim_end().split(PARAGRAPH_END)
}

fn mark(index: usize) -> String {
    format!("[{}]", index + 1)
}

fn strokes_of(paragraph: &str, random: &mut Random) -> Vec<Stroke> {
    let mut strokes = Vec::new();
    for word in paragraph.split_inclusive(char::is_whitespace) {
        if random.next().is_multiple_of(SLIP) {
            let slip: String = word.trim_end().chars().rev().collect();
            let length = slip.chars().count();
            strokes.extend([Stroke::Type(slip), Stroke::Erase(length)]);
        }
        strokes.push(Stroke::Type(word.to_owned()));
    }
    strokes.push(Stroke::Finish);
    strokes
}

const PARAGRAPH_END: &str = "\n\n";

/// SplitMix64 (Steele, Lea, Flood 2014): enough to decide where fingers slip.
#[derive(Debug)]
struct Random(u64);

impl Random {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use meshwork_crdt::{ActorSeed, Dot, Hlc, Merges, Object, Op, ReplicaId, Stamp};

    use super::*;

    struct Author {
        typist: Typist,
        text: Text,
        object: Object,
        replica: ReplicaId,
        deltas: Vec<Object>,
        taken: usize,
    }

    impl Author {
        fn new(number: usize, seed: u64) -> Self {
            let replica = ReplicaId::from_bytes([u8::try_from(number).unwrap() + 1; 8]);
            let object = Object::new();
            let seed_of_actor = ActorSeed::new(replica, 1);
            Self {
                typist: Typist::new(number, seed),
                text: Text::open(&Default::default(), object.version(), seed_of_actor),
                object,
                replica,
                deltas: Vec::new(),
                taken: 0,
            }
        }

        fn type_on(&mut self) -> bool {
            let more = self.typist.go_on(&mut self.text).unwrap();
            if let Some(chunk) = self.text.commit() {
                let counter = self.deltas.len() as u64 + 1;
                let stamp = Stamp {
                    dot: Dot::new(self.replica, counter),
                    claim_after: Some(counter - 1),
                    hlc: Hlc::default(),
                };
                let op = Op::Chunk(chunk);
                let delta = self.object.apply(&stamp, &op, &Merges::default()).unwrap();
                self.object.join(&delta);
                self.deltas.push(delta);
            }
            more
        }

        fn take(&mut self, other: &Self, upto: usize) {
            for delta in &other.deltas[self.taken..upto.min(other.deltas.len())] {
                self.object.join(delta);
                self.taken += 1;
            }
            let document = self.object.as_document().unwrap();
            self.text.absorb(document, self.object.version());
        }
    }

    /// Random turns and random delays of delivery; both must end with the text.
    fn end(seed: u64) -> [String; 2] {
        let (mut first, mut second) = (Author::new(0, seed), Author::new(1, seed));
        first.type_on();
        second.take(&first, 1);
        let mut random = Random(seed);
        let mut open = [true, true];
        while open.contains(&true) {
            let draw = random.next();
            let upto = usize::try_from(draw >> 40).unwrap() % (first.deltas.len() + 1);
            match draw % 4 {
                0 => second.take(&first, upto.max(second.taken)),
                1 => first.take(&second, upto.max(first.taken)),
                2 => open[0] = first.type_on(),
                _ => open[1] = second.type_on(),
            }
        }
        second.take(&first, usize::MAX);
        first.take(&second, usize::MAX);
        [first.text.text(), second.text.text()]
    }

    #[test]
    fn however_their_changes_interleave_the_authors_end_with_the_text() {
        for seed in 0..3 {
            let [first, second] = end(seed);
            assert_eq!(first, TEXT);
            assert_eq!(second, TEXT);
        }
    }

    #[test]
    fn the_text_holds_nothing_that_looks_like_a_mark() {
        assert!(!TEXT.contains(['[', ']']));
        assert!(TEXT.ends_with('\n') && !TEXT.ends_with("\n\n"));
        assert!(paragraphs().count() >= 4);
    }

    #[test]
    fn slips_are_corrected() {
        let strokes: Vec<Stroke> = (0..9)
            .flat_map(|n| Typist::new(0, n).strokes)
            .map(|s| s.1)
            .collect();
        assert!(
            strokes
                .iter()
                .any(|stroke| matches!(stroke, Stroke::Erase(_)))
        );
    }
}
