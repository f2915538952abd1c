//! What waits for the next entry or round, with the bytes that it amounts to.

use std::collections::VecDeque;

/// A queue that is bounded in number and in bytes.
#[derive(Debug)]
pub(crate) struct Gathered<T> {
    items: VecDeque<(usize, T)>,
    bytes: usize,
}

/// How much may gather, or go at one time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limit {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

impl<T> Default for Gathered<T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<T> Gathered<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn has_room(&self, bytes: usize, limit: Limit) -> bool {
        self.items.len() < limit.count && self.bytes.saturating_add(bytes) <= limit.bytes
    }

    pub(crate) fn push(&mut self, bytes: usize, item: T) {
        self.bytes += bytes;
        self.items.push_back((bytes, item));
    }

    /// From the front, as many as fit; one that is too large goes alone.
    pub(crate) fn take(&mut self, limit: Limit) -> Vec<T> {
        let mut bytes = 0;
        let fits = self.items.iter().take(limit.count).take_while(|(size, _)| {
            bytes += size;
            bytes <= limit.bytes
        });
        let count = fits.count().max(1).min(self.items.len());
        let taken = self.items.drain(..count);
        let (sizes, items): (Vec<_>, Vec<_>) = taken.unzip();
        self.bytes -= sizes.into_iter().sum::<usize>();
        items
    }

    pub(crate) fn into_items(self) -> impl Iterator<Item = T> {
        self.items.into_iter().map(|(_, item)| item)
    }

    #[cfg(test)]
    pub(crate) fn size(&self) -> Limit {
        Limit {
            count: self.items.len(),
            bytes: self.bytes,
        }
    }
}
