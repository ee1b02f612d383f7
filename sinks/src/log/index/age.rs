//! Whether a segment is old: all messages of it, by the newest.

use std::sync::Arc;
use std::time::Duration;

use imflow_kind::Clock;
use imflow_proto::record::Lsn;
use imflow_proto::wire;
use prost::Message as _;

use crate::log::LogError;
use crate::log::frame::MESSAGE;
use crate::log::segments::Segments;

/// For those who follow the segments from the oldest on: a segment that is too young is not read again
/// before it can be old enough.
pub(crate) struct Age {
    clock: Arc<dyn Clock>,
    due_ms: i64,
}

impl Age {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, due_ms: i64::MIN }
    }

    /// Whether all messages of a segment are older than this.
    pub(super) fn is_past(
        &mut self,
        limit: Duration,
        segments: &Segments,
        number: u32,
    ) -> Result<bool, LogError> {
        let now_ms = self.clock.now_ms() as i64;
        if now_ms < self.due_ms {
            return Ok(false);
        }
        let due_ms = newest_ms(segments, number)?.saturating_add(limit.as_millis() as i64);
        if now_ms > due_ms {
            return Ok(true);
        }
        self.due_ms = due_ms + 1;
        Ok(false)
    }
}

/// When the newest message of a segment was made, in milliseconds since the Unix epoch.
fn newest_ms(segments: &Segments, number: u32) -> Result<i64, LogError> {
    let mut newest_ms = i64::MIN;
    segments.visit_segment(number, Lsn::MAX, &mut |record| {
        if record.kind == MESSAGE
            && let Ok(message) = wire::Message::decode(record.payload)
        {
            newest_ms = newest_ms.max(message.created_at);
        }
        Ok(())
    })?;
    Ok(newest_ms)
}
