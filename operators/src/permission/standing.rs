//! Who stands how in which conversation: the map that the hot path reads, fed by grant changes.
//!
//! Grouped by conversation, since a message names one conversation and one user in it. Small groups
//! (almost all) are short arrays scanned by a tag of the user's hash, large ones are hash maps: a tag
//! only saves comparisons, the whole id decides. Holds what the grants say and decides nothing.

use std::hash::BuildHasher;
use std::sync::Arc;

use imflow_proto::record::{Grant, GrantChange, GrantSubject};
use imflow_proto::wire::{ConversationType, Role};
use rapidhash::RapidHashMap;
use rapidhash::fast::RandomState;

/// More users than this are kept in a hash map.
const FEW: usize = 16;

#[derive(Default)]
pub(super) struct Standing {
    conversations: RapidHashMap<Arc<str>, Conversation>,
    hasher: RandomState,
}

/// One conversation and all who have a standing in it.
#[derive(Default)]
pub(super) struct Conversation {
    /// Unspecified until the conversation's own row has come.
    kind: ConversationType,
    members: usize,
    users: Users,
}

enum Users {
    Few(Vec<(u32, Arc<str>, Grant)>),
    Many(RapidHashMap<Arc<str>, Grant>),
}

impl Standing {
    /// A conversation that exists.
    #[inline]
    pub(super) fn conversation(&self, id: &str) -> Option<&Conversation> {
        self.conversations
            .get(id)
            .filter(|conversation| conversation.kind != ConversationType::Unspecified)
    }

    /// What a user is granted in a conversation.
    #[inline]
    pub(super) fn grant(&self, conversation: &Conversation, user: &str) -> Option<Grant> {
        conversation.users.get(self.tag(user), user).copied()
    }

    pub(super) fn apply(&mut self, change: &GrantChange) {
        let conversation = match self.conversations.get_mut(&change.conversation_id) {
            Some(conversation) => conversation,
            None => self.conversations.entry(Arc::clone(&change.conversation_id)).or_default(),
        };
        match &change.subject {
            GrantSubject::Conversation { kind } => conversation.kind = *kind,
            GrantSubject::User { user_id, grant } => {
                let tag = self.hasher.hash_one(&**user_id) as u32;
                let before = conversation.users.get(tag, user_id).copied();
                conversation.members += usize::from(is_member(*grant));
                conversation.members -= usize::from(is_member(before));
                conversation.users.set(tag, user_id, *grant);
            }
        }
    }

    fn tag(&self, user: &str) -> u32 {
        self.hasher.hash_one(user) as u32
    }
}

/// Whether a grant says that the user belongs to the conversation: mutes and bans may outlive that.
pub(super) fn is_member(grant: Option<Grant>) -> bool {
    grant.is_some_and(|grant| grant.role != Role::Unspecified)
}

impl Conversation {
    pub(super) fn kind(&self) -> ConversationType {
        self.kind
    }

    pub(super) fn members(&self) -> usize {
        self.members
    }
}

impl Default for Users {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Users {
    #[inline]
    fn get(&self, tag: u32, user: &str) -> Option<&Grant> {
        match self {
            Self::Few(rows) => {
                rows.iter().find(|row| row.0 == tag && &*row.1 == user).map(|row| &row.2)
            }
            Self::Many(rows) => rows.get(user),
        }
    }

    fn set(&mut self, tag: u32, user: &Arc<str>, grant: Option<Grant>) {
        match (&mut *self, grant) {
            (Self::Few(rows), Some(grant)) => {
                match rows.iter().position(|row| row.0 == tag && row.1 == *user) {
                    Some(position) => rows[position].2 = grant,
                    None if rows.len() < FEW => rows.push((tag, Arc::clone(user), grant)),
                    None => {
                        let mut many: RapidHashMap<_, _> =
                            rows.drain(..).map(|(_, user, grant)| (user, grant)).collect();
                        many.insert(Arc::clone(user), grant);
                        *self = Self::Many(many);
                    }
                }
            }
            (Self::Few(rows), None) => rows.retain(|row| row.0 != tag || row.1 != *user),
            (Self::Many(rows), Some(grant)) => {
                rows.insert(Arc::clone(user), grant);
            }
            (Self::Many(rows), None) => {
                rows.remove(user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::testing::Dice;

    #[test]
    fn small_and_large_conversations_answer_like_a_map() {
        for seed in 0..20 {
            let (mut dice, mut standing, mut model) =
                (Dice(seed), Standing::default(), HashMap::new());
            let subject = GrantSubject::Conversation { kind: ConversationType::Group };
            standing.apply(&GrantChange { conversation_id: "c1".into(), subject });
            for _ in 0..300 {
                let user = format!("u{}", dice.below(10 + seed as usize * 2));
                let role = [Role::Member, Role::Owner, Role::Unspecified][dice.below(3)];
                let grant =
                    (dice.below(3) > 0).then_some(Grant { role, muted_until: 0, banned: false });
                let subject = GrantSubject::User { user_id: user.as_str().into(), grant };
                standing.apply(&GrantChange { conversation_id: "c1".into(), subject });
                model.insert(user, grant);
                let conversation = standing.conversation("c1").unwrap();
                for (user, grant) in &model {
                    assert_eq!(standing.grant(conversation, user), *grant, "seed {seed}");
                }
                assert_eq!(
                    conversation.members(),
                    model.values().filter(|grant| is_member(**grant)).count()
                );
            }
        }
    }
}
