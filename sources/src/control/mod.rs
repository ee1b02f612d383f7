pub(crate) fn kind() -> imflow_kind::Kind { todo!() }
