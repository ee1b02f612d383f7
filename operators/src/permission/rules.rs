//! What a command may change, and what exactly it changes.
//!
//! A ruling names only effective changes: each one alters the grant of one user (or brings the
//! conversation's own row), so `deltas` is the number of grant changes that will come back once the fact
//! is durable. A command that changes nothing is settled at once. Keeps no state.

use std::collections::{BTreeMap, BTreeSet};

use imflow_proto::Fingerprint;
use imflow_proto::id;
use imflow_proto::log::{
    BanChanged, ConversationCreated, Erased, FanoutChanged, LevelChanged, MembersChanged,
    MuteChanged, fact,
};
use imflow_proto::record::{Command, Grant, Reference, Verdict, Wish};
use imflow_proto::wire::{
    ConversationInfo, ConversationType, Done, Error, ErrorCode, FanoutMode, MemberInfo, Role,
    envelope::Body,
};

use super::standing::{Conversation, Standing, is_member};

/// Longest name of a conversation, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// What follows from a permitted command.
#[derive(Debug, PartialEq)]
pub(super) enum Ruling {
    /// Nothing changes: the answer can leave.
    Settled(Body),
    /// What is to be created exists, and the caller may see it.
    Exists,
    Changes {
        change: fact::Change,
        answer: Body,
        deltas: usize,
    },
}

/// The bounds of one command and of a conversation.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) max_members: usize,
    pub(super) max_change: usize,
}

/// A command before its judge.
pub(super) struct Case<'a> {
    pub(super) command: &'a Command,
    pub(super) standing: &'a Standing,
    pub(super) bounds: Bounds,
    pub(super) now_ms: i64,
}

