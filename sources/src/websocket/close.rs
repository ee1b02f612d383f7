//! Why the server closes a connection: the code, the reason and whether to come back.
//!
//! | code | name | the client |
//! |---|---|---|
//! | 4408 | slow consumer | reconnects, then pulls what it missed with `sync` |
//! | 4410 | no pong | reconnects |
//! | 4412 | shutting down | reconnects, to another node or after a short while |
//! | 4414 | too slow | reconnects: a message took too long to arrive |
//! | 4500 | malformed frame | is broken: it does not reconnect by itself |
//! | 4501 | token expired | gets a new token first |
//! | 4509 | replaced | has a newer connection of the same device |
//! | 4513 | frame too large | is broken: it does not reconnect by itself |
//! | 4529 | too many pings | is broken: it does not reconnect by itself |
//!
//! The range is the verdict: 4000-4499 reconnect with a growing delay, 4500-4999 do not. A breach of
//! WebSocket itself is closed with RFC 6455's own codes (1002, 1007).

use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{Envelope, Goodbye};

/// Longest reason in a close frame, so that the control frame stays within 125 bytes.
const MAX_REASON_BYTES: usize = 120;

/// A reason to close, known on both ends by its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    SlowConsumer,
    NoPong,
    ShuttingDown,
    TooSlow,
    Malformed,
    TokenExpired,
    Replaced,
    TooLarge,
    TooManyPings,
}

impl Close {
    pub(super) const fn code(self) -> u16 {
        match self {
            Self::SlowConsumer => 4408,
            Self::NoPong => 4410,
            Self::ShuttingDown => 4412,
            Self::TooSlow => 4414,
            Self::Malformed => 4500,
            Self::TokenExpired => 4501,
            Self::Replaced => 4509,
            Self::TooLarge => 4513,
            Self::TooManyPings => 4529,
        }
    }

    pub(super) const fn reconnect(self) -> bool {
        self.code() < 4500
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::SlowConsumer => {
                "pushes were not read fast enough; reconnect, then sync what was missed"
            }
            Self::NoPong => "nothing was heard for two ping intervals; reconnect",
            Self::ShuttingDown => "this node is shutting down; reconnect",
            Self::TooSlow => "a message took too long to arrive; reconnect and send it again",
            Self::Malformed => "a frame could not be read",
            Self::TokenExpired => "the token has expired; get a new one and connect again",
            Self::Replaced => "replaced by a newer connection of the same device",
            Self::TooManyPings => "too many pings and pongs; one in a few seconds is enough",
            Self::TooLarge => "a frame is larger than the limit; send large media by reference",
        }
    }

    /// The envelope that comes before the close frame.
    pub(super) fn goodbye(self, detail: Option<&str>) -> Envelope {
        self.goodbye_for(detail, 0)
    }

    /// As [`Self::goodbye`], to somebody who is not to come back before so long.
    pub(super) fn goodbye_for(self, detail: Option<&str>, retry_after_ms: u64) -> Envelope {
        let reason = match detail {
            Some(detail) => format!("{}: {detail}", self.reason()),
            None => self.reason().to_owned(),
        };
        let (code, reconnect) = (self.code().into(), self.reconnect());
        let goodbye = Goodbye { code, reason, reconnect, retry_after_ms };
        Envelope { id: 0, body: Some(Body::Goodbye(goodbye)) }
    }

    /// The reason in the close frame.
    pub(super) fn short_reason(self) -> &'static str {
        debug_assert!(self.reason().len() <= MAX_REASON_BYTES);
        self.reason()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_a_code_says_whether_to_reconnect() {
        let all = [
            Close::SlowConsumer,
            Close::NoPong,
            Close::ShuttingDown,
            Close::TooSlow,
            Close::Malformed,
            Close::TokenExpired,
            Close::Replaced,
            Close::TooLarge,
            Close::TooManyPings,
        ];
        for close in all {
            assert!(
                (4400..4600).contains(&close.code())
                    && close.short_reason().len() <= MAX_REASON_BYTES
            );
            let Some(Body::Goodbye(goodbye)) = close.goodbye(None).body else {
                panic!("a goodbye")
            };
            assert_eq!(goodbye.reconnect, goodbye.code < 4500, "{close:?}");
        }
    }
}
