//! Four priority bands: what waits, in which order it leaves, and who finds no room.
//!
//! ```text
//! push(band, conversation) -> [P0|P1|P2|P3]: tokens -> pop: 40/30/20/10 -> the conversation's oldest
//! ```
//!
//! A band holds *tokens*, one for each entry; a token names a conversation and is worth its oldest entry. So
//! priorities never reorder a conversation: when something of a lower band joins, all that the conversation
//! has waiting rides there from then on, and the tokens that it leaves behind are worth nothing.
//!
//! Bounded in entries a band, in entries and in bytes: at 70 % of either total the lowest band is refused,
//! at 85 % the one above it too, at 95 % all but the first.

use std::collections::VecDeque;

use imflow_proto::record::Band;
use rapidhash::RapidHashMap;

/// How the time is shared while all bands have something.
const SHARES: [i32; Band::COUNT] = [40, 30, 20, 10];
/// From which part of the total, in hundredths, a band is refused.
const WATERMARKS: [usize; Band::COUNT] = [100, 95, 85, 70];
/// The fill, in hundredths, from which the lowest band is refused.
pub(super) const REFUSES_P3: usize = WATERMARKS[Band::P3 as usize];
/// The fill from which only the first band is taken.
pub(super) const REFUSES_P1: usize = WATERMARKS[Band::P1 as usize];
/// Nobody: the end of a conversation's list.
const NONE: u32 = u32::MAX;
/// Entries of which the room is worth keeping.
const KEEP: usize = 16;

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capacity {
    entries: [usize; Band::COUNT],
    bytes: usize,
}

impl Capacity {
    /// The bands of a node.
    pub(super) const NODE: [usize; Band::COUNT] = [1_000, 5_000, 10_000, 20_000];

    pub(super) const fn node(bytes: usize) -> Self {
        Self { entries: Self::NODE, bytes }
    }

    /// The bands of a node, scaled to so many entries in total; at least one each.
    pub(super) fn scaled(entries: usize, bytes: usize) -> Self {
        let total: usize = Self::NODE.iter().sum();
        Self { entries: Self::NODE.map(|of_node| (of_node * entries).div_ceil(total)), bytes }
    }

    fn total(&self) -> usize {
        self.entries.iter().sum()
    }
}

/// What stands for a conversation in queues: two that have the same are one there.
pub(super) fn hash_of(conversation_id: &str) -> u64 {
    rapidhash::v3::rapidhash_v3(conversation_id.as_bytes())
}

/// What waits, in its bands.
pub(super) struct Bands<T> {
    tokens: [VecDeque<u64>; Band::COUNT],
    /// Entries that ride in each band.
    counts: [usize; Band::COUNT],
    /// The turn of each band: smooth weighted round robin.
    turns: [i32; Band::COUNT],
    conversations: RapidHashMap<u64, Riding>,
    entries: Vec<Entry<T>>,
    free: u32,
    len: usize,
    bytes: usize,
}

/// The entries of one conversation: a list through `entries`, oldest first.
struct Riding {
    band: Band,
    count: usize,
    oldest: u32,
    newest: u32,
}

struct Entry<T> {
    /// `None`: free.
    item: Option<T>,
    bytes: usize,
    next: u32,
}

