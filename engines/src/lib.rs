//! Real engines behind the roles of `imflow-kind`: one module and one cargo feature for each.
//!
//! An engine implements a role (`Store`, `Routes`, `Authority`, ...) over a client library; sources and
//! sinks use it by the role alone. The first ones come with the steps that need them, so this crate
//! holds only the frame.
