//! Deliveries put together by conversation and receivers, so that each receiver is looked up once.

use std::sync::Arc;

use imflow_proto::record::{Band, Delivery, Event};
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{Envelope, Notify, Push, push};
use rapidhash::RapidHashMap;
use tokio::time::Instant;

use super::bands::hash_of;
use super::frames::Shared;
use super::outbox::{Pushed, What};
use super::peer::Peer;
use super::queue::NodeGap;

/// Deliveries by receivers.
#[derive(Default)]
pub(super) struct Groups {
    groups: Vec<Group>,
    /// The group of each conversation.
    of_conversation: RapidHashMap<u64, usize>,
}

/// Events of one conversation for the same receivers.
pub(super) struct Group {
    pub(super) conversation: u64,
    pub(super) conversation_id: String,
    pub(super) to: Arc<[Arc<str>]>,
    /// When the first of the events began to wait.
    pub(super) since: Instant,
    events: Vec<Shareable>,
}

/// An event, and the session that is left out.
struct Shareable {
    shared: Shared,
    except: u64,
    band: Band,
    what: What,
}

/// The conversation has other receivers than before: what is grouped must be delivered first.
#[derive(Debug)]
pub(super) struct ReceiversChanged;

impl Groups {
    pub(super) fn add(
        &mut self,
        delivery: &Delivery,
        since: Instant,
    ) -> Result<(), ReceiversChanged> {
        let conversation_id = delivery.event.conversation_id();
        let conversation = hash_of(conversation_id);
        let index = match self.of_conversation.get(&conversation) {
            Some(index) if Arc::ptr_eq(&self.groups[*index].to, &delivery.to) => *index,
            Some(_) => return Err(ReceiversChanged),
            None => {
                self.groups.push(Group {
                    conversation,
                    conversation_id: conversation_id.to_owned(),
                    to: Arc::clone(&delivery.to),
                    since,
                    events: Vec::new(),
                });
                self.of_conversation.insert(conversation, self.groups.len() - 1);
                self.groups.len() - 1
            }
        };
        self.groups[index].events.push(Shareable {
            shared: Shared::new(envelope_of(&delivery.event)),
            except: delivery.except,
            band: delivery.band,
            what: what(&delivery.event),
        });
        Ok(())
    }

    pub(super) fn into_groups(self) -> Vec<Group> {
        self.groups
    }
}

impl Group {
    /// Tells those who would have got messages that they have to pull them.
    pub(super) fn of_gap(conversation: u64, gap: NodeGap) -> Self {
        let NodeGap { conversation_id, up_to_seq, to } = gap;
        let notify = Notify { conversation_id: conversation_id.clone(), up_to_seq };
        let event = Shareable {
            shared: Shared::new(pushed(push::Event::Notify(notify))),
            except: 0,
            band: Band::P0,
            what: What::Notify(up_to_seq),
        };
        Self { conversation, conversation_id, to, since: Instant::now(), events: vec![event] }
    }

    /// What one of the receivers gets.
    pub(super) fn pushed_to<'a>(&'a self, peer: &'a Peer) -> impl Iterator<Item = Pushed<'a>> {
        let own = peer.session.number;
        let events = self.events.iter().filter(move |event| event.except != own);
        events.map(|event| Pushed {
            frame: event.shared.frame(peer.format),
            band: event.band,
            conversation: self.conversation,
            conversation_id: &self.conversation_id,
            what: event.what,
        })
    }

    /// Whether all of it only tells of messages.
    pub(super) fn only_tells(&self) -> bool {
        self.events.iter().all(|event| matches!(event.what, What::Notify(_)))
    }
}

fn what(event: &Event) -> What {
    match event {
        Event::Message(entry) => What::Message(entry.message.seq),
        Event::Notify(notify) => What::Notify(notify.up_to_seq),
        _ => What::Notice,
    }
}

pub(super) fn envelope_of(event: &Event) -> Envelope {
    pushed(match event {
        Event::Message(entry) => push::Event::Message(entry.message.clone()),
        Event::ConversationChanged(changed) => {
            push::Event::ConversationChanged((**changed).clone())
        }
        Event::Receipt(receipt) => push::Event::Receipt((**receipt).clone()),
        Event::Recalled(recalled) => push::Event::Recalled((**recalled).clone()),
        Event::Status(status) => push::Event::Status((**status).clone()),
        Event::Notify(notify) => push::Event::Notify((**notify).clone()),
        Event::Typing(typing) => push::Event::Typing((**typing).clone()),
    })
}

pub(super) fn pushed(event: push::Event) -> Envelope {
    Envelope { id: 0, body: Some(Body::Push(Push { event: Some(event) })) }
}
