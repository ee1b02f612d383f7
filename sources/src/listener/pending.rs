//! Who is still in HTTP: connections that were accepted and are not upgraded, in total and by address.

use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use rapidhash::RapidHashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::address;

/// The places of one listener.
pub(super) struct Pending {
    places: Arc<Semaphore>,
    most: usize,
    most_per_ip: usize,
    by_ip: Mutex<RapidHashMap<IpAddr, usize>>,
}

/// A place, held until dropped.
pub(super) struct Place {
    pending: Arc<Pending>,
    /// `None`: of a trusted proxy, behind which many are.
    ip: Option<IpAddr>,
    _place: OwnedSemaphorePermit,
}

impl Pending {
    pub(super) fn new(most: usize, most_per_ip: usize) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(most));
        Arc::new(Self { places, most, most_per_ip, by_ip: Mutex::default() })
    }

    /// Resolves when there is a place; who comes meanwhile waits in the kernel's queue.
    pub(super) async fn place(self: &Arc<Self>) -> Place {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        Place { pending: Arc::clone(self), ip: None, _place: place }
    }

    /// How many places are taken.
    pub(super) fn taken(&self) -> usize {
        self.most - self.places.available_permits().min(self.most)
    }
}

impl Place {
    /// Counts the place for an address; `false` when that has as many as it may.
    pub(super) fn count(&mut self, ip: IpAddr) -> bool {
        let ip = address::counted(ip);
        let mut by_ip = self.pending.by_ip.lock();
        let of_ip = by_ip.entry(ip).or_default();
        if *of_ip >= self.pending.most_per_ip {
            return false;
        }
        *of_ip += 1;
        drop(by_ip);
        self.ip = Some(ip);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(ip) = self.ip else { return };
        let mut by_ip = self.pending.by_ip.lock();
        if let Some(of_ip) = by_ip.get_mut(&ip) {
            *of_ip -= 1;
            if *of_ip == 0 {
                by_ip.remove(&ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_has_its_share_and_gives_it_back() {
        let pending = Pending::new(3, 1);
        let (a, b) = (IpAddr::from([1, 0, 0, 1]), IpAddr::from([1, 0, 0, 2]));
        let mut first = pending.place().await;
        assert!(first.count(a));
        let mut second = pending.place().await;
        assert!(!second.count(a) && second.count(b));
        assert_eq!(pending.taken(), 2);
        drop(first);
        assert!(pending.place().await.count(a));
        drop(second);
        assert_eq!((pending.taken(), pending.by_ip.lock().len()), (0, 0));
    }
}
