//! The operator kinds: pure state machines, one file each, and collections written in differential.
//!
//! ```text
//! validate -> dedup -> amend -> permission -> sequence -> (log) -> fanout
//!                          grants --^  ^-------- facts ------'       ^-- routes -> presence
//!                      marks -> permission -> sequence -> cursors -> (log) -> fanout
//! ```
//!
//! An operator knows its own ports and nobody behind them. Time enters as the `now` of a batch and as
//! frontiers; nothing here touches a clock, a thread, a file or a socket (`clippy.toml` says so).

use imflow_kind::{Form, Kind};

mod amend;
mod branch;
mod collection;
mod count;
mod cursors;
mod deadletter;
mod dedup;
mod errors;
mod expression;
mod fanout;
mod fields;
mod filter;
mod grants;
mod groups;
mod hash;
mod join;
mod map;
mod merge;
mod permission;
mod presence;
mod rate;
mod reject;
mod routes;
mod sample;
mod sequence;
mod snapshot;
mod tally;
mod typed;
mod validate;
mod window;

/// Every operator kind of this crate, for the registry.
pub fn kinds() -> Vec<Kind> {
    vec![
        Kind::operator(&validate::DESCRIPTION, validate::build),
        Kind::operator(&dedup::DESCRIPTION, dedup::build),
        Kind::operator(&amend::DESCRIPTION, amend::build),
        Kind::new(&grants::DESCRIPTION, Form::Collection(grants::build)),
        Kind::operator(&permission::DESCRIPTION, permission::build),
        Kind::operator(&sequence::DESCRIPTION, sequence::build),
        Kind::operator(&cursors::DESCRIPTION, cursors::build),
        Kind::new(&routes::DESCRIPTION, Form::Collection(routes::build)),
        Kind::operator(&presence::DESCRIPTION, presence::build),
        Kind::operator(&fanout::DESCRIPTION, fanout::build),
        typed::kind::<filter::Filter>(&filter::DESCRIPTION),
        typed::kind::<map::Map>(&map::DESCRIPTION),
        typed::kind::<branch::Branch>(&branch::DESCRIPTION),
        typed::kind::<merge::Merge>(&merge::DESCRIPTION),
        typed::kind::<sample::Sample>(&sample::DESCRIPTION),
        typed::kind::<window::Window>(&window::DESCRIPTION).splitting(),
        typed::kind::<count::Count>(&count::DESCRIPTION).splitting(),
        typed::kind::<rate::Rate>(&rate::DESCRIPTION).splitting(),
        typed::kind::<join::Join>(&join::DESCRIPTION),
        typed::kind::<deadletter::Deadletter>(&deadletter::DESCRIPTION),
        Kind::operator(&reject::DESCRIPTION, reject::build),
    ]
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
