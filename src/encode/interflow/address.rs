//! IP addresses as Interflow tells them apart: version, and private or public.

use std::net::{IpAddr, Ipv4Addr};

/// The address that a text is. Most are dotted quads, for which the general parser takes five times
/// as long.
pub(super) fn parse(text: &[u8]) -> Option<IpAddr> {
    dotted_quad(text).map(IpAddr::V4).or_else(|| std::str::from_utf8(text).ok()?.parse().ok())
}

fn dotted_quad(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut rest = text;
    for (place, octet) in octets.iter_mut().enumerate() {
        if place > 0 {
            rest = rest.strip_prefix(b".")?;
        }
        *octet = take_octet(&mut rest)?;
    }
    rest.is_empty().then(|| Ipv4Addr::from(octets))
}

/// Takes a number up to 255, without zeros before it, from the start of `rest`.
#[inline(always)]
fn take_octet(rest: &mut &[u8]) -> Option<u8> {
    let digit = |byte: u8| byte.wrapping_sub(b'0');
    let (first, mut after) = rest.split_first()?;
    let mut number = u32::from(digit(*first));
    if number > 9 {
        return None;
    }
    // behind a zero no digit may follow: the next thing has to be a dot
    while number > 0
        && let Some((next, behind)) = after.split_first()
        && digit(*next) < 10
    {
        number = number * 10 + u32::from(digit(*next));
        if number > 255 {
            return None;
        }
        after = behind;
    }
    *rest = after;
    u8::try_from(number).ok()
}

/// Whether an address is one of RFC 1918 or RFC 6598, loopback, link-local or unique local; an IPv4
/// address mapped into IPv6 is judged as itself.
pub(super) fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local() || is_shared(v4),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// 100.64.0.0/10, shared behind carriers' address translation (RFC 6598).
fn is_shared(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && (64..128).contains(&second)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_are_read_as_by_the_general_parser(
            text in prop_oneof!["[0-9.]{0,16}", "([0-9]{1,3}\\.){3}[0-9]{1,3}", "[0-9a-f:.]{0,40}", ".{0,9}"],
        ) {
            prop_assert_eq!(parse(text.as_bytes()), text.parse().ok());
        }
    }

    #[test]
    fn private_and_public() {
        for (address, want, number) in [
            ("10.0.0.1", "private", 4),
            ("172.16.0.1", "private", 4),
            ("172.32.0.1", "public", 4),
            ("192.168.255.255", "private", 4),
            ("100.63.255.255", "public", 4),
            ("100.64.0.0", "private", 4),
            ("100.127.255.255", "private", 4),
            ("100.128.0.0", "public", 4),
            ("127.0.0.1", "private", 4),
            ("169.254.169.254", "private", 4),
            ("198.51.100.7", "public", 4),
            ("::1", "private", 6),
            ("fe80::1", "private", 6),
            ("fd00:ec2::254", "private", 6),
            ("2001:db8::1", "public", 6),
            ("::ffff:10.0.0.1", "private", 6),
            ("::ffff:8.8.8.8", "public", 6),
        ] {
            let parsed: IpAddr = address.parse().unwrap();
            let reach = if is_private(parsed) { "private" } else { "public" };
            let version = if parsed.is_ipv4() { 4 } else { 6 };
            assert_eq!((reach, version), (want, number), "{address}");
        }
    }
}
