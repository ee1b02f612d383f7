//! Who was a member when: what the facts of the log add up to, for the rows of timelines.
//!
//! A batch may hold facts between its messages. When it could not be written it comes again, so what its
//! facts have changed can be undone.

use std::collections::{BTreeSet, HashMap};

use imflow_proto::log::fact::Change;
use imflow_proto::log::{Fact, LevelChanged};

pub(super) struct Members {
    /// Conversations with more members get no rows.
    most: usize,
    of: HashMap<String, BTreeSet<String>>,
    /// Of those users that have one.
    levels: HashMap<String, String>,
}

impl Members {
    pub(super) fn new(most: usize) -> Self {
        Self { most, of: HashMap::new(), levels: HashMap::new() }
    }

    /// Applies a fact for good.
    pub(super) fn apply(&mut self, fact: &Fact) {
        let id = &fact.conversation_id;
        match &fact.change {
            Some(Change::Created(created)) => {
                let members = created.members.iter().map(|member| member.user_id.clone());
                self.of.insert(id.clone(), members.collect());
            }
            Some(Change::Members(changed)) => {
                let members = self.of.entry(id.clone()).or_default();
                members.extend(changed.set.iter().map(|member| member.user_id.clone()));
                for user in &changed.removed {
                    members.remove(user);
                }
            }
            Some(Change::Level(changed)) => {
                let LevelChanged { user_id, level } = changed.clone();
                match level.is_empty() {
                    true => self.levels.remove(&user_id),
                    false => self.levels.insert(user_id, level),
                };
            }
            Some(Change::Mute(_) | Change::Ban(_) | Change::Erased(_) | Change::Fanout(_))
            | None => {}
        }
    }

    /// The most that `of_level` gives for a level of the members of a conversation.
    pub(super) fn longest(
        &self,
        conversation_id: &str,
        of_level: impl Fn(&str) -> Option<i64>,
    ) -> Option<i64> {
        let members = self.of.get(conversation_id)?;
        // Few users have a level, or few are members.
        if self.levels.len() < members.len() {
            let levels = self.levels.iter().filter(|(user, _)| members.contains(*user));
            return levels.filter_map(|(_, level)| of_level(level)).max();
        }
        let levels = members.iter().filter_map(|member| self.levels.get(member));
        levels.filter_map(|level| of_level(level)).max()
    }

    /// Begins a batch.
    pub(super) fn begin(&mut self) -> Changed<'_> {
        Changed { members: self, before: HashMap::new() }
    }
}

/// The members while a batch is made, and how it was before. No row depends on a level, so those stay as the
/// batch has made them.
pub(super) struct Changed<'m> {
    members: &'m mut Members,
    before: HashMap<String, Option<BTreeSet<String>>>,
}

impl Changed<'_> {
    pub(super) fn apply(&mut self, fact: &Fact) {
        let id = &fact.conversation_id;
        if matches!(fact.change, Some(Change::Created(_) | Change::Members(_)))
            && !self.before.contains_key(id)
        {
            self.before.insert(id.clone(), self.members.of.get(id).cloned());
        }
        self.members.apply(fact);
    }

    /// Those whose timelines get a row for a message of this conversation now.
    pub(super) fn readers(&self, conversation_id: &str) -> impl Iterator<Item = &String> {
        let members = self.members.of.get(conversation_id);
        members.filter(|members| members.len() <= self.members.most).into_iter().flatten()
    }

    pub(super) fn keep(self) {}

    pub(super) fn undo(self) {
        for (id, before) in self.before {
            match before {
                Some(before) => self.members.of.insert(id, before),
                None => self.members.of.remove(&id),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use imflow_proto::log::{ConversationCreated, MembersChanged};
    use imflow_proto::wire::MemberInfo;

    use super::*;

    fn fact(change: Change) -> Fact {
        Fact { conversation_id: "c1".into(), change: Some(change), ..Fact::default() }
    }

    fn infos(users: &[&str]) -> Vec<MemberInfo> {
        users.iter().map(|user| MemberInfo { user_id: (*user).into(), role: 1 }).collect()
    }

    fn readers(members: &mut Members) -> Vec<String> {
        members.begin().readers("c1").cloned().collect()
    }

    #[test]
    fn a_batch_that_was_not_written_leaves_members_as_they_were() {
        let mut members = Members::new(2);
        let created = ConversationCreated { members: infos(&["a", "b"]), ..Default::default() };
        let mut batch = members.begin();
        batch.apply(&fact(Change::Created(created.clone())));
        batch.undo();
        assert_eq!(readers(&mut members), Vec::<String>::new());
        members.apply(&fact(Change::Created(created)));
        let change = |set: &[&str], removed: &[&str]| {
            let removed = removed.iter().map(|user| (*user).to_owned()).collect();
            fact(Change::Members(MembersChanged { set: infos(set), removed }))
        };
        let mut batch = members.begin();
        batch.apply(&change(&["c"], &[]));
        assert_eq!(batch.readers("c1").count(), 0, "three are more than two");
        batch.apply(&change(&[], &["a"]));
        assert_eq!(batch.readers("c1").collect::<Vec<_>>(), ["b", "c"]);
        batch.undo();
        assert_eq!(readers(&mut members), ["a", "b"]);
        let mut batch = members.begin();
        batch.apply(&change(&["c"], &["a"]));
        batch.keep();
        assert_eq!(readers(&mut members), ["b", "c"]);
    }
}
