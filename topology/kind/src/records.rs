//! The record types that people meet, and what each is.

use imflow_proto::RecordType;

/// In the order of the message path. What the parts of one node tell each other is not among them.
pub const RECORD_TYPES: [RecordType; 28] = [
    RecordType::Submission,
    RecordType::Ordered,
    RecordType::Committed,
    RecordType::Rejection,
    RecordType::Reply,
    RecordType::Command,
    RecordType::Change,
    RecordType::Fact,
    RecordType::Grant,
    RecordType::SessionEvent,
    RecordType::Online,
    RecordType::Subscription,
    RecordType::Presence,
    RecordType::Query,
    RecordType::Lookup,
    RecordType::Found,
    RecordType::Reference,
    RecordType::Referent,
    RecordType::Delivery,
    RecordType::Mark,
    RecordType::Moves,
    RecordType::Moved,
    RecordType::Nudge,
    RecordType::Typing,
    RecordType::Absent,
    RecordType::FanoutStats,
    RecordType::FanoutCost,
    RecordType::Row,
];

/// What a record of this type says.
pub fn record_meaning(record: RecordType) -> &'static str {
    match record {
        RecordType::Submission => "A message as a device sent it.",
        RecordType::Ordered => "A message with its seq, not yet durable.",
        RecordType::Committed => "A durable message.",
        RecordType::Rejection => "A command that was refused, with the reason.",
        RecordType::Reply => "An answer to a command.",
        RecordType::Command => "A wish to change a conversation's facts.",
        RecordType::Change => "A fact that was decided, not yet durable.",
        RecordType::Fact => "A durable fact: a conversation, a membership, a mute, a ban.",
        RecordType::Grant => "A change of one user's standing in one conversation.",
        RecordType::SessionEvent => "A session began or ended.",
        RecordType::Online => "A user came online or went offline: on this node, or on others.",
        RecordType::Subscription => {
            "A session replaces the set of users whose presence it follows."
        }
        RecordType::Presence => "A presence notice and the sessions that are told.",
        RecordType::Query => "A read: history, sync, a list of conversations or cursors.",
        RecordType::Lookup => "A message whose clientMsgId must be looked up in the index.",
        RecordType::Found => "What the index knows of a `Lookup`.",
        RecordType::Reference => {
            "A message or action that refers to a message which must be looked up."
        }
        RecordType::Referent => "The message that a `Reference` refers to.",
        RecordType::Delivery => "An event and the users whose sessions on this node get it.",
        RecordType::Mark => "A device says how far it, or its user, has come in a conversation.",
        RecordType::Moves => "Cursors of one conversation that have moved, not yet durable.",
        RecordType::Moved => "Durable moves of the cursors of one conversation.",
        RecordType::Nudge => "A device is asked to pull what it has not confirmed.",
        RecordType::Typing => "A user writes something in a conversation.",
        RecordType::Absent => "A durable message and the members who have no live device.",
        RecordType::FanoutCost => {
            "How long a fan-out took, told back to who decides how the next one goes."
        }
        RecordType::FanoutStats => "One fan-out, for analysts.",
        RecordType::Row => "Fields that the file defines, such as the counts of a window.",
        RecordType::Partial => "What one part of a split node tells the other.",
    }
}
