//! Compiles the shipped topology with two kinds replaced, and runs it in this process.
//!
//! The replacements are `websocket` (by the gateway of this benchmark) and `log` (by its simulated form:
//! files in memory, no threads); everything else is what `imflow run` runs.

use std::path::Path;
use std::sync::Arc;

use imflow_kind::{Clock, Family, Roles, SystemClock};
use imflow_sources::HttpListener;
use imflow_topology::{Plan, Registry, Running, compile};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::gateway::Gateway;
use crate::failure::{Context as _, Failure};

/// A running graph.
pub(super) struct Graph {
    running: Running,
    runtime: Runtime,
    /// The control API keeps its key there; nothing else is written.
    _data: TempDir,
}

impl Graph {
    pub(super) fn launch(
        config: &Path,
        extra_operators: u32,
        gateway: &Arc<Gateway>,
    ) -> Result<Self, Failure> {
        let data = tempfile::tempdir().context(|| "making a folder for the service".to_owned())?;
        let plan = plan(config, data.path(), extra_operators, gateway)?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.context(|| "starting the I/O thread".to_owned())?;
        let roles = Roles::default();
        for listener in &plan.listeners {
            // Offered but never bound: the control API wants one to put its routes on.
            let listener_role = HttpListener::role(&listener.name);
            roles.offer(
                &listener_role,
                HttpListener::new(&listener.name, listener.address.to_string()),
            );
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let entered = runtime.enter();
        let running = imflow_topology::start(plan, &roles, &clock)
            .context(|| "starting the graph".to_owned())?;
        drop(entered);
        Ok(Self { running, runtime, _data: data })
    }

    pub(super) fn stop(self) {
        let entered = self.runtime.enter();
        self.running.stop();
        drop(entered);
    }
}

fn plan(
    config: &Path,
    data: &Path,
    extra_operators: u32,
    gateway: &Arc<Gateway>,
) -> Result<Plan, Failure> {
    let text = std::fs::read_to_string(config);
    let text = text
        .context(|| format!("reading {}; name a topology with --config FILE", config.display()))?;
    let mut overrides = vec![
        "service.workers=1".to_owned(),
        format!("service.data={:?}", data.display().to_string()),
        "listeners.main.address=\"127.0.0.1:0\"".to_owned(),
        "sources.facts.conversations={}".to_owned(),
    ];
    overrides.extend(chain(extra_operators));
    let path = config.display().to_string();
    compile(&path, &text, &overrides, &registry(gateway)?).map_err(|mistakes| {
        Failure::new(format!("the topology has mistakes:\n{}", mistakes.render(false)))
    })
}

/// So many operators that let everything pass, between the nodes `valid` and `fresh` of the file.
fn chain(length: u32) -> Vec<String> {
    let name = |place: u32| if place == 0 { "valid".to_owned() } else { format!("extra{place}") };
    let link = |place: u32| {
        let from = name(place - 1);
        format!("operators.{}={{ kind = \"merge\", inputs = [\"{from}\"] }}", name(place))
    };
    let mut overrides: Vec<_> = (1..=length).map(link).collect();
    if length > 0 {
        overrides.push(format!("operators.fresh.inputs.messages=[\"{}\"]", name(length)));
    }
    overrides
}

fn registry(gateway: &Arc<Gateway>) -> Result<Registry, Failure> {
    let mut registry = crate::registry::registry();
    let websocket = registry.find(Family::Source, "websocket").map(|kind| kind.description);
    let websocket =
        websocket.ok_or_else(|| Failure::new("this build has no source of kind `websocket`"))?;
    registry.replace(gateway.kind(websocket));
    registry.replace(imflow_sinks::log::simulated_log());
    Ok(registry)
}
