//! Whether and when a post is tried again.

use std::time::Duration;

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Taken,
    /// The same post may succeed later; after so long, if the other end says when.
    Later {
        why: String,
        after: Option<Duration>,
    },
    Never {
        why: String,
    },
}

impl Outcome {
    /// Of an answer with this status.
    pub(super) fn of_status(status: u16, retry_after: Option<&str>) -> Self {
        let why = format!("answered {status}");
        match status {
            200..300 => Self::Taken,
            408 | 429 | 500.. => {
                let seconds = retry_after.and_then(|text| text.trim().parse().ok());
                Self::Later { why, after: seconds.map(Duration::from_secs) }
            }
            _ => Self::Never { why },
        }
    }
}

/// How often, and how far apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    pub(super) attempts: u32,
    pub(super) from: Duration,
    pub(super) most: Duration,
}

impl Schedule {
    /// How long to wait after so many attempts; `None`: no more.
    pub(super) fn wait(&self, attempts: u32, wished: Option<Duration>) -> Option<Duration> {
        if attempts >= self.attempts {
            return None;
        }
        let doubled = self.from.saturating_mul(1 << (attempts - 1).min(20));
        Some(wished.unwrap_or(doubled).min(self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_pass_is_tried_again_and_what_cannot_is_not() {
        assert_eq!(Outcome::of_status(204, None), Outcome::Taken);
        for status in [408, 429, 500, 503] {
            assert!(matches!(Outcome::of_status(status, None), Outcome::Later { after: None, .. }));
        }
        for status in [301, 400, 401, 404, 410] {
            assert!(matches!(Outcome::of_status(status, None), Outcome::Never { .. }), "{status}");
        }
        let after = Some(Duration::from_secs(7));
        let later = Outcome::of_status(429, Some("7"));
        assert!(matches!(later, Outcome::Later { after: found, .. } if found == after));
        let date = Outcome::of_status(503, Some("Wed, 21 Oct 2026 07:28:00 GMT"));
        assert!(matches!(date, Outcome::Later { after: None, .. }));
    }

    #[test]
    fn waits_double_up_to_a_bound_and_end() {
        let schedule = Schedule {
            attempts: 5,
            from: Duration::from_millis(500),
            most: Duration::from_secs(3),
        };
        let waits: Vec<_> = (1..=5).map(|attempts| schedule.wait(attempts, None)).collect();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(waits, [ms(500), ms(1_000), ms(2_000), ms(3_000), None]);
        assert_eq!(schedule.wait(1, ms(60_000)), ms(3_000), "nobody holds a record for long");
    }
}
