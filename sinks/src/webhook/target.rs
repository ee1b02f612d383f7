//! URLs that can be posted to: a bad one would fail with each record.

use imflow_kind::{Inference, Mistake, Shape};

pub(super) fn check(inference: &Inference<'_>) -> Result<Vec<Shape>, Vec<Mistake>> {
    match fault(inference.options.text("url")) {
        None => Ok(inference.all_like_input()),
        Some(message) => {
            Err(vec![Mistake { option: "url", message: message.to_owned(), ..Mistake::default() }])
        }
    }
}

fn fault(url: &str) -> Option<&'static str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Some("expected a URL that begins with `https://` or `http://`");
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Some("a URL with a user or password would be shown; sign with `secret` instead");
    }
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    if host.is_empty() || url.contains(char::is_whitespace) {
        return Some("expected a URL with a host, as in \"https://push.example.com/imflow\"");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn a_url_has_a_scheme_a_host_and_no_password() {
        for good in ["https://a.example/x?y=1", "http://127.0.0.1:9000", "http://[::1]:80/"] {
            assert_eq!(fault(good), None, "{good}");
        }
        for bad in
            ["", "a.example/x", "ftp://a", "https://", "https:///x", "https://a:b@c", "http://a b"]
        {
            assert!(fault(bad).is_some(), "{bad}");
        }
    }
}
