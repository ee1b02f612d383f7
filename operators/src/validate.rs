//! Refuses messages whose form is wrong, before anything remembers them.
//!
//! What leaves on `valid` has a well-formed conversation id, a known type, content of a permitted size
//! and a clientMsgId that later operators can rely on. Whether the conversation exists and whether the
//! sender may speak is for `permission`. Keeps no state.

use std::collections::BTreeSet;
use std::sync::Arc;

use imflow_kind::{
    Description, Family, Key, Limit, Operator, OperatorContext, Opt, OptType, Out, Port,
    StartError, State, Time,
};
use imflow_proto::id::{self, MAX_CLIENT_MSG_ID_BYTES, MAX_ID_BYTES};
use imflow_proto::record::{IdForm, Refused, Rejection, Submission};
use imflow_proto::wire::{Action, Error, ErrorCode, MessageType, Origin, Send};
use imflow_proto::{Record, RecordType};

/// `messages: Submission` → `valid: Submission`, `rejected: Rejection`
///
/// Errors: INVALID, TOO_LARGE. Source: SPEC M1, M2.
pub const DESCRIPTION: Description = Description {
    name: "validate",
    family: Family::Operator,
    summary: "refuses messages whose form is wrong",
    doc: "Checks the conversation id, the message type, that a TEXT has a text, the sizes of text and payload, the \
          mentions, what actions (revoke, edit, react) and forwards must have, and the form of the clientMsgId. With `client_msg_id = \"standard\"` it must be \
          `{userId}-{deviceId}-{localSeq}-{timestamp ms}` with the session's own user and device; sessions of the \
          control API may use any form.",
    key: Key::Conversation,
    state: State::None,
    inputs: &[Port::of("messages", &[RecordType::Submission], "messages as devices sent them")],
    outputs: &[
        Port::of("valid", &[RecordType::Submission], "well-formed messages"),
        Port::of("rejected", &[RecordType::Rejection], "the others, each with its reason"),
    ],
    options: &[
        Opt::new("max_text", OptType::Size(1, 1 << 20), "32KiB", "longest text, in bytes of UTF-8"),
        Opt::new("max_payload", OptType::Size(0, 1 << 20), "32KiB", "longest payload"),
        Opt::new(
            "max_mentions",
            OptType::Integer(0, 10_000),
            "100",
            "users that one message mentions",
        ),
        Opt::new(
            "client_msg_id",
            OptType::Choice(&["standard", "any"]),
            "standard",
            "`standard`: only {userId}-{deviceId}-{localSeq}-{timestamp}; `any`: free form, kept apart by sender",
        ),
    ],
    provides: &[],
    limits: &[
        Limit { what: "text, payload", bound: "`max_text`, `max_payload`", policy: "TOO_LARGE" },
        Limit { what: "mentions", bound: "`max_mentions`", policy: "INVALID" },
        Limit { what: "emoji", bound: "64 bytes", policy: "INVALID" },
    ],
    example: "[operators.valid]\n\
              kind = \"validate\"\n\
              inputs = [\"clients.messages\", \"facts.messages\"]\n",
    ..Description::EMPTY
};

const VALID: usize = 0;
const REJECTED: usize = 1;

pub(crate) struct Validate {
    max_text: u64,
    max_payload: u64,
    max_mentions: usize,
    standard_ids: bool,
}

/// Longest emoji, or name of one, in bytes: the longest sequences of Unicode take about half.
const MAX_EMOJI_BYTES: usize = 64;

