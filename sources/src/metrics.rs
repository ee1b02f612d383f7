//! `GET /metrics`: everything that the nodes of the process measure of themselves.

use axum::Router;
use axum::http::header;
use axum::routing::get;
use imflow_kind::Meters;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The route, for a listener.
pub fn metrics_route(meters: Meters) -> Router {
    let scrape = move || {
        let text = meters.text();
        async move { ([(header::CONTENT_TYPE, OPEN_METRICS)], text) }
    };
    Router::new().route("/metrics", get(scrape))
}
