//! Tokens: who a client is and what it may do, signed with the service's own key (HS256).
//!
//! The key is made on the first start, under `data/secrets`, readable by its owner only; it is never
//! printed. A token carries `sub` (user id), `device`, `scopes` (of `send`, `read`, `create`,
//! `admin`) and `exp` (seconds since the Unix epoch). Scopes that are not known grant nothing.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use imflow_proto::id;
use imflow_proto::record::Scopes;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

const KEY_BYTES: usize = 32;

/// The service's signing key.
pub struct Secrets {
    signing: EncodingKey,
    verifying: DecodingKey,
    validation: Validation,
}

/// What a verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub user_id: String,
    pub device_id: String,
    pub scopes: Scopes,
    /// Milliseconds since the Unix epoch.
    pub expires_at_ms: u64,
}

/// Why a token is not accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    #[error("the token has expired; get a new one and connect again")]
    Expired,
    #[error("the token is not signed with this service's key; mint one with `imflow token`")]
    Signature,
    #[error("the token is not a JWT of this service: {0}")]
    Invalid(String),
}

/// Why the key cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretsError {
    #[error(
        "cannot keep the token key at {path}: {source}; make that folder writable for this user, or choose another `data` in [service]"
    )]
    Io { path: PathBuf, source: io::Error },
    #[error("the token key at {path} is damaged: expected {} hex digits; restore it, or remove it to have a new one made (all tokens become invalid)", KEY_BYTES * 2)]
    Damaged { path: PathBuf },
}

#[derive(Serialize, Deserialize)]
struct Payload {
    sub: String,
    #[serde(default)]
    device: String,
    #[serde(default)]
    scopes: Vec<String>,
    exp: u64,
}

impl Secrets {
    /// Reads the key of a data directory, or makes it on the first call.
    ///
    /// # Errors
    /// When the folder cannot be written, or the key there is damaged.
    pub fn open(data: &Path) -> Result<Self, SecretsError> {
        let folder = data.join("secrets");
        let path = folder.join("token.key");
        let failed = |source| SecretsError::Io { path: path.clone(), source };
        let hex = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_key(&folder, &path).map_err(failed)?;
                fs::read_to_string(&path).map_err(failed)?
            }
            read => read.map_err(failed)?,
        };
        let key =
            from_hex(hex.trim()).ok_or_else(|| SecretsError::Damaged { path: path.clone() })?;
        Ok(Self::from_key(&key))
    }

    fn from_key(key: &[u8; KEY_BYTES]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // Only the issuer's clock and ours matter, and for the default key they are the same.
        validation.leeway = 0;
        Self {
            signing: EncodingKey::from_secret(key),
            verifying: DecodingKey::from_secret(key),
            validation,
        }
    }

    /// A token for one device of a user.
    ///
    /// # Errors
    /// When an id is not valid, or a scope is unknown.
    pub fn mint(
        &self,
        user: &str,
        device: &str,
        scopes: &[&str],
        ttl: Duration,
    ) -> Result<String, AuthError> {
        check_ids(user, device)?;
        if let Some(unknown) = scopes.iter().find(|scope| !set_scope(&mut Scopes::default(), scope))
        {
            let sentence =
                format!("unknown scope `{unknown}`, expected `send`, `read`, `create` or `admin`");
            return Err(AuthError::Invalid(sentence));
        }
        self.sign(user, device, scopes, ttl)
    }

    /// A token for the control API.
    ///
    /// # Errors
    /// When the token cannot be signed.
    pub fn mint_admin(&self, ttl: Duration) -> Result<String, AuthError> {
        self.sign("admin", "control", &["admin"], ttl)
    }

    fn sign(
        &self,
        user: &str,
        device: &str,
        scopes: &[&str],
        ttl: Duration,
    ) -> Result<String, AuthError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let payload =
            Payload { sub: user.into(), device: device.into(), scopes, exp: (now + ttl).as_secs() };
        jsonwebtoken::encode(&Header::default(), &payload, &self.signing)
            .map_err(|error| AuthError::Invalid(error.to_string()))
    }

    /// Checks signature, age and ids.
    ///
    /// # Errors
    /// When the token does not hold.
    pub fn verify(&self, token: &str) -> Result<Claims, AuthError> {
        let payload = jsonwebtoken::decode::<Payload>(token, &self.verifying, &self.validation);
        let payload = payload.map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => AuthError::Expired,
            ErrorKind::InvalidSignature => AuthError::Signature,
            _ => AuthError::Invalid(error.to_string()),
        })?;
        let Payload { sub, device, scopes: names, exp } = payload.claims;
        check_ids(&sub, &device)?;
        let mut scopes = Scopes::default();
        for name in &names {
            set_scope(&mut scopes, name);
        }
        Ok(Claims {
            user_id: sub,
            device_id: device,
            scopes,
            expires_at_ms: exp.saturating_mul(1_000),
        })
    }
}