pub(crate) fn build(context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, StartError> {
    let options = context.options;
    Ok(Box::new(Validate {
        max_text: options.size("max_text"),
        max_payload: options.size("max_payload"),
        max_mentions: options.integer("max_mentions") as usize,
        standard_ids: options.text("client_msg_id") == "standard",
    }))
}

impl Operator for Validate {
    fn on_batch(&mut self, _now: Time, _port: usize, records: &mut Vec<Record>, out: &mut Out) {
        for record in records.drain(..) {
            let Record::Submission(submission) = record else {
                crate::misrouted("validate", &record)
            };
            match self.fault(&submission) {
                None => out.send(VALID, Record::Submission(submission)),
                Some(error) => {
                    let rejection = Rejection { refused: Refused::Submission(submission), error };
                    out.send(REJECTED, Record::Rejection(Arc::new(rejection)));
                }
            }
        }
    }
}

impl Validate {
    /// What is wrong with a submission, if anything.
    fn fault(&self, submission: &Submission) -> Option<Error> {
        let send = &submission.send;
        if !id::is_valid_conversation(&send.conversation_id) {
            return Some(invalid(format!(
                "conversationId must be 1 to {MAX_ID_BYTES} bytes without white space, control characters or `/`"
            )));
        }
        let what = match (submission.action(), &send.forward_of) {
            (Some(action), _) => action_fault(send, action),
            (None, Some(origin)) => forward_fault(send, origin),
            (None, None) => message_fault(send),
        };
        if what.is_some() {
            return what;
        }
        if send.text.len() as u64 > self.max_text {
            return Some(too_large("text", send.text.len(), self.max_text));
        }
        if send.payload.len() as u64 > self.max_payload {
            return Some(too_large("payload", send.payload.len(), self.max_payload));
        }
        if !send.mentions.is_empty() {
            let fault = self.mentions_fault(&send.mentions);
            if fault.is_some() {
                return fault;
            }
        }
        self.id_fault(submission)
    }

    fn mentions_fault(&self, mentions: &[String]) -> Option<Error> {
        if mentions.len() > self.max_mentions {
            return Some(invalid(format!(
                "mentions has {} users and {} are allowed; mentionAll means everybody",
                mentions.len(),
                self.max_mentions
            )));
        }
        if let Some(user) = mentions.iter().find(|user| !id::is_valid(user)) {
            return Some(invalid(format!("mentions has `{user}`, which is no user id")));
        }
        let mut seen = BTreeSet::new();
        let twice = mentions.iter().find(|user| !seen.insert(user.as_str()));
        twice.map(|user| invalid(format!("mentions has `{user}` twice; name each user once")))
    }

    fn id_fault(&self, submission: &Submission) -> Option<Error> {
        let (id, session) = (&submission.send.client_msg_id, &submission.session);
        if id.is_empty() || id.len() > MAX_CLIENT_MSG_ID_BYTES {
            return Some(bad_id());
        }
        match submission.id_form {
            // A session's own ids hold no control characters.
            IdForm::Own => None,
            IdForm::Free | IdForm::Foreign if id.bytes().any(|byte| byte.is_ascii_control()) => {
                Some(bad_id())
            }
            _ if !self.standard_ids || session.scopes.admin => None,
            IdForm::Foreign => Some(invalid(format!(
                "clientMsgId must begin with this session's own `{}-{}-`",
                session.user_id, session.device_id
            ))),
            IdForm::Free => Some(invalid(
                "clientMsgId must have the form {userId}-{deviceId}-{localSeq}-{timestamp ms}",
            )),
        }
    }
}

fn bad_id() -> Error {
    invalid(format!(
        "clientMsgId must be 1 to {MAX_CLIENT_MSG_ID_BYTES} bytes without control characters"
    ))
}

/// What is wrong with what a message says.
fn message_fault(send: &Send) -> Option<Error> {
    match send.r#type() {
        MessageType::Unspecified => Some(invalid(
            "type is missing or unknown; set it to TEXT, IMAGE, AUDIO, VIDEO, FILE, LOCATION or CUSTOM",
        )),
        MessageType::Text if send.text.is_empty() => {
            Some(invalid("a TEXT message needs a text that is not empty"))
        }
        kind if MessageType::ACTIONS.contains(&kind) => Some(invalid(
            "messages of the types REVOKE, EDIT and REACT are made by the commands `revoke`, `edit` and `react`",
        )),
        _ => None,
    }
}

