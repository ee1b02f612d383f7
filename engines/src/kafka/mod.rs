//! Kafka, to write to: an idempotent producer for one topic.
//!
//! A record counts as delivered when all in-sync replicas have it (`acks=all`), and retries keep the order
//! of each key and add nothing twice. What cannot be delivered within `give_up` is told as lost. The
//! connections are plain: this build of the client library has no TLS.

pub mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{
    BaseRecord, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer,
};

/// Bytes that wait in the client library; above it [`Refusal::Full`].
const BUFFERED_KIB: usize = 64 << 10;
/// Records likewise. Whoever sends has a bound of its own below this.
const BUFFERED_RECORDS: usize = 10_000_000;
/// How long the reports of what was given up may take.
const LAST_REPORTS: Duration = Duration::from_secs(1);

/// Where to, and how long to try.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses to begin with, as HOST:PORT.
    pub brokers: Vec<String>,
    pub topic: String,
    /// `none`, `snappy` or `lz4`.
    pub compression: String,
    /// How long a record is tried before it counts as lost.
    pub give_up: Duration,
}

/// Hears what became of each record, once.
pub trait Deliveries: Send + Sync {
    /// A record is in the topic.
    fn delivered(&self);
    /// A record is given up.
    fn lost(&self, why: &str);
}

/// Why a record was not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not now: what is buffered must leave first.
    #[error("the buffer is full")]
    Full,
    /// The producer is of no use any more: open another.
    #[error("the producer was fenced off or has lost its sequence: {0}")]
    Broken(String),
    /// Never: too large, or an unknown topic.
    #[error("{0}")]
    Record(String),
}

/// Writes to one topic.
pub struct Producer {
    client: ThreadedProducer<Context>,
    topic: String,
}

impl Producer {
    /// Makes a producer. It connects by itself, when it can and as often as it must.
    ///
    /// # Errors
    /// When a setting is refused.
    pub fn open(settings: &Settings, deliveries: Arc<dyn Deliveries>) -> Result<Self, String> {
        let give_up = settings.give_up.as_millis().to_string();
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", settings.brokers.join(","))
            .set("client.id", "imflow")
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "5")
            .set("compression.type", &settings.compression)
            .set("message.timeout.ms", &give_up)
            .set("queue.buffering.max.kbytes", BUFFERED_KIB.to_string())
            .set("queue.buffering.max.messages", BUFFERED_RECORDS.to_string())
            .set_log_level(RDKafkaLogLevel::Warning);
        let client = ThreadedProducer::from_config_and_context(&config, Context(deliveries));
        let client = client.map_err(|error| error.to_string())?;
        Ok(Self { client, topic: settings.topic.clone() })
    }

    /// Whether a broker leads the topic; waits at most `limit` for an answer.
    ///
    /// A broker makes a topic when it first hears of it, and says until then that there is none. The client
    /// library takes that for final, some time after it was made, and drops all that it was handed: hand it
    /// nothing before this has said yes.
    pub fn has_topic(&self, limit: Duration) -> bool {
        let metadata = self.client.client().fetch_metadata(Some(&self.topic), limit);
        metadata.is_ok_and(|metadata| {
            metadata.topics().iter().any(|topic| {
                let led = topic.partitions().iter().all(|partition| partition.leader() >= 0);
                topic.error().is_none() && !topic.partitions().is_empty() && led
            })
        })
    }

    /// Hands a record over; records of one key stay in order.
    ///
    /// # Errors
    /// When it was not taken: [`Deliveries`] hears nothing of it.
    pub fn send(&self, key: Option<&str>, value: &[u8]) -> Result<(), Refusal> {
        let mut record = BaseRecord::<str, [u8]>::to(&self.topic).payload(value);
        if let Some(key) = key {
            record = record.key(key);
        }
        let refused = match self.client.send(record) {
            Ok(()) => return Ok(()),
            Err((error, _)) => error,
        };
        Err(match refused {
            KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => Refusal::Full,
            KafkaError::MessageProduction(RDKafkaErrorCode::Fatal) => {
                let why = self.client.client().fatal_error();
                Refusal::Broken(why.map_or_else(|| refused.to_string(), |(_, why)| why))
            }
            other => Refusal::Record(other.to_string()),
        })
    }

    /// Waits until everything is delivered; what is not after `limit` is given up.
    pub fn finish(&self, limit: Duration) {
        if self.client.flush(limit).is_err() {
            self.client.purge(PurgeConfig::default().queue().inflight());
            let _ = self.client.flush(LAST_REPORTS); // a report that is late is a report less
        }
    }
}

/// Passes on what the client library reports.
struct Context(Arc<dyn Deliveries>);

impl ClientContext for Context {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::warn!(facility, "kafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, "kafka: {reason}");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => self.0.delivered(),
            Err((error, _)) => self.0.lost(&error.to_string()),
        }
    }
}
