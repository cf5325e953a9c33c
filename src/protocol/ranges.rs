//! Sets of indices in a chain, as half-open ranges.

use std::cmp::Reverse;
use std::ops::Range;

/// Half-open ranges in ascending order; no two of them overlap or touch, and none is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<Range<u32>>);

impl Ranges {
    /// Returns whether an index is in one of the ranges.
    pub(super) fn contains(&self, n: u32) -> bool {
        let at = self.0.partition_point(|range| range.end <= n);
        self.0.get(at).is_some_and(|range| range.contains(&n))
    }

    /// Adds a range and unites it with those that it overlaps or touches.
    pub(super) fn add(&mut self, added: Range<u32>) {
        if added.is_empty() {
            return;
        }
        let first = self.0.partition_point(|range| range.end < added.start);
        let after = self.0.partition_point(|range| range.start <= added.end);
        let united = self.0.get(first..after).unwrap_or_default();
        let start = united.first().map_or(added.start, |range| range.start.min(added.start));
        let end = united.last().map_or(added.end, |range| range.end.max(added.end));
        self.0.splice(first..after, std::iter::once(start..end));
    }

    /// Adds one index. The last index of all, 2^32-1, never holds a message and is left out.
    pub(super) fn add_index(&mut self, n: u32) {
        if let Some(after) = n.checked_add(1) {
            self.add(n..after);
        }
    }

    /// Takes the first range away if it starts at or below `n`.
    pub(super) fn take_first(&mut self, n: u32) -> Option<Range<u32>> {
        self.0.first().is_some_and(|range| range.start <= n).then(|| self.0.remove(0))
    }

    /// Returns what is below `end` and in none of the ranges.
    pub(super) fn complement(&self, end: u32) -> Ranges {
        let (mut start, mut rest) = (0, Ranges::default());
        for range in &self.0 {
            rest.add(start..range.start.min(end));
            start = range.end;
        }
        rest.add(start..end);
        rest
    }

    /// Keeps the `count` largest ranges: the set only becomes smaller.
    pub(super) fn keep_largest(&mut self, count: usize) {
        if self.0.len() <= count {
            return;
        }
        self.0.sort_by_key(|range| (Reverse(range.end.saturating_sub(range.start)), range.start));
        self.0.truncate(count);
        self.0.sort_by_key(|range| range.start);
    }

    /// Fills the smallest gaps until at most `count` ranges are left: the set only becomes larger.
    pub(super) fn fill_gaps(&mut self, count: usize) {
        while self.0.len() > count.max(1) {
            let gaps = self.0.windows(2).enumerate().filter_map(|(at, pair)| match pair {
                [low, high] => Some((high.start.saturating_sub(low.end), at, low.end..high.start)),
                _ => None,
            });
            let Some((_, _, gap)) = gaps.min_by_key(|(size, at, _)| (*size, *at)) else { return };
            self.add(gap);
        }
    }

