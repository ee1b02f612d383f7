//! The index of the newest segments, in memory.
//!
//! A segment is open while the log writes it, then sealed and immutable until the tables hold it. Seqs
//! of a conversation rise along the log, so its entries are sorted as they come.
//!
//! In the tables a conversation's entries of a segment stand in runs of consecutive seqs:
//! `conversation \0 first seq (big endian)` -> `segment u32 | (offset u32, len u32)*`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use imflow_proto::{Fingerprint, FingerprintMap, Keys, wire};
use rapidhash::RapidHashMap;

use super::amendments::{Amendment, Amendments, Slot};
use crate::log::frame::u32_at;
use crate::log::segments::Place;

/// Entries in one run of the tables.
const RUN: usize = 512;

/// A row of a table.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

pub(crate) struct Ram {
    /// Oldest first.
    sealed: VecDeque<Arc<RamSegment>>,
    open: RamSegment,
}

/// The index of one segment.
#[derive(Default)]
pub(crate) struct RamSegment {
    pub number: u32,
    /// The last record of it, message or fact.
    pub last_lsn: u64,
    /// The latest time of a message of it.
    pub newest_ms: i64,
    timelines: FingerprintMap<Timeline>,
    ids: RapidHashMap<u128, (u32, u32)>,
}

/// The messages of one conversation.
struct Timeline {
    conversation_id: Box<str>,
    /// By seq.
    entries: Vec<Entry>,
    /// The last seq of each sender.
    written: FingerprintMap<(Box<str>, u64)>,
    /// Those of them that act on earlier messages.
    amendments: BTreeMap<Slot, Amendment>,
}

#[derive(Clone, Copy)]
struct Entry {
    seq: u64,
    offset: u32,
    len: u32,
}

impl Ram {
    pub(crate) fn new(open: RamSegment) -> Self {
        Self { sealed: VecDeque::new(), open }
    }

    pub(crate) fn open(&mut self) -> &mut RamSegment {
        &mut self.open
    }

    /// Seals the open segment and opens the next.
    pub(crate) fn seal(&mut self, next: u32) -> Arc<RamSegment> {
        let last_lsn = self.open.last_lsn;
        let mut next = RamSegment { number: next, last_lsn, ..RamSegment::default() };
        // It will likely be as full as this one.
        next.ids.reserve(self.open.ids.len());
        next.timelines.reserve(self.open.timelines.len());
        let sealed = Arc::new(std::mem::replace(&mut self.open, next));
        self.sealed.push_back(Arc::clone(&sealed));
        sealed
    }

    /// The oldest segment that is here.
    pub(crate) fn oldest(&self) -> u32 {
        self.sealed.front().map_or(self.open.number, |sealed| sealed.number)
    }

    /// The number of the segment that is written.
    pub(crate) fn newest(&self) -> u32 {
        self.open.number
    }

    /// Puts what was read again in the place of a sealed segment.
    pub(crate) fn put_back(&mut self, segment: Arc<RamSegment>) {
        let found = self.sealed.iter_mut().find(|sealed| sealed.number == segment.number);
        if let Some(sealed) = found {
            *sealed = segment;
        }
    }

    /// Drops a sealed segment.
    pub(crate) fn drop_segment(&mut self, number: u32) {
        self.sealed.retain(|segment| segment.number != number);
    }

    pub(crate) fn by_id(&self, id: u128) -> Option<Place> {
        self.newest_first().find_map(|segment| {
            segment.ids.get(&id).map(|(offset, len)| Place {
                segment: segment.number,
                offset: *offset,
                len: *len,
            })
        })
    }

    pub(crate) fn last_seq(&self, conversation_id: &str) -> Option<u64> {
        self.newest_first().find_map(|segment| segment.last_seq(conversation_id))
    }

    /// The last seq that a user has written, if any of it is here.
    pub(crate) fn written(&self, conversation_id: &str, user_id: &str) -> Option<u64> {
        let conversation = Fingerprint::of(conversation_id);
        let member = conversation.then(Fingerprint::of(user_id));
        self.newest_first().find_map(|segment| {
            let (_, seq) = segment.timelines.get(&conversation)?.written.get(&member)?;
            Some(*seq)
        })
    }

