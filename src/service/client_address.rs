//! Which address a request comes from, when proxies stand in between.
//!
//! A proxy that is trusted tells whom it speaks for in `X-Forwarded-For`, at the end of what it was told itself. So the
//! list is read from its end, for as long as the one who speaks is trusted: what a client puts there itself stands to
//! the left of what the proxy saw, and is never reached.
//!
//! Not for: what is done with the address.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// Bits of an IPv6 address that one customer has; the rest are theirs to choose from.
const IPV6_PREFIX_BITS: u32 = 64;

/// The address of the client. `forwarded`: the values of `X-Forwarded-For`, in their order.
pub fn client_address<'a>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &[IpNet],
) -> IpAddr {
    let mut client = peer.to_canonical();
    for hop in forwarded.rev().flat_map(|value| value.rsplit(',')) {
        if !is_in(client, trusted) {
            break;
        }
        // What no proxy writes is no address: the last one that is known counts.
        let Some(next) = parse_hop(hop) else { break };
        client = next;
    }
    client
}

/// True when one of `networks` has the address.
pub fn is_in(address: IpAddr, networks: &[IpNet]) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// What limits are keyed by: an IPv4 address, or the network that an IPv6 address is one of many of.
pub fn limit_key(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << (u128::BITS - IPV6_PREFIX_BITS));
            format!("{}/{IPV6_PREFIX_BITS}", Ipv6Addr::from_bits(network))
        }
    }
}

/// An address as proxies write it: bare, in brackets, with or without a port.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|at| at.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn client(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        client_address(peer.parse().unwrap(), forwarded.iter().copied(), &trusted).to_string()
    }

    const TRUSTED: &[&str] = &["127.0.0.0/8", "::1/128", "10.0.0.0/8"];

    #[test]
    fn the_rightmost_hop_that_no_trusted_proxy_is_counts() {
        for (peer, forwarded, expected) in [
            ("198.51.100.1", &[][..], "198.51.100.1"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            // What the client wrote itself stands to the left of what the proxy saw.
            ("127.0.0.1", &["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
            ("127.0.0.1", &["127.0.0.1, 203.0.113.9"], "203.0.113.9"),
            ("127.0.0.1", &["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
            // Two proxies of ours, one behind the other.
            ("127.0.0.1", &["203.0.113.9, 10.0.0.7"], "203.0.113.9"),
            ("127.0.0.1", &["203.0.113.9", "10.0.0.7"], "203.0.113.9"),
            // Everybody on the way is one of ours.
            ("127.0.0.1", &["10.0.0.8, 10.0.0.7"], "10.0.0.8"),
            // Someone who is not trusted speaks for himself only.
            ("198.51.100.1", &["203.0.113.9"], "198.51.100.1"),
            ("::ffff:127.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
            ("::1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("::1", &["[2001:db8::1]"], "2001:db8::1"),
            ("::1", &["2001:db8::1"], "2001:db8::1"),
            ("127.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("127.0.0.1", &["203.0.113.9, unknown"], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.9, "], "127.0.0.1"),
            ("127.0.0.1", &["6.6.6.6, nonsense, 10.0.0.7"], "10.0.0.7"),
        ] {
            assert_eq!(client(peer, forwarded, TRUSTED), expected, "{peer} {forwarded:?}");
        }
        assert_eq!(client("127.0.0.1", &["203.0.113.9"], &[]), "127.0.0.1");
    }

    #[test]
    fn all_addresses_of_an_ipv6_network_are_one_client() {
        let key = |address: &str| limit_key(address.parse().unwrap());
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(key("2001:db8:1:2::"), key("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(key("2001:db8:1:2::"), key("2001:db8:1:3::"));
        assert_eq!(key("203.0.113.9"), "203.0.113.9");
    }
}
