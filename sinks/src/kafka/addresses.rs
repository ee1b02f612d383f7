//! Brokers and topics as Kafka takes them: a client would try a bad one for ever.

use imflow_kind::{Inference, Mistake, Shape};

/// Characters of a topic's name at most.
const TOPIC_LENGTH: usize = 249;

pub(super) fn check(inference: &Inference<'_>) -> Result<Vec<Shape>, Vec<Mistake>> {
    let brokers = inference.options.texts("brokers");
    let mut mistakes: Vec<_> = brokers
        .iter()
        .filter(|broker| !is_address(broker))
        .map(|broker| Mistake {
            option: "brokers",
            within: Some(broker.clone()),
            message: "expected HOST:PORT, as in \"127.0.0.1:9092\"".to_owned(),
            ..Mistake::default()
        })
        .collect();
    if brokers.is_empty() {
        let message = "name at least one broker, as HOST:PORT".to_owned();
        mistakes.push(Mistake { option: "brokers", message, ..Mistake::default() });
    }
    if !is_topic(inference.options.text("topic")) {
        let message = format!("a topic has 1 to {TOPIC_LENGTH} letters, digits, `.`, `_` and `-`");
        mistakes.push(Mistake { option: "topic", message, ..Mistake::default() });
    }
    if mistakes.is_empty() { Ok(inference.all_like_input()) } else { Err(mistakes) }
}

fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(fits),
    };
    is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_topic(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=TOPIC_LENGTH).contains(&text.len())
        && text.chars().all(fits)
        && !matches!(text, "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_topics_are_those_of_kafka() {
        for good in ["127.0.0.1:9092", "kafka-1.example.com:9092", "[::1]:9092"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", "localhost", "localhost:", ":9092", "a b:1", "x:0", "x:70000", "x:1,y:2"] {
            assert!(!is_address(bad), "{bad}");
        }
        assert!(is_topic("im.committed") && is_topic(&"x".repeat(TOPIC_LENGTH)));
        for bad in ["", ".", "..", "a b", "im/committed", &"x".repeat(TOPIC_LENGTH + 1)] {
            assert!(!is_topic(bad), "{bad}");
        }
    }
}
