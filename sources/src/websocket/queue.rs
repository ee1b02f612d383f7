//! What the dataflow has given to this node and the dispatcher has not brought to the outboxes yet.
//!
//! Answers stand apart and go first: they are bounded by the credit of their commands. All others stand in
//! the four bands of the node. A message that finds no room there opens a *gap* of its conversation: one notice
//! for all that is left out, which goes to those who would have got the messages once the lowest band takes
//! entries again. Bounded by the capacity of the bands; gaps by the commands that were let in before
//! the gateway began to answer BUSY.

use std::sync::Arc;

use imflow_proto::Record;
use imflow_proto::record::{Band, Delivery, Event, Nudge};
use rapidhash::{RapidHashMap, RapidHashSet};
use tokio::time::Instant;

use super::bands::{Bands, Capacity, REFUSES_P3, hash_of};

/// Notices of the moment that may wait; more are dropped.
const MAX_FLEETING: usize = 4_096;

/// Messages to small conversations that wait when their senders are held up: far fewer than the band takes,
/// as those that are on their way still come.
const HOLDS_AT: usize = Capacity::NODE[Band::P1 as usize] / 5;

/// How much the node has to deliver, for those who decide what it takes in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Strain {
    /// Hundredths of the capacity that are taken.
    pub(super) fill: usize,
    /// Whoever sends a message is to wait.
    pub(super) holds: bool,
}

pub(super) struct Queue {
    capacity: Capacity,
    answers: Vec<Record>,
    fleeting: Vec<Record>,
    bands: Bands<Waiting>,
    gaps: RapidHashMap<u64, NodeGap>,
}

/// A delivery that waits for its turn.
pub(super) struct Waiting {
    pub(super) what: Waits,
    pub(super) since: Instant,
}

pub(super) enum Waits {
    Delivery(Arc<Delivery>),
    Nudge(Arc<Nudge>),
}

/// Messages that were left out for everybody.
pub(super) struct NodeGap {
    pub(super) conversation_id: String,
    pub(super) up_to_seq: u64,
    pub(super) to: Arc<[Arc<str>]>,
}

/// What the dispatcher takes at a time.
#[derive(Default)]
pub(super) struct Round {
    pub(super) answers: Vec<Record>,
    pub(super) fleeting: Vec<Record>,
    pub(super) waiting: Vec<Waiting>,
    pub(super) gaps: Vec<(u64, NodeGap)>,
}

/// Bounds of a round: large enough to share its costs, small enough to share the thread.
#[derive(Clone, Copy)]
pub(super) struct RoundSize {
    pub(super) records: usize,
    pub(super) receivers: usize,
    pub(super) bytes: usize,
}

