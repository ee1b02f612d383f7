//! What leaves the ports, and the kind as the runtime drives it.

use imflow_kind::testing::io_context;
use imflow_kind::{IoContext, Journal, Options, Store, SystemClock, Time, Value};
use imflow_proto::record::Submission;
use imflow_proto::wire::Send;

use super::*;
use crate::log::lookups::Lookups;
use crate::log::{DESCRIPTION, in_memory, on_disk};

#[test]
fn facts_and_messages_of_a_worker_leave_in_log_order() {
    let mut rig = Rig::memory();
    rig.commit(vec![
        rig.message("c", 1),
        rig.message("c", 2),
        rig.created("d"),
        rig.message("c", 3),
    ]);
    let ports: Vec<_> = rig
        .sent
        .take_records()
        .iter()
        .map(|(worker, port, record)| (*worker, *port, record.record_type()))
        .collect();
    use imflow_proto::RecordType::{Committed, Fact};
    assert_eq!(ports, [(0, 0, Committed), (0, 0, Committed), (0, 1, Fact), (0, 0, Committed)]);
}

#[test]
fn a_change_is_answered_when_every_stage_has_applied_it() {
    let mut rig = Rig::memory();
    rig.commit(vec![rig.created("c")]);
    assert_eq!(rig.answers.take(), []);
    rig.sent.apply();
    assert_eq!(rig.answers.take(), [(900, Body::Done(Done {}))]);
}

#[test]
fn a_record_that_no_segment_holds_is_refused_and_the_log_goes_on() {
    let mut rig = Rig::memory();
    let Record::Change(change) = rig.created("c") else { unreachable!("a change") };
    let mut fact = (*change.fact).clone();
    fact.by = "x".repeat(5_000);
    let huge = Record::Change(Arc::new(Change { fact: Arc::new(fact), ..(*change).clone() }));
    rig.commit(vec![huge, rig.message("c", 1)]);
    let answers = rig.answers.take();
    assert!(
        matches!(&answers[..], [(900, Body::Error(error))] if error.code() == imflow_proto::wire::ErrorCode::TooLarge)
    );
    assert_eq!(rig.index.lag().committed, 1);
}

#[test]
fn a_full_disk_closes_the_gate_while_everything_admitted_still_fits() {
    let files = Arc::new(Memory::default());
    files.set_room(8 * SIZES.segment);
    let mut rig = Rig::open(files.clone(), Arc::new(MemoryTables::default())).expect("a new log");
    let mut seq = 0;
    while !rig.gate.is_closed() {
        seq += 1;
        while rig.space.make_one().is_ok_and(|made| made) {}
        rig.write(vec![rig.message("c", seq)]);
    }
    // What is in flight at that moment, as much as the reserve.
    let mut bytes = 0;
    while bytes < SIZES.reserve as usize - 512 {
        seq += 1;
        bytes += prost::Message::encoded_len(&message("c", seq)) + crate::log::frame::HEAD;
        rig.write(vec![rig.message("c", seq)]);
    }
    assert_eq!(rig.index.lag().committed, seq);
    assert!(rig.gate.is_closed());
    files.set_room(100 * SIZES.segment);
    while rig.space.make_one().expect("room") {}
    assert!(!rig.gate.is_closed());
}

fn context(data: &std::path::Path) -> IoContext {
    let mut options = Options::default();
    options
        .set("segment", Value::Size(1 << 20))
        .set("retain", Value::Duration(Duration::from_secs(60)))
        .set("keep", Value::Duration(Duration::ZERO))
        .set("keep_bytes", Value::Size(0))
        .set("archive", Value::Text(String::new()))
        .set("hot", Value::Duration(Duration::from_secs(60)));
    assert!(DESCRIPTION.options.iter().all(|opt| options.get(opt.name).is_some()));
    io_context("store", options, data)
}

#[test]
fn a_lookup_that_the_damaged_log_cannot_answer_says_so() {
    let files = Arc::new(Memory::default());
    let mut rig = Rig::open(files.clone(), Arc::new(MemoryTables::default())).expect("a new log");
    rig.commit(vec![rig.message("c", 1)]);
    let name = crate::log::segments::name(1);
    let inside = crate::log::frame::HEADER as u64 + crate::log::frame::HEAD as u64;
    files.open(&name).expect("there").write_at(&[0xff], inside).expect("inside");
    rig.sent.take_records();
    let lookups = Lookups {
        index: Arc::clone(&rig.index),
        space: Arc::clone(&rig.space),
        clock: Arc::new(SystemClock),
        retain: Duration::from_secs(60),
        injector: Arc::clone(&rig.sent) as Arc<dyn Injector>,
    };
    lookups.answer(3, vec![lookup(&rig.answers, 1)]);
    let sent = rig.sent.take_records();
    let [(3, 2, Record::Found(found))] = &sent[..] else { panic!("{sent:?}") };
    let error = found.original.as_ref().expect_err("the record cannot be read");
    assert_eq!(error.code(), imflow_proto::wire::ErrorCode::Internal);
    assert_eq!(rig.answers.take(), [], "dedup answers, which must know of it");
}