/// Whether a text can name a user: as [`id::is_valid`], and without the `:` that joins two users in
/// the id of their one-to-one conversation.
pub(crate) fn is_user_id(user: &str) -> bool {
    id::is_valid(user) && !user.contains(':')
}

fn check_ids(user: &str, device: &str) -> Result<(), AuthError> {
    if !is_user_id(user) {
        let sentence = "`sub` must be a user id of 1 to 64 bytes without white space, `/` and `:`";
        return Err(AuthError::Invalid(sentence.into()));
    }
    if !id::is_valid(device) {
        let sentence = "`device` must be a device id of 1 to 64 bytes without white space and `/`";
        return Err(AuthError::Invalid(sentence.into()));
    }
    Ok(())
}

/// Grants the scope of this name; `false` when there is none.
fn set_scope(scopes: &mut Scopes, name: &str) -> bool {
    match name {
        "send" => scopes.send = true,
        "read" => scopes.read = true,
        "create" => scopes.create = true,
        "admin" => scopes.admin = true,
        _ => return false,
    }
    true
}

/// Makes the key under a temporary name and links it, so that of two processes that start together
/// one key wins and no reader sees half of it.
fn create_key(folder: &Path, path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let temporary = folder.join(format!("token.key.{}", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    let key: [u8; KEY_BYTES] = rand::random();
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    file.write_all(hex.as_bytes())?;
    file.sync_all()?;
    let linked = match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => fs::File::open(folder)?.sync_all(),
    };
    fs::remove_file(&temporary)?;
    linked
}

fn from_hex(hex: &str) -> Option<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    if hex.len() != KEY_BYTES * 2 || !hex.is_ascii() {
        return None;
    }
    for (byte, digits) in key.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_key_survives_a_restart_and_is_private() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let token = Secrets::open(data.path()).expect("made").mint(
            "alice",
            "phone",
            &["send", "read"],
            HOUR,
        );
        let again = Secrets::open(data.path()).expect("read");
        let claims = again.verify(&token.expect("valid ids")).expect("same key");
        assert_eq!((claims.user_id.as_str(), claims.device_id.as_str()), ("alice", "phone"));
        assert_eq!(claims.scopes, Scopes { send: true, read: true, ..Scopes::default() });
        let mode = |path: &str| {
            fs::metadata(data.path().join(path)).expect("exists").permissions().mode() & 0o777
        };
        assert_eq!((mode("secrets"), mode("secrets/token.key")), (0o700, 0o600));
        assert_eq!(fs::read_dir(data.path().join("secrets")).expect("a folder").count(), 1);
    }

    #[test]
    fn an_expired_token_is_told_from_a_forged_one() {
        let secrets = Secrets::from_key(&[1; KEY_BYTES]);
        let payload = Payload {
            sub: "alice".into(),
            device: "phone".into(),
            scopes: vec![],
            exp: 1_700_000_000,
        };
        let expired =
            jsonwebtoken::encode(&Header::default(), &payload, &secrets.signing).expect("signed");
        assert_eq!(secrets.verify(&expired), Err(AuthError::Expired));
        let forged = Secrets::from_key(&[2; KEY_BYTES]).mint_admin(HOUR).expect("signed");
        assert_eq!(secrets.verify(&forged), Err(AuthError::Signature));
        assert!(matches!(secrets.verify("nonsense"), Err(AuthError::Invalid(_))));
    }

    #[test]
    fn ids_and_scopes_are_checked_when_minting() {
        let secrets = Secrets::from_key(&[1; KEY_BYTES]);
        for (user, device, scope) in
            [("a b", "d", "send"), ("a:b", "d", "send"), ("a", "", "send"), ("a", "d", "fly")]
        {
            assert!(
                matches!(secrets.mint(user, device, &[scope], HOUR), Err(AuthError::Invalid(_))),
                "{user} {scope}"
            );
        }
    }

    #[test]
    fn a_damaged_key_says_what_to_do() {
        let data = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(data.path().join("secrets")).expect("made");
        fs::write(data.path().join("secrets/token.key"), "short").expect("written");
        let error = Secrets::open(data.path()).err().expect("damaged").to_string();
        assert!(error.contains("token.key") && error.contains("remove it"), "{error}");
    }

    #[test]
    fn an_unwritable_folder_says_what_to_do() {
        let data = tempfile::NamedTempFile::new().expect("a temporary file");
        let error = Secrets::open(data.path()).err().expect("not a folder").to_string();
        assert!(error.contains("token.key") && error.contains("writable"), "{error}");
    }
}