impl Queue {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            capacity: Capacity::node(bytes),
            answers: Vec::new(),
            fleeting: Vec::new(),
            bands: Bands::new(),
            gaps: RapidHashMap::default(),
        }
    }

    /// Takes what was delivered; gives how many pushes found no room.
    pub(super) fn add(&mut self, records: Vec<Record>) -> usize {
        let (now, mut lost) = (Instant::now(), 0);
        for record in records {
            let taken = match record {
                Record::Presence(_) => self.add_fleeting(record),
                Record::Delivery(delivery) => match &delivery.event {
                    Event::Typing(_) => self.add_fleeting(Record::Delivery(delivery)),
                    _ => self.add_delivery(&delivery, now),
                },
                Record::Nudge(nudge) => self.add_nudge(nudge, now),
                answer => {
                    self.answers.push(answer);
                    true
                }
            };
            lost += usize::from(!taken);
        }
        lost
    }

    pub(super) fn strain(&self) -> Strain {
        Strain { fill: self.fill(), holds: self.counts()[Band::P1 as usize] >= HOLDS_AT }
    }

    /// Hundredths of the capacity that are taken.
    fn fill(&self) -> usize {
        self.bands.fill(&self.capacity)
    }

    /// The entries that wait in each band.
    pub(super) fn counts(&self) -> [usize; Band::COUNT] {
        self.bands.counts()
    }

    /// All answers, and of the bands down to `lowest` what fits a round; `None`: nothing of that waits.
    pub(super) fn take(&mut self, size: RoundSize, lowest: Option<Band>) -> Option<Round> {
        let mut round = Round {
            answers: std::mem::take(&mut self.answers),
            fleeting: std::mem::take(&mut self.fleeting),
            ..Round::default()
        };
        let (mut receivers, mut bytes) = (0, 0);
        let mut seen = RapidHashSet::default();
        while round.waiting.len() < size.records && receivers < size.receivers && bytes < size.bytes
        {
            let Some(waiting) = lowest.and_then(|lowest| self.bands.pop_down_to(lowest)) else {
                break;
            };
            // Those who get several things of a round are looked up and woken once for all of them.
            if seen.insert(waiting.list()) {
                receivers += waiting.receivers();
            }
            bytes += waiting.bytes();
            round.waiting.push(waiting);
        }
        if lowest == Some(Band::P3) && !self.gaps.is_empty() && self.fill() < REFUSES_P3 {
            round.gaps = self.gaps.drain().collect();
        }
        (!round.is_empty()).then_some(round)
    }

    fn add_fleeting(&mut self, record: Record) -> bool {
        let taken = self.fleeting.len() < MAX_FLEETING && self.fill() < REFUSES_P3;
        if taken {
            self.fleeting.push(record);
        }
        taken
    }

    fn add_delivery(&mut self, delivery: &Arc<Delivery>, since: Instant) -> bool {
        let conversation = hash_of(delivery.event.conversation_id());
        let seq = seq_of(&delivery.event);
        if let (Some(gap), Some(seq)) = (self.gaps.get_mut(&conversation), seq) {
            gap.up_to_seq = gap.up_to_seq.max(seq);
            gap.to = Arc::clone(&delivery.to);
            return false;
        }
        let band = delivery.band;
        let waiting = Waiting { what: Waits::Delivery(Arc::clone(delivery)), since };
        let bytes = waiting.bytes();
        if self.bands.push(&self.capacity, band, conversation, bytes, waiting).is_ok() {
            return true;
        }
        let gap = self.gaps.entry(conversation).or_insert_with(|| NodeGap {
            conversation_id: delivery.event.conversation_id().to_owned(),
            up_to_seq: 0,
            to: Arc::clone(&delivery.to),
        });
        gap.up_to_seq = gap.up_to_seq.max(seq.unwrap_or(0));
        false
    }

    /// A nudge that finds no room is made again by who nudges.
    fn add_nudge(&mut self, nudge: Arc<Nudge>, since: Instant) -> bool {
        let conversation = hash_of(&nudge.notify.conversation_id);
        let waiting = Waiting { what: Waits::Nudge(nudge), since };
        let bytes = waiting.bytes();
        self.bands.push(&self.capacity, Band::P0, conversation, bytes, waiting).is_ok()
    }
}

impl Round {
    fn is_empty(&self) -> bool {
        self.answers.is_empty()
            && self.fleeting.is_empty()
            && self.waiting.is_empty()
            && self.gaps.is_empty()
    }
}

impl Waiting {
    /// The identity of the list of its receivers.
    fn list(&self) -> usize {
        match &self.what {
            Waits::Delivery(delivery) => Arc::as_ptr(&delivery.to).cast::<()>() as usize,
            Waits::Nudge(nudge) => Arc::as_ptr(nudge) as usize,
        }
    }

    fn receivers(&self) -> usize {
        match &self.what {
            Waits::Delivery(delivery) => delivery.to.len(),
            Waits::Nudge(_) => 1,
        }
    }

    fn bytes(&self) -> usize {
        match &self.what {
            Waits::Delivery(delivery) => match &delivery.event {
                Event::Message(entry) => {
                    128 + entry.message.text.len() + entry.message.payload.len()
                }
                _ => 128,
            },
            Waits::Nudge(_) => 128,
        }
    }
}

