//! `imflow token`: makes a token of a user, or a key for the control API, with the data directory's signing key.
//!
//! It prints the token and nothing else, so that a script can take it. Whether a token is good is
//! decided by the server alone.

use std::path::Path;
use std::time::Duration;

use imflow_kind::units::duration_ms;
use imflow_sources::auth::Secrets;

/// Everything that a device of a user may do.
pub(crate) const ALL_SCOPES: [&str; 3] = ["send", "read", "create"];

/// Make a token for a user's device, or a key for the control API
///
/// The token is signed with the key in the data directory of the topology; a server with another
/// data directory refuses it. Examples:
///
///   imflow token --user alice --device phone
///   imflow token --user kiosk --device hall --scopes read --ttl 30d
///   curl -H "Authorization: Bearer $(imflow token --admin)" localhost:8080/v1/openapi.json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct TokenArgs {
    /// The user that the token speaks for
    #[arg(long, required_unless_present = "admin")]
    user: Option<String>,
    /// The device of that user
    #[arg(long, default_value = "cli")]
    device: String,
    /// How long it is good: 30s, 15m, 1h, 7d
    #[arg(long, default_value = "1h", value_parser = lifetime)]
    ttl: Duration,
    /// What it may do, with commas: send messages, read history, create and change conversations
    #[arg(long, value_delimiter = ',', default_values_t = ALL_SCOPES.map(str::to_owned), value_parser = ALL_SCOPES)]
    scopes: Vec<String>,
    /// A key for the control API, which may do anything
    #[arg(long, conflicts_with_all = ["user", "device", "scopes"])]
    admin: bool,
}

/// Prints a token.
///
/// # Errors
/// When the key cannot be read, or an id is not valid.
pub(crate) fn token(args: &TokenArgs, data_dir: &Path) -> Result<(), String> {
    let secrets = Secrets::open(data_dir).map_err(|error| error.to_string())?;
    let token = match &args.user {
        Some(user) => {
            let scopes: Vec<&str> = args.scopes.iter().map(String::as_str).collect();
            mint(&secrets, user, &args.device, &scopes, args.ttl)?
        }
        None => secrets.mint_admin(args.ttl).map_err(|error| error.to_string())?,
    };
    println!("{token}");
    Ok(())
}

/// A token of a user's device.
///
/// # Errors
/// When an id is not valid.
pub(crate) fn mint(
    secrets: &Secrets,
    user: &str,
    device: &str,
    scopes: &[&str],
    ttl: Duration,
) -> Result<String, String> {
    let minted = secrets.mint(user, device, scopes, ttl);
    minted.map_err(|error| {
        format!("cannot make a token for user `{user}` and device `{device}`: {error}")
    })
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let ms = duration_ms(text)?;
    // A year-long token is a password; ten years also keep `exp` far from overflow.
    if !(1_000..=10 * 365 * 86_400_000).contains(&ms) {
        return Err(format!("`{text}` is not between 1s and 3650d"));
    }
    Ok(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lives_for_a_second_to_ten_years() {
        assert_eq!(lifetime("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(lifetime("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for text in ["", "h", "1", "0s", "-1h", "1w", "99999999999999999999d", "4000d"] {
            assert!(lifetime(text).is_err(), "{text}");
        }
    }
}