impl Case<'_> {
    pub(super) fn rule(&self) -> Result<Ruling, Error> {
        let known = self.standing.conversation(Fingerprint::of(&self.command.conversation_id));
        let existing = || known.ok_or_else(|| unknown(&self.command.conversation_id));
        match &self.command.wish {
            Wish::Create { kind, name, members, history_since_join } => match known {
                Some(conversation) => self.create_again(conversation, *kind),
                None => self.create(*kind, name, members, *history_since_join),
            },
            Wish::ChangeMembers { set, remove } => self.change_members(existing()?, set, remove),
            Wish::Mute { user_id, until } => self.mute(existing()?, user_id, *until),
            Wish::Ban { user_id, banned } => self.ban(existing()?, user_id, *banned),
            Wish::Erase { user_id: Some(user) } => self.erase(user),
            Wish::Erase { user_id: None } => existing().and_then(|_| self.erase("")),
            Wish::SetLevel { user_id, level } => self.set_level(user_id, level),
            Wish::PinFanout { mode } => existing().and_then(|_| self.pin_fanout(*mode)),
        }
    }

    /// A repeat of a create is answered by what exists, to those who may see it.
    fn create_again(
        &self,
        conversation: &Conversation,
        kind: ConversationType,
    ) -> Result<Ruling, Error> {
        let own = self.own_grant(conversation).filter(|grant| !grant.banned);
        if conversation.kind() != kind || !(self.is_admin() || is_member(own)) {
            return Err(refuse(
                ErrorCode::Conflict,
                "a conversation with this id exists already; choose another id",
            ));
        }
        Ok(Ruling::Exists)
    }

    fn create(
        &self,
        kind: ConversationType,
        name: &str,
        wanted: &[MemberInfo],
        history_since_join: bool,
    ) -> Result<Ruling, Error> {
        self.may_create()?;
        self.check_new(kind, name, wanted.len())?;
        let mut members = BTreeMap::new();
        for member in wanted {
            check_user(&member.user_id)?;
            members.insert(member.user_id.as_str(), role_or_member(member));
        }
        if !self.is_admin() {
            members.insert(&*self.command.session.user_id, Role::Owner);
        }
        if members.len() > self.bounds.max_members {
            return Err(self.too_many_members());
        }
        if kind == ConversationType::OneToOne {
            self.check_pair(&members)?;
            members.values_mut().for_each(|role| *role = Role::Member);
        }
        let own_role = members.get(&*self.command.session.user_id).copied().unwrap_or_default();
        let count = members.len();
        let members = members
            .into_iter()
            .map(|(user, role)| MemberInfo { user_id: user.into(), role: role.into() });
        let created = ConversationCreated {
            r#type: kind.into(),
            name: name.into(),
            members: members.collect(),
            history_since_join,
        };
        let answer = Body::Conversation(ConversationInfo {
            conversation_id: self.command.conversation_id.clone(),
            r#type: kind.into(),
            name: name.into(),
            role: own_role.into(),
            member_count: count as u32,
            created_at: self.now_ms,
            history_since_join,
            ..Default::default()
        });
        Ok(Ruling::Changes { change: fact::Change::Created(created), answer, deltas: count + 1 })
    }

    fn check_new(&self, kind: ConversationType, name: &str, members: usize) -> Result<(), Error> {
        let id = &self.command.conversation_id;
        if !id::is_valid_conversation(id) {
            let bytes = id::MAX_ID_BYTES;
            let sentence = format!(
                "conversationId must be 1 to {bytes} bytes without white space, control characters or `/`"
            );
            return Err(refuse(ErrorCode::Invalid, sentence));
        }
        if kind == ConversationType::Unspecified {
            return Err(refuse(
                ErrorCode::Invalid,
                "type is missing; set it to ONE_TO_ONE or GROUP",
            ));
        }
        // Else a group could take the place of two users' one-to-one conversation.
        if kind == ConversationType::Group && !self.is_admin() && id.contains(':') {
            return Err(refuse(
                ErrorCode::Invalid,
                "a group's conversationId must not hold `:`, which one-to-one conversations use",
            ));
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(refuse(
                ErrorCode::Invalid,
                format!("name has {} bytes and {MAX_NAME_BYTES} are allowed", name.len()),
            ));
        }
        if !self.is_admin() && members > self.bounds.max_change {
            return Err(self.too_many_changes(members));
        }
        Ok(())
    }

    fn check_pair(&self, members: &BTreeMap<&str, Role>) -> Result<(), Error> {
        let mut users = members.keys();
        let (Some(first), Some(second), None) = (users.next(), users.next(), users.next()) else {
            return Err(refuse(
                ErrorCode::Invalid,
                "a ONE_TO_ONE conversation has exactly two different users; name the other one",
            ));
        };
        if !self.is_admin() && self.command.conversation_id != id::one_to_one(first, second) {
            return Err(refuse(
                ErrorCode::Invalid,
                "the id of a ONE_TO_ONE conversation follows from its members; leave conversationId empty",
            ));
        }
        Ok(())
    }

    fn change_members(
        &self,
        conversation: &Conversation,
        set: &[MemberInfo],
        remove: &[String],
    ) -> Result<Ruling, Error> {
        if conversation.kind() == ConversationType::OneToOne {
            return Err(refuse(
                ErrorCode::Forbidden,
                "the members of a ONE_TO_ONE conversation are fixed; create a GROUP instead",
            ));
        }
        if set.len() + remove.len() > self.bounds.max_change {
            return Err(self.too_many_changes(set.len() + remove.len()));
        }
        let leaves =
            set.is_empty() && remove.iter().all(|user| **user == *self.command.session.user_id);
        if !leaves {
            self.may_create()?;
        }
        let power = self.power(conversation, if leaves { Role::Member } else { Role::Admin })?;
        let (mut changed, mut removed) = (BTreeMap::new(), BTreeSet::new());
        for member in set {
            check_user(&member.user_id)?;
            // Named twice, the last one counts.
            match self.new_role(conversation, power, member)? {
                Some(role) => changed.insert(member.user_id.as_str(), role),
                None => changed.remove(member.user_id.as_str()),
            };
        }
        for user in remove {
            if set.iter().any(|member| member.user_id == *user) {
                return Err(refuse(
                    ErrorCode::Invalid,
                    format!("`{user}` is both set and removed; ask for one of them"),
                ));
            }
            let grant = self.standing.grant(conversation, user);
            if **user != *self.command.session.user_id {
                self.may_touch(power, grant)?;
            }
            if is_member(grant) {
                removed.insert(user.as_str());
            }
        }
        self.members_changed(conversation, &changed, &removed)
    }

    fn members_changed(
        &self,
        conversation: &Conversation,
        changed: &BTreeMap<&str, Role>,
        removed: &BTreeSet<&str>,
    ) -> Result<Ruling, Error> {
        let joins = |user: &&&str| !is_member(self.standing.grant(conversation, user));
        let members = conversation.members() + changed.keys().filter(joins).count() - removed.len();
        if members > self.bounds.max_members && members > conversation.members() {
            return Err(self.too_many_members());
        }
        let set = changed
            .iter()
            .map(|(user, role)| MemberInfo { user_id: (*user).into(), role: (*role).into() })
            .collect();
        let removed: Vec<String> = removed.iter().map(|user| (*user).into()).collect();
        let deltas = changed.len() + removed.len();
        Ok(effective(fact::Change::Members(MembersChanged { set, removed }), deltas))
    }

    /// The role that a member gets, if it is another one than now.
    fn new_role(
        &self,
        conversation: &Conversation,
        power: Role,
        member: &MemberInfo,
    ) -> Result<Option<Role>, Error> {
        let grant = self.standing.grant(conversation, &member.user_id);
        if grant.is_some_and(|grant| grant.banned) && !is_member(grant) {
            return Err(refuse(
                ErrorCode::Forbidden,
                format!("`{}` is banned here; lift the ban first", member.user_id),
            ));
        }
        let present = grant.map_or(Role::Unspecified, |grant| grant.role);
        let wanted = match member.role() {
            Role::Unspecified if present != Role::Unspecified => present,
            _ => role_or_member(member),
        };
        if wanted == present {
            return Ok(None);
        }
        if wanted != Role::Member && power != Role::Owner {
            return Err(refuse(
                ErrorCode::Forbidden,
                "only the OWNER gives the roles ADMIN and OWNER; ask the owner",
            ));
        }
        if member.user_id != *self.command.session.user_id {
            self.may_touch(power, grant)?;
        }
        Ok(Some(wanted))
    }

    fn mute(&self, conversation: &Conversation, user: &str, until: i64) -> Result<Ruling, Error> {
        check_user(user)?;
        let grant = self.standing.grant(conversation, user);
        self.may_touch(self.power(conversation, Role::Admin)?, grant)?;
        // A mute that has ended already is none.
        let until = if until > self.now_ms { until } else { 0 };
        if until != 0 && !is_member(grant) {
            return Err(refuse(
                ErrorCode::NotAMember,
                format!("`{user}` is no member of this conversation; only members can be muted"),
            ));
        }
        let present = grant.map_or(0, |grant| grant.muted_until);
        let change = fact::Change::Mute(MuteChanged { user_id: user.into(), until });
        Ok(effective(change, usize::from(present != until)))
    }

    fn ban(&self, conversation: &Conversation, user: &str, banned: bool) -> Result<Ruling, Error> {
        check_user(user)?;
        let grant = self.standing.grant(conversation, user);
        self.may_touch(self.power(conversation, Role::Admin)?, grant)?;
        let present = grant.is_some_and(|grant| grant.banned);
        let change = fact::Change::Ban(BanChanged { user_id: user.into(), banned });
        Ok(effective(change, usize::from(present != banned)))
    }

    /// Takes what a user said out of the log; empty: what the conversation holds. Nobody's standing changes.
    fn erase(&self, user: &str) -> Result<Ruling, Error> {
        if !self.is_admin() {
            let sentence = "only the control API erases; revoke a message instead";
            return Err(refuse(ErrorCode::Forbidden, sentence));
        }
        let change = fact::Change::Erased(Erased { user_id: user.into() });
        Ok(Ruling::Changes { change, answer: Body::Done(Done {}), deltas: 0 })
    }

    /// Says how a user counts. Nobody's standing changes.
    fn set_level(&self, user: &str, level: &str) -> Result<Ruling, Error> {
        if !self.is_admin() {
            let sentence = "only the control API sets the level of a user";
            return Err(refuse(ErrorCode::Forbidden, sentence));
        }
        check_user(user)?;
        if !level.is_empty() && !id::is_valid(level) {
            let bytes = id::MAX_ID_BYTES;
            return Err(refuse(
                ErrorCode::Invalid,
                format!(
                    "a level must be 1 to {bytes} bytes without white space, control characters or `/`, or empty"
                ),
            ));
        }
        let (user_id, level) = (user.into(), level.into());
        let change = fact::Change::Level(LevelChanged { user_id, level });
        Ok(Ruling::Changes { change, answer: Body::Done(Done {}), deltas: 0 })
    }

    /// Says how messages come to the members. Nobody's standing changes.
    fn pin_fanout(&self, mode: FanoutMode) -> Result<Ruling, Error> {
        if !self.is_admin() {
            let sentence = "only the control API pins how a conversation's messages come";
            return Err(refuse(ErrorCode::Forbidden, sentence));
        }
        let change = fact::Change::Fanout(FanoutChanged { mode: mode.into() });
        Ok(Ruling::Changes { change, answer: Body::Done(Done {}), deltas: 0 })
    }

    /// The caller's role, which must be at least `least`; the control API stands above all.
    fn power(&self, conversation: &Conversation, least: Role) -> Result<Role, Error> {
        if self.is_admin() {
            return Ok(Role::Owner);
        }
        let Some(grant) =
            self.own_grant(conversation).filter(|grant| grant.role != Role::Unspecified)
        else {
            return Err(refuse(
                ErrorCode::NotAMember,
                "you are no member of this conversation; ask a member with the role ADMIN or OWNER",
            ));
        };
        if grant.banned {
            return Err(refuse(
                ErrorCode::Banned,
                "you are banned from this conversation; ask its owner",
            ));
        }
        if grant.role < least {
            return Err(refuse(
                ErrorCode::Forbidden,
                "this needs the role ADMIN or OWNER in the conversation; ask its owner",
            ));
        }
        Ok(grant.role)
    }

    /// Whether somebody of this power may change another's standing.
    fn may_touch(&self, power: Role, other: Option<Grant>) -> Result<(), Error> {
        if power == Role::Owner || other.is_none_or(|grant| grant.role < Role::Admin) {
            return Ok(());
        }
        Err(refuse(
            ErrorCode::Forbidden,
            "only the OWNER changes the standing of an ADMIN or OWNER; ask the owner",
        ))
    }

    fn may_create(&self) -> Result<(), Error> {
        let scopes = self.command.session.scopes;
        if scopes.create || scopes.admin {
            return Ok(());
        }
        Err(refuse(
            ErrorCode::Forbidden,
            "the token lacks the scope `create`; connect with one that has it",
        ))
    }

    fn is_admin(&self) -> bool {
        self.command.session.scopes.admin
    }

    fn own_grant(&self, conversation: &Conversation) -> Option<Grant> {
        self.standing.grant(conversation, &self.command.session.user_id)
    }

    fn too_many_members(&self) -> Error {
        refuse(
            ErrorCode::TooLarge,
            format!("a conversation has at most {} members", self.bounds.max_members),
        )
    }

    fn too_many_changes(&self, found: usize) -> Error {
        let max = self.bounds.max_change;
        refuse(
            ErrorCode::TooLarge,
            format!(
                "one command changes at most {max} members and this one names {found}; split it"
            ),
        )
    }
}

