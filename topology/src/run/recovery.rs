//! Recovery and snapshots of one instance: state is a fold over the log, so it is never guessed.
//!
//! A snapshot of a partition is the fold of exactly the records that were applied before it, so
//! restart is: the newest snapshot of each partition, then the tail of the log behind it. Facts are not
//! in snapshots: the collections are warmed from the journal's present facts.

use std::sync::Arc;

use imflow_kind::{Durable, Journal, Snapshot, StartError};
use imflow_proto::id;
use imflow_proto::record::Lsn;

use crate::render::SharedOperator;

const VERSION: u16 = 1;

/// Restores the operators of a worker that owns every partition for which `owns` holds. Gives the last
/// position applied.
pub(crate) fn recover(
    journal: &Arc<dyn Journal>,
    operators: &[(String, SharedOperator)],
    partitions: u32,
    owns: &dyn Fn(u32) -> bool,
) -> Result<Lsn, StartError> {
    let failed =
        |e: &dyn std::fmt::Display| StartError::new(format!("recovery from the log failed: {e}"));
    let mut covered = vec![0; partitions as usize];
    for partition in (0..partitions).filter(|p| owns(*p)) {
        if let Some((lsn, bytes)) = journal.load_snapshot(partition).map_err(|e| failed(&e))? {
            import(partition, &bytes, operators)
                .map_err(|e| failed(&format!("snapshot of partition {partition}: {e}")))?;
            covered[partition as usize] = lsn;
        }
    }
    let owned = (0..partitions).filter(|p| owns(*p));
    let from = owned.map(|p| covered[p as usize]).min().unwrap_or(0);
    let mut last = covered.iter().copied().max().unwrap_or(0);
    journal
        .replay(from, &mut |durable| {
            let partition = id::partition_of(durable.conversation_id(), partitions);
            if owns(partition) && durable.lsn() > covered[partition as usize] {
                for (_, operator) in operators {
                    match durable {
                        Durable::Message(committed) => operator.borrow_mut().apply(committed),
                        Durable::Moved(moved) => operator.borrow_mut().apply_moved(moved),
                    }
                }
                last = last.max(durable.lsn());
            }
        })
        .map_err(|e| failed(&e))?;
    Ok(last)
}

/// The state of one partition over all operators.
pub(crate) fn export(partition: u32, operators: &[(String, SharedOperator)]) -> Vec<u8> {
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for (name, operator) in operators {
        let Some(snapshot) = operator.borrow().export(partition) else { continue };
        put(&mut bytes, name.as_bytes());
        bytes.extend(snapshot.version.to_le_bytes());
        put(&mut bytes, &snapshot.bytes);
    }
    bytes
}

fn import(
    partition: u32,
    mut bytes: &[u8],
    operators: &[(String, SharedOperator)],
) -> Result<(), String> {
    let version = take_u16(&mut bytes)?;
    if version != VERSION {
        return Err(format!(
            "its format is version {version}, this build reads version {VERSION}; start the build that wrote it, or delete \
             the folder `snapshots` of the data directory, whose state is then read from the log"
        ));
    }
    while !bytes.is_empty() {
        let name = String::from_utf8(take(&mut bytes)?.to_vec()).map_err(|e| e.to_string())?;
        let version = take_u16(&mut bytes)?;
        let snapshot = Snapshot { version, bytes: take(&mut bytes)?.to_vec() };
        let found = operators.iter().find(|(n, _)| *n == name);
        // An operator that left the file takes its state with it.
        let Some((_, operator)) = found else { continue };
        operator
            .borrow_mut()
            .import(partition, &snapshot)
            .map_err(|e| format!("operator `{name}`: {e}"))?;
    }
    Ok(())
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend((part.len() as u32).to_le_bytes());
    bytes.extend(part);
}

fn take<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or("it is cut short")?;
    let length = u32::from_le_bytes(*length) as usize;
    let (part, rest) = rest.split_at_checked(length).ok_or("it is cut short")?;
    *bytes = rest;
    Ok(part)
}

fn take_u16(bytes: &mut &[u8]) -> Result<u16, String> {
    let (version, rest) = bytes.split_first_chunk::<2>().ok_or("it is cut short")?;
    *bytes = rest;
    Ok(u16::from_le_bytes(*version))
}
