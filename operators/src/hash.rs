//! The one hash of values: the same on every node, in every build and in every replay.

use imflow_proto::record::Scalar;
use rapidhash::v3::rapidhash_v3;

/// The hash of a value. Another one would change what `sample` keeps.
pub(crate) fn hash_of(value: &Scalar) -> u64 {
    match value {
        Scalar::Bool(value) => rapidhash_v3(&[u8::from(*value)]),
        Scalar::Int(value) => rapidhash_v3(&value.to_le_bytes()),
        Scalar::Double(value) => rapidhash_v3(&value.to_bits().to_le_bytes()),
        Scalar::String(text) => rapidhash_v3(text.as_bytes()),
        Scalar::Strings(texts) => {
            let each = texts.iter().flat_map(|text| rapidhash_v3(text.as_bytes()).to_le_bytes());
            rapidhash_v3(&each.collect::<Vec<_>>())
        }
    }
}
