//! Answers that are kept for a while: bounded in number and in age.

use std::collections::VecDeque;
use std::hash::Hash;

use rapidhash::RapidHashMap;

pub(super) struct Cache<K, V> {
    entries: RapidHashMap<K, Entry<V>>,
    /// In the order of coming; an entry that came again stands there more than once.
    order: VecDeque<(K, u64)>,
    size: usize,
    ttl_ms: u64,
    /// Entries end up to so much earlier, each at a time of its own.
    spread_ms: u64,
    came: u64,
}

struct Entry<V> {
    value: V,
    until: u64,
    /// Its place in the order of coming.
    number: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn new(size: usize, ttl_ms: u64, spread_ms: u64) -> Self {
        let (entries, order) = (RapidHashMap::default(), VecDeque::new());
        Self { entries, order, size, ttl_ms, spread_ms, came: 0 }
    }

    pub(super) fn get<Q: ?Sized + Eq + Hash>(&self, key: &Q, now: u64) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let entry = self.entries.get(key)?;
        (now < entry.until).then(|| entry.value.clone())
    }

    /// `dice` makes entries end at different times.
    pub(super) fn put(&mut self, key: K, value: V, now: u64, dice: u64) {
        let until = now + self.ttl_ms - dice % (self.spread_ms + 1);
        self.came += 1;
        self.entries.insert(key.clone(), Entry { value, until, number: self.came });
        self.order.push_back((key, self.came));
        while self.order.len() > self.size {
            let Some((oldest, number)) = self.order.pop_front() else { return };
            if self.entries.get(&oldest).is_some_and(|entry| entry.number == number) {
                self.entries.remove(&oldest);
            }
        }
    }

    pub(super) fn drop_entry<Q: ?Sized + Eq + Hash>(&mut self, key: &Q)
    where
        K: std::borrow::Borrow<Q>,
    {
        self.entries.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_end_and_are_bounded() {
        let mut cache = Cache::<String, u8>::new(2, 30_000, 3_000);
        cache.put("a".into(), 1, 0, 0);
        assert_eq!((cache.get("a", 29_999), cache.get("a", 30_000)), (Some(1), None));
        cache.put("b".into(), 2, 0, 3_000);
        assert_eq!((cache.get("b", 26_999), cache.get("b", 27_000)), (Some(2), None));
        cache.put("c".into(), 3, 0, 0);
        assert_eq!((cache.get("a", 0), cache.get("c", 0)), (None, Some(3)));
        cache.drop_entry("c");
        assert_eq!(cache.get("c", 0), None);
        for number in 0..100 {
            cache.put("b".into(), number, 0, 0);
        }
        assert_eq!((cache.order.len(), cache.entries.len(), cache.get("b", 0)), (2, 1, Some(99)));
    }
}
