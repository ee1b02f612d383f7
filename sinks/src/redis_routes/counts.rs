//! What the sink measures of itself.

#[cfg(feature = "redis")]
use imflow_kind::{Gauge, Meters};
use imflow_kind::{Measure, Metric};

// Other systems read these names as they are, so they are gauges, to which nothing is added.
const NODE_FAILURES: Metric = Metric::new(
    "node_failure_count",
    Measure::Gauge,
    "nodes that were found down, and whose users this node took off them",
);
const ROUTE_MIGRATIONS: Metric = Metric::new(
    "route_migration_count",
    Measure::Gauge,
    "devices that were connected to a node when it was found down",
);
const ROUTE_INCONSISTENCIES: Metric = Metric::new(
    "route_inconsistency_count",
    Measure::Gauge,
    "routes that were not what this node had written, and sessions here of devices that are elsewhere",
);
const WAITING: Metric = Metric::new(
    "redis_routes_users",
    Measure::Gauge,
    "users of this node that are shared, or wait to be",
)
.tells(&["users that wait to be written"]);

/// All of it.
pub(super) const METRICS: &[Metric] =
    &[NODE_FAILURES, ROUTE_MIGRATIONS, ROUTE_INCONSISTENCIES, WAITING];

#[cfg(feature = "redis")]
#[derive(Default)]
pub(super) struct Counts {
    pub(super) node_failures: Gauge,
    pub(super) route_migrations: Gauge,
    pub(super) route_inconsistencies: Gauge,
    pub(super) users: Gauge,
}

#[cfg(feature = "redis")]
impl Counts {
    pub(super) fn new(meters: &Meters) -> Self {
        Self {
            node_failures: meters.gauge(&NODE_FAILURES, &[]),
            route_migrations: meters.gauge(&ROUTE_MIGRATIONS, &[]),
            route_inconsistencies: meters.gauge(&ROUTE_INCONSISTENCIES, &[]),
            users: meters.gauge(&WAITING, &[]),
        }
    }
}
