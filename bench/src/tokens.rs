//! Client tokens, minted here: one process a token would be too slow for thousands of users.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

use crate::failure::{Context as _, Failure};

/// Longer than any run.
const LIFETIME_S: u64 = 24 * 3600;

/// Signs tokens with the secret of one data directory.
#[derive(Default)]
pub(crate) struct Tokens {
    secret: Vec<u8>,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    device: &'a str,
    scopes: &'a [&'a str],
    exp: u64,
}

impl Tokens {
    /// Reads the secret: the file's text itself is the key, without the line's end.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read(path).context(|| format!("reading the token secret {}", path.display()))?;
        Ok(Self { secret: text.trim_ascii().to_vec() })
    }

    /// A token for a user's device that may do all that clients may.
    pub(crate) fn client(&self, user: &str, device: &str) -> Result<String, Failure> {
        self.mint(user, device, &["send", "read", "create"])
    }

    /// A key for the control API.
    pub(crate) fn admin(&self) -> Result<String, Failure> {
        self.mint("admin", "bench", &["admin"])
    }

    fn mint(&self, sub: &str, device: &str, scopes: &[&str]) -> Result<String, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let claims = Claims { sub, device, scopes, exp: now + LIFETIME_S };
        let key = EncodingKey::from_secret(&self.secret);
        encode(&Header::new(Algorithm::HS256), &claims, &key).context(|| format!("signing a token for {sub}"))
    }
}
