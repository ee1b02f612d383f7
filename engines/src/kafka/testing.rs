//! A broker inside the test's own process: the mock cluster of the client library, which speaks the real
//! protocol on a loopback port.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

/// How long a reader waits for what it expects.
const PATIENCE: Duration = Duration::from_secs(30);
const BROKER: i32 = 1;

/// A broker with one topic.
pub struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
    topic: String,
    partitions: i32,
}

/// What a reader of the topic sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub partition: i32,
    pub key: Option<String>,
    pub value: String,
}

impl Broker {
    /// Starts a broker.
    ///
    /// # Panics
    /// When it cannot: this is for tests.
    pub fn start(topic: &str, partitions: i32) -> Self {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        cluster.create_topic(topic, partitions, 1).expect("a topic of the mock");
        Self { cluster, topic: topic.to_owned(), partitions }
    }

    /// Its address, as HOST:PORT.
    pub fn address(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Takes it off the net, or back.
    ///
    /// # Panics
    /// When the mock refuses.
    pub fn set_up(&self, up: bool) {
        let done =
            if up { self.cluster.broker_up(BROKER) } else { self.cluster.broker_down(BROKER) };
        done.expect("the mock knows its broker");
    }

    /// Makes the next produce requests fail like this; the client tries them again.
    pub fn fail_produces(&self, times: usize) {
        // Produce is request 0 of the protocol.
        let errors = vec![RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; times];
        self.cluster.request_errors(rdkafka::types::RDKafkaApiKey::Produce, &errors);
    }

    /// Reads the topic from its beginning until so many records are there, each partition in order.
    ///
    /// # Panics
    /// When they do not come.
    pub fn read(&self, count: usize) -> Vec<Seen> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address()).set("group.id", "test");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut all = TopicPartitionList::new();
        for partition in 0..self.partitions {
            all.add_partition_offset(&self.topic, partition, Offset::Beginning).expect("an offset");
        }
        consumer.assign(&all).expect("an assignment");
        let mut seen = Vec::new();
        let end = Instant::now() + PATIENCE;
        while seen.len() < count {
            assert!(Instant::now() < end, "{} of {count} records have come", seen.len());
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            seen.push(Seen {
                partition: message.partition(),
                key: message.key().map(text),
                value: message.payload().map(text).unwrap_or_default(),
            });
        }
        seen
    }
}
