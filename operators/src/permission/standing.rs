//! Who stands how in which conversation: the map that the hot path reads, fed by grant changes.
//!
//! One flat map of (conversation, user), so that a message costs one look-up: whoever is granted
//! something in a conversation has one that exists. Holds what the grants say and decides nothing.

use imflow_proto::record::{Grant, GrantChange, GrantSubject};
use imflow_proto::wire::{ConversationType, Role};
use imflow_proto::{Fingerprint, FingerprintMap, warm};

#[derive(Default)]
pub(super) struct Standing {
    conversations: FingerprintMap<Conversation>,
    grants: FingerprintMap<Grant>,
}

/// One conversation.
pub(super) struct Conversation {
    id: Fingerprint,
    /// Unspecified until the conversation's own row has come.
    kind: ConversationType,
    members: usize,
}

impl Standing {
    /// A conversation that exists.
    pub(super) fn conversation(&self, id: Fingerprint) -> Option<&Conversation> {
        self.conversations
            .get(&id)
            .filter(|conversation| conversation.kind != ConversationType::Unspecified)
    }

    /// What a user is granted in a conversation.
    pub(super) fn grant(&self, conversation: &Conversation, user: &str) -> Option<Grant> {
        self.grant_of(conversation.id.then(Fingerprint::of(user)))
    }

    /// The same, by the user in the conversation.
    pub(super) fn grant_of(&self, member: Fingerprint) -> Option<Grant> {
        self.grants.get(&member).copied()
    }

    /// Loads what [`Standing::grant_of`] will find.
    pub(super) fn warm(&self, member: Fingerprint) {
        warm(&self.grants, &member);
    }

    pub(super) fn apply(&mut self, change: &GrantChange) {
        let id = Fingerprint::of(&change.conversation_id);
        let conversation = self.conversations.entry(id).or_insert(Conversation {
            id,
            kind: ConversationType::Unspecified,
            members: 0,
        });
        match &change.subject {
            GrantSubject::Conversation { kind } => conversation.kind = *kind,
            GrantSubject::User { user_id, grant } => {
                let member = id.then(Fingerprint::of(user_id));
                let before = match grant {
                    Some(grant) => self.grants.insert(member, *grant),
                    None => self.grants.remove(&member),
                };
                conversation.members += usize::from(is_member(*grant));
                conversation.members -= usize::from(is_member(before));
            }
        }
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::testing::Dice;

    #[test]
    fn grants_add_up_to_who_stands_how() {
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
                let conversation = standing.conversation(Fingerprint::of("c1")).unwrap();
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
