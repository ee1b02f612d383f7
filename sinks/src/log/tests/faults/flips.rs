//! One bit flips at rest.

use super::life::Life;
use crate::log::frame::{Frame, HEADER};
use crate::log::tests::*;

pub(super) fn play(seed: u64) {
    let mut life = Life::new(seed);
    let mut rig = life.start();
    while life.durable.len() < 8 {
        life.work(&mut rig);
        life.end(rig);
        rig = life.start();
        life.check(&rig);
    }
    drop(rig);
    life.disk.power_cut();

    let segments: Vec<(String, Vec<u8>)> =
        life.disk.contents().into_iter().filter(|(_, bytes)| bytes[0] != 0).collect();
    let (name, bytes) = &segments[life.dice.roll(segments.len())];
    let is_last = Some(name) == segments.last().map(|(name, _)| name);
    let starts = starts(bytes);
    let end = starts[starts.len() - 1];
    let byte = life.dice.roll(end);
    // What the header says beyond its checksum says nothing.
    if (28..HEADER).contains(&byte) {
        return;
    }
    life.disk.flip(name, byte, life.dice.roll(8));
    let place = starts.iter().rev().find(|start| **start <= byte).copied().unwrap_or(0);
    let before = life.disk.contents();

    // Without its tables the index reads all of the log.
    let opened = Rig::open(Arc::new(life.disk.clone()), Arc::new(MemoryTables::default()));
    match opened {
        Err(error) => {
            let error = error.to_string();
            let expected = format!("`faulty/{name}` is damaged at byte {place}:");
            assert!(error.contains(&expected), "byte {byte}: {expected} {error}");
            let after = life.disk.contents();
            let changed: Vec<_> =
                after.iter().filter(|(name, now)| before.get(*name) != Some(now)).collect();
            let changed: Vec<_> = changed.into_iter().map(|(name, _)| name).collect();
            assert!(changed.is_empty() && after.len() == before.len(), "{changed:?} {error}");
        }
        // A header with no record behind it is as good as none.
        Ok(rig) if is_last && end == HEADER => life.check(&rig),
        // The last record of all looks as if its write had been cut short.
        Ok(rig) if is_last && starts.len() >= 2 && place == starts[starts.len() - 2] => {
            life.durable.pop();
            life.check(&rig);
        }
        Ok(_) => panic!("a flip of byte {byte} of {name} went unnoticed"),
    }
}

/// Where the records of a segment begin, and where the last one ends.
fn starts(bytes: &[u8]) -> Vec<usize> {
    let mut starts = vec![HEADER];
    while let Some(rest) = bytes.get(starts[starts.len() - 1]..).filter(|rest| rest.len() > 16)
        && let Some(length) = Frame::length(rest)
    {
        starts.push(starts[starts.len() - 1] + length);
    }
    starts
}
