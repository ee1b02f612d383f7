//! The world around a simulated source or sink, as a test plays it.
//!
//! The simulated form of a kind that speaks with somebody (devices, callers, another system) offers an
//! [`Outside`] under its node's name. A test acts through it at virtual times and reads what came back;
//! its [`Script`] says what can be done, so that a test file is checked before anything runs. [`World`] is
//! the common way to be one: acts wait in it until the node's next step, which notes what is seen.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a test can do at a simulated node, and see there.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// Who acts and who sees, as in `as = "alice/phone"`; `None`: there is nobody to tell apart.
    pub actor: Option<Actor>,
    /// A step has exactly one of these keys.
    pub actions: &'static [Action],
    /// The key under which an expectation lists what is seen.
    pub sees: &'static str,
}

/// How an actor is written.
#[derive(Clone, Copy, Debug)]
pub struct Actor {
    /// As in "expected USER/DEVICE".
    pub form: &'static str,
    /// Whether a text is of that form.
    pub is_valid: fn(&str) -> bool,
}

/// One thing that a step can do.
#[derive(Clone, Copy, Debug)]
pub struct Action {
    pub name: &'static str,
    pub value: ActionValue,
    /// Whether the step may have a `body` beside it.
    pub body: bool,
    pub doc: &'static str,
}

/// What stands behind an action's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionValue {
    Text,
    Table,
    /// `true`.
    Flag,
}

/// One step, its values as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Empty where the script knows no actors.
    pub actor: String,
    /// The name of an [`Action`].
    pub action: &'static str,
    pub value: String,
    pub body: Option<String>,
}

/// Something that came out, at a virtual time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Empty where the script knows no actors.
    pub actor: String,
    /// As JSON.
    pub body: String,
    /// Says that something was refused: a test must expect it, or it fails.
    pub refusal: bool,
}

/// The world around one node. Offered as `Arc<dyn Outside>`.
pub trait Outside: Send + Sync {
    /// What can be done and seen.
    fn script(&self) -> &'static Script;

    /// Whether a step's values are of the right form, before anything runs.
    ///
    /// # Errors
    /// What is wrong, as a sentence; a name of the values stands in back quotes.
    fn check(&self, act: &Act) -> Result<(), String>;

    /// Whether something like this can be seen at all: what a test expects, as JSON, without what it
    /// leaves open.
    ///
    /// # Errors
    /// As [`Outside::check`].
    fn check_seen(&self, seen: &str) -> Result<(), String>;

    /// Takes a step at the present time. What follows from it is seen once the graph has settled.
    fn act(&self, act: &Act);

    /// What was seen since the last call, in order.
    fn take_seen(&self) -> Vec<Seen>;
}

/// Acts that wait for a simulated node, and what it has seen.
pub struct World {
    script: &'static Script,
    check: fn(&Act) -> Result<(), String>,
    check_seen: fn(&str) -> Result<(), String>,
    events: Mutex<Events>,
}

#[derive(Default)]
struct Events {
    acts: Vec<Act>,
    seen: Vec<Seen>,
}

impl World {
    /// A world of this script, with its checks: [`Outside::check`] and [`Outside::check_seen`].
    pub fn new(
        script: &'static Script,
        check: fn(&Act) -> Result<(), String>,
        check_seen: fn(&str) -> Result<(), String>,
    ) -> Arc<Self> {
        Arc::new(Self { script, check, check_seen, events: Mutex::default() })
    }

    /// Takes what was done since the last call, in order.
    pub fn take_acts(&self) -> Vec<Act> {
        std::mem::take(&mut self.events().acts)
    }

    /// Notes what is seen.
    pub fn note(&self, seen: impl IntoIterator<Item = Seen>) {
        self.events().seen.extend(seen);
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outside for World {
    fn script(&self) -> &'static Script {
        self.script
    }

    fn check(&self, act: &Act) -> Result<(), String> {
        (self.check)(act)
    }

    fn check_seen(&self, seen: &str) -> Result<(), String> {
        (self.check_seen)(seen)
    }

    fn act(&self, act: &Act) {
        self.events().acts.push(act.clone());
    }

    fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.events().seen)
    }
}
