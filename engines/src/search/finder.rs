//! Finds the messages that fit, newest first over all segments.
//!
//! The documents of a segment stand newest first; a heap takes the newest head of all segments. So a
//! search costs what it looks at, which is bounded, and can go on from where it stopped.

use std::collections::BinaryHeap;
use std::ops::ControlFlow;
use std::sync::Arc;

use imflow_kind::{Hit, SearchError, Wanted, Within, conversation_key};
use imflow_proto::id::first_server_msg_id_at;
use tantivy::columnar::{ColumnValues, StrColumn};
use tantivy::query::{
    BooleanQuery, EnableScoring, PhrasePrefixQuery, PhraseQuery, Query, Scorer, TermQuery,
};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocId, Searcher, SegmentReader, TERMINATED, TantivyError, Term};

use super::query::Phrase;
use super::schema::{CONVERSATION, CREATED, Fields, ID, KEY, SEQ};

/// Messages with all the words that one search looks at; most are passed over in some ten nanoseconds.
const LOOKED_AT: usize = 500_000;
/// Words that one character can begin, more than any language has.
const BEGUN: u32 = 1 << 20;

/// Visits what fits; gives the id at which the search stopped, if it looked at as much as it may.
pub(super) fn find(
    searcher: &Searcher,
    fields: &Fields,
    phrases: &[Phrase],
    wanted: &Wanted<'_>,
    visit: &mut dyn FnMut(Hit) -> ControlFlow<()>,
) -> Result<Option<i64>, SearchError> {
    if matches!(wanted.within, Within::Some(readable) if readable.is_empty()) {
        return Ok(None);
    }
    let query = query(fields, phrases, wanted);
    let scoring = EnableScoring::disabled_from_searcher(searcher);
    let weight = query.weight(scoring).map_err(|error| failed(&error))?;
    let mut heads = BinaryHeap::new();
    for reader in searcher.segment_readers() {
        let scorer = weight.scorer(reader, 1.0).map_err(|error| failed(&error))?;
        let segment = Segment::open(reader, scorer).map_err(|error| failed(&error))?;
        heads.extend(segment.from(wanted.before));
    }
    let oldest = if wanted.after_time > 0 { first_server_msg_id_at(wanted.after_time) } else { 0 };
    let mut looked_at = 0;
    while let Some(mut head) = heads.pop() {
        if head.id < oldest as u64 {
            break;
        }
        if let Some(hit) = head.segment.hit(head.id, wanted)?
            && visit(hit).is_break()
        {
            break;
        }
        looked_at += 1;
        if looked_at == LOOKED_AT {
            return Ok(Some(head.id as i64));
        }
        if head.advance() {
            heads.push(head);
        }
    }
    Ok(None)
}

fn failed(error: &TantivyError) -> SearchError {
    SearchError::Index(error.to_string())
}

fn query(fields: &Fields, phrases: &[Phrase], wanted: &Wanted<'_>) -> BooleanQuery {
    let exactly = |term| Box::new(TermQuery::new(term, IndexRecordOption::Basic)) as Box<dyn Query>;
    let mut all: Vec<_> = phrases.iter().map(|phrase| phrase_query(fields, phrase)).collect();
    if !wanted.sender_id.is_empty() {
        all.push(exactly(Term::from_field_text(fields.sender, wanted.sender_id)));
    }
    if let Within::One(conversation_id, _) = wanted.within {
        all.push(exactly(Term::from_field_u64(fields.key, conversation_key(conversation_id))));
    }
    BooleanQuery::intersection(all)
}

