//! Effective grants: what members, roles, mutes and bans add up to for each user of a conversation.
//!
//! A differential collection over `(conversation, user)`: each fact sets or lifts one row of a relation
//! (member, mute, ban), the rows of a key are folded into one [`Grant`], and only changes of a grant leave,
//! one for each user at each time. A user with a mute or a ban but no membership keeps a grant with the
//! role unset. State is bounded by the facts. What a grant allows is for `permission` and `fanout`.

use std::sync::Arc;

use imflow_kind::{
    Description, Family, Key as StageKey, Limit, OperatorContext, Port, StartError, State, Stream,
};
use imflow_proto::log::{Fact, fact};
use imflow_proto::record::{Grant, GrantChange, GrantSubject};
use imflow_proto::wire::{ConversationType, MemberInfo, Role};
use imflow_proto::{Record, RecordType};
use rapidhash::RapidHashMap;
use timely::dataflow::Scope;

use crate::collection::{Differences, collection};

/// `facts: Fact` → `grants: Grant`
///
/// Errors: none. Source: SPEC A1.
pub const DESCRIPTION: Description = Description {
    name: "grants",
    family: Family::Operator,
    summary: "folds members, roles, mutes and bans into effective grants",
    doc: "A differential collection: durable facts in, changes of effective grants out. A grant says a user's role in \
          a conversation (unset: no member), until when the user is muted, and whether the user is banned. Several \
          facts at one time leave as one change; facts that change nothing leave nothing.",
    key: StageKey::Conversation,
    state: State::Log,
    inputs: &[Port::of("facts", &[RecordType::Fact], "durable facts")],
    outputs: &[Port::of(
        "grants",
        &[RecordType::Grant],
        "changes of effective grants and new conversations",
    )],
    options: &[],
    provides: &[],
    limits: &[Limit {
        what: "rows",
        bound: "the facts",
        policy: "one row for each member, mute and ban",
    }],
    example: "[operators.grants]\n\
              kind = \"grants\"\n\
              inputs = [\"store.facts\"]\n",
    ..Description::EMPTY
};

/// Conversation and user; the conversation's own row has the empty user, so it sorts first.
type Key = (Arc<str>, Arc<str>);

/// A row of one of the relations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Conversation(ConversationType),
    Member(Role),
    Muted(i64),
    Banned,
}

/// What the rows of a key add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Effective {
    Conversation(ConversationType),
    User(Grant),
}

pub(crate) fn build<'scope>(
    context: &OperatorContext<'_>,
    _scope: Scope<'scope, u64>,
    inputs: Vec<Stream<'scope>>,
) -> Result<Vec<Stream<'scope>>, StartError> {
    let facts = inputs.into_iter().next().expect("the description has one input");
    let mut door = Door::default();
    let enter = move |record, out: &mut Differences<Key, Row>| match record {
        Record::Fact(committed) => door.enter(&committed.fact, out),
        record => crate::misrouted("grants", &record),
    };
    Ok(vec![collection(context.name, facts, enter, fold, emit)])
}

fn fold(rows: &[(&Row, isize)]) -> Option<Effective> {
    let mut grant = Grant { role: Role::Unspecified, muted_until: 0, banned: false };
    for (row, _) in rows {
        match row {
            Row::Conversation(kind) => return Some(Effective::Conversation(*kind)),
            Row::Member(role) => grant.role = *role,
            Row::Muted(until) => grant.muted_until = *until,
            Row::Banned => grant.banned = true,
        }
    }
    Some(Effective::User(grant))
}

fn emit((conversation, user): &Key, effective: Option<Effective>) -> Record {
    let subject = match effective {
        Some(Effective::Conversation(kind)) => GrantSubject::Conversation { kind },
        Some(Effective::User(grant)) => {
            GrantSubject::User { user_id: Arc::clone(user), grant: Some(grant) }
        }
        None => GrantSubject::User { user_id: Arc::clone(user), grant: None },
    };
    Record::Grant(Arc::new(GrantChange { conversation_id: Arc::clone(conversation), subject }))
}

