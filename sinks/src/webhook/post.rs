//! One post: its body, its signature, and what came of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use imflow_kind::fields;
use imflow_proto::Record;
use serde_json::json;
use sha2::Sha256;

use super::retry::Outcome;

/// Posts to one URL.
#[derive(Clone)]
pub(super) struct Poster {
    agent: ureq::Agent,
    url: String,
    secret: String,
}

impl Poster {
    pub(super) fn new(url: &str, secret: &str, timeout: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            // Where a redirect leads is not what the file says.
            .max_redirects(0)
            .http_status_as_error(false)
            .build();
        Self { agent: config.into(), url: url.to_owned(), secret: secret.to_owned() }
    }

    pub(super) fn post(&self, body: &[u8]) -> Outcome {
        let mut request = self.agent.post(&self.url).header("Content-Type", "application/json");
        if !self.secret.is_empty() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            request = request.header("Imflow-Signature", signature(&self.secret, now, body));
        }
        match request.send(body) {
            Ok(answer) => {
                let after = answer.headers().get("retry-after").and_then(|at| at.to_str().ok());
                Outcome::of_status(answer.status().as_u16(), after)
            }
            Err(error) => Outcome::Later { why: error.to_string(), after: None },
        }
    }
}

/// A record as it is posted, and as it lies among the dead letters.
pub(super) fn body(id: &str, record: &Record) -> Vec<u8> {
    let kind = format!("{:?}", record.record_type());
    let body = json!({ "id": id, "type": kind, "record": fields::to_json(record) });
    body.to_string().into_bytes()
}

fn signature(secret: &str, seconds: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .expect("an HMAC takes a key of any length");
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    let bytes = mac.finalize().into_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

#[cfg(test)]
mod tests {
    use super::signature;

    /// Computed with `openssl dgst -sha256 -hmac secret`.
    #[test]
    fn a_signature_is_that_of_other_tools() {
        assert_eq!(
            signature("secret", 1_700_000_000, b"{\"a\":1}"),
            "t=1700000000,v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686"
        );
    }
}