fn forward_fault(send: &Send, origin: &Origin) -> Option<Error> {
    let says = send.r#type != 0 || !send.text.is_empty() || !send.payload.is_empty();
    if says || send.reply_to != 0 {
        return Some(invalid(
            "a forward copies type, text and payload: leave them and replyTo out, and say more in a message of its own",
        ));
    }
    if !id::is_valid_conversation(&origin.conversation_id) || origin.seq == 0 {
        return Some(invalid(
            "forwardOf needs the conversationId and the seq of the message to be forwarded",
        ));
    }
    None
}

fn action_fault(send: &Send, action: &Action) -> Option<Error> {
    if action.target_seq == 0 {
        return Some(invalid("seq must be that of the message that is meant, from 1"));
    }
    let bad = |c: char| c.is_control() || c.is_whitespace();
    match send.r#type() {
        MessageType::Edit if send.text.is_empty() => {
            Some(invalid("an edit needs a text that is not empty; `revoke` takes a message back"))
        }
        MessageType::React
            if action.emoji.is_empty()
                || action.emoji.len() > MAX_EMOJI_BYTES
                || action.emoji.chars().any(bad) =>
        {
            Some(invalid(format!(
                "emoji must be 1 to {MAX_EMOJI_BYTES} bytes without white space and control characters"
            )))
        }
        _ => None,
    }
}

fn invalid(sentence: impl Into<String>) -> Error {
    Error::of(ErrorCode::Invalid, sentence)
}

fn too_large(what: &str, found: usize, limit: u64) -> Error {
    let sentence =
        format!("{what} has {found} bytes and {limit} are allowed; upload it and send a reference");
    Error::of(ErrorCode::TooLarge, sentence)
}

#[cfg(test)]
mod tests {
    use imflow_kind::testing::{Driver, drive};

    use super::*;
    use imflow_proto::record::{Reference, Verdict};

    use crate::testing::{Sender, error_of};

    fn validate(standard_ids: bool) -> Driver<Validate> {
        drive(Validate { max_text: 8, max_payload: 4, max_mentions: 2, standard_ids }, &DESCRIPTION)
    }

    fn code(
        driver: &mut Driver<Validate>,
        change: impl FnOnce(&mut Submission),
    ) -> Option<ErrorCode> {
        let sender = Sender::new("alice", "phone");
        let mut submission = sender.submission("c1", "alice-phone-1-1", "hi");
        change(&mut submission);
        let Submission { ticket, session, send, reference, .. } = submission;
        let submission = match reference.and_then(|reference| reference.action) {
            None => Submission::new(ticket, session, send),
            Some(action) => Submission::acting(ticket, session, send, *action),
        };
        driver.send("messages", [Record::Submission(Arc::new(submission))]);
        let rejected = driver.take("rejected");
        assert_eq!(driver.take("valid").len() + rejected.len(), 1);
        rejected.first().map(|record| error_of(record).code())
    }

