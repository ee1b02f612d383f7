//! The operator kinds: pure state machines, one file each, and collections written in differential.
//!
//! ```text
//! validate -> dedup -> permission -> sequence -> (log) -> fanout
//!                 grants --^  ^-------- facts ------'       ^-- routes -> presence
//! ```
//!
//! An operator knows its own ports and nobody behind them. Time enters as the `now` of a batch and as
//! frontiers; nothing here touches a clock, a thread, a file or a socket (`clippy.toml` says so).

use imflow_kind::{Description, Form, Kind, Operator, OperatorContext, StartError};

mod collection;
mod dedup;
mod expression;
mod fanout;
mod filter;
mod grants;
mod permission;
mod presence;
mod routes;
mod sequence;
mod snapshot;
mod validate;

pub use expression::{PredicateError, check_predicate};

/// Every operator kind of this crate, for the registry.
pub fn kinds() -> Vec<Kind> {
    vec![
        operator(&validate::DESCRIPTION, validate::build),
        operator(&dedup::DESCRIPTION, dedup::build),
        Kind { description: &grants::DESCRIPTION, form: Form::Collection(grants::build) },
        operator(&permission::DESCRIPTION, permission::build),
        operator(&sequence::DESCRIPTION, sequence::build),
        Kind { description: &routes::DESCRIPTION, form: Form::Collection(routes::build) },
        operator(&presence::DESCRIPTION, presence::build),
        operator(&fanout::DESCRIPTION, fanout::build),
        operator(&filter::DESCRIPTION, filter::build),
    ]
}

type Build = fn(&OperatorContext<'_>) -> Result<Box<dyn Operator>, StartError>;

fn operator(description: &'static Description, build: Build) -> Kind {
    Kind { description, form: Form::Operator(build) }
}

/// Ends a worker that was given a record which `check` rules out: a bug of the renderer.
#[cold]
fn misrouted(kind: &str, record: &imflow_proto::Record) -> ! {
    panic!(
        "{kind} was given a {:?} on a port of another type, which `check` rules out",
        record.record_type()
    )
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use imflow_kind::Family;

    #[test]
    fn kinds_are_named_once_and_are_operators() {
        let mut names: Vec<_> = super::kinds().iter().map(|kind| kind.description.name).collect();
        assert!(super::kinds().iter().all(|kind| kind.description.family == Family::Operator));
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