/// There is no room for an entry of this band.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl<T> Bands<T> {
    pub(super) fn new() -> Self {
        Self {
            tokens: Default::default(),
            counts: [0; Band::COUNT],
            turns: [0; Band::COUNT],
            conversations: RapidHashMap::default(),
            entries: Vec::new(),
            free: NONE,
            len: 0,
            bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The entries that wait in each band.
    pub(super) fn counts(&self) -> [usize; Band::COUNT] {
        self.counts
    }

    /// Hundredths of the capacity that are taken.
    pub(super) fn fill(&self, capacity: &Capacity) -> usize {
        (self.len * 100 / capacity.total()).max(self.bytes * 100 / capacity.bytes)
    }

    /// Adds an entry of a conversation, given by the hash of its id.
    ///
    /// # Errors
    /// When the band that it would ride in takes nothing more.
    pub(super) fn push(
        &mut self,
        capacity: &Capacity,
        band: Band,
        conversation: u64,
        bytes: usize,
        item: T,
    ) -> Result<(), Full> {
        let riding = self.conversations.get(&conversation).map_or(band, |riding| riding.band);
        let band = band.max(riding);
        let full = self.counts[band as usize] >= capacity.entries[band as usize]
            || self.fill(capacity) >= WATERMARKS[band as usize];
        if full {
            return Err(Full);
        }
        self.insert(band, conversation, bytes, item);
        Ok(())
    }

    /// Adds an entry whatever waits; the caller bounds how many of these there are.
    pub(super) fn push_anyway(&mut self, band: Band, conversation: u64, bytes: usize, item: T) {
        let riding = self.conversations.get(&conversation).map_or(band, |riding| riding.band);
        self.insert(band.max(riding), conversation, bytes, item);
    }

    fn insert(&mut self, band: Band, conversation: u64, bytes: usize, item: T) {
        let entry = self.place(item, bytes);
        self.ride(conversation, band, entry);
        self.len += 1;
        self.bytes += bytes;
    }

    /// Takes the entry whose turn it is.
    pub(super) fn pop(&mut self) -> Option<T> {
        self.pop_down_to(Band::P3)
    }

    /// The same, of the bands down to one.
    pub(super) fn pop_down_to(&mut self, lowest: Band) -> Option<T> {
        while let Some(band) = self.next_band(lowest) {
            let conversation = self.tokens[band].pop_front()?;
            let riding = self.conversations.get_mut(&conversation);
            let Some(riding) = riding.filter(|riding| riding.band as usize == band) else {
                continue; // It rides in a lower band since.
            };
            let oldest = riding.oldest;
            riding.oldest = self.entries[oldest as usize].next;
            riding.count -= 1;
            if riding.count == 0 {
                self.conversations.remove(&conversation);
            }
            self.counts[band] -= 1;
            return self.release(oldest);
        }
        None
    }

    /// Whether an idle one takes little room.
    pub(super) fn is_small(&self) -> bool {
        self.entries.len() <= KEEP
    }

    fn next_band(&mut self, lowest: Band) -> Option<usize> {
        let waiting = |band: &usize| !self.tokens[*band].is_empty();
        let bands = 0..=lowest as usize;
        let total: i32 = bands.clone().filter(waiting).map(|band| SHARES[band]).sum();
        for band in bands.clone().filter(waiting) {
            self.turns[band] += SHARES[band];
        }
        let next = bands.filter(waiting).rev().max_by_key(|band| self.turns[*band])?;
        self.turns[next] -= total;
        Some(next)
    }

    fn ride(&mut self, conversation: u64, band: Band, entry: u32) {
        use std::collections::hash_map::Entry as Slot;
        let moved = match self.conversations.entry(conversation) {
            Slot::Vacant(slot) => {
                slot.insert(Riding { band, count: 1, oldest: entry, newest: entry });
                0
            }
            Slot::Occupied(slot) => {
                let riding = slot.into_mut();
                self.entries[riding.newest as usize].next = entry;
                riding.newest = entry;
                let moved = if riding.band == band { 0 } else { riding.count };
                self.counts[riding.band as usize] -= moved;
                riding.band = band;
                riding.count += 1;
                moved
            }
        };
        self.counts[band as usize] += moved + 1;
        self.tokens[band as usize].extend(std::iter::repeat_n(conversation, moved + 1));
    }

    fn place(&mut self, item: T, bytes: usize) -> u32 {
        let entry = Entry { item: Some(item), bytes, next: NONE };
        match self.entries.get_mut(self.free as usize) {
            Some(slot) => {
                let place = self.free;
                self.free = slot.next;
                *slot = entry;
                place
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        }
    }

    fn release(&mut self, place: u32) -> Option<T> {
        let entry = &mut self.entries[place as usize];
        entry.next = self.free;
        self.free = place;
        self.len -= 1;
        self.bytes -= entry.bytes;
        entry.item.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    const ROOMY: Capacity = Capacity { entries: [100_000; 4], bytes: usize::MAX / 200 };

    fn push(bands: &mut Bands<(u64, u32)>, band: Band, conversation: u64, item: u32) {
        bands.push(&ROOMY, band, conversation, 1, (conversation, item)).expect("room");
    }

    #[test]
    fn the_time_is_shared_forty_thirty_twenty_ten_and_nobody_starves() {
        let mut bands = Bands::new();
        for item in 0..1_000 {
            for band in Band::ALL {
                push(&mut bands, band, u64::from(item) * 4 + band as u64, item);
            }
        }
        for _ in 0..10 {
            let mut served = [0; 4];
            for _ in 0..100 {
                served[(bands.pop().expect("waiting").0 % 4) as usize] += 1;
            }
            assert_eq!(served, [40, 30, 20, 10], "in each hundred, not only in the long run");
        }
    }

    #[test]
    fn what_a_band_does_not_use_goes_to_the_others() {
        let mut bands = Bands::new();
        for item in 0..1_000 {
            push(&mut bands, Band::P1, u64::from(item) * 2, item);
            push(&mut bands, Band::P3, u64::from(item) * 2 + 1, item);
        }
        let served = (0..400).filter(|_| bands.pop().expect("waiting").0 % 2 == 0).count();
        assert_eq!(served, 300);
        push(&mut bands, Band::P0, 1 << 40, 0);
        let turn = (0..3).position(|_| bands.pop().expect("waiting").0 == 1 << 40);
        assert!(turn.is_some(), "control waits for two others at most");
    }

    #[test]
    fn a_conversation_rides_as_a_whole_in_its_lowest_band() {
        let mut bands = Bands::new();
        push(&mut bands, Band::P0, 7, 1);
        push(&mut bands, Band::P0, 7, 2);
        push(&mut bands, Band::P3, 7, 3);
        push(&mut bands, Band::P0, 7, 4);
        assert_eq!(bands.counts(), [0, 0, 0, 4]);
        let order: Vec<u32> = std::iter::from_fn(|| bands.pop()).map(|(_, item)| item).collect();
        assert_eq!(order, [1, 2, 3, 4]);
        assert!(bands.is_empty() && bands.conversations.is_empty());
    }

    #[test]
    fn each_watermark_refuses_one_band_more() {
        let capacity = Capacity { entries: [100, 100, 100, 100], bytes: 1 << 30 };
        let admitted = |waiting: usize| {
            let mut bands = Bands::new();
            for entry in 0..waiting {
                // Spread, so that no single band is full.
                let band = Band::ALL[entry % 4];
                let _ = bands.push(&ROOMY, band, entry as u64, 0, ());
            }
            Band::ALL.map(|band| bands.push(&capacity, band, u64::MAX - band as u64, 0, ()).is_ok())
        };
        assert_eq!(admitted(276), [true, true, true, true]);
        assert_eq!(admitted(280), [true, true, true, false], "70 %");
        assert_eq!(admitted(340), [true, true, false, false], "85 %");
        assert_eq!(admitted(380), [true, false, false, false], "95 %");
        assert_eq!(admitted(400), [false, false, false, false]);
    }

    #[test]
    fn bytes_count_as_entries_do_and_a_full_band_leaves_the_others_alone() {
        let capacity = Capacity { entries: [10, 10, 10, 10], bytes: 1_000 };
        let mut bands = Bands::new();
        assert_eq!(bands.push(&capacity, Band::P1, 1, 700, ()), Ok(()));
        assert_eq!(bands.push(&capacity, Band::P3, 2, 1, ()), Err(Full));
        assert_eq!(bands.push(&capacity, Band::P2, 3, 1, ()), Ok(()));
        let mut bands = Bands::new();
        let fill = |_| bands.push(&capacity, Band::P0, 9, 1, ());
        assert_eq!((0..11).map(fill).filter(Result::is_err).count(), 1);
        assert_eq!(bands.push(&capacity, Band::P2, 3, 1, ()), Ok(()));
    }

    #[test]
    fn the_bands_of_a_connection_are_those_of_a_node_scaled_down() {
        let capacity = Capacity::scaled(10_000, 1);
        assert_eq!(capacity.entries, [278, 1_389, 2_778, 5_556]);
    }

    /// Against a model: a list for each conversation.
    #[test]
    fn nothing_is_lost_doubled_or_reordered() {
        for seed in 0..300 {
            let mut dice = StdRng::seed_from_u64(seed);
            let mut bands = Bands::new();
            let mut model: RapidHashMap<u64, VecDeque<u32>> = RapidHashMap::default();
            for item in 0..400 {
                if dice.random_bool(0.45) {
                    match bands.pop() {
                        Some((conversation, item)) => assert_eq!(
                            model.get_mut(&conversation).and_then(VecDeque::pop_front),
                            Some(item),
                            "seed {seed}"
                        ),
                        None => assert!(model.values().all(VecDeque::is_empty), "seed {seed}"),
                    }
                } else {
                    let conversation = dice.random_range(0..6);
                    push(&mut bands, Band::ALL[dice.random_range(0..4)], conversation, item);
                    model.entry(conversation).or_default().push_back(item);
                }
                let waiting = model.values().map(VecDeque::len).sum::<usize>();
                let counted = (bands.len(), bands.counts().iter().sum(), bands.bytes());
                assert_eq!(counted, (waiting, waiting, waiting), "seed {seed}");
            }
        }
    }
}
