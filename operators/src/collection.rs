//! The shape that the collections of this crate share.
//!
//! ```text
//! records --door--> ((key, row), time, ±1) --arrange, reduce--> at most one value a key --> records
//! ```
//!
//! The *door* turns events into differences of a multiset: it keeps the present rows, because an event
//! only says what is, while a difference must also retract what was. Behind the door differential keeps
//! the value of each key. What leaves is one record for each key whose value changed at a time: a
//! retraction and an insertion of one key never leave apart, and what cancels out inside a time does
//! not leave at all.
//!
//! Everything stays inside one worker, so nothing is exchanged or serialised. No trace handle is kept:
//! the operators that own the traces compact them behind the frontier.

use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::trace::cursor::{Cursor, Navigable};
use differential_dataflow::trace::implementations::{ValBatcher, ValBuilder, ValSpine};
use imflow_kind::Stream;
use imflow_proto::Record;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;

/// Differences of `(key, row)` that an event causes.
pub(crate) type Differences<K, R> = Vec<((K, R), isize)>;

type Updates<K, R> = Vec<((K, R), u64, isize)>;

/// What keys, rows and values must be.
pub(crate) trait Data: Clone + Ord + std::fmt::Debug + 'static {}
impl<T: Clone + Ord + std::fmt::Debug + 'static> Data for T {}

/// Lays the collection over `records`.
///
/// `door` appends the differences of one event; `fold` gives the value of a key from its rows, which are
/// not empty; `emit` makes the record of a key whose value is now this one, or none.
pub(crate) fn collection<'scope, K: Data, R: Data, V: Data>(
    name: &str,
    records: Stream<'scope>,
    mut door: impl FnMut(Record, &mut Differences<K, R>) + 'static,
    mut fold: impl FnMut(&[(&R, isize)]) -> Option<V> + 'static,
    mut emit: impl FnMut(&K, Option<V>) -> Record + 'static,
) -> Stream<'scope> {
    let rows: timely::dataflow::Stream<'scope, u64, Updates<K, R>> =
        records.unary(Pipeline, &format!("{name}: door"), move |_, _| {
            let mut differences = Vec::new();
            move |input, output| {
                input.for_each(|capability, records| {
                    let Some(time) = capability.least().copied() else { return };
                    records.drain(..).for_each(|record| door(record, &mut differences));
                    let mut session = output.session(&capability);
                    session
                        .give_iterator(differences.drain(..).map(|(row, diff)| (row, time, diff)));
                });
            }
        });
    arrange_core::<_, _, _, ValSpine<K, R, u64, isize>>(
        rows,
        Pipeline,
        &format!("{name}: rows"),
        ValBatcher::new,
    )
    .reduce_abelian::<_, ValBuilder<K, V, u64, isize>, ValSpine<K, V, u64, isize>, _, _>(
        &format!("{name}: values"),
        move |_, rows, values| values.extend(fold(rows).map(|value| (value, 1))),
        |batch, key, updates| {
            batch.clear();
            batch.extend(
                updates.drain(..).map(|(value, time, diff)| ((key.clone(), value), time, diff)),
            );
        },
    )
    .stream
    .unary(Pipeline, &format!("{name}: changes"), move |_, _| {
        let mut changes = Vec::new();
        move |input, output| {
            input.for_each(|capability, spans| {
                for batch in spans.drain(..).filter_map(|span| span.inner) {
                    collect_changes::<_, K, V>(&batch, |time, key, value| {
                        changes.push((time, emit(key, value)))
                    });
                }
                // Within a time, changes keep the order of their keys.
                changes.sort_by_key(|(time, _)| *time);
                for run in changes.chunk_by(|a, b| a.0 == b.0) {
                    let capability = capability.delayed(&run[0].0, 0);
                    output
                        .session(&capability)
                        .give_iterator(run.iter().map(|(_, record)| record.clone()));
                }
                changes.clear();
            });
        }
    })
}

/// Calls `visit` once for each key and time at which the key's value changed, with the new value.
fn collect_changes<B, K, V>(batch: &B, mut visit: impl FnMut(u64, &K, Option<V>))
where
    B: Navigable,
    B::Cursor: for<'a> Cursor<Key<'a> = &'a K, Val<'a> = &'a V, Time = u64, Diff = isize>,
    V: Data,
{
    let mut cursor = batch.cursor();
    let mut updates: Vec<(u64, isize, V)> = Vec::new();
    while let Some(key) = cursor.get_key(batch) {
        while let Some(value) = cursor.get_val(batch) {
            cursor.map_times(batch, |time, diff| {
                updates.push((
                    B::Cursor::owned_time(time),
                    B::Cursor::owned_diff(diff),
                    value.clone(),
                ));
            });
            cursor.step_val(batch);
        }
        updates.sort_by_key(|(time, ..)| *time);
        for run in updates.chunk_by(|a, b| a.0 == b.0) {
            let inserted =
                run.iter().find(|(_, diff, _)| *diff > 0).map(|(.., value)| value.clone());
            visit(run[0].0, key, inserted);
        }
        updates.clear();
        cursor.step_key(batch);
    }
}

/// Drives a collection in a real timely dataflow.
#[cfg(test)]
pub(crate) mod testing {
    use std::sync::mpsc;

    use imflow_kind::{BuildCollection, OperatorContext, Options, Part};
    use imflow_proto::Record;
    use timely::dataflow::operators::capture::{Capture, Event};
    use timely::dataflow::operators::{Input, Probe};

    /// Feeds one batch at each time (from 1) and gives what leaves at each time.
    pub(crate) fn run(
        build: BuildCollection,
        batches: Vec<Vec<Record>>,
    ) -> Vec<(u64, Vec<Record>)> {
        let (sender, receiver) = mpsc::channel::<Event<u64, Vec<Record>>>();
        timely::execute_directly(move |worker| {
            let (mut input, probe) = worker.dataflow::<u64, _, _>(|scope| {
                let (input, stream) = scope.new_input::<Vec<Record>>();
                let (options, ids) = (
                    Options::default(),
                    std::sync::Arc::new(imflow_proto::id::ServerMsgIds::new(1)),
                );
                let context = OperatorContext {
                    name: "test",
                    options: &options,
                    inputs: &[],
                    outputs: &[],
                    taken: &[],
                    part: Part::Whole,
                    partitions: 1,
                    workers: 1,
                    ids: &ids,
                };
                let output = build(&context, scope, vec![stream]).unwrap().remove(0);
                let (probe, output) = output.probe();
                output.capture_into(sender);
                (input, probe)
            });
            for (time, batch) in (1..).zip(batches) {
                input.advance_to(time);
                batch.into_iter().for_each(|record| input.send(record));
                input.advance_to(time + 1);
                worker.step_while(|| probe.less_than(input.time()));
            }
        });
        let mut extracted: Vec<(u64, Vec<Record>)> = Vec::new();
        for event in receiver.try_iter().collect::<Vec<_>>() {
            let Event::Messages(stamp, records) = event else { continue };
            let time = *stamp.least().unwrap();
            match extracted.last_mut() {
                Some((last, all)) if *last == time => all.extend(records),
                _ => extracted.push((time, records)),
            }
        }
        extracted
    }
}
