//! Compiles the schema with `protox`, so that no `protoc` binary is needed, and adds the serde
//! attributes that make the JSON form follow from the same file.

use std::{env, fs, io, path::PathBuf};

use prost::Message as _;

/// Enum fields, with the module of `json` that writes them as their names.
const ENUM_FIELDS: &[(&str, &str)] = &[
    ("Send.type", "message_type"),
    ("Message.type", "message_type"),
    ("Ack.status", "ack_status"),
    ("Status.status", "ack_status"),
    ("Error.code", "error_code"),
    ("MemberInfo.role", "role"),
    ("CreateConversation.type", "conversation_type"),
    ("ConversationInfo.type", "conversation_type"),
    ("ConversationInfo.role", "role"),
    ("ConversationInfo.fanout", "fanout_mode"),
    ("ConversationChanged.change", "conversation_change"),
    ("ConversationChanged.role", "role"),
    ("ConversationChanged.type", "conversation_type"),
];

/// 63-bit ids do not fit a JSON number.
const ID_FIELDS: &[&str] =
    &["Ack.server_msg_id", "Message.server_msg_id", "Search.before", "Matches.next"];

/// Left out of JSON when empty, so that a text message does not carry an empty payload.
const SKIPPED_WHEN_EMPTY: &[&str] = &[
    "Message.text",
    "ConversationChanged.user_id",
    "ConversationChanged.name",
    "ConversationInfo.name",
    "Synced.after",
    "Origin.sender_id",
    "Action.emoji",
];

/// Most messages have none of these: they are kept behind a pointer, and left out of JSON when unset.
const RARE: &[&str] =
    &["Send.forward_of", "Message.forward_of", "Message.action", "Message.amended"];

/// Further fields that are left out of JSON when they say nothing, and the function that tells.
const SKIPPED_WHEN: &[(&str, &str)] = &[
    ("Error.retry_after_ms", "crate::json::is_zero"),
    ("Goodbye.retry_after_ms", "crate::json::is_zero"),
    ("Messages.removed_up_to_seq", "crate::json::is_zero"),
    ("SyncedConversation.removed_up_to_seq", "crate::json::is_zero"),
    ("Send.reply_to", "crate::json::is_zero"),
    ("Message.reply_to", "crate::json::is_zero"),
    ("Send.mentions", "Vec::is_empty"),
    ("Message.mentions", "Vec::is_empty"),
    ("Edit.mentions", "Vec::is_empty"),
    ("Amended.revoked_at", "crate::json::is_zero"),
    ("Amended.revoked_by", "String::is_empty"),
    ("Amended.edited_at", "crate::json::is_zero"),
    ("Amended.edits", "crate::json::is_zero"),
    ("Amended.reactions", "Vec::is_empty"),
    ("Search.before", "crate::json::is_zero"),
    ("Welcome.resume_window_ms", "crate::json::is_zero"),
    ("Matches.next", "crate::json::is_zero"),
    ("Matches.indexed_up_to", "crate::json::is_zero"),
];

/// Left out of JSON when false.
const SKIPPED_WHEN_FALSE: &[&str] = &[
    "SyncedConversation.redelivered",
    "ConversationInfo.history_since_join",
    "Send.mention_all",
    "Message.mention_all",
    "Edit.mention_all",
    "React.remove",
    "Action.remove",
    "Amended.erased",
    "Welcome.recovered",
];

/// Left out of JSON when unset.
const UNSET_ENUMS_SKIPPED: &[&str] = &[
    "ConversationChanged.role",
    "ConversationChanged.type",
    "ConversationInfo.role",
    "ConversationInfo.fanout",
    "MemberInfo.role",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["proto/envelope.proto", "proto/log.proto"], ["proto"])?;
    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    for message in descriptors
        .file
        .iter()
        .filter(|f| f.package() == "imflow.v1" && f.name() == "envelope.proto")
        .flat_map(|f| &f.message_type)
    {
        // These two hold a oneof, whose serde form `json` writes by hand.
        if !["Envelope", "Push"].contains(&message.name()) {
            config.message_attribute(
                format!(".imflow.v1.{}", message.name()),
                r#"#[derive(serde::Serialize, serde::Deserialize)] #[serde(rename_all = "camelCase", deny_unknown_fields, default)]"#,
            );
        }
    }
    config.enum_attribute(
        "Push.event",
        r#"#[derive(serde::Serialize, serde::Deserialize)] #[serde(rename_all = "camelCase")]"#,
    );
    config.enum_attribute(
        "Envelope.body",
        r#"#[derive(serde::Serialize, serde::Deserialize)] #[serde(rename_all = "camelCase")]"#,
    );
    for (field, module) in ENUM_FIELDS {
        config.field_attribute(
            format!(".imflow.v1.{field}"),
            format!(r#"#[serde(with = "crate::json::names::{module}")]"#),
        );
    }
    for field in ID_FIELDS {
        config.field_attribute(
            format!(".imflow.v1.{field}"),
            r#"#[serde(with = "crate::json::decimal")]"#,
        );
    }
    for field in SKIPPED_WHEN_EMPTY {
        config.field_attribute(
            format!(".imflow.v1.{field}"),
            r#"#[serde(skip_serializing_if = "String::is_empty")]"#,
        );
    }
    for message in ["Send", "Message"] {
        config.field_attribute(
            format!(".imflow.v1.{message}.payload"),
            r#"#[serde(with = "crate::json::base64", skip_serializing_if = "bytes::Bytes::is_empty")]"#,
        );
    }
    for field in RARE {
        config.boxed(format!(".imflow.v1.{field}"));
        config.field_attribute(
            format!(".imflow.v1.{field}"),
            r#"#[serde(skip_serializing_if = "Option::is_none")]"#,
        );
    }
    for field in SKIPPED_WHEN_FALSE {
        config.field_attribute(
            format!(".imflow.v1.{field}"),
            r#"#[serde(skip_serializing_if = "std::ops::Not::not")]"#,
        );
    }
    for (field, test) in SKIPPED_WHEN {
        config.field_attribute(
            format!(".imflow.v1.{field}"),
            format!(r#"#[serde(skip_serializing_if = "{test}")]"#),
        );
    }
    for field in UNSET_ENUMS_SKIPPED {
        config.field_attribute(
            format!(".imflow.v1.{field}"),
            r#"#[serde(skip_serializing_if = "crate::json::is_unset")]"#,
        );
    }
    let out = PathBuf::from(
        env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("OUT_DIR is not set"))?,
    );
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    config.compile_fds(descriptors)?;
    Ok(())
}
