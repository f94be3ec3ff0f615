//! What was used last, up to a limit: for things that are dear to make and can be made anew.
//!
//! Two generations: what is used moves to the young one; when that is full it becomes the old one, and what the old one
//! held is forgotten. So at least half as many as the limit are held of those used last, and no use costs more than a
//! look at two maps.
//!
//! Not for: answers that can go stale; whoever asks checks that what was held still fits.

use std::{collections::HashMap, hash::Hash};

/// A bounded memory of values by key.
#[derive(Debug)]
pub struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    young_max: usize,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// Holds `max` values at most.
    pub fn new(max: usize) -> Recent<K, V> {
        Recent { young: HashMap::new(), old: HashMap::new(), young_max: (max / 2).max(1) }
    }

    /// Holds `value` from now on, in place of what there was for `key`.
    pub fn insert(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.young_max && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    /// What is held for `key`, no longer held.
    pub fn take(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    /// A copy of what is held for `key`; counts as a use.
    pub fn get(&mut self, key: &K) -> Option<V>
    where
        K: Clone,
        V: Clone,
    {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.insert(key.clone(), value.clone());
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_keeps_what_is_in_use() {
        let mut recent = Recent::new(10);
        recent.insert(0, "used");
        for n in 1..100 {
            recent.insert(n, "once");
            assert_eq!(recent.get(&0), Some("used"));
            assert!(recent.young.len() + recent.old.len() <= 10);
        }
        assert_eq!(recent.get(&1), None, "not used since");
    }

    #[test]
    fn what_is_taken_or_replaced_is_not_there_any_more() {
        let mut recent = Recent::new(2);
        recent.insert(1, "a");
        recent.insert(2, "b");
        recent.insert(1, "c");
        assert_eq!(recent.take(&1), Some("c"));
        assert_eq!(recent.take(&1), None);
        assert_eq!(recent.take(&2), Some("b"));
    }
}
