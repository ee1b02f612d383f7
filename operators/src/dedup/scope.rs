//! Names in snapshots: `{conversation}/{sender}/{clientMsgId}` of a message, `{conversation}/{sender}/
//! {userId}-{deviceId}` of a device. Ids of conversations and users hold no `/`.

use imflow_proto::Fingerprint;

/// The fingerprint of what a name stands for, as in [`imflow_proto::Keys`].
pub(super) fn fingerprint(name: &str) -> Result<Fingerprint, String> {
    let [conversation, sender, last] = parts(name)?.map(Fingerprint::of);
    Ok(conversation.then(sender).then(last))
}

/// Conversation, sender and the rest.
pub(super) fn parts(name: &str) -> Result<[&str; 3], String> {
    let mut parts = name.splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(conversation), Some(sender), Some(last)) => Ok([conversation, sender, last]),
        _ => Err("the snapshot names a message without conversation and sender; remove it and replay the log".into()),
    }
}
