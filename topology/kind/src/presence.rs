//! Where users are: their devices, and the nodes that hold these.

use std::sync::Arc;

use crate::{ReplicaError, StoreError};

/// A user's devices that are connected, and when the user was last heard of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserPresence {
    pub devices: Vec<DevicePresence>,
    /// Milliseconds since the Unix epoch; 0: not known.
    pub last_active_at: i64,
    /// The node that held the user's devices until it failed, while none of them has connected again.
    pub migrating_from: Option<String>,
}

/// One connected device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevicePresence {
    pub device_id: String,
    pub node_id: String,
    /// When it was last heard of, in milliseconds since the Unix epoch.
    pub last_seen: i64,
    /// When its session began, likewise.
    pub since: i64,
}

/// The node that holds a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub device_id: String,
    pub node_id: String,
}

/// Where users are. Offered as `Arc<dyn Routes>`. Calls may wait for another system, for a bounded time:
/// make them on a bounded pool.
pub trait Routes: Send + Sync {
    /// The presence of users, in their order.
    ///
    /// # Errors
    /// [`StoreError::Away`] when another system knows and does not answer.
    fn presence(&self, user_ids: &[&str]) -> Result<Vec<UserPresence>, StoreError>;

    /// The nodes that hold a user's devices. It may be an answer of a short while ago: whoever does not find
    /// a device there says so by [`Routes::failed`], and asks again.
    ///
    /// # Errors
    /// As [`Routes::presence`].
    fn routes(&self, user_id: &str) -> Result<Vec<Route>, StoreError>;

    /// A route was used and the device is not there.
    fn failed(&self, _user_id: &str, _device_id: &str) {}

    /// Who of a conversation's members is online, by user id. What is asked of `members` is all of them, and
    /// only if there is no other way to know. It may be an answer of a moment ago.
    ///
    /// # Errors
    /// As [`Routes::presence`], or what `members` fails with.
    fn online_members(
        &self,
        _conversation_id: &str,
        members: &dyn Fn() -> Result<Vec<String>, StoreError>,
    ) -> Result<Vec<String>, StoreError> {
        let mut members = members()?;
        let presence = self.presence(&members.iter().map(String::as_str).collect::<Vec<_>>())?;
        let mut online = presence.iter().map(|it| !it.devices.is_empty());
        members.retain(|_| online.next() == Some(true));
        Ok(members)
    }
}

/// What a node says of one of its users to those who share it with other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserHere {
    pub user_id: Arc<str>,
    /// Connected to this node.
    pub devices: Vec<DeviceHere>,
    /// Connected to it before, and not said yet.
    pub ended: Vec<DeviceHere>,
    /// Do not heed that somebody else holds the user's lock: it is older than a lock lives.
    pub force: bool,
}

/// A device's session on this node; of a device the session that began last counts, ties go to the greater
/// node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceHere {
    pub device_id: Arc<str>,
    /// Milliseconds since the Unix epoch.
    pub since: i64,
    pub number: u64,
    /// Milliseconds since the Unix epoch.
    pub last_seen: i64,
}

/// What came of a [`UserHere`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shared {
    /// Somebody else holds the user's lock; nothing was written.
    Locked,
    Written {
        /// On any node.
        online: bool,
        /// Devices whose sessions here do not count: they are connected elsewhere, or were later than here.
        elsewhere: Vec<String>,
        /// Routes that were not what they should have been.
        inconsistent: u64,
    },
}

/// What a heartbeat learns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// This node was not known, or was taken for failed: what it has must be said anew.
    pub joined: bool,
    /// Other nodes that have missed too many beats.
    pub failed: Vec<String>,
}

/// A part of what a failed node held, and holds no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Users, and whether each is still online somewhere.
    pub users: Vec<(String, bool)>,
    /// Their devices that were there.
    pub routes: u64,
    pub more: bool,
    /// Another node is at it, or the node is back.
    pub is_anothers: bool,
}

/// Presence and routes that nodes share. Blocking; what fails is tried again by the caller.
pub trait SharedRoutes: Send {
    /// Says what this node has of users; one outcome for each, in order.
    ///
    /// # Errors
    /// When the other system does not answer; then some may be written.
    fn put(&mut self, users: &[UserHere], now_ms: u64) -> Result<Vec<Shared>, ReplicaError>;

    /// Tells that this node lives.
    ///
    /// # Errors
    /// As [`SharedRoutes::put`].
    fn beat(&mut self) -> Result<Beat, ReplicaError>;

    /// Takes some users of a failed node off it, and tells others of each. The last call forgets the node.
    ///
    /// # Errors
    /// As [`SharedRoutes::put`].
    fn migrate(&mut self, node_id: &str) -> Result<Migrated, ReplicaError>;

    /// Forgets this node, which has ended its sessions.
    ///
    /// # Errors
    /// As [`SharedRoutes::put`].
    fn leave(&mut self) -> Result<(), ReplicaError>;

    /// The presence of users, in their order.
    ///
    /// # Errors
    /// As [`SharedRoutes::put`].
    fn presence(&mut self, user_ids: &[&str]) -> Result<Vec<UserPresence>, ReplicaError>;

    /// Adds users to the online members of conversations (`true`), or takes them out.
    ///
    /// # Errors
    /// As [`SharedRoutes::put`].
    fn mark_members(&mut self, marks: &[(String, Arc<str>, bool)]) -> Result<(), ReplicaError>;

    /// The online members of a conversation; `None`: nothing is kept of it.
    ///
    /// # Errors
    /// As [`SharedRoutes::put`].
    fn members(&mut self, conversation_id: &str) -> Result<Option<Vec<String>>, ReplicaError>;
}

/// A user's presence has changed, as another node or this one said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub user_id: String,
    pub presence: UserPresence,
}
