//! Every kind of the build, as the service has them.

use imflow_topology::Registry;

pub(crate) fn registry() -> Registry {
    let kinds = imflow_sources::kinds()
        .into_iter()
        .chain(imflow_operators::kinds())
        .chain(imflow_sinks::kinds());
    Registry::new(kinds)
}
