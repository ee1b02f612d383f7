//! What a kind measures of itself, for `GET /metrics`.
//!
//! A [`Metric`] is described once, beside the kind: its page, `docs/metrics.md` and the HELP line are that
//! text. [`Meters`] makes the live series. A kind asks for its handles once, while it is built or
//! started, and keeps them: counting is then one atomic addition. Every series carries the node's name,
//! so two nodes of a kind do not clash; a node that asks again for a series takes the older one's place.
//!
//! Pure operators have no [`Meters`]: what is worth counting there is a record.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::metrics::histogram::Histogram;

/// The label that says which node of the file a series belongs to.
const NODE: &str = "node_name";

/// One metric of a kind, as its description lists it.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// In snake case, the unit last.
    pub name: &'static str,
    pub shape: Measure,
    /// The labels beside `node_name`.
    pub labels: &'static [&'static str],
    /// One line without a full stop.
    pub doc: &'static str,
    /// Of which limits of the description it tells how near they are or how often they are met:
    /// [`crate::Limit::what`].
    pub tells: &'static [&'static str],
}

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// Only grows; `_total` is added to its name.
    Counter,
    Gauge,
    /// With the upper ends of its buckets.
    Histogram(&'static [f64]),
}

impl Metric {
    /// A metric without labels that tells of no limit.
    pub const fn new(name: &'static str, shape: Measure, doc: &'static str) -> Self {
        Self { name, shape, labels: &[], doc, tells: &[] }
    }

    /// The same metric with labels.
    pub const fn labels(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = labels;
        self
    }

    /// The same metric, which tells of these limits.
    pub const fn tells(mut self, limits: &'static [&'static str]) -> Self {
        self.tells = limits;
        self
    }

    /// The name as a scrape has it.
    pub fn shown(&self) -> String {
        match self.shape {
            Measure::Counter => format!("{}_total", self.name),
            Measure::Gauge | Measure::Histogram(_) => self.name.to_owned(),
        }
    }
}

impl Measure {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }

    fn metric_type(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram(_) => MetricType::Histogram,
        }
    }
}

type Labels = Vec<(&'static str, String)>;

/// Makes the series of one node; all nodes of a process share what is scraped.
#[derive(Clone, Default)]
pub struct Meters {
    scraped: Arc<Scraped>,
    node: String,
}

impl Meters {
    /// Under which the process offers its meters in [`crate::Roles`]; no node of a file has such a name.
    pub const NAME: &'static str = ".meters";

    /// The same meters, for the node of this name.
    pub fn of(&self, node: &str) -> Self {
        Self { scraped: Arc::clone(&self.scraped), node: node.to_owned() }
    }

    /// A series that is counted up, with these values of the metric's labels.
    ///
    /// # Panics
    /// When the metric is no counter or has other labels: a bug of the kind, which its first test shows.
    pub fn counter(&self, metric: &Metric, labels: &[&str]) -> Counter {
        assert_eq!(metric.shape, Measure::Counter, "`{}` is no counter", metric.name);
        let counter = Counter::default();
        self.add(metric, labels, Series::Counter(counter.clone()));
        counter
    }

    /// A series that is set.
    ///
    /// # Panics
    /// As [`Meters::counter`].
    pub fn gauge(&self, metric: &Metric, labels: &[&str]) -> Gauge {
        assert_eq!(metric.shape, Measure::Gauge, "`{}` is no gauge", metric.name);
        let gauge = Gauge::default();
        self.add(metric, labels, Series::Gauge(gauge.clone()));
        gauge
    }

    /// A series that is read when somebody looks: a gauge, or a counter that is kept elsewhere. `read`
    /// must not block for long and must not ask for another series.
    ///
    /// # Panics
    /// As [`Meters::counter`].
    pub fn read(
        &self,
        metric: &Metric,
        labels: &[&str],
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        let histogram = matches!(metric.shape, Measure::Histogram(_));
        assert!(!histogram, "`{}` is a histogram, which cannot be read", metric.name);
        self.add(metric, labels, Series::Read(Box::new(read)));
    }

    /// A series of observations.
    ///
    /// # Panics
    /// As [`Meters::counter`].
    pub fn histogram(&self, metric: &Metric, labels: &[&str]) -> Histogram {
        let Measure::Histogram(buckets) = metric.shape else {
            panic!("`{}` is no histogram", metric.name)
        };
        let histogram = Histogram::new(buckets.iter().copied());
        self.add(metric, labels, Series::Histogram(histogram.clone()));
        histogram
    }

    /// Everything, in the text form of OpenMetrics.
    pub fn text(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Arc::clone(&self.scraped)));
        let mut text = String::new();
        text::encode(&mut text, &registry).expect("a string takes any text");
        text
    }

    fn add(&self, metric: &Metric, values: &[&str], series: Series) {
        let name = metric.name;
        assert_eq!(metric.labels.len(), values.len(), "the labels of `{name}`");
        let values = values.iter().map(|value| (*value).to_owned());
        let mut labels: Labels = metric.labels.iter().copied().zip(values).collect();
        if !self.node.is_empty() {
            labels.insert(0, (NODE, self.node.clone()));
        }
        let mut families = self.scraped.0.lock().unwrap_or_else(PoisonError::into_inner);
        let family = families.entry(name).or_insert_with(|| Family::of(metric));
        family.series.insert(labels, series);
    }
}

