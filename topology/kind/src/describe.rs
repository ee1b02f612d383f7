//! The one description of a kind.

use std::sync::Arc;

use imflow_proto::RecordType;

use crate::{
    BuildCollection, Infer, IoContext, Metric, Operator, OperatorContext, Opt, ReadExpression,
    RoleName, Script, Sink, Source, StartError,
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
    /// What becomes of the reply that a record on this input still owes.
    pub reply: Debt,
    /// An output of what went wrong: the runtime counts it and tells the count in the service's log, also
    /// where nothing takes it.
    pub faults: bool,
}

/// What a node does with the reply that the records of an input owe (see
/// [`RecordType::owes_reply`]). The checker follows these, so that each command meets one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Debt {
    /// Goes on with the records, on those outputs of the node whose records owe one. If it has no such
    /// output, the node only looks at the records.
    Passed,
    /// Paid here: the node answers, or takes the debt over and emits what owes it anew.
    Paid,
    /// Somebody else's: the node learns of the record and lets it be.
    Observed,
}

impl Port {
    /// A required input, or an output.
    pub const fn of(name: &'static str, types: &'static [RecordType], doc: &'static str) -> Self {
        Self {
            name,
            types,
            doc,
            required: true,
            feedback: false,
            mixed: false,
            reply: Debt::Passed,
            faults: false,
        }
    }

    /// An output of what went wrong.
    pub const fn faults(mut self) -> Self {
        self.faults = true;
        self
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

    /// An input of which the node answers the records, or keeps them until it can.
    pub const fn pays(mut self) -> Self {
        self.reply = Debt::Paid;
        self
    }

    /// An input that the node only looks at.
    pub const fn observes(mut self) -> Self {
        self.reply = Debt::Observed;
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

/// What a node vouches for on the message path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Decides who may speak.
    Authorises,
    /// Gives messages their place in their conversation.
    Orders,
}

/// Something outside the file that only one node can hold: a route of a listener, a file, a topic.
/// Two claims of the same thing and the same values conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// In words: "the HTTP path".
    pub thing: &'static str,
    /// What tells one such thing from another.
    pub key: &'static [ClaimKey],
}

/// One part of a claim's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimKey {
    /// The value of this option.
    Option(&'static str),
    /// The same for every node of the kind.
    Fixed(&'static str),
}

/// Two options that cannot both stand in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub options: [&'static str; 2],
    /// Why not, as a clause: "each sets how many records pass".
    pub why: &'static str,
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
    pub duties: &'static [Duty],
    pub claims: &'static [Claim],
    pub conflicts: &'static [Conflict],
    pub limits: &'static [Limit],
    /// What it measures of itself, for sources and sinks: see [`crate::Meters`].
    pub metrics: &'static [Metric],
    /// What other systems call it, for suggestions.
    pub also: &'static [&'static str],
    /// What a test can do at the simulated form, and see there.
    pub script: Option<&'static Script>,
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
        duties: &[],
        claims: &[],
        conflicts: &[],
        limits: &[],
        metrics: &[],
        also: &[],
        script: None,
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
    /// Reads an expression whose fields are not known, because what feeds the node has a mistake.
    pub read: Option<ReadExpression>,
    /// Whether the kind can be split in two: a part in each worker that condenses what it sees, and one
    /// part in the global stage that merges. See [`crate::Part`].
    pub splits: bool,
    /// A source's or sink's form in virtual time, without sockets, disks and threads. Operators need none.
    pub simulated: Option<Form>,
}

impl Kind {
    /// A kind of this form, without anything more.
    pub fn new(description: &'static Description, form: Form) -> Self {
        Self { description, form, infer: None, read: None, splits: false, simulated: None }
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

    /// A kind that this build only describes: files that use it are checked, and then told which
    /// cargo feature builds it.
    pub fn missing(description: &'static Description, feature: &'static str) -> Self {
        Self::new(description, Form::Missing { feature })
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

    /// The same kind, whose expressions are read like this.
    pub fn reading(mut self, read: ReadExpression) -> Self {
        self.read = Some(read);
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

/// The forms of a kind.
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
    /// Not part of this build. No plan holds a node of such a kind.
    Missing { feature: &'static str },
}

/// Builds one source or sink. Shared, so that a registry may capture what its kinds need.
pub type Build<T> = Arc<dyn Fn(&IoContext) -> Result<Box<T>, StartError> + Send + Sync>;
