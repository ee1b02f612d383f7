//! Which way a message goes: pushed to each member who is online, or told of and pulled.
//!
//! A conversation's own choice stands above everything. Else a message is pushed if it is short, not too
//! many are online, and the last fan-out of its conversation did not take too long. How many are too many
//! is learnt: each fan-out that took too long halves it, each quick one of that size gives a twentieth
//! back, up to the option. Source: SPEC M10.

use imflow_kind::{Options, Time};
use imflow_proto::record::FanoutCost;
use imflow_proto::wire::FanoutMode;
use imflow_proto::{Fingerprint, FingerprintMap};

/// How long a conversation is told of after a fan-out of it took too long.
const RELIEF_MS: u64 = 10_000;
/// Conversations under relief at which those whose relief is over are forgotten.
const SWEEP_AT: usize = 1_024;

#[derive(Default)]
pub(super) struct Pace {
    /// Online members up to which messages are pushed, at most.
    most: usize,
    /// The same, as learnt.
    now: usize,
    most_bytes: usize,
    most_cost_ms: u32,
    relieved: FingerprintMap<u64>,
}

impl Pace {
    pub(super) fn from_options(options: &Options) -> Self {
        let most = usize::try_from(options.integer("direct_up_to")).unwrap_or(usize::MAX);
        Self {
            most,
            now: most,
            most_bytes: usize::try_from(options.size("direct_bytes")).unwrap_or(usize::MAX),
            most_cost_ms: u32::try_from(options.duration("direct_cost").as_millis())
                .unwrap_or(u32::MAX),
            relieved: FingerprintMap::default(),
        }
    }

    pub(super) fn is_direct(
        &self,
        now: Time,
        mode: FanoutMode,
        conversation: Fingerprint,
        online: usize,
        bytes: usize,
    ) -> bool {
        match mode {
            FanoutMode::Direct => true,
            FanoutMode::Notify => false,
            FanoutMode::Auto => {
                online <= self.now
                    && bytes <= self.most_bytes
                    && (self.relieved.is_empty() || !self.is_relieved(now, conversation))
            }
        }
    }

    fn is_relieved(&self, now: Time, conversation: Fingerprint) -> bool {
        self.relieved.get(&conversation).is_some_and(|until| *until > now.ms())
    }

    /// Takes note of how long a fan-out took.
    pub(super) fn learn(&mut self, now: Time, cost: &FanoutCost) {
        let recipients = cost.recipients as usize;
        if cost.cost_ms > self.most_cost_ms {
            if self.relieved.len() >= SWEEP_AT {
                self.relieved.retain(|_, until| *until > now.ms());
            }
            let conversation = Fingerprint::of(&cost.conversation_id);
            self.relieved.insert(conversation, now.ms() + RELIEF_MS);
            let least = (self.most / 10).max(1);
            self.now = (self.now.min(recipients) / 2).clamp(least, self.most);
        } else if cost.cost_ms <= self.most_cost_ms / 2 && recipients * 4 >= self.now {
            self.now = (self.now + (self.most / 20).max(1)).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        Pace { most: 1_000, now: 1_000, most_bytes: 10_240, most_cost_ms: 200, ..Pace::default() }
    }

    fn cost(recipients: u32, cost_ms: u32) -> FanoutCost {
        FanoutCost { conversation_id: "busy".into(), recipients, cost_ms }
    }

    fn goes(pace: &Pace, mode: FanoutMode, id: &str, online: usize, bytes: usize) -> bool {
        pace.is_direct(Time::from_ms(1_000), mode, Fingerprint::of(id), online, bytes)
    }

    #[test]
    fn each_of_the_three_switches_turns_pushes_into_notices() {
        let mut pace = pace();
        let auto = |pace: &Pace, online, bytes| goes(pace, FanoutMode::Auto, "busy", online, bytes);
        assert!(auto(&pace, 1_000, 10_240));
        assert!(!auto(&pace, 1_001, 10), "more than 1,000 online");
        assert!(!auto(&pace, 2, 10_241), "more than 10 KiB");
        pace.learn(Time::from_ms(900), &cost(800, 201));
        assert!(!auto(&pace, 2, 10), "the last fan-out took more than 200 ms");
        assert!(goes(&pace, FanoutMode::Auto, "other", 2, 10));
        assert!(pace.is_direct(
            Time::from_ms(10_900),
            FanoutMode::Auto,
            Fingerprint::of("busy"),
            2,
            10
        ));
    }

    #[test]
    fn a_pinned_conversation_keeps_its_way() {
        let mut pace = pace();
        pace.learn(Time::from_ms(900), &cost(800, 5_000));
        assert!(goes(&pace, FanoutMode::Direct, "busy", 50_000, 1 << 20));
        assert!(!goes(&pace, FanoutMode::Notify, "quiet", 1, 1));
    }

    #[test]
    fn the_threshold_follows_what_fan_outs_take() {
        let mut pace = pace();
        pace.learn(Time::default(), &cost(900, 300));
        assert!(!goes(&pace, FanoutMode::Auto, "other", 451, 1), "half of what took too long");
        assert!(goes(&pace, FanoutMode::Auto, "other", 450, 1));
        for _ in 0..100 {
            pace.learn(Time::default(), &cost(50, 1));
        }
        assert_eq!(pace.now, 450, "small fan-outs say nothing about large ones");
        for _ in 0..100 {
            pace.learn(Time::default(), &cost(400, 500));
        }
        assert_eq!(pace.now, 100, "never below a tenth");
        for _ in 0..100 {
            let recipients = pace.now as u32;
            pace.learn(Time::default(), &cost(recipients, 20));
        }
        assert_eq!(pace.now, 1_000, "and back");
    }
}
