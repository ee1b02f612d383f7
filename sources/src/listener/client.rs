//! Who is at the other end: the socket's address, or the one that a trusted proxy tells.
//!
//! A proxy appends the address that it saw to what its client sent. So the list is read from its end,
//! over those that are trusted themselves: what an untrusted client wrote before is never reached.

use std::net::IpAddr;

use axum::http::HeaderMap;
use imflow_kind::Network;

/// Where the address of a client stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAddress {
    /// Nobody stands between.
    #[default]
    Socket,
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
    /// The first bytes of each connection.
    ProxyProtocol,
}

impl ClientAddress {
    /// The words of the option, as in the file.
    pub fn read(word: &str) -> Option<Self> {
        match word {
            "socket" => Some(Self::Socket),
            "x-forwarded-for" => Some(Self::XForwardedFor),
            "forwarded" => Some(Self::Forwarded),
            "proxy-protocol" => Some(Self::ProxyProtocol),
            _ => None,
        }
    }

    /// The client of a request that came from `peer` with these headers.
    pub(super) fn of_request(
        self,
        peer: IpAddr,
        headers: &HeaderMap,
        trusted: &[Network],
    ) -> IpAddr {
        let (name, of_element): (_, fn(&str) -> Option<IpAddr>) = match self {
            Self::Socket | Self::ProxyProtocol => return peer,
            Self::XForwardedFor => ("x-forwarded-for", with_or_without_port),
            Self::Forwarded => ("forwarded", forwarded_for),
        };
        let trusts = |ip: IpAddr| trusted.iter().any(|network| network.contains(ip));
        let values: Vec<_> =
            headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        let told = values.iter().rev().flat_map(|value| value.rsplit(','));
        let mut client = peer;
        for element in told {
            if !trusts(client) {
                break;
            }
            match of_element(element.trim()) {
                Some(ip) => client = ip,
                // The proxy itself knew no better.
                None => break,
            }
        }
        client
    }
}

/// `192.0.2.7`, `192.0.2.7:443`, `2001:db8::7`, `[2001:db8::7]`, `[2001:db8::7]:443`.
fn with_or_without_port(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']')?.0.parse().ok();
    }
    text.parse().ok().or_else(|| text.rsplit_once(':')?.0.parse().ok())
}

/// The `for` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut named = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    with_or_without_port(named.next()?.1.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(how: ClientAddress, peer: &str, name: &'static str, values: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().expect("a header"));
        }
        let trusted = ["10.0.0.0/8".parse().expect("a network")];
        how.of_request(peer.parse().expect("an address"), &headers, &trusted).to_string()
    }

    #[test]
    fn a_trusted_proxy_tells_the_client_and_what_the_client_wrote_is_not_reached() {
        let of = |peer, values: &[&str]| {
            client(ClientAddress::XForwardedFor, peer, "x-forwarded-for", values)
        };
        assert_eq!(of("10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(of("10.0.0.1", &["1.1.1.1, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(of("10.0.0.1", &["1.1.1.1", "203.0.113.9, 10.0.0.2"]), "203.0.113.9");
        assert_eq!(of("10.0.0.1", &["[2001:db8::7]:443"]), "2001:db8::7");
        assert_eq!(of("10.0.0.1", &["203.0.113.9:5000"]), "203.0.113.9");
        assert_eq!(of("10.0.0.1", &["unknown"]), "10.0.0.1");
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn nobody_else_is_believed() {
        let of = |how| client(how, "203.0.113.66", "x-forwarded-for", &["1.1.1.1"]);
        assert_eq!(of(ClientAddress::XForwardedFor), "203.0.113.66");
        let of = |how| client(how, "10.0.0.1", "x-forwarded-for", &["1.1.1.1"]);
        assert_eq!(of(ClientAddress::Socket), "10.0.0.1");
        // The other header is not looked at: a proxy that sets one lets the other through.
        assert_eq!(of(ClientAddress::Forwarded), "10.0.0.1");
    }

    #[test]
    fn forwarded_is_read_as_its_standard_has_it() {
        let of = |value| client(ClientAddress::Forwarded, "10.0.0.1", "forwarded", &[value]);
        assert_eq!(of("for=192.0.2.60;proto=http;by=203.0.113.43"), "192.0.2.60");
        assert_eq!(of("for=1.1.1.1, For=\"[2001:db8:cafe::17]:4711\""), "2001:db8:cafe::17");
        assert_eq!(of("for=_hidden"), "10.0.0.1");
    }
}
