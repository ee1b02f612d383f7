//! A page of one conversation: after, before or around a place.

use imflow_kind::Store;
use imflow_proto::record::Session;
use imflow_proto::wire::{Error, ErrorCode, History, Messages};

use super::answer::{failed, may_read};

const DEFAULT: usize = 50;
const MAX: usize = 200;

/// Messages in a page when the client asks for `limit`.
pub(super) fn page_size(limit: u32) -> usize {
    if limit == 0 { DEFAULT } else { (limit as usize).min(MAX) }
}

pub(super) fn page(
    store: &dyn Store,
    session: &Session,
    history: &History,
) -> Result<Messages, Error> {
    let floor = may_read(store, session, &history.conversation_id)?.reads_after();
    let (id, limit) = (&history.conversation_id, page_size(history.limit));
    let from = From::read(history)?;
    let page = match from {
        From::After(seq) => store.messages(id, seq.max(floor), limit),
        From::AfterTime(time) => store
            .seq_before(id, time)
            .and_then(|before| store.messages(id, before.max(floor), limit)),
        From::Before(seq) => store.last_messages(id, floor, seq, limit),
        From::BeforeTime(time) => store
            .seq_before(id, time)
            .and_then(|before| store.last_messages(id, floor, before + 1, limit)),
        From::Between(after, before) => between(store, id, (after.max(floor), before), limit),
        From::Around(seq) => {
            let first = seq.saturating_sub(limit as u64 / 2).saturating_sub(1);
            store.messages(id, first.max(floor), limit)
        }
    };
    page.map_err(|error| failed(&error))
}

/// Seqs in `(after, before)`, from the first on.
fn between(
    store: &dyn Store,
    id: &str,
    (after, before): (u64, u64),
    limit: usize,
) -> Result<Messages, imflow_kind::StoreError> {
    let wanted = before.saturating_sub(after).saturating_sub(1);
    let mut page = store.messages(id, after, wanted.min(limit as u64) as usize)?;
    page.items.retain(|message| message.seq < before);
    page.more &= page.items.last().is_some_and(|last| last.seq + 1 < before);
    Ok(page)
}

/// Where a page stands.
enum From {
    After(u64),
    Before(u64),
    Between(u64, u64),
    Around(u64),
    AfterTime(i64),
    BeforeTime(i64),
}

impl From {
    fn read(history: &History) -> Result<Self, Error> {
        let History { after_seq, before_seq, around_seq, after_time, before_time, .. } = *history;
        match (after_seq, before_seq, around_seq, after_time, before_time) {
            (after, 0, 0, 0, 0) => Ok(Self::After(after)),
            (0, before, 0, 0, 0) => Ok(Self::Before(before)),
            (after, before, 0, 0, 0) => Ok(Self::Between(after, before)),
            (0, 0, around, 0, 0) => Ok(Self::Around(around)),
            (0, 0, 0, after, 0) => Ok(Self::AfterTime(after)),
            (0, 0, 0, 0, before) => Ok(Self::BeforeTime(before)),
            _ => Err(Error::of(
                ErrorCode::Invalid,
                "the page has several places; give `afterSeq`, `beforeSeq` or both, or one of `aroundSeq`, `afterTime` and `beforeTime`",
            )),
        }
    }
}
