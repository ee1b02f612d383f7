//! `bench operators`: what one record costs in each general operator.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use imflow_kind::testing::Node;
use imflow_kind::{Out, Time};
use imflow_proto::Record;
use imflow_proto::record::Committed;
use imflow_proto::wire::{Message, MessageType};
use imflow_topology::{Plan, compile};

use crate::failure::{Context as _, Failure};
use crate::machine;
use crate::registry::registry;
use crate::report::Report;
use crate::text;

const WANTED_NS: f64 = 100.0;
const BATCH: usize = 128;
const CONVERSATIONS: usize = 1_000;

/// The operators under test, as people write them. `table` feeds the join.
const CASES: &str = r#"
[operators.case_filter]
kind = "filter"
inputs = ["store.committed"]
where = "type == 'TEXT' && payloadBytes <= 1024 && senderId != 'bot'"
[operators.case_map]
kind = "map"
inputs = ["store.committed"]
keep = ["conversationId", "senderId"]
set = { media = "type != 'TEXT'" }
[operators.case_branch]
kind = "branch"
inputs = ["store.committed"]
routes = { media = "type != 'TEXT'", late = "seq > 1000000" }
[operators.case_window]
kind = "window"
inputs = ["store.committed"]
every = "1s"
by = ["conversationId"]
select = { messages = "count()", bytes = "sum(payloadBytes)", p99 = "p99(payloadBytes)" }
[operators.case_count]
kind = "count"
inputs = ["store.committed"]
by = ["conversationId"]
[operators.case_rate]
kind = "rate"
inputs = ["store.committed"]
by = ["conversationId"]
above = 1000000
[operators.case_join]
kind = "join"
inputs = { stream = ["store.committed"], table = ["store.committed"] }
on = ["conversationId"]
keep = ["senderId"]
add = { last = "seq" }
"#;

/// What one record costs in each general operator, by itself
///
/// Feeds batches of 128 messages of 256 B in 1,000 conversations to one operator at a time, without the
/// dataflow around it. Figure: <= 100 ns a record for a filter with a typical expression.
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct OperatorsArgs {
    /// Records in one round; the middle of nine rounds counts
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..))]
    records: u32,
}

impl Default for OperatorsArgs {
    fn default() -> Self {
        Self { records: 200_000 }
    }
}

pub(crate) fn run(config: &Path, args: &OperatorsArgs) -> Result<Report, Failure> {
    let plan = plan(config)?;
    let records = messages(args.records as usize);
    let mut report = Report::new("operators: each by itself, 256 B, batches of 128");
    for node in plan.nodes.iter().filter(|node| node.name.starts_with("case_")) {
        let id = plan.nodes.iter().position(|other| other.name == node.name).unwrap_or_default();
        let built = Node::new(&node.kind, &node.options, &plan.inputs[id]).build();
        let mut operator = built.context(|| format!("building `{}`", node.name))?;
        let mut out = Out::new(node.outputs.len());
        if node.inputs.len() > 1 {
            operator.on_batch(
                Time::from_ms(1),
                1,
                &mut records[..CONVERSATIONS].to_vec(),
                &mut out,
            );
        }
        let ns = (0..9).map(|round| {
            let spent = round_of(&mut *operator, &records, Time::from_ms(1_000 + round), &mut out);
            spent.as_nanos() as f64 / records.len() as f64
        });
        let mut ns: Vec<f64> = ns.collect();
        ns.sort_by(f64::total_cmp);
        let (kind, found) = (node.kind.description.name, format!("{:.0} ns a record", ns[4]));
        if kind == "filter" {
            report.goal(kind, found, format!("<= {WANTED_NS} ns"), ns[4] <= WANTED_NS);
        } else {
            report.figure(kind, found);
        }
    }
    report.note("machine", machine::load());
    Ok(report)
}

/// Only the operator is timed: batches are made before, and what it sends is let go after.
fn round_of(
    operator: &mut dyn imflow_kind::Operator,
    records: &[Record],
    now: Time,
    out: &mut Out,
) -> Duration {
    let mut spent = Duration::ZERO;
    for batch in records.chunks(BATCH) {
        let mut batch = batch.to_vec();
        let begin = Instant::now();
        operator.on_batch(now, 0, &mut batch, out);
        spent += begin.elapsed();
        (0..out.ports()).for_each(|port| out.port(port).clear());
    }
    spent
}

fn plan(config: &Path) -> Result<Plan, Failure> {
    let text = std::fs::read_to_string(config)
        .context(|| format!("reading {}; name a topology with --config FILE", config.display()))?;
    let path = config.display().to_string();
    let overrides = ["service.workers=1".to_owned()];
    compile(&path, &(text + CASES), &overrides, &registry()).map_err(|mistakes| {
        Failure::new(format!("the topology has mistakes:\n{}", mistakes.render(false)))
    })
}

fn messages(count: usize) -> Vec<Record> {
    let texts = text::plain(256);
    let message = |n: usize| Message {
        conversation_id: format!("conversation-{}", n % CONVERSATIONS),
        seq: n as u64,
        server_msg_id: n as i64,
        client_msg_id: format!("user-phone-{n}-1"),
        sender_id: format!("user-{}", n % 77),
        r#type: MessageType::Text.into(),
        text: texts[n % texts.len()].text.clone(),
        created_at: 1,
        ..Default::default()
    };
    let committed = |n| Arc::new(Committed::recovered(n as u64, message(n)));
    (0..count.max(CONVERSATIONS)).map(|n| Record::Committed(committed(n))).collect()
}
