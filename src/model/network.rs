//! Client addresses: their throttle bucket, and the networks they are in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// What stands for a peer without an address, one on a socket file: no network peer can have it (RFC 1122, 3.2.1.3).
pub const UNIX_PEER: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The network a client is throttled by: the address for IPv4, the /64 for IPv6.
///
/// One subscriber usually owns a whole IPv6 /64, so a single address is no identity there.
pub fn throttle_bucket(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Whether `address` lies in one of `networks`. IPv4-mapped IPv6 addresses count as IPv4.
pub fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// The address in the one form that is compared, if a client can have it: not the unspecified one, which stands
/// for peers on socket files, no multicast, and no IPv4-compatible IPv6, which some read as IPv4 (RFC 4291, 2.5.5.1).
pub fn of_client(address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    let compatible = match address {
        IpAddr::V6(v6) => v6.segments().starts_with(&[0; 6]) && v6 != Ipv6Addr::LOCALHOST,
        IpAddr::V4(_) => false,
    };
    (!address.is_unspecified() && !address.is_multicast() && !compatible).then_some(address)
}

/// Reads `10.0.0.0/8` or a bare address, which stands for itself alone (/32 or /128).
///
/// # Errors
///
/// A sentence that says what an entry looks like.
pub fn parse(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("`{text}` is neither an address nor a network such as 10.0.0.0/8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_neighbours_share_a_bucket_and_ipv4_ones_do_not() {
        let bucket = |text: &str| throttle_bucket(text.parse().unwrap());
        assert_eq!(bucket("2001:db8::1"), bucket("2001:db8::ffff:1"));
        assert_ne!(bucket("2001:db8::1"), bucket("2001:db8:0:1::1"));
        assert_ne!(bucket("192.0.2.1"), bucket("192.0.2.2"));
        assert_eq!(bucket("::ffff:192.0.2.1"), bucket("192.0.2.1"));
    }

    #[test]
    fn a_bare_address_is_a_network_of_one() {
        let networks = [parse("2001:db8::1").unwrap(), parse("10.0.0.0/8").unwrap()];
        let inside = |text: &str| contains(&networks, text.parse().unwrap());
        assert!(inside("2001:db8::1") && inside("10.9.9.9") && inside("::ffff:10.1.1.1"));
        assert!(!inside("2001:db8::2") && !inside("11.0.0.1"));
        assert!(parse("*").is_err());
    }
}
