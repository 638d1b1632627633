//! Networks in CIDR notation.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A network: `10.0.0.0/8`, `2001:db8::/32`, or a single address without a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    length: u8,
}

impl Network {
    /// Whether an address lies in the network. An IPv4 address that is mapped into IPv6
    /// (`::ffff:10.0.0.1`) counts as itself.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && (bits(address) ^ bits(self.address)) & self.mask() == 0
    }

    /// The bits that count, where addresses stand at the upper end of 128 bits.
    fn mask(&self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0)
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6),
    }
}

/// Why a text is no network: a lower-case fragment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not `address/length`.
    #[error("expected a network such as \"10.0.0.0/8\" or \"2001:db8::/32\"")]
    Form,
    /// There are bits behind the length.
    #[error("the address has bits behind its length; the network is \"{0}\"")]
    HostBits(Network),
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Form)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let digits = |length: &str| length.bytes().all(|byte| byte.is_ascii_digit());
        let length = match length {
            None => longest,
            Some(length) if digits(length) => length.parse().map_err(|_| NetworkError::Form)?,
            Some(_) => return Err(NetworkError::Form),
        };
        if length > longest {
            return Err(NetworkError::Form);
        }
        let typed = Network { address, length };
        let first = bits(address) & typed.mask();
        if first == bits(address) {
            return Ok(typed);
        }
        let address = match address {
            IpAddr::V4(_) => IpAddr::V4(((first >> 96) as u32).into()),
            IpAddr::V6(_) => IpAddr::V6(first.into()),
        };
        Err(NetworkError::HostBits(Network { address, length }))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lie_in_networks() {
        for (network, address, want) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("10.0.0.0/8", "a00::", false),
            ("198.51.100.7", "198.51.100.7", true),
            ("198.51.100.7", "198.51.100.6", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "203.0.113.9", false),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("192.0.2.128/25", "192.0.2.127", false),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(parsed.contains(address.parse().unwrap()), want, "{address} in {network}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/+8", "x", "10.0.0.0/8/8"]
        {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Form), "{text}");
        }
        for (text, network) in [("10.0.0.1/8", "10.0.0.0/8"), ("2001:db8::1/32", "2001:db8::/32")] {
            let error = text.parse::<Network>().unwrap_err();
            assert!(error.to_string().contains(network), "{error}");
        }
    }
}
