//! What all instances of a service share.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use imflow_kind::{Clock, Dropped, Journal, Sink};
use imflow_proto::id::ServerMsgIds;

use super::lanes::Lanes;
use crate::plan::Plan;
use crate::resolve::NodeId;

/// What all instances share.
pub(crate) struct Shared {
    pub plan: Plan,
    /// By node and output port: whether anybody takes what leaves there.
    pub taken: Vec<Vec<bool>>,
    pub lanes: Vec<Arc<Lanes>>,
    pub sinks: Mutex<BTreeMap<NodeId, Box<dyn Sink>>>,
    pub journal: Option<Arc<dyn Journal>>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<ServerMsgIds>,
    /// By node: records that left on an output of faults, in all instances.
    pub faults: Vec<Arc<Dropped>>,
    pub stopping: AtomicBool,
}
