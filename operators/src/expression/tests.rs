use std::sync::Arc;

use imflow_proto::RecordType;
use imflow_proto::record::{Band, Delivery, Event, FanoutStats};
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
    (error.range.start, format!("{}; {}", error.message, error.help.unwrap_or_default()))
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
        "seq > 11.5 && double(seq) / 8.0 == 1.5 && int(2.9) == 2 && int('7') == 7",
        "string(seq) + string(true) == '12true' && string(1.5) == '1.5' && double('0.5') == 0.5",
        "(seq > 5 ? 'many' : 'few') == 'many' && (false ? 1 : 2) == 2",
        "text.matches('w.rld$') && !text.matches('^w')",
        "' Ab '.trim().lowerAscii() == 'ab' && 'ab'.upperAscii() == 'AB'",
        "'a-b'.replace('-', '+') == 'a+b' && text.indexOf('w') == 3 && text.indexOf('x') == -1",
        "text.substring(0, 2) == '你好' && text.substring(3) == 'world' && ''.substring(0) == ''",
        "'a,b'.split(',').join('/') == 'a/b' && size('a,b'.split(',')) == 2 && 'a,b'.split(',')[1] == 'b'",
        "['a', 'b'].exists(x, x == senderId + '' || x == 'b') && ['a'].all(x, x.startsWith('a'))",
        "!['a', 'b'].all(x, x == 'a') && ![].exists(x, true)",
        "duration('1h30m') == 5400000 && duration('250ms') == 250",
        "min(seq, 3) == 3 && max(1.5, double(seq)) == 12.0",
    ] {
        assert_eq!(holds(source), Ok(true), "{source}");
    }
}

#[test]
fn arithmetic_without_a_result_is_a_fault_unless_the_other_side_decides() {
    assert_eq!(holds("1 / (seq - 12) == 1"), Err(Fault::DivisionByZero));
    assert_eq!(holds("seq % 0 == 1"), Err(Fault::DivisionByZero));
    assert_eq!(holds("9223372036854775807 + seq > 0"), Err(Fault::Overflow));
    assert_eq!(holds("int(text) == 1"), Err(Fault::NotANumber));
    assert_eq!(holds("int(1e300) == 1"), Err(Fault::Overflow));
    assert_eq!(holds("text.substring(100) == ''"), Err(Fault::OutOfRange));
    assert_eq!(holds("['7', 'a'].exists(x, int(x) == 7)"), Ok(true));
    assert_eq!(holds("['a', '7'].exists(x, int(x) == 7)"), Ok(true));
    assert_eq!(holds("['a', '7'].all(x, int(x) == 7)"), Err(Fault::NotANumber));
    assert_eq!(holds("1 / 0 == 1 || seq == 12"), Ok(true));
    assert_eq!(holds("1 / 0 == 1 && seq == 1"), Ok(false));
    assert_eq!(holds("1 / 0 == 1 || seq == 1"), Err(Fault::DivisionByZero));
}

#[test]
fn mistakes_are_told_at_their_place() {
    for (source, offset, part) in [
        ("colour == 1", 0, "has no field `colour`; it has lsn, conversationId"),
        ("sendrId == 'a'", 0, "has no field `sendrId`; did you mean `senderId`?"),
        ("text == '你好' && colour == 1", 20, "colour"),
        ("seq == 'a'", 4, "`==` does not take int and string"),
        ("seq && true", 4, "`&&` does not take int and bool"),
        ("seq + 1", 0, "is of type int and must be a bool"),
        ("text.matches('a(')", 13, "not a regular expression: unclosed group"),
        ("text.match('a')", 5, "there is no method `match`; did you mean `matches`?"),
        ("1 + sise(text)", 4, "there is no function `sise`; did you mean `size`?"),
        ("text.trim('a') == ''", 5, "`trim` does not take 1 argument"),
        ("seq * 1.5 > 2.0", 4, "`*` does not take int and double; write `double(x)`"),
        ("seq in ['a', 1]", 8, "must hold literal ints"),
        ("text in ['a', 1]", 14, "a list holds literal texts"),
        ("'a'.all(x, x)", 0, "a list of strings is expected here"),
        ("duration('5 minutes') > 1", 9, "a duration is a literal such as"),
        ("text.length == 1", 4, "no field"),
        ("seq ==", 6, "syntax error"),
        ("text == '你好' &&", 19, "syntax error: the expression ends too early"),
        ("seq == 1 ? 2 : false", 9, "both sides of `:` must be of one type"),
    ] {
        let (found, message) = mistake(source);
        assert!(message.contains(part), "{source}: {message}");
        assert_eq!(found, offset, "{source}: {message}");
    }
}

#[test]
fn other_record_types_have_their_own_fields() {
    let stats = FanoutStats {
        conversation_type: ConversationType::Group,
        direct: true,
        recipients: 3,
        bytes: 9,
        cost_ms: 1,
    };
    let predicate = Predicate::compile(
        &Shape::Native(RecordType::FanoutStats),
        "conversationType == 'GROUP' && recipients >= 3",
    )
    .unwrap();
    assert_eq!(predicate.holds(&Record::FanoutStats(stats)), Ok(true));
    let Record::Committed(it) = record() else { unreachable!() };
    let delivery = Delivery {
        event: Event::Message(Arc::clone(&it)),
        to: ["bob".into()].into(),
        except: 0,
        band: Band::P1,
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
                error.range.end <= source.len() && !error.message.is_empty(),
                "{source}: {error:?}"
            );
        }
    }
}
