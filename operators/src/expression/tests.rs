use std::sync::Arc;

use imflow_proto::RecordType;
use imflow_proto::record::{Delivery, Event, FanoutStats};
use imflow_proto::wire::ConversationType;

use super::*;
use crate::testing::committed;

const COMMITTED: Shape = Shape::Native(RecordType::Committed);

fn record() -> Record {
    Record::Committed(committed("c1", "alice", "x", "你好 world", 12))
}

fn holds(source: &str) -> Result<bool, Fault> {
    Predicate::compile(&Shape::Native(RecordType::Committed), source)
        .unwrap_or_else(|e| panic!("{source}: {e:?}"))
        .holds(&record())
}

fn mistake(source: &str) -> (usize, String) {
    let error = Predicate::compile(&COMMITTED, source).err().expect(source);
    (error.offset, error.message)
}

#[test]
fn expressions_hold_as_cel_says() {
    for source in [
        "seq == 12 && senderId == 'alice'",
        "seq > 100 || text.contains(\"好\")",
        "!(type == 'IMAGE') && type == \"TEXT\"",
        "size(text) == 8 && text.size() == 8",
        "senderId in ['bob', 'alice'] && seq in [1, 12]",
        "text.startsWith('你') && text.endsWith('ld') && !text.contains('x')",
        "seq + 2 * 3 - 4 / 2 == 16 && seq % 5 == 2 && -seq == -12",
        "senderId + '/' + conversationId == 'alice/c1'",
        "'a' < 'b' && 2u >= 2 && true != false",
        "!(seq in [])",
    ] {
        assert_eq!(holds(source), Ok(true), "{source}");
    }
}

#[test]
fn arithmetic_without_a_result_is_a_fault_unless_the_other_side_decides() {
    assert_eq!(holds("1 / (seq - 12) == 1"), Err(Fault::DivisionByZero));
    assert_eq!(holds("seq % 0 == 1"), Err(Fault::DivisionByZero));
    assert_eq!(holds("9223372036854775807 + seq > 0"), Err(Fault::Overflow));
    assert_eq!(holds("1 / 0 == 1 || seq == 12"), Ok(true));
    assert_eq!(holds("1 / 0 == 1 && seq == 1"), Ok(false));
    assert_eq!(holds("1 / 0 == 1 || seq == 1"), Err(Fault::DivisionByZero));
}

#[test]
fn mistakes_are_told_at_their_place() {
    for (source, offset, part) in [
        ("colour == 1", 0, "has no field `colour`; it has lsn, conversationId"),
        ("text == '你好' && colour == 1", 20, "colour"),
        ("seq == 'a'", 4, "`==` does not take int and string"),
        ("seq && true", 4, "`&&` does not take int and bool"),
        ("seq + 1", 0, "is of type int and must be a bool"),
        ("text.matches('a')", 12, "`matches` with 1 arguments is not supported"),
        ("seq > 1.5", 6, "no field holds a fraction"),
        ("text in ['a', 1]", 14, "must hold such literals"),
        ("text.length == 1", 4, "no field"),
        ("seq ==", 6, "syntax error"),
        ("text == '你好' &&", 19, "syntax error: mismatched input the end"),
        ("seq == 1 ? true : false", 9, "is not supported"),
    ] {
        let (found, message) = mistake(source);
        assert!(message.contains(part), "{source}: {message}");
        assert_eq!(found, offset, "{source}: {message}");
    }
}

#[test]
fn other_record_types_have_their_own_fields() {
    let stats = FanoutStats { conversation_type: ConversationType::Group, recipients: 3, bytes: 9 };
    let predicate = Predicate::compile(
        &Shape::Native(RecordType::FanoutStats),
        "conversationType == 'GROUP' && recipients >= 3",
    )
    .unwrap();
    assert_eq!(predicate.holds(&Record::FanoutStats(stats)), Ok(true));
    let Record::Committed(it) = record() else { unreachable!() };
    let delivery = Delivery {
        event: Event::Message(Arc::clone(&it.message)),
        to: ["bob".into()].into(),
        except: 0,
    };
    let predicate = Predicate::compile(
        &Shape::Native(RecordType::Delivery),
        "'bob' in recipients && size(recipients) == 1",
    )
    .unwrap();
    assert_eq!(predicate.holds(&Record::Delivery(Arc::new(delivery))), Ok(true));
}

#[test]
fn no_text_makes_the_checker_panic() {
    const PIECES: [&str; 24] = [
        "seq",
        "text",
        "'a'",
        "1",
        "9223372036854775808",
        "1.5",
        "==",
        "&&",
        "!",
        "-",
        "(",
        ")",
        "[",
        "]",
        ".",
        ",",
        "size",
        "in",
        "{",
        "}",
        "?",
        ":",
        "你",
        "has(text)",
    ];
    for seed in 0..2_000 {
        let mut dice = crate::testing::Dice(seed);
        let source: Vec<_> = (0..dice.below(9)).map(|_| PIECES[dice.below(PIECES.len())]).collect();
        let source = source.join(" ");
        if let Err(error) = Predicate::compile(&COMMITTED, &source).map(drop) {
            assert!(
                error.offset <= source.len() && !error.message.is_empty(),
                "{source}: {error:?}"
            );
        }
    }
}