/// Whether what a submission leans on bears it, for a sender of this role.
pub(super) fn bears(reference: &Reference, role: Role) -> Result<(), Error> {
    match &reference.verdict {
        Verdict::Passes => Ok(()),
        Verdict::Needs(needed, _) if role >= *needed => Ok(()),
        Verdict::Needs(_, error) | Verdict::Fault(error) => Err(error.clone()),
        Verdict::Open => Err(refuse(
            ErrorCode::Unsupported,
            "this service's dataflow has no node of kind `amend`, which judges replies, forwards, mentionAll, revokes, edits and reactions",
        )),
    }
}

pub(super) fn unknown(conversation: &str) -> Error {
    refuse(
        ErrorCode::UnknownConversation,
        format!("conversation `{conversation}` does not exist; create it first"),
    )
}

fn effective(change: fact::Change, deltas: usize) -> Ruling {
    let answer = Body::Done(Done {});
    if deltas == 0 { Ruling::Settled(answer) } else { Ruling::Changes { change, answer, deltas } }
}

fn role_or_member(member: &MemberInfo) -> Role {
    Some(member.role()).filter(|role| *role != Role::Unspecified).unwrap_or(Role::Member)
}

fn check_user(user: &str) -> Result<(), Error> {
    if id::is_valid(user) {
        return Ok(());
    }
    let bytes = id::MAX_ID_BYTES;
    Err(refuse(
        ErrorCode::Invalid,
        format!(
            "a userId must be 1 to {bytes} bytes without white space, control characters or `/`"
        ),
    ))
}

fn refuse(code: ErrorCode, sentence: impl Into<String>) -> Error {
    Error::of(code, sentence)
}
