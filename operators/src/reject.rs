//! Refuses what reaches it: each message or command becomes a rejection with a reason of the file's own.
//!
//! The end of a wire that must not lose a sender: what a `filter`, `branch` or `sample` takes off the
//! message path is answered through here. Keeps no state.

use std::sync::Arc;

use imflow_kind::{
    Description, Family, Key, Operator, OperatorContext, Opt, OptType, Out, Port, StartError,
    State, Time,
};
use imflow_proto::record::{Refused, Rejection};
use imflow_proto::wire::{self, ErrorCode};
use imflow_proto::{Record, RecordType};

/// `commands: Submission, Command` → `rejected: Rejection`
///
/// Errors: none. Source: SPEC T2, M4.
pub const DESCRIPTION: Description = Description {
    name: "reject",
    family: Family::Operator,
    summary: "refuses what reaches it, with a code and a text of the file's own",
    doc: "Wire it behind what takes messages off the path, and its output to `push`, so that their senders are \
          answered.",
    key: Key::Inherit,
    state: State::None,
    inputs: &[Port::of(
        "commands",
        &[RecordType::Submission, RecordType::Command, RecordType::Query, RecordType::Mark],
        "messages, commands, reads and marks to refuse",
    )],
    outputs: &[Port::of("rejected", &[RecordType::Rejection], "one refusal for each")],
    options: &[
        Opt::new("code", OptType::Choice(CODES), "FORBIDDEN", "the code of the error"),
        Opt::new(
            "message",
            OptType::Text,
            "refused by a rule of this service",
            "the text of the error",
        ),
    ],
    example: r#"[operators.sorted]
kind = "branch"
inputs = ["valid"]
routes = { spam = "text.matches('(?i)free money')" }

[operators.no_spam]
kind = "reject"
inputs = ["sorted.spam"]
message = "this looks like spam"
"#,
    also: &["abort", "drop"],
    ..Description::EMPTY
};

const CODES: &[&str] = &["INVALID", "TOO_LARGE", "FORBIDDEN", "BUSY", "UNSUPPORTED"];

struct Reject {
    error: wire::Error,
}

pub(crate) fn build(context: &OperatorContext<'_>) -> Result<Box<dyn Operator>, StartError> {
    let code = context.options.text("code");
    let code = ErrorCode::from_str_name(code)
        .ok_or_else(|| StartError::new(format!("`{code}` is no code of the protocol")))?;
    let error = wire::Error {
        code: code.into(),
        message: context.options.text("message").to_owned(),
        retryable: code == ErrorCode::Busy,
        ..wire::Error::default()
    };
    Ok(Box::new(Reject { error }))
}

impl Operator for Reject {
    fn on_batch(&mut self, _now: Time, _port: usize, records: &mut Vec<Record>, out: &mut Out) {
        for record in records.drain(..) {
            let refused = match record {
                Record::Submission(submission) => Refused::Submission(submission),
                Record::Command(command) => Refused::Command(command),
                Record::Query(query) => Refused::Query(query),
                Record::Mark(mark) => Refused::Mark(mark),
                other => crate::misrouted("reject", &other),
            };
            let rejection = Rejection { refused, error: self.error.clone() };
            out.send(0, Record::Rejection(Arc::new(rejection)));
        }
    }
}

#[cfg(test)]
mod tests {
    use imflow_kind::testing::Node;
    use imflow_kind::{Kind, Shape, Value};
    use imflow_proto::record::{Ask, MarkKind, Query, Wish};

    use super::*;
    use crate::testing::{Sender, error_of, options};

    #[test]
    fn each_message_becomes_one_refusal() {
        let kind = Kind::operator(&DESCRIPTION, build);
        let options = options([
            ("code", Value::Text("BUSY".into())),
            ("message", Value::Text("later".into())),
        ]);
        let mut driver =
            Node::new(&kind, &options, &[vec![Shape::Native(RecordType::Submission)]]).drive();
        driver.send("commands", [Sender::new("bob", "phone").send("c1", "x", "hi")]);
        let errors: Vec<_> = driver.take("rejected").iter().map(error_of).collect();
        assert_eq!(errors.len(), 1);
        assert_eq!((errors[0].code(), errors[0].retryable), (ErrorCode::Busy, true));
        assert_eq!(errors[0].message, "later");
    }

    #[test]
    fn whoever_waits_is_refused_whatever_he_asked_for() {
        let kind = Kind::operator(&DESCRIPTION, build);
        let options = options([
            ("code", Value::Text("UNSUPPORTED".into())),
            ("message", Value::Text("not here".into())),
        ]);
        let bob = Sender::new("bob", "phone");
        let query = Query {
            ticket: bob.answers.ticket(1),
            session: Arc::clone(&bob.session),
            ask: Ask::Conversation("c1".to_owned()),
        };
        let wish = Wish::Ban { user_id: "eve".to_owned(), banned: true };
        let asked = [
            bob.send("c1", "x", "hi"),
            bob.command("c1", wish),
            Record::Query(Arc::new(query)),
            bob.mark("c1", MarkKind::Read, 1),
        ];
        let types: Vec<_> = asked.iter().map(Record::record_type).collect();
        assert_eq!(types, DESCRIPTION.inputs[0].types, "all that the port takes");
        let inputs = [types.into_iter().map(Shape::Native).collect()];
        let mut driver = Node::new(&kind, &options, &inputs).drive();
        driver.send("commands", asked);
        let refusals = driver.take("rejected");
        let refused = refusals.iter().map(|record| match record {
            Record::Rejection(rejection) => match &rejection.refused {
                Refused::Submission(_) => RecordType::Submission,
                Refused::Command(_) => RecordType::Command,
                Refused::Query(_) => RecordType::Query,
                Refused::Mark(_) => RecordType::Mark,
            },
            other => panic!("no rejection: {other:?}"),
        });
        assert_eq!(refused.collect::<Vec<_>>(), DESCRIPTION.inputs[0].types);
        for error in refusals.iter().map(error_of) {
            assert_eq!((error.code(), error.retryable), (ErrorCode::Unsupported, false));
            assert_eq!(error.message, "not here");
        }
    }

    #[test]
    fn every_code_that_can_be_chosen_is_one_of_the_protocol() {
        assert!(CODES.iter().all(|code| ErrorCode::from_str_name(code).is_some()));
    }
}
