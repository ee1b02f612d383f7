use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::testing::Broker;
use super::*;

#[derive(Default)]
struct Tally {
    delivered: AtomicUsize,
    lost: Mutex<Vec<String>>,
}

impl Deliveries for Tally {
    fn delivered(&self) {
        self.delivered.fetch_add(1, Ordering::AcqRel);
    }

    fn lost(&self, why: &str) {
        self.lost.lock().expect("no test panics under it").push(why.to_owned());
    }
}

fn settings(broker: &Broker, give_up: Duration) -> Settings {
    Settings {
        brokers: vec![broker.address()],
        topic: "im.test".to_owned(),
        compression: "lz4".to_owned(),
        give_up,
    }
}

#[test]
fn each_key_keeps_its_order_through_failed_requests() {
    let broker = Broker::start("im.test", 4);
    let tally = Arc::new(Tally::default());
    let settings = settings(&broker, Duration::from_secs(60));
    let producer = Producer::open(&settings, Arc::clone(&tally) as _).expect("good settings");
    for number in 0..400 {
        if number % 100 == 0 {
            broker.fail_produces(3);
        }
        let (key, value) = (format!("c{}", number % 7), number.to_string());
        producer.send(Some(&key), value.as_bytes()).expect("there is room");
    }
    producer.finish(Duration::from_secs(30));
    assert_eq!(tally.delivered.load(Ordering::Acquire), 400);
    let seen = broker.read(400);
    for key in 0..7 {
        let key = Some(format!("c{key}"));
        let of_key: Vec<_> = seen.iter().filter(|one| one.key == key).collect();
        let numbers: Vec<usize> =
            of_key.iter().map(|one| one.value.parse().expect("a number")).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{key:?}: {numbers:?}");
        assert!(of_key.iter().all(|one| one.partition == of_key[0].partition));
    }
}

#[test]
fn what_waits_for_a_broker_is_sent_when_it_is_back() {
    let broker = Broker::start("im.test", 1);
    broker.set_up(false);
    let tally = Arc::new(Tally::default());
    let settings = settings(&broker, Duration::from_secs(60));
    let producer = Producer::open(&settings, Arc::clone(&tally) as _).expect("good settings");
    producer.send(None, b"early").expect("there is room");
    assert_eq!(tally.delivered.load(Ordering::Acquire), 0);
    broker.set_up(true);
    assert_eq!(broker.read(1)[0].value, "early");
}

#[test]
fn what_cannot_be_delivered_in_time_is_told() {
    let broker = Broker::start("im.test", 1);
    broker.set_up(false);
    let tally = Arc::new(Tally::default());
    let settings = settings(&broker, Duration::from_secs(1));
    let producer = Producer::open(&settings, Arc::clone(&tally) as _).expect("good settings");
    producer.send(None, b"late").expect("there is room");
    producer.finish(Duration::from_secs(30));
    assert_eq!(tally.lost.lock().expect("no test panics under it").len(), 1);
    // A stop does not wait for ever either.
    producer.send(None, b"last").expect("there is room");
    producer.finish(Duration::ZERO);
    assert_eq!(tally.lost.lock().expect("no test panics under it").len(), 2);
}
