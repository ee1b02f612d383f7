//! What the tests of the control API share: a store with one conversation, and the routes over it.

use std::sync::Arc;
use std::time::Duration;

use imflow_kind::testing::FakeInjector;
use imflow_kind::{Store, StoreError, View, VirtualClock};
use imflow_proto::log::Cursors;
use imflow_proto::wire::{ConversationInfo, ConversationList, CursorList, MemberInfo, Messages};

use super::Shared;
use super::pace::Pace;
use super::queries::{Limits, Queries};

/// What the clock of the tests says.
pub(super) const NOW_MS: u64 = 1_000_000;

pub(super) fn shared(injector: Arc<FakeInjector>) -> Arc<Shared> {
    shared_with(injector, |_| {})
}

pub(super) fn shared_with(
    injector: Arc<FakeInjector>,
    change: impl FnOnce(&mut Limits),
) -> Arc<Shared> {
    let mut limits =
        Limits { queries: 8, queries_of_user: 4, query_messages: 1_000, query_keep_ms: 1_000 };
    change(&mut limits);
    Arc::new(Shared {
        exports: Arc::new(tokio::sync::Semaphore::new(super::export::AT_A_TIME)),
        injector,
        store: Arc::new(Lobby),
        routes: None,
        clock: Arc::new(VirtualClock::at(NOW_MS)),
        pace: Pace::real(),
        timeout: Duration::from_secs(1),
        topology: None,
        queries: Queries::new(limits),
    })
}

/// The conversation `lobby`, without messages and members. A list tells what was asked for.
struct Lobby;

impl Store for Lobby {
    fn messages(&self, _: &str, _: u64, _: usize) -> Result<Messages, StoreError> {
        Ok(Messages::default())
    }

    fn last_messages(&self, _: &str, _: u64, _: u64, _: usize) -> Result<Messages, StoreError> {
        Ok(Messages::default())
    }

    fn seq_before(&self, _: &str, _: i64) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn cursors_of(&self, _: &str, _: &str) -> Result<Cursors, StoreError> {
        Ok(Cursors::default())
    }

    fn cursors(&self, _: &str, _: &str, _: usize) -> Result<CursorList, StoreError> {
        Ok(CursorList::default())
    }

    fn conversation(&self, id: &str, _: &str) -> Result<Option<View>, StoreError> {
        Ok((id == "lobby").then(View::default))
    }

    fn conversations_of(
        &self,
        user_id: &str,
        after: &str,
        limit: usize,
    ) -> Result<ConversationList, StoreError> {
        let name = format!("{user_id} after {after}, {limit}");
        let asked = ConversationInfo { name, ..Default::default() };
        Ok(ConversationList { items: vec![asked], more: false })
    }

    fn members(&self, _: &str) -> Result<Vec<MemberInfo>, StoreError> {
        Ok(Vec::new())
    }
}
