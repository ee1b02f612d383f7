//! Hears what became of users on any node.

use std::time::Duration;

use imflow_kind::{ReplicaError, Told};
use redis::{Connection, PubSub};
use serde_json::Value;

use super::super::link::{Link, failure};
use super::{RouteSettings, read};

/// A subscription of its own connection, made when it is needed and again after a failure.
pub struct Listener {
    link: Link,
    channel: String,
}

impl Listener {
    /// Not connected yet.
    ///
    /// # Errors
    /// When the address is none, as a sentence.
    pub fn new(settings: &RouteSettings) -> Result<Self, String> {
        let link = Link::new(&settings.uri, settings.timeout)?;
        Ok(Self { link, channel: format!("{}presence:changes", settings.prefix) })
    }

    /// Connects and subscribes, then calls `ready`, then `told` with each change, and with `None` whenever
    /// there was none for `patience`; until either says false, or the connection ends.
    ///
    /// # Errors
    /// When the server cannot be reached, or the connection ends.
    pub fn listen(
        &mut self,
        patience: Duration,
        ready: impl FnOnce() -> bool,
        mut told: impl FnMut(Option<Told>) -> bool,
    ) -> Result<(), ReplicaError> {
        let mut connection = self.link.connect().map_err(|error| failure("connect", &error))?;
        let mut subscribed = subscribe(&mut connection, &self.channel, patience)
            .map_err(|error| failure("subscribe", &error))?;
        let mut goes_on = ready();
        while goes_on {
            goes_on = match subscribed.get_message() {
                Ok(message) => {
                    let change = message.get_payload::<String>().ok();
                    told(change.as_deref().and_then(change_of))
                }
                Err(error) if error.is_timeout() => told(None),
                Err(error) => return Err(failure("listen", &error)),
            };
        }
        Ok(())
    }
}

fn subscribe<'c>(
    connection: &'c mut Connection,
    channel: &str,
    patience: Duration,
) -> Result<PubSub<'c>, redis::RedisError> {
    let mut subscribed = connection.as_pubsub();
    subscribed.subscribe(channel)?;
    subscribed.set_read_timeout(Some(patience))?;
    Ok(subscribed)
}

/// What a message says; nothing of one that no service sent.
fn change_of(message: &str) -> Option<Told> {
    let value: Value = serde_json::from_str(message).ok()?;
    let user_id = value.get("userId")?.as_str()?.to_owned();
    Some(Told { user_id, presence: read(value.get("presence")?) })
}
