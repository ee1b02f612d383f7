//! The one description of a kind.

use std::sync::Arc;

use imflow_proto::RecordType;

use crate::{
    BuildCollection, IoContext, Operator, OperatorContext, Opt, RoleName, Sink, Source, StartError,
};

/// Where a kind stands in the file: `[sources.NAME]`, `[operators.NAME]` or `[sinks.NAME]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    Source,
    Operator,
    Sink,
}

/// What the records of a node are partitioned by, hence the stage that it runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// The message path: one worker owns all records of a conversation.
    Conversation,
    /// Presence, devices and reads: one worker owns all records of a user.
    User,
    /// Runs in the stage of its inputs.
    Inherit,
}

/// What becomes of a node's state when the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is none.
    None,
    /// Rebuilt from the log: a fold over committed records.
    Log,
    /// Lost: it describes the present only.
    Volatile,
}

/// A named, typed input or output.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    pub name: &'static str,
    /// An output has one type; an input accepts any of these.
    pub types: &'static [RecordType],
    pub doc: &'static str,
    /// An input that must be given.
    pub required: bool,
    /// An input that may be fed from downstream. It re-enters as completions in a later epoch, so it
    /// is the one cycle that `check` accepts.
    pub feedback: bool,
}

impl Port {
    /// A required input, or an output.
    pub const fn of(name: &'static str, types: &'static [RecordType], doc: &'static str) -> Self {
        Self { name, types, doc, required: true, feedback: false }
    }

    /// An input that may be left out.
    pub const fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// An input that may be fed from downstream.
    pub const fn feedback(mut self) -> Self {
        self.feedback = true;
        self
    }
}

/// Every record type, for kinds that work on any.
pub const ANY: &[RecordType] = &[];

/// A bound and what happens at it (law: nothing is unbounded).
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub what: &'static str,
    pub bound: &'static str,
    pub policy: &'static str,
}

/// All that can be said of a kind without building it.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// The `kind` in the file; also the name of its source file.
    pub name: &'static str,
    pub family: Family,
    /// One line for `imflow list`.
    pub summary: &'static str,
    /// One or more paragraphs of Markdown.
    pub doc: &'static str,
    pub key: Key,
    pub state: State,
    /// The first input is the main one, which `inputs = [..]` feeds. Empty types: accepts any, and the
    /// outputs with empty types carry what the main input carries.
    pub inputs: &'static [Port],
    /// The first output is the main one, which a bare node name means.
    pub outputs: &'static [Port],
    pub options: &'static [Opt],
    /// Roles that other nodes find under this node's name.
    pub provides: &'static [RoleName],
    pub limits: &'static [Limit],
}

/// A description and the way to build it.
#[derive(Clone)]
pub struct Kind {
    pub description: &'static Description,
    pub form: Form,
}

/// The four forms of a kind.
#[derive(Clone)]
pub enum Form {
    /// A pure state machine, built once for each worker of its stage.
    Operator(fn(&OperatorContext<'_>) -> Result<Box<dyn Operator>, StartError>),
    /// Differential collections, built once for each worker of its stage.
    Collection(BuildCollection),
    /// Built once for the process.
    Source(Build<dyn Source>),
    /// Built once for the process.
    Sink(Build<dyn Sink>),
}

/// Builds one source or sink. Shared, so that a registry may capture what its kinds need.
pub type Build<T> = Arc<dyn Fn(&IoContext) -> Result<Box<T>, StartError> + Send + Sync>;
