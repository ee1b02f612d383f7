//! Client tokens, minted here: one process a token would be too slow for thousands of users.

use std::path::Path;
use std::time::Duration;

use imflow_sources::auth::Secrets;

use crate::failure::{Context as _, Failure};

/// Longer than any run.
const LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// Signs tokens with the key of one data directory.
pub(crate) struct Tokens(Secrets);

impl Tokens {
    /// Reads the key, which the server has made.
    pub(crate) fn read(data: &Path) -> Result<Self, Failure> {
        Secrets::open(data).map(Self).context(|| "reading the server's token key".to_owned())
    }

    /// A token for a user's device that may do all that clients may.
    pub(crate) fn client(&self, user: &str, device: &str) -> Result<String, Failure> {
        let token = self.0.mint(user, device, &["send", "read", "create"], LIFETIME);
        token.context(|| format!("signing a token for {user}"))
    }

    /// A key for the control API.
    pub(crate) fn admin(&self) -> Result<String, Failure> {
        self.0.mint_admin(LIFETIME).context(|| "signing a key for the control API".to_owned())
    }
}
