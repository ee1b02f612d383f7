//! Networks of IP addresses, as options name them: `"10.0.0.0/8"`, `"2001:db8::/32"`, `"192.0.2.7"`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text is no network.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no network: expected an IP address, or one with the length of its prefix, like \"10.0.0.0/8\""
)]
pub struct NoNetwork(String);

impl Network {
    /// Whether the address belongs to it. An IPv4 address that came in the clothes of IPv6 is what it is.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                prefix(u128::from(network.to_bits()) << 96, self.bits)
                    == prefix(u128::from(ip.to_bits()) << 96, self.bits)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                prefix(network.to_bits(), self.bits) == prefix(ip.to_bits(), self.bits)
            }
            _ => false,
        }
    }
}

fn prefix(address: u128, bits: u8) -> u128 {
    address.checked_shr(128 - u32::from(bits)).unwrap_or(0)
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let no = || NoNetwork(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| no())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| no()))?;
        if bits > most { Err(no()) } else { Ok(Self { address, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(network: &str, ip: &str) -> bool {
        let network: Network = network.parse().expect("a network");
        network.contains(ip.parse().expect("an address"))
    }

    #[test]
    fn a_network_holds_what_shares_its_prefix() {
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(holds("192.0.2.7", "192.0.2.7") && !holds("192.0.2.7", "192.0.2.6"));
        assert!(holds("0.0.0.0/0", "203.0.113.9") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("2001:db8::/32", "2001:db8:9::1") && !holds("2001:db8::/32", "2001:db9::1"));
        assert!(holds("::/0", "2001:db8::1"));
    }

    #[test]
    fn what_is_no_network_is_told() {
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "proxy", "::1/129", "10.0.0.0/x"] {
            assert_eq!(wrong.parse::<Network>(), Err(NoNetwork(wrong.into())));
        }
    }
}