    #[test]
    fn each_fault_of_form_has_its_code() {
        let v = &mut validate(true);
        assert_eq!(code(v, |_| ()), None);
        assert_eq!(code(v, |s| s.send.conversation_id = "a b".into()), Some(ErrorCode::Invalid));
        assert_eq!(code(v, |s| s.send.r#type = 99), Some(ErrorCode::Invalid));
        assert_eq!(code(v, |s| s.send.text.clear()), Some(ErrorCode::Invalid));
        assert_eq!(code(v, |s| s.send.text = "123456789".into()), Some(ErrorCode::TooLarge));
        assert_eq!(code(v, |s| s.send.payload = vec![0; 5].into()), Some(ErrorCode::TooLarge));
        assert_eq!(code(v, |s| s.send.client_msg_id = "x".repeat(65)), Some(ErrorCode::Invalid));
    }

    fn acting(kind: MessageType, change: impl Fn(&mut Action)) -> impl FnOnce(&mut Submission) {
        move |submission| {
            let mut action = Action { target_seq: 3, ..Action::default() };
            change(&mut action);
            submission.send.r#type = kind.into();
            let reference = Reference { action: Some(action.into()), verdict: Verdict::Open };
            submission.reference = Some(reference.into());
        }
    }

    #[test]
    fn an_action_names_its_target_and_what_it_does() {
        let v = &mut validate(true);
        for kind in [MessageType::Revoke, MessageType::Edit] {
            assert_eq!(code(v, acting(kind, |_| ())), None);
            assert_eq!(code(v, acting(kind, |a| a.target_seq = 0)), Some(ErrorCode::Invalid));
        }
        for (emoji, expected) in [
            ("👍", None),
            ("👨‍👩‍👧‍👦", None),
            ("", Some(ErrorCode::Invalid)),
            ("a b", Some(ErrorCode::Invalid)),
            (&*"x".repeat(65), Some(ErrorCode::Invalid)),
        ] {
            let action = acting(MessageType::React, |a| a.emoji = emoji.into());
            assert_eq!(code(v, action), expected, "{emoji}");
        }
        let without_text = |s: &mut Submission| {
            acting(MessageType::Edit, |_| ())(s);
            s.send.text.clear();
        };
        assert_eq!(code(v, without_text), Some(ErrorCode::Invalid));
        for kind in MessageType::ACTIONS {
            let sent = code(v, |s| s.send.r#type = kind.into());
            assert_eq!(sent, Some(ErrorCode::Invalid), "{kind:?} as a plain message");
        }
    }

    #[test]
    fn a_forward_says_nothing_of_its_own() {
        let v = &mut validate(true);
        let forward = |change: fn(&mut Send)| {
            move |s: &mut Submission| {
                let origin = Origin { conversation_id: "c2".into(), seq: 1, ..Default::default() };
                s.send.forward_of = Some(origin.into());
                (s.send.r#type, s.send.text) = (0, String::new());
                change(&mut s.send);
            }
        };
        assert_eq!(code(v, forward(|_| ())), None);
        for change in [
            |send: &mut Send| send.text = "look".into(),
            |send: &mut Send| send.r#type = MessageType::Text.into(),
            |send: &mut Send| send.reply_to = 1,
            |send: &mut Send| send.forward_of.as_mut().unwrap().seq = 0,
            |send: &mut Send| send.forward_of.as_mut().unwrap().conversation_id = "a b".into(),
        ] {
            assert_eq!(code(v, forward(change)), Some(ErrorCode::Invalid));
        }
    }

    #[test]
    fn mentions_are_bounded_and_each_is_a_user() {
        let v = &mut validate(true);
        let mentions = |users: &'static [&str]| {
            move |s: &mut Submission| {
                s.send.mentions = users.iter().map(ToString::to_string).collect();
            }
        };
        assert_eq!(code(v, mentions(&["bob", "carol"])), None);
        for users in [&["a", "b", "c"][..], &["bob", "bob"], &["b b"], &[""]] {
            assert_eq!(code(v, mentions(users)), Some(ErrorCode::Invalid), "{users:?}");
        }
    }

    #[test]
    fn a_standard_id_must_be_the_sessions_own() {
        let v = &mut validate(true);
        assert_eq!(
            code(v, |s| s.send.client_msg_id = "bob-phone-1-1".into()),
            Some(ErrorCode::Invalid)
        );
        assert_eq!(code(v, |s| s.send.client_msg_id = "free".into()), Some(ErrorCode::Invalid));
        let admin = |s: &mut Submission| {
            Arc::make_mut(&mut s.session).scopes.admin = true;
            s.send.client_msg_id = "free".into();
        };
        assert_eq!(code(v, admin), None);
        assert_eq!(code(&mut validate(false), |s| s.send.client_msg_id = "free".into()), None);
    }
}
