//! A newer token for a session that lives: it goes on longer, with the scopes of that token.

use std::sync::atomic::Ordering;

use imflow_proto::record::Scopes;
use imflow_proto::wire::envelope::Body;
use imflow_proto::wire::{
    Envelope, Error, ErrorCode, Push, Refresh, Refreshed, TokenExpiring, push,
};

use super::peer::Peer;
use crate::auth::{AuthError, Secrets};

/// Takes a token in; the answer. What follows in the same frame meets the new scopes already.
pub(super) fn refresh(secrets: Option<&Secrets>, peer: &Peer, refresh: &Refresh) -> Body {
    match take(secrets, peer, &refresh.token) {
        Ok(expires_at_ms) => Body::Refreshed(Refreshed { expires_at: expires_at_ms as i64 }),
        Err(error) => Body::Error(error),
    }
}

fn take(secrets: Option<&Secrets>, peer: &Peer, token: &str) -> Result<u64, Error> {
    let secrets = secrets.ok_or_else(|| {
        Error::of(ErrorCode::Unsupported, "no token is verified here: this is a simulation")
    })?;
    let claims = secrets.verify(token).map_err(|error| {
        let code = match error {
            AuthError::Expired => ErrorCode::TokenExpired,
            _ => ErrorCode::Unauthenticated,
        };
        Error::of(code, error.to_string())
    })?;
    let session = &peer.session;
    if *claims.user_id != *session.user_id || *claims.device_id != *session.device_id {
        let sentence = format!(
            "the token is of `{}` on `{}`, this session of `{}` on `{}`; connect anew to be somebody else",
            claims.user_id, claims.device_id, session.user_id, session.device_id
        );
        return Err(Error::of(ErrorCode::Forbidden, sentence));
    }
    peer.act_with(Scopes { admin: false, ..claims.scopes });
    peer.expires_at_ms.store(claims.expires_at_ms, Ordering::Relaxed);
    peer.warned.store(false, Ordering::Relaxed);
    Ok(claims.expires_at_ms)
}

/// The push that says until when the session lives.
pub(super) fn warning(peer: &Peer) -> Envelope {
    let expires_at = peer.expires_at_ms.load(Ordering::Relaxed) as i64;
    let event = push::Event::TokenExpiring(TokenExpiring { expires_at });
    Envelope { id: 0, body: Some(Body::Push(Push { event: Some(event) })) }
}
