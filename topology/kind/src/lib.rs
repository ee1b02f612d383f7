//! What a kind is.
//!
//! A kind describes itself once ([`Description`]): the checker, `imflow list`, the reference pages
//! and the runtime read that one description. It takes one of a few forms ([`Form`]): an
//! [`Operator`] (a pure state machine), a collection (written in differential), a [`Source`] or a
//! [`Sink`]. This crate knows neither the compiler nor any concrete kind.

mod archive;
mod collection;
pub mod construct;
mod describe;
mod dropped;
pub mod fields;
mod infer;
mod io;
mod meters;
mod nearest;
mod network;
mod operator;
mod options;
mod outside;
mod presence;
mod records;
mod replica;
mod roles;
mod search;
mod shape;
pub mod testing;
mod time;
pub mod units;

pub use archive::{
    Archive, Latest, Side, Spans, place_key, place_of, timeline_by_conversation, written_among_all,
};
pub use collection::{Batches, BuildCollection, Stream};
pub use describe::{
    ANY, Build, BuildOperator, Claim, ClaimKey, Conflict, Debt, Description, Duty, Family, Form,
    Key, Kind, Limit, Port, State,
};
pub use dropped::Dropped;
pub use infer::{Infer, Inference, Mistake, ReadExpression};
pub use io::{Applied, Feed, Gate, Injector, Intake, IoContext, Sink, Source, StartError};
pub use meters::{Counter, Gauge, Histogram, Measure, Meters, Metric};
pub use nearest::{did_you_mean, nearest};
pub use network::{Network, NoNetwork};
pub use operator::{Operator, OperatorContext, Out, Part, Snapshot};
pub use options::{Opt, OptType, Options, Value};
pub use outside::{Act, Action, ActionValue, Actor, Outside, Script, Seen, World};
pub use presence::{
    Beat, DeviceHere, DevicePresence, Migrated, Route, Routes, Shared, SharedRoutes, Told,
    UserHere, UserPresence,
};
pub use records::{RECORD_TYPES, record_meaning};
pub use replica::{Bookmark, IdIndex, IdPlace, Logged, Replica, ReplicaError};
pub use roles::{
    Durable, Erased, Erasure, Exported, Journal, Outboxes, PAGE_BYTES, RoleName, Roles, Store,
    StoreError, Topology, View,
};
pub use search::{Hit, Readable, Search, SearchError, Searched, Wanted, Within, conversation_key};
pub use shape::Shape;
pub use time::{Clock, SystemClock, Time, VirtualClock};