/// Turns facts, which say what is, into differences, which also say what no longer is.
#[derive(Default)]
struct Door(RapidHashMap<Arc<str>, RapidHashMap<Arc<str>, Present>>);

/// The present rows of a key.
#[derive(Default)]
struct Present {
    conversation: Option<Row>,
    member: Option<Row>,
    muted: Option<Row>,
    banned: Option<Row>,
}

impl Door {
    fn enter(&mut self, fact: &Fact, out: &mut Differences<Key, Row>) {
        let id = &*fact.conversation_id;
        match &fact.change {
            Some(fact::Change::Created(created)) => {
                self.set(
                    id,
                    "",
                    |present| &mut present.conversation,
                    Some(Row::Conversation(created.r#type())),
                    out,
                );
                self.set_members(id, &created.members, out);
            }
            Some(fact::Change::Members(change)) => {
                self.set_members(id, &change.set, out);
                for user in &change.removed {
                    self.set(id, user, |present| &mut present.member, None, out);
                }
            }
            Some(fact::Change::Mute(change)) => {
                let row = (change.until != 0).then_some(Row::Muted(change.until));
                self.set(id, &change.user_id, |present| &mut present.muted, row, out);
            }
            Some(fact::Change::Ban(change)) => {
                let row = change.banned.then_some(Row::Banned);
                self.set(id, &change.user_id, |present| &mut present.banned, row, out);
            }
            // Content goes, is kept longer or comes another way; standing stays.
            Some(fact::Change::Erased(_) | fact::Change::Level(_) | fact::Change::Fanout(_)) => {}
            None => {} // written by a later version; this one knows no relation for it
        }
    }

    /// Sets the roles of members, new or known.
    fn set_members(&mut self, id: &str, members: &[MemberInfo], out: &mut Differences<Key, Row>) {
        for member in members {
            let row = Some(Row::Member(member.role()));
            self.set(id, &member.user_id, |present| &mut present.member, row, out);
        }
    }

    /// Replaces one relation's row of a key.
    fn set(
        &mut self,
        conversation: &str,
        user: &str,
        relation: impl Fn(&mut Present) -> &mut Option<Row>,
        row: Option<Row>,
        out: &mut Differences<Key, Row>,
    ) {
        if !self.0.contains_key(conversation) {
            self.0.insert(conversation.into(), RapidHashMap::default());
        }
        let (conversation, _) = self.0.get_key_value(conversation).expect("inserted above");
        let conversation = Arc::clone(conversation);
        let users = self.0.get_mut(&conversation).expect("inserted above");
        let user =
            users.get_key_value(user).map_or_else(|| user.into(), |(user, _)| Arc::clone(user));
        let present = users.entry(Arc::clone(&user)).or_default();
        let before = std::mem::replace(relation(present), row);
        if present.is_empty() {
            users.remove(&user);
        }
        if before != row {
            let key = (conversation, user);
            out.extend(before.map(|row| ((key.clone(), row), -1)));
            out.extend(row.map(|row| ((key, row), 1)));
        }
    }
}

impl Present {
    fn is_empty(&self) -> bool {
        self.conversation.is_none()
            && self.member.is_none()
            && self.muted.is_none()
            && self.banned.is_none()
    }
}

#[cfg(test)]
mod tests {
    use imflow_proto::log::{BanChanged, ConversationCreated, MembersChanged, MuteChanged};

    use super::*;
    use crate::collection::testing::run;
    use crate::testing::{Dice, conversation, fact, grant, member};

    fn created(members: &[(&str, Role)]) -> fact::Change {
        let members = members.iter().map(|(user, role)| member(user, *role)).collect();
        fact::Change::Created(ConversationCreated {
            r#type: ConversationType::Group.into(),
            name: String::new(),
            members,
            ..Default::default()
        })
    }

    fn members(set: &[(&str, Role)], removed: &[&str]) -> fact::Change {
        let set = set.iter().map(|(user, role)| member(user, *role)).collect();
        fact::Change::Members(MembersChanged {
            set,
            removed: removed.iter().map(|user| (*user).into()).collect(),
        })
    }

    fn mute(user: &str, until: i64) -> fact::Change {
        fact::Change::Mute(MuteChanged { user_id: user.into(), until })
    }

    fn ban(user: &str, banned: bool) -> fact::Change {
        fact::Change::Ban(BanChanged { user_id: user.into(), banned })
    }

    fn changes(records: &[Record]) -> Vec<GrantChange> {
        let change = |record: &Record| match record {
            Record::Grant(change) => (**change).clone(),
            other => panic!("{other:?}"),
        };
        records.iter().map(change).collect()
    }

    fn standing(role: Role, muted_until: i64, banned: bool) -> Option<Grant> {
        Some(Grant { role, muted_until, banned })
    }

    #[test]
    fn a_change_of_a_grant_leaves_as_one_record_with_the_new_value() {
        let roles = [("alice", Role::Owner), ("bob", Role::Member)];
        let out = run(
            build,
            vec![
                vec![fact("c1", created(&roles))],
                vec![fact("c1", members(&[("bob", Role::Admin)], &["alice"]))],
                vec![fact("c1", mute("bob", 9)), fact("c1", ban("bob", true))],
                vec![
                    fact("c1", members(&[("carol", Role::Member)], &[])),
                    fact("c1", members(&[], &["carol"])),
                ],
                vec![fact("c1", members(&[], &["bob"]))],
                vec![fact("c1", mute("bob", 0)), fact("c1", ban("bob", false))],
            ],
        );
        let expected = [
            (1, conversation("c1", ConversationType::Group, &roles)),
            (
                2,
                vec![
                    grant("c1", "alice", None),
                    grant("c1", "bob", standing(Role::Admin, 0, false)),
                ],
            ),
            (3, vec![grant("c1", "bob", standing(Role::Admin, 9, true))]),
            (5, vec![grant("c1", "bob", standing(Role::Unspecified, 9, true))]),
            (6, vec![grant("c1", "bob", None)]),
        ];
        let plain = |out: &[(u64, Vec<Record>)]| {
            out.iter().map(|(time, all)| (*time, changes(all))).collect::<Vec<_>>()
        };
        assert_eq!(
            plain(&out),
            plain(&expected),
            "carol, who came and went at time 4, is seen by nobody"
        );
    }

    #[test]
    fn any_batching_of_facts_ends_in_the_same_grants() {
        for seed in 0..15 {
            let mut dice = Dice(seed);
            let facts: Vec<_> = (0..120).map(|_| any_fact(&mut dice)).collect();
            let one_by_one = facts.iter().map(|fact| vec![fact.clone()]).collect();
            let mut batches = vec![Vec::new()];
            for fact in facts {
                if dice.below(4) == 0 {
                    batches.push(Vec::new());
                }
                batches.last_mut().unwrap().push(fact);
            }
            assert_eq!(replayed(one_by_one), replayed(batches), "seed {seed}");
        }
    }

    fn any_fact(dice: &mut Dice) -> Record {
        let user = ["alice", "bob", "carol"][dice.below(3)];
        let change = match dice.below(5) {
            0 => members(&[(user, [Role::Member, Role::Admin][dice.below(2)])], &[]),
            1 => members(&[], &[user]),
            2 => mute(user, dice.below(3) as i64),
            3 => ban(user, dice.below(2) == 0),
            _ => created(&[(user, Role::Member)]),
        };
        fact(["c1", "c2"][dice.below(2)], change)
    }

    fn replayed(
        batches: Vec<Vec<Record>>,
    ) -> std::collections::BTreeMap<(Arc<str>, Arc<str>), Grant> {
        let mut grants = std::collections::BTreeMap::new();
        for (_, records) in run(build, batches) {
            for change in changes(&records) {
                let GrantSubject::User { user_id, grant } = change.subject else { continue };
                match grant {
                    Some(grant) => grants.insert((change.conversation_id, user_id), grant),
                    None => grants.remove(&(change.conversation_id, user_id)),
                };
            }
        }
        grants
    }
}
