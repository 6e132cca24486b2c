//! Public, internal and forbidden addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::model::network;

/// The kind of network that an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressClass {
    /// The internet.
    Public,
    /// This machine, a private network, or a special purpose.
    Internal,
    /// No host name leads there: link-local, multicast, unspecified, or a cloud's metadata service, which hands out
    /// credentials to the machine that asks.
    Forbidden,
}

/// What no host name leads to. Most metadata services have a link-local address; the others are listed by cloud.
const FORBIDDEN: &[IpNet] = &[
    v4([0, 0, 0, 0], 8),          // this network (RFC 1122, 3.2.1.3): Linux goes to itself
    v4([169, 254, 0, 0], 16),     // link-local (RFC 3927): AWS, Azure, Google, Oracle and others
    v4([224, 0, 0, 0], 3),        // multicast (RFC 5771), reserved, broadcast (RFC 1112, 4)
    v4([100, 100, 100, 200], 32), // Alibaba
    v4([168, 63, 129, 16], 32),   // Azure
    v4([192, 0, 0, 192], 32),     // Oracle
    v6(0, 128),                   // unspecified (RFC 4291, 2.5.2)
    v6(0xfe80 << 112, 10),        // link-local (RFC 4291, 2.5.6)
    v6(0xff00 << 112, 8),         // multicast (RFC 4291, 2.7)
    v6(0xfd00_0ec2 << 96, 32),    // AWS
    v6(0xfd20_00ce << 96 | 0x254, 128), // Google
];

/// What is not public, by the registries of special-purpose addresses (RFC 6890).
const INTERNAL_4: &[IpNet] = &[
    v4([10, 0, 0, 0], 8),      // private (RFC 1918)
    v4([100, 64, 0, 0], 10),   // shared (RFC 6598)
    v4([127, 0, 0, 0], 8),     // loopback
    v4([172, 16, 0, 0], 12),   // private
    v4([192, 0, 0, 0], 24),    // protocols (RFC 6890)
    v4([192, 0, 2, 0], 24),    // examples (RFC 5737)
    v4([192, 88, 99, 0], 24),  // relays of 6to4 (RFC 7526)
    v4([192, 168, 0, 0], 16),  // private
    v4([198, 18, 0, 0], 15),   // benchmarks (RFC 2544)
    v4([198, 51, 100, 0], 24), // examples
    v4([203, 0, 113, 0], 24),  // examples
];

/// Global unicast of IPv6 (RFC 4291, 2.5.4), and the blocks of it that are not public.
const GLOBAL_6: IpNet = v6(0x2000 << 112, 3);
const INTERNAL_6: &[IpNet] = &[
    v6(0x2001 << 112, 23),     // protocols, Teredo among them (RFC 2928, RFC 4380)
    v6(0x2001_0db8 << 96, 32), // examples (RFC 3849)
    v6(0x2002 << 112, 16),     // 6to4, which holds any address of IPv4 (RFC 3056)
    v6(0x3fff << 112, 20),     // examples (RFC 9637)
];

/// Translation to IPv4 for hosts without it; the IPv4 address is in the last four bytes (RFC 6052, 2.1).
const NAT64: IpNet = v6(0x0064_ff9b << 96, 96);

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(bits: u128, prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), prefix))
}

impl AddressClass {
    pub(super) fn of(address: IpAddr) -> Self {
        let address = without_translation(address);
        let within = |networks| network::contains(networks, address);
        if within(FORBIDDEN) {
            Self::Forbidden
        } else if address.is_ipv4() && !within(INTERNAL_4) || within(&[GLOBAL_6]) && !within(INTERNAL_6) {
            Self::Public
        } else {
            Self::Internal
        }
    }
}

/// The IPv4 address within an IPv6 one, where packets go to that.
fn without_translation(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if network::contains(&[NAT64], address) => {
            let [.., a, b, c, d] = v6.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn all(class: AddressClass, addresses: &[&str]) {
        for address in addresses {
            assert_eq!(AddressClass::of(address.parse().unwrap()), class, "{address}");
        }
    }

    #[test]
    fn addresses_of_the_internet_are_public() {
        let v4 = ["1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.0.0.1"];
        all(AddressClass::Public, &v4);
        all(
            AddressClass::Public,
            &["172.15.255.255", "172.32.0.0", "192.167.0.1", "198.20.0.0", "223.255.255.255"],
        );
        all(AddressClass::Public, &["168.63.129.17", "169.253.0.1", "169.255.0.1", "128.0.0.1"]);
        all(AddressClass::Public, &["2606:4700::1111", "2a00:1450:4001::5e", "2001:200::1", "2001:db7::1"]);
        all(AddressClass::Public, &["::ffff:1.1.1.1", "64:ff9b::1.1.1.1"]);
    }

    #[test]
    fn loopback_and_private_networks_are_internal() {
        all(
            AddressClass::Internal,
            &["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1"],
        );
        all(
            AddressClass::Internal,
            &["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"],
        );
        all(
            AddressClass::Internal,
            &["192.0.0.1", "192.0.2.1", "198.18.0.1", "198.19.0.1", "198.51.100.1", "203.0.113.1"],
        );
        all(
            AddressClass::Internal,
            &["fc00::1", "fd12:3456::1", "fec0::1", "64:ff9b:1::1", "100::1", "5f00::1"],
        );
        all(
            AddressClass::Internal,
            &["2001::1", "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::", "3fff::1"],
        );
        all(AddressClass::Internal, &["::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "::1.1.1.1", "192.88.99.1"]);
    }

    #[test]
    fn metadata_services_and_what_is_no_unicast_are_forbidden() {
        all(
            AddressClass::Forbidden,
            &["169.254.169.254", "169.254.170.2", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"],
        );
        all(
            AddressClass::Forbidden,
            &["100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"],
        );
        all(
            AddressClass::Forbidden,
            &["0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"],
        );
        all(AddressClass::Forbidden, &["fe80::1", "febf::1", "fe80::a9fe:a9fe", "ff02::1", "64:ff9b::"]);
    }
}
