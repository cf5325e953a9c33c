//! Reads decisions from the fuzzer's bytes, and edits other bytes as they say.

/// The bytes of one input, read from the front. An input that is used up gives zeros.
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    /// Returns a number below `count`, which is not 0.
    pub fn below(&mut self, count: usize) -> usize {
        if count <= 256 { usize::from(self.byte()) % count } else { self.number() % count }
    }

    /// Returns one of several; `None` of none.
    pub fn pick<'b, T>(&mut self, from: &'b [T]) -> Option<&'b T> {
        if from.is_empty() { None } else { from.get(self.below(from.len())) }
    }

    /// Returns up to `most` bytes, their number first.
    pub fn some(&mut self, most: usize) -> &'a [u8] {
        let count = self.below(most + 1).min(self.0.len());
        let (some, rest) = self.0.split_at(count);
        self.0 = rest;
        some
    }

    /// Flips, sets, inserts, cuts or doubles a piece of `target`.
    pub fn edit(&mut self, target: &mut Vec<u8>) {
        let (kind, at) = (self.byte(), self.number());
        let at = if target.is_empty() { 0 } else { at % target.len() };
        match kind % 6 {
            0 if !target.is_empty() => target[at] ^= 1 << (self.byte() % 8),
            1 if !target.is_empty() => target[at] = self.byte(),
            2 => {
                let new = self.some(16).to_vec();
                target.splice(at..at, new);
            }
            3 if !target.is_empty() => {
                let end = (at + 1 + self.below(16)).min(target.len());
                target.drain(at..end);
            }
            4 => target.truncate(at),
            5 if !target.is_empty() => {
                let end = (at + 1 + self.below(64)).min(target.len());
                let piece = target[at..end].to_vec();
                target.splice(at..at, piece);
            }
            _ => (),
        }
    }
}
