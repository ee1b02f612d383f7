//! The rules: what a message that refers to another one needs to pass.
//!
//! Knows times, senders and limits, and no roles: what only some roles may do is left to `permission` as a
//! need.

use imflow_kind::Options;
use imflow_proto::record::{Submission, Target, Verdict};
use imflow_proto::wire::{Error, ErrorCode, Message, MessageType, Origin, Role};

pub(super) struct Judge {
    pub(super) revoke_within_ms: i64,
    pub(super) edit_within_ms: i64,
    pub(super) max_edits: u32,
    pub(super) max_reactions: u32,
    pub(super) mention_all: Role,
}

impl Judge {
    pub(super) fn of(options: &Options) -> Self {
        Self {
            revoke_within_ms: options.duration("revoke_within").as_millis() as i64,
            edit_within_ms: options.duration("edit_within").as_millis() as i64,
            max_edits: options.integer("max_edits") as u32,
            max_reactions: options.integer("max_reactions") as u32,
            mention_all: Role::from_str_name(options.text("mention_all")).unwrap_or(Role::Owner),
        }
    }

    /// Rules on a message that refers to no other.
    pub(super) fn alone(&self, submission: &Submission) -> Verdict {
        match submission.send.mention_all {
            true => needs(
                self.mention_all,
                ErrorCode::Forbidden,
                "your role in this conversation does not allow mentionAll; mention users one by one",
            ),
            false => Verdict::Passes,
        }
    }

    /// Rules on a message by what was found where it refers to, and fills in what it takes from there.
    pub(super) fn rule(
        &self,
        submission: &mut Submission,
        target: &Result<Option<Target>, Error>,
        now_ms: i64,
    ) -> Verdict {
        let seq = submission.refers_to().map_or(0, |(_, seq)| seq);
        let target = match target {
            Err(error) => return Verdict::Fault(error.clone()),
            Ok(None) => {
                let sentence = format!("there is no message {seq} to refer to; check its seq");
                return fault(ErrorCode::UnknownMessage, sentence);
            }
            Ok(Some(target)) => target,
        };
        let message = &*target.message;
        if message.is_revoked() {
            return fault(ErrorCode::MessageRevoked, format!("message {seq} was revoked"));
        }
        if message.is_erased() {
            return fault(ErrorCode::MessageRevoked, format!("message {seq} was erased"));
        }
        if message.is_action() {
            let sentence = format!(
                "entry {seq} is a revoke, an edit or a reaction; refer to the message it was about"
            );
            return fault(ErrorCode::Invalid, sentence);
        }
        let is_own = *message.sender_id == *submission.session.user_id;
        let age_ms = now_ms - message.created_at;
        let special = match submission.send.r#type() {
            MessageType::Revoke => self.revoke(is_own, age_ms),
            MessageType::Edit => self.edit(message, is_own, age_ms),
            MessageType::React => self.react(submission, target),
            _ => None,
        };
        fill_in(submission, message);
        special.unwrap_or_else(|| self.alone(submission))
    }

    fn revoke(&self, is_own: bool, age_ms: i64) -> Option<Verdict> {
        if !is_own {
            return Some(needs(
                Role::Admin,
                ErrorCode::Forbidden,
                "only its sender, or an ADMIN or OWNER of the conversation, can revoke this message",
            ));
        }
        (age_ms > self.revoke_within_ms).then(|| {
            let within = in_words(self.revoke_within_ms);
            needs(
                Role::Admin,
                ErrorCode::TooLate,
                format!(
                    "a message can be revoked for {within}; ask an ADMIN or OWNER of the conversation"
                ),
            )
        })
    }

    fn edit(&self, message: &Message, is_own: bool, age_ms: i64) -> Option<Verdict> {
        let edits = message.amended.as_ref().map_or(0, |amended| amended.edits);
        Some(if !is_own {
            fault(ErrorCode::Forbidden, "only its sender can edit a message")
        } else if message.forward_of.is_some() {
            fault(
                ErrorCode::Forbidden,
                "a forwarded message says what another one said, so it cannot be edited; revoke it instead",
            )
        } else if age_ms > self.edit_within_ms {
            let within = in_words(self.edit_within_ms);
            fault(
                ErrorCode::TooLate,
                format!("a message can be edited for {within}; send a new one that corrects it"),
            )
        } else if edits >= self.max_edits {
            let sentence = format!("the message has been edited {edits} times, the most allowed");
            fault(ErrorCode::TooLarge, sentence)
        } else {
            return None;
        })
    }

    fn react(&self, submission: &Submission, target: &Target) -> Option<Verdict> {
        let removes = submission.action().is_some_and(|action| action.remove);
        let limit = self.max_reactions * if removes { 2 } else { 1 };
        (target.reactions >= limit).then(|| {
            let sentence =
                format!("the message has had {} reactions, the most allowed", target.reactions);
            fault(ErrorCode::TooLarge, sentence)
        })
    }
}

/// What the service adds from the target.
fn fill_in(submission: &mut Submission, target: &Message) {
    let reference = submission.reference.as_mut();
    if let Some(action) = reference.and_then(|reference| reference.action.as_mut()) {
        action.target_sender_id.clone_from(&target.sender_id);
    } else if let Some(origin) = submission.send.forward_of.take() {
        let Origin { conversation_id, seq, .. } = *origin;
        // However often it is handed on, its author stays.
        let author = target.forward_of.as_ref().map_or(&target.sender_id, |first| &first.sender_id);
        let sender_id = author.clone();
        let send = &mut submission.send;
        send.r#type = target.r#type;
        send.text.clone_from(&target.text);
        send.payload = target.payload.clone();
        send.forward_of = Some(Origin { conversation_id, seq, sender_id }.into());
    }
}

fn needs(role: Role, code: ErrorCode, otherwise: impl Into<String>) -> Verdict {
    Verdict::Needs(role, Error::of(code, otherwise))
}

fn fault(code: ErrorCode, sentence: impl Into<String>) -> Verdict {
    Verdict::Fault(Error::of(code, sentence))
}

/// A length of time as people write it.
fn in_words(ms: i64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
    let (length, unit) =
        units.into_iter().find(|(length, _)| ms % length == 0).unwrap_or((1, "ms"));
    format!("{} {unit}", ms / length)
}
