//! How cursors add up: forward only, in whatever order and however often they come.

use crate::log::{Cursors, DeviceCursor};

/// Devices of one user in one conversation whose cursors are kept; of more, the one that is furthest behind
/// is forgotten.
pub const MAX_DEVICES: usize = 16;

impl Cursors {
    /// Takes over what is further ahead; says whether anything moved.
    pub fn advance(&mut self, other: &Self) -> bool {
        let mut moved = self.advance_read(other.read);
        for device in &other.devices {
            moved |= self.advance_device(&device.device_id, device.delivered);
        }
        moved
    }

    /// The user has read up to `seq`; says whether that moved anything.
    pub fn advance_read(&mut self, seq: u64) -> bool {
        let moved = seq > self.read;
        self.read = self.read.max(seq);
        moved
    }

    /// A device has everything up to `seq`; says whether that moved anything.
    pub fn advance_device(&mut self, device_id: &str, seq: u64) -> bool {
        if let Some(device) = self.devices.iter_mut().find(|device| device.device_id == device_id) {
            let moved = seq > device.delivered;
            device.delivered = device.delivered.max(seq);
            return moved;
        }
        if seq == 0 {
            return false;
        }
        self.devices.push(DeviceCursor { device_id: device_id.to_owned(), delivered: seq });
        if self.devices.len() > MAX_DEVICES {
            // Which one goes must not depend on the order in which they came.
            let rank = |(index, device): (usize, &DeviceCursor)| {
                (device.delivered, device.device_id.clone(), index)
            };
            let last = self.devices.iter().enumerate().map(rank).min();
            if let Some((_, _, index)) = last {
                self.devices.remove(index);
            }
        }
        true
    }

    /// The highest seq that one of the user's devices has: what was read has come.
    pub fn delivered(&self) -> u64 {
        self.devices.iter().map(|device| device.delivered).max().unwrap_or(0).max(self.read)
    }

    /// What a device has confirmed, if it ever did.
    pub fn delivered_to(&self, device_id: &str) -> Option<u64> {
        let device = self.devices.iter().find(|device| device.device_id == device_id);
        device.map(|device| device.delivered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_only_go_forward_in_any_order() {
        let moves = [(5, "phone", 7), (3, "pad", 9), (6, "phone", 2), (0, "pad", 9)];
        let fold = |order: &[usize]| {
            let mut cursors = Cursors::default();
            for (read, device, delivered) in order.iter().map(|index| moves[*index]) {
                let device = DeviceCursor { device_id: device.into(), delivered };
                cursors.advance(&Cursors { read, devices: vec![device], ..Cursors::default() });
            }
            cursors.devices.sort_by(|a, b| a.device_id.cmp(&b.device_id));
            cursors
        };
        let cursors = fold(&[0, 1, 2, 3]);
        assert_eq!(cursors, fold(&[3, 2, 1, 0, 1, 2]));
        assert_eq!((cursors.read, cursors.delivered()), (6, 9));
        assert_eq!((cursors.delivered_to("phone"), cursors.delivered_to("tv")), (Some(7), None));
    }

    #[test]
    fn of_too_many_devices_the_one_that_is_furthest_behind_is_forgotten() {
        let mut cursors = Cursors::default();
        for number in 1..=MAX_DEVICES as u64 + 1 {
            assert!(cursors.advance_device(&format!("d{number}"), 100 + number));
        }
        assert_eq!(cursors.devices.len(), MAX_DEVICES);
        assert_eq!(cursors.delivered_to("d1"), None);
        assert!(!cursors.advance_device("d2", 50));
    }
}
