//! [`Table`]: figures by name, bounded in number.

use std::{fmt, mem, sync::Arc};

/// Figures by name, each at a place of its own. Places are few, so a copy can be brought up to date
/// with those that have changed.
#[derive(Clone)]
pub(in crate::engine) struct Table<F> {
    entries: Vec<Option<Entry<F>>>,
    /// A bit for each pair of places of which one has changed since the last copy.
    changed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry<F> {
    name: Arc<str>,
    figures: F,
}

/// Places of a table.
pub(super) const PLACES: usize = 101;
const _: () = assert!(PLACES <= 2 * u64::BITS as usize);

impl<F> Table<F> {
    /// The figures at a place, to be changed.
    #[inline]
    pub(super) fn change(&mut self, place: usize) -> Option<&mut F> {
        let entry = self.entries.get_mut(place)?.as_mut()?;
        self.changed |= pair(place);
        Some(&mut entry.figures)
    }

    /// Sets what is at a place.
    pub(super) fn set(&mut self, place: usize, name: &Arc<str>, figures: F) {
        debug_assert!(place < PLACES);
        if self.entries.len() <= place {
            self.entries.resize_with(place + 1, || None);
        }
        self.changed |= pair(place);
        self.entries[place] = Some(Entry { name: Arc::clone(name), figures });
    }

    pub(super) fn remove(&mut self, place: usize) {
        if let Some(entry) = self.entries.get_mut(place) {
            self.changed |= pair(place);
            *entry = None;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &F)> {
        self.entries.iter().flatten().map(|entry| (&*entry.name, &entry.figures))
    }

    pub(super) fn get(&self, name: &str) -> Option<&F> {
        self.iter().find(|(other, _)| *other == name).map(|(_, figures)| figures)
    }
}

impl<F: Clone> Table<F> {
    /// Brings an earlier copy up to date.
    pub(super) fn copy_changes_to(&mut self, copy: &mut Self) {
        let mut changed = mem::take(&mut self.changed);
        copy.entries.resize_with(self.entries.len(), || None);
        while changed != 0 {
            let first = 2 * changed.trailing_zeros() as usize;
            changed &= changed - 1;
            let pair = first..self.entries.len().min(first + 2);
            for (old, new) in copy.entries[pair.clone()].iter_mut().zip(&self.entries[pair]) {
                match (old, new) {
                    (Some(old), Some(new)) if Arc::ptr_eq(&old.name, &new.name) => {
                        old.figures.clone_from(&new.figures);
                    }
                    (old, new) => old.clone_from(new),
                }
            }
        }
    }

    /// Adds those of another worker to those of the same name. The sum has a place for each name.
    pub(super) fn add_all(&mut self, other: &Self, add: impl Fn(&mut F, &F)) {
        // Workers have nearly always the same names at the same places.
        for (place, new) in other.entries.iter().enumerate() {
            let Some(new) = new else { continue };
            let is_it = |entry: &Option<Entry<F>>| {
                entry.as_ref().is_some_and(|entry| entry.name == new.name)
            };
            let same_place = self.entries.get(place).is_some_and(is_it).then_some(place);
            let place = same_place.or_else(|| self.entries.iter().position(is_it));
            match place.and_then(|place| self.entries[place].as_mut()) {
                Some(sum) => add(&mut sum.figures, &new.figures),
                None => self.entries.push(Some(new.clone())),
            }
        }
    }
}

/// The bit of a place.
#[inline]
fn pair(place: usize) -> u64 {
    1 << (place / 2)
}

impl<F> Default for Table<F> {
    fn default() -> Self {
        Self { entries: Vec::new(), changed: 0 }
    }
}

/// Names and figures; which of them have been copied does not matter.
impl<F: PartialEq> PartialEq for Table<F> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<F: Eq> Eq for Table<F> {}

impl<F: fmt::Debug> fmt::Debug for Table<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(table: &Table<u64>) -> Vec<(&str, u64)> {
        table.iter().map(|(name, figures)| (name, *figures)).collect()
    }

    #[test]
    fn a_copy_follows_changes_new_names_and_removals() {
        let (mut table, mut copy) = (Table::default(), Table::default());
        for (place, name) in ["a", "b", "c"].into_iter().enumerate() {
            table.set(place, &name.into(), 0);
        }
        table.copy_changes_to(&mut copy);
        *table.change(1).unwrap() += 5;
        table.remove(0);
        assert_eq!(names(&copy), [("a", 0), ("b", 0), ("c", 0)]);
        table.copy_changes_to(&mut copy);
        assert_eq!(names(&copy), [("b", 5), ("c", 0)]);
        table.set(0, &"d".into(), 7);
        table.set(PLACES - 1, &"last".into(), 9);
        table.copy_changes_to(&mut copy);
        assert_eq!(names(&copy), [("d", 7), ("b", 5), ("c", 0), ("last", 9)]);
        assert_eq!(copy, table);
    }

    #[test]
    fn only_what_has_changed_is_copied() {
        let (mut table, mut copy) = (Table::default(), Table::default());
        for (place, name) in ["a", "b", "c"].into_iter().enumerate() {
            table.set(place, &name.into(), 1);
        }
        table.copy_changes_to(&mut copy);
        *copy.change(0).unwrap() = 100;
        *table.change(2).unwrap() = 5;
        table.copy_changes_to(&mut copy);
        assert_eq!(names(&copy), [("a", 100), ("b", 1), ("c", 5)], "a is not copied again");
    }

    #[test]
    fn figures_of_the_same_name_are_added_wherever_they_are() {
        let (mut sum, mut other) = (Table::default(), Table::default());
        sum.set(0, &"a".into(), 1);
        sum.set(2, &"b".into(), 2);
        other.set(0, &"b".into(), 10);
        other.set(1, &"c".into(), 20);
        other.set(3, &"a".into(), 30);
        sum.add_all(&other, |sum, more| *sum += more);
        assert_eq!(names(&sum), [("a", 31), ("b", 12), ("c", 20)]);
    }
}
