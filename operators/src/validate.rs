//! Refuses messages whose form is wrong, before anything remembers them.
//!
//! What leaves on `valid` has a well-formed conversation id, a known type, content of a permitted size
//! and a clientMsgId that later operators can rely on. Whether the conversation exists and whether the
//! sender may speak is for `permission`. Keeps no state.

use std::sync::Arc;

use imflow_kind::{
    Description, Family, Key, Operator, OperatorContext, Opt, OptType, Out, Port, StartError,
    State, Time,
};
use imflow_proto::id::{self, MAX_CLIENT_MSG_ID_BYTES, MAX_ID_BYTES};
use imflow_proto::record::{IdForm, Refused, Rejection, Submission};
use imflow_proto::wire::{Error, ErrorCode, MessageType};
use imflow_proto::{Record, RecordType};

/// `messages: Submission` → `valid: Submission`, `rejected: Rejection`
///
/// Errors: INVALID, TOO_LARGE. Source: SPEC M1, M2.
pub const DESCRIPTION: Description = Description {
    name: "validate",
    family: Family::Operator,
    summary: "refuses messages whose form is wrong",
    doc: "Checks the conversation id, the message type, that a TEXT has a text, the sizes of text and payload, and \
          the form of the clientMsgId. With `client_msg_id = \"standard\"` it must be \
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
            "client_msg_id",
            OptType::Choice(&["standard", "any"]),
            "standard",
            "`standard`: only {userId}-{deviceId}-{localSeq}-{timestamp}; `any`: free form, kept apart by sender",
        ),
    ],
    provides: &[],
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
    standard_ids: bool,
}

pub(crate) fn build(context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, StartError> {
    let options = context.options;
    Ok(Box::new(Validate {
        max_text: options.size("max_text"),
        max_payload: options.size("max_payload"),
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
        let kind = send.r#type();
        if kind == MessageType::Unspecified {
            return Some(invalid(
                "type is missing or unknown; set it to TEXT, IMAGE, AUDIO, VIDEO, FILE, LOCATION or CUSTOM",
            ));
        }
        if kind == MessageType::Text && send.text.is_empty() {
            return Some(invalid("a TEXT message needs a text that is not empty"));
        }
        if send.text.len() as u64 > self.max_text {
            return Some(too_large("text", send.text.len(), self.max_text));
        }
        if send.payload.len() as u64 > self.max_payload {
            return Some(too_large("payload", send.payload.len(), self.max_payload));
        }
        self.id_fault(submission)
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
    use crate::testing::{Sender, error_of};

    fn validate(standard_ids: bool) -> Driver<Validate> {
        drive(Validate { max_text: 8, max_payload: 4, standard_ids }, &DESCRIPTION)
    }

    fn code(
        driver: &mut Driver<Validate>,
        change: impl FnOnce(&mut Submission),
    ) -> Option<ErrorCode> {
        let sender = Sender::new("alice", "phone");
        let mut submission = sender.submission("c1", "alice-phone-1-1", "hi");
        change(&mut submission);
        let Submission { ticket, session, send, .. } = submission;
        let submission = Submission::new(ticket, session, send);
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
