//! The form of a kind that is written in differential: the one place of this crate that names timely.

use imflow_proto::Record;
use timely::dataflow::Scope;

use crate::{OperatorContext, StartError};

/// A stream of record batches inside one worker. The timestamp is [`crate::Time`]'s `u64`.
pub type Stream<'scope> = timely::dataflow::Stream<'scope, u64, Batches>;

/// The one container on every edge.
pub type Batches = Vec<Record>;

/// Builds a collection in `scope`: one stream for each input port of the description (an input that is
/// not wired is an empty stream), one stream back for each output port.
pub type BuildCollection = for<'scope> fn(
    &OperatorContext<'_>,
    Scope<'scope, u64>,
    Vec<Stream<'scope>>,
) -> Result<Vec<Stream<'scope>>, StartError>;
