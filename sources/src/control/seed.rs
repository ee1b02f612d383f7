//! Conversations that the file wants to exist from the first start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use imflow_proto::record::Wish;
use imflow_proto::wire::{ConversationType, ErrorCode, MemberInfo, Role};

use super::Shared;

/// Creates each one that does not exist; one that does is left as it is.
pub(super) async fn seed(shared: Arc<Shared>, conversations: BTreeMap<String, Vec<String>>) {
    for (id, users) in conversations {
        let role = |index| if index == 0 { Role::Owner } else { Role::Member };
        let member = |(index, user_id)| MemberInfo { user_id, role: role(index).into() };
        let members: Vec<_> = users.into_iter().enumerate().map(member).collect();
        let wish = Wish::Create { kind: ConversationType::Group, name: id.clone(), members };
        loop {
            match shared.command(id.clone(), wish.clone()).await {
                Ok(_) => break,
                Err(refusal) if refusal.error.code() == ErrorCode::Busy => {
                    tokio::time::sleep(Duration::from_millis(100)).await
                }
                Err(refusal) if refusal.error.code() == ErrorCode::Conflict => break,
                Err(refusal) => {
                    tracing::warn!(conversation = %id, error = %refusal.error.message, "a conversation of the file was not created");
                    break;
                }
            }
        }
    }
}
