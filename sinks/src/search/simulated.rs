//! The index in virtual time: every message in memory, every text looked at.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use imflow_engines::search::{check, spans};
use imflow_kind::{
    Hit, IoContext, Journal, Logged, Replica, ReplicaError, Roles, Search, SearchError, Searched,
    Store, Wanted, Within, conversation_key,
};
use imflow_proto::record::Lsn;
use imflow_proto::wire::{Message, MessageType};
use parking_lot::Mutex;

use crate::log::Targets;

/// Offers the index and gives what fills it.
pub(super) fn replica(context: &IoContext) -> Box<dyn Replica> {
    let scan = Arc::new(Scan {
        roles: context.roles.clone(),
        of: context.options.text("of").to_owned(),
        kept: Mutex::default(),
    });
    context.roles.offer(&context.name, Arc::clone(&scan) as Arc<dyn Search>);
    Box::new(Filling(scan))
}

struct Scan {
    roles: Roles,
    of: String,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By serverMsgId.
    messages: BTreeMap<i64, Message>,
    position: Lsn,
    newest_ms: i64,
}

impl Search for Scan {
    fn find(
        &self,
        wanted: &Wanted<'_>,
        visit: &mut dyn FnMut(Hit) -> ControlFlow<()>,
    ) -> Result<Searched, SearchError> {
        check(wanted.query).map_err(SearchError::Query)?;
        let kept = self.kept.lock();
        let before = if wanted.before > 0 { wanted.before } else { i64::MAX };
        for message in kept.messages.range(..before).rev().map(|(_, message)| message) {
            if !fits(message, wanted) {
                continue;
            }
            let hit = Hit {
                conversation_id: message.conversation_id.clone(),
                seq: message.seq,
                server_msg_id: message.server_msg_id,
            };
            if visit(hit).is_break() {
                break;
            }
        }
        let journal = self.roles.find::<Arc<dyn Journal>>(&self.of);
        let complete = journal.is_some_and(|journal| kept.position >= journal.durable_lsn());
        Ok(Searched { stopped_at: None, complete, indexed_up_to: kept.newest_ms })
    }

    fn spans(&self, query: &str, text: &str) -> Option<Vec<Range<usize>>> {
        spans(query, text)
    }
}

fn fits(message: &Message, wanted: &Wanted<'_>) -> bool {
    let is_within = match wanted.within {
        Within::All => true,
        Within::One(id, after) => message.conversation_id == id && message.seq > after,
        Within::Some(readable) => readable
            .get(&conversation_key(&message.conversation_id))
            .is_some_and(|after| message.seq > *after),
    };
    is_within
        && (wanted.sender_id.is_empty() || message.sender_id == wanted.sender_id)
        && message.created_at >= wanted.after_time
        && (wanted.before_time == 0 || message.created_at < wanted.before_time)
        && spans(wanted.query, &message.text).is_some()
}

struct Filling(Arc<Scan>);

impl Replica for Filling {
    fn open(&mut self) -> Result<Lsn, ReplicaError> {
        Ok(self.0.kept.lock().position)
    }

    fn write(&mut self, records: &[Logged], upto: Lsn) -> Result<(), ReplicaError> {
        let Scan { roles, of, kept } = &*self.0;
        let mut kept = kept.lock();
        for record in records {
            let entry = match record {
                Logged::Message(entry) => entry,
                Logged::Fact(fact) => {
                    if let Some(targets) = Targets::of(fact) {
                        kept.messages.values_mut().for_each(|message| targets.erase(message));
                    }
                    continue;
                }
            };
            let mut message = entry.message.clone();
            if let Some(action) = &message.action {
                if message.r#type() == MessageType::React {
                    continue;
                }
                let store = roles.find::<Arc<dyn Store>>(of);
                let seq = action.target_seq;
                let page = store.map(|store| store.messages(&message.conversation_id, seq - 1, 1));
                let page = page.transpose().map_err(|error| ReplicaError(error.to_string()))?;
                let target = page.and_then(|page| page.items.into_iter().next());
                let Some(target) = target.filter(|target| target.seq == seq) else { continue };
                message = target;
            }
            kept.newest_ms = kept.newest_ms.max(message.created_at);
            kept.messages.insert(message.server_msg_id, message);
        }
        kept.position = upto;
        Ok(())
    }
}
