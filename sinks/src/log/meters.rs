//! What the log counts of its commits, for `GET /metrics`.

use std::time::Duration;

use imflow_kind::{Gauge, Histogram, Measure, Meters, Metric};

const DURABLE_LSN: Metric =
    Metric::new("log_durable_lsn", Measure::Gauge, "position of the last record that is on disk");
const COMMIT_RECORDS: Metric = Metric::new(
    "log_commit_records",
    Measure::Histogram(&[1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0]),
    "records that shared one write and one fdatasync",
)
.tells(&["records in one commit"]);
const COMMIT_SECONDS: Metric = Metric::new(
    "log_commit_seconds",
    Measure::Histogram(&[0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]),
    "time that one write and one fdatasync took",
);

/// All of them, for the description.
pub(super) const METRICS: &[Metric] = &[DURABLE_LSN, COMMIT_RECORDS, COMMIT_SECONDS];

/// The handles of one log.
pub(crate) struct LogMeters {
    durable_lsn: Gauge,
    commit_records: Histogram,
    commit_seconds: Histogram,
}

impl LogMeters {
    pub(crate) fn new(meters: &Meters) -> Self {
        Self {
            durable_lsn: meters.gauge(&DURABLE_LSN, &[]),
            commit_records: meters.histogram(&COMMIT_RECORDS, &[]),
            commit_seconds: meters.histogram(&COMMIT_SECONDS, &[]),
        }
    }

    /// A group of so many records, up to `last_lsn`, is durable.
    pub(super) fn committed(&self, records: u64, last_lsn: u64, took: Duration) {
        self.durable_lsn.set(last_lsn as i64);
        self.commit_records.observe(records as f64);
        self.commit_seconds.observe(took.as_secs_f64());
    }
}
