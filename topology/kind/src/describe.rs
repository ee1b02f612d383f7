//! The one description of a kind.

use std::sync::Arc;

use imflow_proto::RecordType;

use crate::{
    BuildCollection, Infer, IoContext, Operator, OperatorContext, Opt, RoleName, Sink, Source,
    StartError,
};

/// Where a kind stands in the file: `[sources.NAME]`, `[operators.NAME]` or `[sinks.NAME]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    Source,
    Operator,
    Sink,
}

impl Family {
    /// As in messages; with an `s` it is the table of the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Operator => "operator",
            Self::Sink => "sink",
        }
    }
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
    /// Keeps state for each group that this option (a list of field names) names. Where the groups are
    /// finer than the partitions of the stage of its inputs, it runs there; else one worker of the
    /// global stage owns all records.
    Grouped(&'static str),
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
    /// An input of any type whose wires may differ in what they carry.
    pub mixed: bool,
}

impl Port {
    /// A required input, or an output.
    pub const fn of(name: &'static str, types: &'static [RecordType], doc: &'static str) -> Self {
        Self { name, types, doc, required: true, feedback: false, mixed: false }
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

    /// An input whose wires may carry different types.
    pub const fn mixed(mut self) -> Self {
        self.mixed = true;
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
    /// outputs with empty types carry what the main input carries, unless `infer` says otherwise.
    pub inputs: &'static [Port],
    /// The first output is the main one, which a bare node name means.
    pub outputs: &'static [Port],
    /// The option (a table) whose keys name further outputs, which carry what the main input carries.
    pub outputs_from: Option<&'static str>,
    pub options: &'static [Opt],
    /// Roles that other nodes find under this node's name.
    pub provides: &'static [RoleName],
    pub limits: &'static [Limit],
    /// A table of the file that shows it at work, as people would write it.
    pub example: &'static str,
}

impl Description {
    /// What a description says when it says nothing: to be completed with `..Description::EMPTY`.
    pub const EMPTY: Self = Self {
        name: "",
        family: Family::Operator,
        summary: "",
        doc: "",
        key: Key::Inherit,
        state: State::None,
        inputs: &[],
        outputs: &[],
        outputs_from: None,
        options: &[],
        provides: &[],
        limits: &[],
        example: "",
    };
}

/// A description and the way to build it.
#[derive(Clone)]
pub struct Kind {
    pub description: &'static Description,
    pub form: Form,
    /// Derives the types of the outputs and checks the options that only types can judge.
    pub infer: Option<Infer>,
    /// Whether the kind can be split in two: a part in each worker that condenses what it sees, and one
    /// part in the global stage that merges. See [`crate::Part`].
    pub splits: bool,
    /// A source's or sink's form in virtual time, without sockets, disks and threads. Operators need none.
    pub simulated: Option<Form>,
}

impl Kind {
    /// A kind of this form, without anything more.
    pub fn new(description: &'static Description, form: Form) -> Self {
        Self { description, form, infer: None, splits: false, simulated: None }
    }

    /// A state machine.
    pub fn operator(description: &'static Description, build: BuildOperator) -> Self {
        Self::new(description, Form::Operator(build))
    }

    /// A source, built by `build`.
    pub fn source(
        description: &'static Description,
        build: impl Fn(&IoContext) -> Result<Box<dyn Source>, StartError> + Send + Sync + 'static,
    ) -> Self {
        Self::new(description, Form::Source(Arc::new(build)))
    }

    /// A sink, built by `build`.
    pub fn sink(
        description: &'static Description,
        build: impl Fn(&IoContext) -> Result<Box<dyn Sink>, StartError> + Send + Sync + 'static,
    ) -> Self {
        Self::new(description, Form::Sink(Arc::new(build)))
    }

    /// The same kind with types of its own making.
    pub fn inferring(mut self, infer: Infer) -> Self {
        self.infer = Some(infer);
        self
    }

    /// The same kind, which may be split over the workers.
    pub fn splitting(mut self) -> Self {
        self.splits = true;
        self
    }

    /// The same kind, which touches neither sockets nor disks nor threads, in virtual time.
    pub fn simulated_as_it_is(mut self) -> Self {
        self.simulated = Some(self.form.clone());
        self
    }

    /// The same kind with a form for virtual time.
    pub fn simulated_by(mut self, form: Form) -> Self {
        self.simulated = Some(form);
        self
    }
}

/// Builds a state machine.
pub type BuildOperator = fn(&OperatorContext<'_>) -> Result<Box<dyn Operator>, StartError>;

/// The four forms of a kind.
#[derive(Clone)]
pub enum Form {
    /// A pure state machine, built once for each worker of its stage.
    Operator(BuildOperator),
    /// Differential collections, built once for each worker of its stage.
    Collection(BuildCollection),
    /// Built once for the process.
    Source(Build<dyn Source>),
    /// Built once for the process.
    Sink(Build<dyn Sink>),
}

/// Builds one source or sink. Shared, so that a registry may capture what its kinds need.
pub type Build<T> = Arc<dyn Fn(&IoContext) -> Result<Box<T>, StartError> + Send + Sync>;