    /// Returns the ranges, the lowest first.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = Range<u32>> + '_ {
        self.0.iter().cloned()
    }

    /// Returns the end of the last range.
    pub(super) fn end(&self) -> Option<u32> {
        self.0.last().map(|range| range.end)
    }

    /// Writes the ranges as numbers: how far each begins behind the end of the one before, and its length.
    pub(super) fn to_numbers(&self, from: u32) -> impl Iterator<Item = u32> + '_ {
        let ends = std::iter::once(from).chain(self.0.iter().map(|range| range.end));
        self.0
            .iter()
            .zip(ends)
            .flat_map(|(range, end)| [range.start.saturating_sub(end), range.end.saturating_sub(range.start)])
    }

    /// Reads `count` ranges that `to_numbers` has written. `None`: the numbers contradict each other; the first range
    /// may begin at `from` only if that is 0.
    pub(super) fn from_numbers(
        from: u32,
        count: usize,
        numbers: &mut dyn Iterator<Item = u32>,
    ) -> Option<Ranges> {
        let (mut ranges, mut end) = (Vec::new(), from);
        for position in 0..count {
            let (gap, length) = (numbers.next()?, numbers.next()?);
            if length == 0 || (gap == 0 && !(position == 0 && from == 0)) {
                return None;
            }
            let start = end.checked_add(gap)?;
            end = start.checked_add(length)?;
            ranges.push(start..end);
        }
        Some(Ranges(ranges))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(ranges: &Ranges) -> BTreeSet<u32> {
        ranges.iter().flatten().collect()
    }

    fn is_canonical(ranges: &Ranges) -> bool {
        ranges.iter().all(|range| range.start < range.end) && ranges.0.is_sorted_by(|a, b| a.end < b.start)
    }

    fn ranges() -> impl Strategy<Value = (Ranges, BTreeSet<u32>)> {
        prop::collection::vec((0_u32..60, 0_u32..6), 0..20).prop_map(|added| {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (start, length) in added {
                let range = start..start.saturating_add(length);
                model.extend(range.clone());
                ranges.add(range);
            }
            (ranges, model)
        })
    }

    proptest! {
        #[test]
        fn ranges_are_the_set_that_was_added((ranges, model) in ranges()) {
            prop_assert!(is_canonical(&ranges));
            prop_assert_eq!(&set(&ranges), &model);
            for n in 0..70 {
                prop_assert_eq!(ranges.contains(n), model.contains(&n));
            }
        }

        #[test]
        fn a_complement_is_what_is_missing((ranges, model) in ranges(), end in 0_u32..70) {
            let rest = ranges.complement(end);
            prop_assert!(is_canonical(&rest));
            prop_assert_eq!(set(&rest), (0..end).filter(|n| !model.contains(n)).collect());
        }

        #[test]
        fn fewer_ranges_are_a_part_and_filled_gaps_a_superset((ranges, model) in ranges(), count in 1_usize..6) {
            let (mut fewer, mut filled) = (ranges.clone(), ranges);
            fewer.keep_largest(count);
            filled.fill_gaps(count);
            prop_assert!(is_canonical(&fewer) && fewer.iter().len() <= count);
            prop_assert!(is_canonical(&filled) && filled.iter().len() <= count);
            prop_assert!(set(&fewer).is_subset(&model) && set(&filled).is_superset(&model));
            if model.len() > 1 {
                prop_assert!(!set(&fewer).is_empty());
                let filled = set(&filled);
                prop_assert_eq!((filled.first(), filled.last()), (model.first(), model.last()));
            }
        }

        #[test]
        fn numbers_say_the_same((ranges, _) in ranges()) {
            let numbers: Vec<u32> = ranges.to_numbers(0).collect();
            let mut numbers = numbers.into_iter();
            prop_assert_eq!(Ranges::from_numbers(0, ranges.iter().len(), &mut numbers), Some(ranges));
        }
    }

    #[test]
    fn the_largest_ranges_are_kept_and_the_smallest_gaps_are_filled() {
        let mut ranges = Ranges::default();
        [0..1, 3..9, 10..12, 50..53].into_iter().for_each(|range| ranges.add(range));
        let (mut fewer, mut filled) = (ranges.clone(), ranges);
        fewer.keep_largest(2);
        filled.fill_gaps(2);
        assert_eq!(fewer.0, [3..9, 50..53]);
        assert_eq!(filled.0, [0..12, 50..53]);
    }

    #[test]
    fn the_end_of_the_numbers_is_no_accident() {
        let mut ranges = Ranges::default();
        ranges.add_index(u32::MAX);
        assert_eq!(ranges, Ranges::default());
        ranges.add_index(u32::MAX - 1);
        assert!(ranges.contains(u32::MAX - 1) && !ranges.contains(u32::MAX));
        let read = |from, numbers: &[u32]| {
            Ranges::from_numbers(from, numbers.len() / 2, &mut numbers.iter().copied())
        };
        assert!(read(0, &[0, 1]).is_some() && read(7, &[1, 1]).is_some());
        for (from, numbers) in [
            (7, [0, 1].as_slice()),
            (0, &[1, 0]),
            (0, &[1, 1, 0, 1]),
            (0, &[u32::MAX, 1]),
            (1, &[u32::MAX, 1]),
            (0, &[1, u32::MAX]),
        ] {
            assert_eq!(read(from, numbers), None, "{from} {numbers:?}");
        }
        assert_eq!(Ranges::from_numbers(0, 1, &mut [1].into_iter()), None);
    }
}
