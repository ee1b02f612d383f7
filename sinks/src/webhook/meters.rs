//! What the sink counts, for `GET /metrics`.

use imflow_kind::{Measure, Metric};

pub(super) const POSTS: Metric = Metric::new(
    "webhook_posts",
    Measure::Counter,
    "posts by what came of them: taken, later (to be tried again), dead",
)
.labels(&["outcome"])
.tells(&["attempts", "dead letters"]);
pub(super) const WAITING: Metric =
    Metric::new("webhook_waiting", Measure::Gauge, "records that wait to be posted")
        .tells(&["records waiting for the URL"]);

/// All of them, for the description.
pub(super) const METRICS: &[Metric] = &[POSTS, WAITING];
