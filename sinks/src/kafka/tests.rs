use std::sync::Arc;

use imflow_engines::kafka::testing::Broker;
use imflow_kind::construct::{Making, construct};
use imflow_kind::testing::{FakeInjector, io_context};
use imflow_kind::{Intake, Options, Shape, Sink, Time, Value};
use imflow_proto::record::{OnlineChange, Scalar};
use imflow_proto::{Record, RecordType};

use super::sink;

fn options(broker: &Broker, queue: i64, when_full: &str) -> Options {
    let mut options = Options::default();
    options.set("brokers", Value::Texts(vec![broker.address()]));
    options.set("topic", Value::Text("im.test".to_owned()));
    options.set("queue", Value::Integer(queue));
    options.set("when_full", Value::Text(when_full.to_owned()));
    options.set("give_up", Value::Duration(std::time::Duration::from_secs(60)));
    options.set("compression", Value::Text("none".to_owned()));
    options
}

fn started(options: Options) -> (Box<dyn Sink>, Box<dyn Intake>) {
    let context = io_context("stream", options, &std::env::temp_dir());
    let mut sink = sink::build(&context).expect("good options");
    let intake = sink.intake(0);
    sink.start(Arc::<FakeInjector>::default()).expect("a thread");
    (sink, intake)
}

fn committed(conversation: &str, seq: u64) -> Record {
    let given = [
        ("conversationId".to_owned(), Scalar::String(conversation.into())),
        ("seq".to_owned(), Scalar::Int(seq as i64)),
    ];
    let making = Making { now_ms: 1_000, number: seq };
    construct(&Shape::Native(RecordType::Committed), &given, making).expect("its own fields")
}

fn online(user: &str) -> Record {
    Record::Online(OnlineChange { user_id: user.into(), online: true, last_active_at: 0 })
}

#[test]
fn records_are_json_under_the_key_of_their_conversation() {
    let broker = Broker::start("im.test", 4);
    let (mut sink, mut intake) = started(options(&broker, 100, "drop"));
    let mut records: Vec<_> = (1..=20).map(|seq| committed("lobby", seq)).collect();
    records.push(online("alice"));
    intake.on_batch(Time::from_ms(1), 0, &mut records);
    sink.stop();
    let seen = broker.read(21);
    let lobby: Vec<_> = seen.iter().filter(|one| one.key.as_deref() == Some("lobby")).collect();
    let seqs = lobby.iter().map(|one| {
        let value: serde_json::Value = serde_json::from_str(&one.value).expect("JSON");
        value["seq"].as_u64().expect("a seq")
    });
    assert_eq!(seqs.collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    let other = seen.iter().find(|one| one.key.is_none()).expect("it has no conversation");
    assert_eq!(other.value, "{\"userId\":\"alice\",\"online\":true,\"lastActiveAt\":0}");
}

#[test]
fn a_full_queue_drops_and_holds_nobody() {
    let broker = Broker::start("im.test", 1);
    broker.set_up(false);
    let (mut sink, mut intake) = started(options(&broker, 2, "drop"));
    for seq in 1..=5 {
        intake.on_batch(Time::from_ms(seq), 0, &mut vec![committed("lobby", seq)]);
        assert!(!intake.is_full());
    }
    broker.set_up(true);
    let seen = broker.read(2);
    sink.stop();
    assert!(seen[0].value.contains("\"seq\":1") && seen[1].value.contains("\"seq\":2"));
    intake.on_batch(Time::from_ms(9), 0, &mut vec![committed("lobby", 9)]);
    assert_eq!(broker.read(2).len(), 2, "three were dropped for good");
}

#[test]
fn a_full_queue_that_holds_loses_nothing_and_says_when_it_has_room() {
    let broker = Broker::start("im.test", 1);
    broker.set_up(false);
    let (mut sink, mut intake) = started(options(&broker, 2, "hold"));
    for seq in 1..=5 {
        assert_eq!(intake.is_full(), seq > 2, "before {seq}");
        // What was under way comes, whatever the queue says.
        intake.on_batch(Time::from_ms(seq), 0, &mut vec![committed("lobby", seq)]);
    }
    broker.set_up(true);
    assert_eq!(broker.read(5).len(), 5);
    sink.stop();
    assert!(!intake.is_full());
}