/// A session of its own and one lookup of a message that may be stored.
fn lookup(answers: &Arc<Answers>, seq: u64) -> Record {
    let session = Session {
        number: 1,
        user_id: "alice".into(),
        device_id: "phone".into(),
        scopes: Scopes::default(),
    };
    let send = Send {
        conversation_id: "c".into(),
        client_msg_id: format!("alice-phone-{seq}-1"),
        ..Default::default()
    };
    Record::Lookup(Arc::new(Submission::new(answers.ticket(seq), Arc::new(session), send)))
}

#[test]
fn what_was_taken_is_durable_after_stop_and_found_after_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let now = imflow_kind::Clock::now_ms(&SystemClock) as i64;
    for start in 0..2_u64 {
        let context = context(folder.path());
        let mut sink = on_disk(&context).expect("built");
        let refused = on_disk(&context).err().expect("in use").to_string();
        assert!(refused.contains("in use"), "{refused}");
        let journal = context.roles.find::<Arc<dyn Journal>>("store").expect("offered");
        let store = context.roles.find::<Arc<dyn Store>>("store").expect("offered");
        assert_eq!(journal.durable_lsn(), start * 10);
        let (sent, answers) = (Arc::new(FakeInjector::default()), Arc::new(Answers::default()));
        let mut intake = sink.intake(0);
        sink.start(Arc::clone(&sent) as Arc<dyn Injector>).expect("started");
        let rig = Rig::memory();
        let mut batch: Vec<Record> =
            (start * 10 + 1..=start * 10 + 10).map(|seq| rig.message("c", seq)).collect();
        if let Record::Ordered(last) = &batch[9] {
            let message = Message { created_at: now, ..last.message.clone() };
            batch[9] = Record::Ordered(Arc::new(Entry { message, ..(**last).clone() }));
        }
        intake.on_batch(Time::default(), 0, &mut batch);
        if start == 1 {
            // Long ago; just now, before the restart; never.
            intake.on_batch(
                Time::default(),
                1,
                &mut vec![lookup(&answers, 1), lookup(&answers, 10), lookup(&answers, 99)],
            );
        }
        sink.stop();
        assert_eq!(journal.durable_lsn(), start * 10 + 10);
        assert_eq!(store.messages("c", 0, 200).expect("read").items.len() as u64, start * 10 + 10);
        let mut replayed = Vec::new();
        journal.replay(4, &mut |durable| replayed.push(durable.lsn())).expect("replayed");
        assert!(replayed.into_iter().eq(5..=start * 10 + 10));
        let found = sent.take_records().into_iter().filter_map(|(_, port, record)| match record {
            Record::Found(found) => {
                let original = found.original.as_ref().expect("the index is whole");
                Some((port, original.as_ref().map(|original| original.seq)))
            }
            _ => None,
        });
        let expected = [(2, None), (2, Some(10)), (2, None)];
        assert!(found.eq(expected.into_iter().filter(|_| start == 1)));
    }
}

#[test]
fn a_simulated_log_has_done_everything_when_a_call_returns() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let context = context(folder.path());
    let mut sink = in_memory(&context).expect("built");
    let (sent, answers) = (Arc::new(FakeInjector::default()), Arc::new(Answers::default()));
    let mut intake = sink.intake(0);
    sink.start(Arc::clone(&sent) as Arc<dyn Injector>).expect("started");
    let rig = Rig::memory();
    intake.on_batch(
        Time::default(),
        0,
        &mut (1..=2_500).map(|seq| rig.message("c", seq)).collect(),
    );
    assert_eq!(sent.take_records().len(), 2_500);
    let index = context.roles.find::<Arc<Index>>("store").expect("offered");
    assert_eq!(index.lag(), crate::log::Lag { committed: 2_500, indexed: 2_500 });

    let lookups = [lookup(&answers, 7), lookup(&answers, 9_999)];
    intake.on_batch(Time::default(), 1, &mut lookups.into());
    assert_eq!(sent.take_records().len(), 2);

    let journal = context.roles.find::<Arc<dyn Journal>>("store").expect("offered");
    journal.save_snapshot(3, 2_500, b"state".to_vec());
    assert_eq!(journal.load_snapshot(3).expect("read"), Some((2_500, b"state".to_vec())));
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}