    /// The oldest seq of a conversation that is here, and the places after `after_seq`.
    pub(crate) fn places(
        &self,
        conversation_id: &str,
        after_seq: u64,
        limit: usize,
    ) -> (Option<u64>, Vec<Place>) {
        let conversation = Fingerprint::of(conversation_id);
        let (mut oldest, mut places) = (None, Vec::new());
        for segment in self.sealed.iter().map(|sealed| &**sealed).chain([&self.open]) {
            let Some(Timeline { entries, .. }) = segment.timelines.get(&conversation) else {
                continue;
            };
            oldest = oldest.or_else(|| entries.first().map(|entry| entry.seq));
            let from = entries.partition_point(|entry| entry.seq <= after_seq);
            let wanted = entries[from..].iter().take(limit - places.len());
            places.extend(wanted.map(|entry| Place {
                segment: segment.number,
                offset: entry.offset,
                len: entry.len,
            }));
        }
        (oldest, places)
    }

    /// Adds the amendments of these messages.
    pub(super) fn amendments(
        &self,
        conversation_id: &str,
        targets: &RangeInclusive<u64>,
        found: &mut Amendments,
    ) {
        let conversation = Fingerprint::of(conversation_id);
        for segment in self.newest_first() {
            let Some(timeline) = segment.timelines.get(&conversation) else { continue };
            for (slot, amendment) in timeline.amendments.range(Slot::all_of(targets)) {
                if found.take(*slot, || amendment.clone()).is_break() {
                    break;
                }
            }
        }
    }

    /// Adds those of these slots that are taken.
    pub(super) fn slots(
        &self,
        conversation_id: &str,
        slots: &RangeInclusive<Slot>,
        found: &mut BTreeSet<Slot>,
    ) {
        let conversation = Fingerprint::of(conversation_id);
        for segment in self.newest_first() {
            if let Some(timeline) = segment.timelines.get(&conversation) {
                found.extend(timeline.amendments.range(slots.clone()).map(|(slot, _)| *slot));
            }
        }
    }

    fn newest_first(&self) -> impl Iterator<Item = &RamSegment> {
        [&self.open].into_iter().chain(self.sealed.iter().rev().map(|sealed| &**sealed))
    }
}

impl RamSegment {
    /// An empty index of a segment.
    pub(crate) fn new(number: u32) -> Self {
        Self { number, ..Self::default() }
    }

    /// Loads what [`RamSegment::insert`] will look at.
    pub(crate) fn warm(&self, keys: &Keys) {
        std::hint::black_box(self.ids.get(&keys.index()));
        if let Some(timeline) = self.timelines.get(&keys.conversation) {
            std::hint::black_box(timeline.entries.last());
            std::hint::black_box(timeline.written.get(&keys.member));
        }
    }

    pub(crate) fn insert(&mut self, message: &wire::Message, keys: &Keys, place: Place) {
        self.ids.insert(keys.index(), (place.offset, place.len));
        self.newest_ms = self.newest_ms.max(message.created_at);
        let entry = Entry { seq: message.seq, offset: place.offset, len: place.len };
        let timeline = self.timelines.entry(keys.conversation).or_insert_with(|| Timeline {
            conversation_id: message.conversation_id.as_str().into(),
            entries: Vec::new(),
            written: FingerprintMap::default(),
            amendments: BTreeMap::new(),
        });
        // Whoever reacts to a message, say, has not read all that came before.
        if !message.is_action() {
            let written = timeline.written.entry(keys.member);
            written.or_insert_with(|| (message.sender_id.as_str().into(), 0)).1 = message.seq;
        }
        if let Some((slot, amendment)) = Amendment::of(message, place) {
            timeline.amendments.insert(Slot::by_seq(message.seq), amendment.clone());
            if !amendment.says_nothing(slot) {
                timeline.amendments.insert(slot, amendment);
            }
        }
        match timeline.entries.last() {
            Some(last) if last.seq >= entry.seq => tracing::error!(
                "conversation {}: seq {} follows {} in segment {}; the later one is not indexed",
                message.conversation_id,
                entry.seq,
                last.seq,
                self.number,
            ),
            _ => timeline.entries.push(entry),
        }
    }

