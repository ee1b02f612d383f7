//! Conversations that the file wants to exist from the first start.

use std::collections::BTreeMap;
use std::time::Duration;

use imflow_proto::record::Wish;
use imflow_proto::wire::{ConversationType, ErrorCode, MemberInfo, Role};

use super::Shared;
use crate::refusal::Refusal;

/// How often a service that is busy from the start is asked again: for ten seconds.
const PAUSES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// Creates each one that does not exist; one that does is left as it is.
pub(super) async fn seed(shared: &Shared, conversations: BTreeMap<String, Vec<String>>) {
    let mut pauses = PAUSES;
    for (id, users) in conversations {
        if let Err(refusal) = create(shared, &id, users, &mut pauses).await {
            let error = refusal.error;
            tracing::error!(
                "conversation `{id}` of the file was not created: {:?}: {}; restart the service to try again, or create it with POST /v1/conversations",
                error.code(),
                error.message
            );
        }
    }
}

/// Creates one, and tries again while the service is busy, as long as pauses are left.
async fn create(
    shared: &Shared,
    id: &str,
    users: Vec<String>,
    pauses: &mut u32,
) -> Result<(), Refusal> {
    let role = |index| if index == 0 { Role::Owner } else { Role::Member };
    let member = |(index, user_id)| MemberInfo { user_id, role: role(index).into() };
    let members: Vec<_> = users.into_iter().enumerate().map(member).collect();
    let wish = Wish::Create {
        kind: ConversationType::Group,
        name: id.to_owned(),
        members,
        history_since_join: false,
    };
    loop {
        match shared.command(id.to_owned(), wish.clone()).await {
            Err(refusal) if refusal.error.code() == ErrorCode::Conflict => return Ok(()),
            Err(refusal) if refusal.error.code() == ErrorCode::Busy && *pauses > 0 => {
                *pauses -= 1;
                shared.pace.sleep(PAUSE).await;
            }
            answer => return answer.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use imflow_kind::testing::FakeInjector;

    use super::*;
    use crate::control::testing::shared;

    #[tokio::test(start_paused = true)]
    async fn a_service_that_stays_busy_is_not_asked_for_ever() {
        let injector = Arc::new(FakeInjector::default());
        injector.set_credit(0);
        let (shared, begin) = (shared(injector), tokio::time::Instant::now());
        let created = create(&shared, "lobby", vec!["alice".into()], &mut PAUSES.clone()).await;
        let refusal = created.expect_err("busy");
        assert_eq!(refusal.error.code(), ErrorCode::Busy);
        assert_eq!(begin.elapsed(), PAUSES * PAUSE);
    }
}