fn phrase_query(fields: &Fields, phrase: &Phrase) -> Box<dyn Query> {
    let term = |text: &str| Term::from_field_text(fields.text, text);
    let terms: Vec<_> = phrase.words.iter().map(|(place, text)| (*place, term(text))).collect();
    match (&terms[..], phrase.is_open) {
        (_, true) => {
            let mut query = PhrasePrefixQuery::new_with_offset(terms);
            query.set_max_expansions(BEGUN);
            Box::new(query)
        }
        ([(_, term)], false) => Box::new(TermQuery::new(term.clone(), IndexRecordOption::Basic)),
        _ => Box::new(PhraseQuery::new_with_offset(terms)),
    }
}

/// What fits of one segment.
struct Segment<'s> {
    reader: &'s SegmentReader,
    scorer: Box<dyn Scorer>,
    ids: Arc<dyn ColumnValues<u64>>,
    keys: Arc<dyn ColumnValues<u64>>,
    seqs: Arc<dyn ColumnValues<u64>>,
    times: Arc<dyn ColumnValues<i64>>,
    conversations: Option<StrColumn>,
}

impl<'s> Segment<'s> {
    fn open(reader: &'s SegmentReader, scorer: Box<dyn Scorer>) -> tantivy::Result<Self> {
        let columns = reader.fast_fields();
        Ok(Self {
            reader,
            scorer,
            ids: columns.column_first_or_default(ID)?,
            keys: columns.column_first_or_default(KEY)?,
            seqs: columns.column_first_or_default(SEQ)?,
            times: columns.column_first_or_default(CREATED)?,
            conversations: columns.str(CONVERSATION)?,
        })
    }

    /// The newest document with an id below `before`; 0: of all.
    fn from(mut self, before: i64) -> Option<Head<'s>> {
        if before > 0 {
            let (mut low, mut high) = (0, self.reader.max_doc());
            while low < high {
                let middle = low + (high - low) / 2;
                match self.ids.get_val(middle) >= before as u64 {
                    true => low = middle + 1,
                    false => high = middle,
                }
            }
            if low == self.reader.max_doc() {
                return None;
            }
            if self.scorer.doc() < low {
                self.scorer.seek(low);
            }
        }
        let doc = self.scorer.doc();
        (doc != TERMINATED).then(|| Head { id: self.ids.get_val(doc), segment: self })
    }

    /// The document at which the segment stands, if it fits.
    fn hit(&self, id: u64, wanted: &Wanted<'_>) -> Result<Option<Hit>, SearchError> {
        let doc = self.scorer.doc();
        let seq = self.seqs.get_val(doc);
        let is_within = match wanted.within {
            Within::All => true,
            Within::One(_, after) => seq > after,
            Within::Some(readable) => {
                readable.get(&self.keys.get_val(doc)).is_some_and(|after| seq > *after)
            }
        };
        if !is_within || self.reader.is_deleted(doc) || !self.is_in_time(doc, wanted) {
            return Ok(None);
        }
        let conversation_id = self.conversation(doc).map_err(|error| failed(&error.into()))?;
        Ok(Some(Hit { conversation_id, seq, server_msg_id: id as i64 }))
    }

    fn is_in_time(&self, doc: DocId, wanted: &Wanted<'_>) -> bool {
        if wanted.after_time == 0 && wanted.before_time == 0 {
            return true;
        }
        let time = self.times.get_val(doc);
        time >= wanted.after_time && (wanted.before_time == 0 || time < wanted.before_time)
    }

    fn conversation(&self, doc: DocId) -> std::io::Result<String> {
        let mut id = String::new();
        if let Some(column) = &self.conversations
            && let Some(ord) = column.term_ords(doc).next()
        {
            column.ord_to_str(ord, &mut id)?;
        }
        Ok(id)
    }
}

/// The next document of a segment; ordered by its id.
struct Head<'s> {
    id: u64,
    segment: Segment<'s>,
}

impl Head<'_> {
    fn advance(&mut self) -> bool {
        let doc = self.segment.scorer.advance();
        if doc == TERMINATED {
            return false;
        }
        self.id = self.segment.ids.get_val(doc);
        true
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Head<'_> {}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.id.cmp(&other.id)
    }
}
