//! Which web pages may connect: the `Origin` of a handshake, which a browser sets and a page cannot.
//!
//! Clients that are no browsers send none and pass. Tokens are not cookies, so a foreign page has
//! nothing of its visitor's to abuse; this keeps it from using the visitor's network place as well.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};
use imflow_kind::StartError;

/// The pages that may connect.
#[derive(Debug)]
pub(super) enum Origins {
    /// Those of the same host as the service, and those of this machine.
    Own,
    Any,
    /// In lower case.
    Listed(Vec<String>),
}

impl Origins {
    /// Reads the option `origins`.
    ///
    /// # Errors
    /// When an entry is no origin.
    pub(super) fn read(listed: &[String]) -> Result<Self, StartError> {
        if listed.is_empty() {
            return Ok(Self::Own);
        }
        if listed.iter().any(|origin| origin == "*") {
            return Ok(Self::Any);
        }
        for origin in listed {
            let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            if rest.is_none_or(|host| host.parse::<Authority>().is_err()) {
                return Err(StartError::new(format!(
                    "`{origin}` in `origins` is no origin: write scheme and host as a browser sends them, like \
                     \"https://chat.example.com\" or \"http://localhost:5173\", without a path; or \"*\" for every page"
                )));
            }
        }
        Ok(Self::Listed(listed.iter().map(|origin| origin.to_ascii_lowercase()).collect()))
    }

    /// Whether a handshake with these headers may go on; if not, the origin that may not.
    pub(super) fn admit<'a>(&self, headers: &'a HeaderMap) -> Result<(), &'a str> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or("not ASCII");
        let admitted = match self {
            Self::Any => true,
            Self::Listed(listed) => listed.iter().any(|one| one.eq_ignore_ascii_case(origin)),
            Self::Own => {
                let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
                is_own(origin, host.unwrap_or_default())
            }
        };
        if admitted { Ok(()) } else { Err(origin) }
    }
}

fn is_own(origin: &str, host: &str) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else { return false };
    let (Some(_), Some(page)) = (origin.scheme(), origin.host()) else { return false };
    let served = host.parse::<Authority>();
    let same = served.is_ok_and(|served| served.host().eq_ignore_ascii_case(page));
    same || matches!(page, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(origins: &Origins, origin: Option<&str>, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("a header"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().expect("a header"));
        }
        origins.admit(&headers).is_ok()
    }

    #[test]
    fn without_a_list_pages_of_the_same_host_and_of_this_machine_connect() {
        let own = Origins::read(&[]).expect("nothing to misread");
        for origin in [
            None,
            Some("https://chat.example.com"),
            Some("http://localhost:5173"),
            Some("http://[::1]"),
        ] {
            assert!(admits(&own, origin, "chat.example.com:443"), "{origin:?}");
        }
        for origin in
            ["https://evil.example", "null", "chat.example.com", "https://localhost.evil.example"]
        {
            assert!(!admits(&own, Some(origin), "chat.example.com"), "{origin}");
        }
    }

    #[test]
    fn a_list_is_all_there_is() {
        let listed = Origins::read(&["https://Chat.example.com".into()]).expect("an origin");
        assert!(admits(&listed, Some("https://chat.example.com"), "x"));
        assert!(admits(&listed, None, "x"), "no browser");
        for origin in
            ["http://chat.example.com", "https://chat.example.com.evil", "http://localhost"]
        {
            assert!(!admits(&listed, Some(origin), "x"), "{origin}");
        }
        let any = Origins::read(&["*".into()]).expect("any");
        assert!(admits(&any, Some("https://evil.example"), "x"));
    }

    #[test]
    fn what_is_no_origin_is_told() {
        for wrong in ["chat.example.com", "https://chat.example.com/", "https://", "ws://chat"] {
            let error = Origins::read(&[wrong.into()]).expect_err(wrong).to_string();
            assert!(
                error.contains(wrong) && error.contains("https://chat.example.com\""),
                "{error}"
            );
        }
    }
}