    /// The last seq of each conversation.
    pub(crate) fn last_seqs(&self) -> impl Iterator<Item = (&str, u64)> {
        let last = |timeline: &Timeline| timeline.entries.last().map_or(0, |entry| entry.seq);
        self.timelines.values().map(move |timeline| (&*timeline.conversation_id, last(timeline)))
    }

    /// The highest seq of a conversation.
    pub(crate) fn last_seq(&self, conversation_id: &str) -> Option<u64> {
        Some(self.timelines.get(&Fingerprint::of(conversation_id))?.entries.last()?.seq)
    }

    /// Conversation, sender, and the last seq that the sender has written there.
    pub(crate) fn last_written(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.timelines.values().flat_map(|timeline| {
            let written = timeline.written.values();
            written.map(|(sender, seq)| (&*timeline.conversation_id, &**sender, *seq))
        })
    }

    /// The rows of the table of messages, sorted.
    pub(crate) fn message_rows(&self) -> impl Iterator<Item = Row> {
        let mut timelines: Vec<&Timeline> = self.timelines.values().collect();
        timelines.sort_unstable_by(|a, b| a.conversation_id.cmp(&b.conversation_id));
        timelines.into_iter().flat_map(move |timeline| {
            let runs = timeline
                .entries
                .chunk_by(|a, b| a.seq + 1 == b.seq)
                .flat_map(|run| run.chunks(RUN));
            runs.map(move |run| {
                let mut value = Vec::with_capacity(4 + 8 * run.len());
                value.extend_from_slice(&self.number.to_le_bytes());
                for entry in run {
                    value.extend_from_slice(&entry.offset.to_le_bytes());
                    value.extend_from_slice(&entry.len.to_le_bytes());
                }
                (run_key(&timeline.conversation_id, run[0].seq), value)
            })
        })
    }

    /// The rows of the table of amendments, sorted.
    pub(crate) fn amendment_rows(&self) -> impl Iterator<Item = Row> {
        let amended = self.timelines.values().filter(|timeline| !timeline.amendments.is_empty());
        let rows = amended.flat_map(|timeline| {
            let amendments = timeline.amendments.iter();
            amendments.map(|(slot, amendment)| amendment.row(&timeline.conversation_id, *slot))
        });
        let mut rows: Vec<Row> = rows.collect();
        rows.sort_unstable();
        rows.into_iter()
    }

    /// The rows of the table of ids, sorted.
    pub(crate) fn id_rows(&self) -> impl Iterator<Item = Row> {
        let mut ids: Vec<(u128, (u32, u32))> =
            self.ids.iter().map(|(id, place)| (*id, *place)).collect();
        ids.sort_unstable();
        ids.into_iter().map(move |(id, (offset, len))| {
            let mut value = Vec::with_capacity(12);
            for number in [self.number, offset, len] {
                value.extend_from_slice(&number.to_le_bytes());
            }
            (id.to_be_bytes().to_vec(), value)
        })
    }
}

/// The key of the run that begins with this seq.
pub(crate) fn run_key(conversation_id: &str, seq: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(conversation_id.len() + 9);
    key.extend_from_slice(conversation_id.as_bytes());
    key.push(0);
    key.extend_from_slice(&seq.to_be_bytes());
    key
}

/// The first seq of a run, if the key is of this conversation.
pub(crate) fn run_start(conversation_id: &str, key: &[u8]) -> Option<u64> {
    let seq = key.strip_prefix(conversation_id.as_bytes())?.strip_prefix(b"\0")?;
    Some(u64::from_be_bytes(seq.try_into().ok()?))
}

/// How many messages a run holds.
pub(crate) fn run_len(value: &[u8]) -> usize {
    value.len().saturating_sub(4) / 8
}

/// The places of a run.
pub(crate) fn read_run(value: &[u8]) -> impl Iterator<Item = Place> {
    let segment = value.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let entries = value.get(4..).unwrap_or_default().chunks_exact(8);
    entries.map(move |entry| Place { segment, offset: u32_at(entry, 0), len: u32_at(entry, 4) })
}

/// The place in a row of ids.
pub(crate) fn read_place(value: &[u8]) -> Option<Place> {
    (value.len() == 12).then(|| Place {
        segment: u32_at(value, 0),
        offset: u32_at(value, 4),
        len: u32_at(value, 8),
    })
}
