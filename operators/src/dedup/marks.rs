//! The counters of devices in one partition: above its mark, an id is new.

use std::collections::VecDeque;

use imflow_proto::keys::Count;
use imflow_proto::{Fingerprint, FingerprintMap, warm};

use crate::snapshot::{Reader, Writer};

pub(super) struct Marks {
    max: usize,
    /// By device, the lowest counter above all that are committed.
    next: FingerprintMap<u64>,
    /// Devices and their names, oldest first.
    order: VecDeque<(Fingerprint, Box<str>)>,
    /// No forgotten mark stood above this.
    floor: u64,
}

impl Marks {
    pub(super) fn new(max: usize) -> Self {
        Self { max, next: FingerprintMap::default(), order: VecDeque::new(), floor: 0 }
    }

    /// Whether an id is certainly above all that were committed.
    pub(super) fn is_above(&self, count: &Count) -> bool {
        let next = self.next.get(&count.device).copied().unwrap_or(0);
        count.local_seq >= next.max(self.floor)
    }

    /// Loads what [`Marks::is_above`] will look at.
    pub(super) fn warm(&self, count: &Count) {
        warm(&self.next, &count.device);
    }

    /// Raises a device's mark to `next`; `true`: all that was committed before lies below.
    pub(super) fn raise(
        &mut self,
        device: Fingerprint,
        next: u64,
        name: impl FnOnce() -> String,
    ) -> bool {
        if let Some(known) = self.next.get_mut(&device) {
            let is_above = next > (*known).max(self.floor);
            *known = next.max(*known);
            return is_above;
        }
        let is_above = next > self.floor;
        if self.next.len() >= self.max
            && let Some((oldest, _)) = self.order.pop_front()
        {
            let forgotten = self.next.remove(&oldest).unwrap_or_default();
            self.floor = self.floor.max(forgotten);
        }
        self.order.push_back((device, name().into()));
        self.next.insert(device, next);
        is_above
    }

    pub(super) fn export(&self, writer: &mut Writer) {
        writer.number(self.floor).number(self.order.len() as u64);
        for (device, name) in &self.order {
            writer.text(name).number(self.next[device]);
        }
    }

    pub(super) fn import(&mut self, reader: &mut Reader<'_>) -> Result<(), String> {
        self.floor = self.floor.max(reader.number()?);
        for _ in 0..reader.number()? {
            let (name, next) = (reader.text()?, reader.number()?);
            self.raise(device_of(name)?, next, || name.to_owned());
        }
        Ok(())
    }
}

/// The device that a snapshot names `{conversation}/{sender}/{userId}-{deviceId}`, as in
/// [`imflow_proto::Keys`]. Ids of conversations and users hold no `/`.
fn device_of(name: &str) -> Result<Fingerprint, String> {
    let mut parts = name.splitn(3, '/').map(Fingerprint::of);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(conversation), Some(sender), Some(device)) => {
            Ok(conversation.then(sender).then(device))
        }
        _ => Err("the snapshot names a device without conversation and sender; remove it and replay the log".into()),
    }
}