#[derive(Default)]
struct Scraped(Mutex<BTreeMap<&'static str, Family>>);

/// All series of one name.
struct Family {
    metric: Metric,
    series: BTreeMap<Labels, Series>,
}

enum Series {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
    Read(Box<dyn Fn() -> f64 + Send + Sync>),
}

impl Family {
    fn of(metric: &Metric) -> Self {
        Self { metric: *metric, series: BTreeMap::new() }
    }
}

impl Series {
    fn encode(&self, measure: Measure, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Counter(counter) => counter.encode(encoder),
            Self::Gauge(gauge) => gauge.encode(encoder),
            Self::Histogram(histogram) => histogram.encode(encoder),
            Self::Read(read) if measure == Measure::Counter => {
                encoder.encode_counter::<NoLabelSet, f64, f64>(&read(), None)
            }
            Self::Read(read) => encoder.encode_gauge(&read()),
        }
    }
}

impl fmt::Debug for Scraped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scraped")
    }
}

impl Collector for Scraped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { metric, series } in
            self.0.lock().unwrap_or_else(PoisonError::into_inner).values()
        {
            let kind = metric.shape.metric_type();
            let mut family = encoder.encode_descriptor(metric.name, metric.doc, None, kind)?;
            for (labels, series) in series {
                series.encode(metric.shape, family.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: Metric =
        Metric::new("gate_sent", Measure::Counter, "messages sent").labels(&["reason"]);
    const OPEN: Metric = Metric::new("gate_open", Measure::Gauge, "connections that are open");
    const TOOK: Metric =
        Metric::new("gate_took_seconds", Measure::Histogram(&[0.001, 0.1]), "time taken");

    #[test]
    fn two_nodes_of_a_kind_have_series_of_their_own_under_one_name() {
        let meters = Meters::default();
        meters.of("east").counter(&SENT, &["late"]).inc_by(2);
        meters.of("west").counter(&SENT, &["late"]).inc();
        meters.of("west").read(&OPEN, &[], || 7.0);
        meters.of("west").histogram(&TOOK, &[]).observe(0.01);
        let text = meters.text();
        assert_eq!(text.matches("# TYPE gate_sent counter").count(), 1, "{text}");
        for line in [
            "gate_sent_total{node_name=\"east\",reason=\"late\"} 2",
            "gate_sent_total{node_name=\"west\",reason=\"late\"} 1",
            "gate_open{node_name=\"west\"} 7",
            "gate_took_seconds_bucket{le=\"0.1\",node_name=\"west\"} 1",
            "# EOF",
        ] {
            // A gauge may be written with a fraction.
            let whole = |found: &str| found.strip_suffix(".0").unwrap_or(found) == line;
            assert!(text.lines().any(whole), "{line} in {text}");
        }
    }

    #[test]
    fn a_node_that_is_built_anew_takes_its_series_over() {
        let meters = Meters::default().of("gate");
        meters.counter(&SENT, &["late"]).inc_by(5);
        meters.counter(&SENT, &["late"]).inc();
        assert!(meters.text().contains("reason=\"late\"} 1\n"), "{}", meters.text());
    }
}
