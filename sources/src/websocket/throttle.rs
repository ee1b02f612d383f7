//! How often users, devices, addresses and conversations are heard: see [`super::rates`].

use std::hash::{Hash as _, Hasher as _};
use std::net::IpAddr;

use imflow_proto::wire::{Error, ErrorCode};
use rapidhash::fast::RapidHasher;

use super::limits::Limits;
use super::peer::Peer;
use super::rates::{Keyed, Rate};

/// Whose rate is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Device,
    User,
    Ip,
    Conversation,
}

impl Whose {
    pub(super) const ALL: [Self; 4] = [Self::Device, Self::User, Self::Ip, Self::Conversation];

    /// As in metrics and in the names of the options.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::User => "user",
            Self::Ip => "ip",
            Self::Conversation => "conversation",
        }
    }

    /// The answer to a command that came too soon.
    pub(super) fn error(self, wait_ms: u64) -> Error {
        let whose = match self {
            Self::Device => "this device sends",
            Self::User => "this user's devices send",
            Self::Ip => "your IP address sends",
            Self::Conversation => "this conversation takes",
        };
        let sentence = format!(
            "{whose} more commands a second than it may (`rate_per_{}`); send it again after {wait_ms} ms",
            self.word()
        );
        Error::of(ErrorCode::RateLimited, sentence).retry_after(wait_ms)
    }
}

/// The buckets of a gateway. Users and conversations are known by their hash: two of the same one
/// would share a bucket, which is nobody's loss.
pub(super) struct Throttle {
    device: Rate,
    users: Keyed<u64>,
    ips: Keyed<IpAddr>,
    conversations: Keyed<u64>,
    handshakes: Keyed<IpAddr>,
}

impl Throttle {
    pub(super) fn new(limits: &Limits) -> Self {
        let rate = |per_second| Rate::new(per_second, limits.rate_burst_ms);
        Self {
            device: rate(limits.rate_per_device),
            users: Keyed::new(rate(limits.rate_per_user)),
            ips: Keyed::new(rate(limits.rate_per_ip)),
            conversations: Keyed::new(rate(limits.rate_per_conversation)),
            handshakes: Keyed::new(rate(limits.handshake_rate_per_ip)),
        }
    }

    /// Counts one command of a device, whose own bucket is kept with its connection.
    ///
    /// # Errors
    /// Whose rate is used up, and the milliseconds to wait. What was counted before stays counted: a
    /// refused command is work too.
    pub(super) fn command(
        &self,
        peer: &Peer,
        device: &mut u64,
        conversation: Option<&str>,
        now_us: u64,
    ) -> Result<(), (Whose, u64)> {
        if self.device.is_limited() {
            self.device.take(device, now_us).map_err(|wait| (Whose::Device, wait))?;
        }
        if self.users.is_limited() {
            let user = hash(&peer.session.user_id);
            self.users.take(user, now_us).map_err(|wait| (Whose::User, wait))?;
        }
        self.ips.take(peer.ip, now_us).map_err(|wait| (Whose::Ip, wait))?;
        if let Some(conversation) = conversation.filter(|_| self.conversations.is_limited()) {
            let taken = self.conversations.take(hash(conversation), now_us);
            taken.map_err(|wait| (Whose::Conversation, wait))?;
        }
        Ok(())
    }

    /// Counts one handshake of an address.
    ///
    /// # Errors
    /// The milliseconds to wait.
    pub(super) fn handshake(&self, ip: IpAddr, now_us: u64) -> Result<(), u64> {
        self.handshakes.take(ip, now_us)
    }

    /// Forgets who has been still, a part at each turn.
    pub(super) fn sweep(&self, turn: usize, now_us: u64) {
        self.users.sweep(turn, now_us);
        self.ips.sweep(turn, now_us);
        self.conversations.sweep(turn, now_us);
        self.handshakes.sweep(turn, now_us);
    }

    /// How many buckets there are.
    pub(super) fn buckets(&self) -> usize {
        self.users.len() + self.ips.len() + self.conversations.len() + self.handshakes.len()
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = RapidHasher::default();
    text.hash(&mut hasher);
    hasher.finish()
}