/// The last message that an event is or stands for.
fn seq_of(event: &Event) -> Option<u64> {
    match event {
        Event::Message(entry) => Some(entry.message.seq),
        Event::Notify(notify) => Some(notify.up_to_seq),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::testing::entry;

    const ALL: RoundSize = RoundSize { records: 1 << 20, receivers: 1 << 20, bytes: 1 << 30 };

    fn take(queue: &mut Queue, size: RoundSize) -> Option<Round> {
        queue.take(size, Some(Band::P3))
    }

    fn message(id: &str, seq: u64, band: Band) -> Record {
        let (event, to) = (Event::Message(entry(id, seq)), Arc::from([Arc::from("bob")]));
        Record::Delivery(Arc::new(Delivery { event, to, except: 0, band }))
    }

    fn seqs(round: &Round, id: &str) -> Vec<u64> {
        let seq = |waiting: &Waiting| match &waiting.what {
            Waits::Delivery(delivery) if delivery.event.conversation_id() == id => {
                seq_of(&delivery.event)
            }
            _ => None,
        };
        round.waiting.iter().filter_map(seq).collect()
    }

    #[test]
    fn what_finds_no_room_becomes_one_notice_once_there_is_room_again() {
        let mut queue = Queue::new(1 << 30);
        let crowd = (1..=5_000).map(|seq| message("busy", seq, Band::P1));
        assert_eq!(queue.add(crowd.collect()), 0);
        assert_eq!(
            queue.add((5_001..=5_100).map(|seq| message("busy", seq, Band::P1)).collect()),
            100
        );
        assert_eq!(queue.add(vec![message("system", 1, Band::P0)]), 0, "other bands have room");
        let mut told = Vec::new();
        while let Some(round) = take(&mut queue, RoundSize { records: 100, ..ALL }) {
            told.extend(seqs(&round, "busy"));
            if let [(_, gap)] = &round.gaps[..] {
                assert_eq!((&*gap.conversation_id, gap.up_to_seq), ("busy", 5_100));
                told.push(gap.up_to_seq);
            }
        }
        assert_eq!(told.iter().filter(|seq| **seq == 5_100).count(), 1);
        let pushed: Vec<u64> = told.iter().copied().filter(|seq| *seq != 5_100).collect();
        assert_eq!(pushed, (1..=5_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_round_takes_many_messages_for_the_same_receivers_and_few_for_many() {
        let to: Arc<[Arc<str>]> = (0..100).map(|user| Arc::from(format!("u{user}"))).collect();
        let delivery = |id: &str, seq, to: &Arc<[Arc<str>]>| {
            let (event, to) = (Event::Message(entry(id, seq)), Arc::clone(to));
            Record::Delivery(Arc::new(Delivery { event, to, except: 0, band: Band::P1 }))
        };
        let size = RoundSize { receivers: 150, ..ALL };
        let mut queue = Queue::new(1 << 30);
        queue.add((1..=20).map(|seq| delivery("c1", seq, &to)).collect());
        assert_eq!(take(&mut queue, size).expect("waiting").waiting.len(), 20);
        let other = |number: u64| delivery(&format!("c{number}"), 1, &to.iter().cloned().collect());
        queue.add((2..=6).map(other).collect());
        assert_eq!(take(&mut queue, size).expect("waiting").waiting.len(), 2);
    }

    #[test]
    fn bytes_fill_the_queue_as_entries_do_and_the_moment_goes_first() {
        let mut queue = Queue::new(1_000);
        let typing = || {
            let notice = imflow_proto::wire::TypingNotice::default();
            let (event, to) = (Event::Typing(Arc::new(notice)), Arc::from([]));
            Record::Delivery(Arc::new(Delivery { event, to, except: 0, band: Band::P3 }))
        };
        assert_eq!(queue.add(vec![typing()]), 0);
        queue.add((1..=6).map(|seq| message("c1", seq, Band::P1)).collect());
        assert!(queue.fill() >= 70, "{}", queue.fill());
        assert_eq!(queue.add(vec![typing()]), 1, "the first to be left out");
        assert_eq!(queue.add(vec![message("c2", 1, Band::P3)]), 1);
        let round = take(&mut queue, ALL).expect("waiting");
        assert_eq!((round.fleeting.len(), round.waiting.len(), round.gaps.len()), (1, 6, 1));
    }

    #[test]
    fn what_is_urgent_can_be_taken_alone() {
        let mut queue = Queue::new(1 << 30);
        queue.add(vec![message("large", 1, Band::P2), message("small", 1, Band::P1)]);
        let round = queue.take(ALL, Some(Band::P1)).expect("waiting");
        assert_eq!((seqs(&round, "small"), seqs(&round, "large")), (vec![1], vec![]));
        assert!(queue.take(ALL, None).is_none() && queue.take(ALL, Some(Band::P1)).is_none());
        assert_eq!(seqs(&take(&mut queue, ALL).expect("waiting"), "large"), [1]);
    }
}
