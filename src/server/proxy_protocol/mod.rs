//! The PROXY protocol, versions 1 and 2: a header before everything else in which a proxy names its client.
//!
//! Believed only on listeners that require it and from peers that may send it; see `super::listener`.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::stream::ClientStream;
use crate::model::network;

/// How every header of version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// How every header of version 1 begins.
const WORD: &[u8] = b"PROXY ";
/// The longest line of version 1, its CR LF included.
const LONGEST_LINE: usize = 107;
/// Signature, version and command, family, length.
const FIXED: usize = 16;
/// The longest header of version 2. Addresses take 36 bytes and what proxies add to them some hundreds.
const LONGEST: usize = 2048;

/// What the bytes read so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header; every byte so far belongs to it.
    More,
    /// A whole header.
    Header(ProxyHeader),
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// How many bytes it has.
    pub length: usize,
    /// Whose connection it is.
    pub sender: ProxiedSource,
}

/// Whose connection a header says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxiedSource {
    /// That of the client at this address.
    Client(IpAddr),
    /// The proxy's own, such as a health check.
    Proxy,
    /// That of a client of whom the proxy cannot tell where it is.
    Unknown,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyHeaderError {
    /// Something else, such as an HTTP request or TLS.
    #[error("no PROXY protocol header")]
    NotProxy,
    /// A header, but not as the protocol has it.
    #[error("a malformed PROXY protocol header")]
    Syntax,
    /// Longer than any header needs to be.
    #[error("a PROXY protocol header that is too long")]
    TooLong,
    /// Not a stream connection, or a version or command that does not exist.
    #[error("a PROXY protocol header of an unknown kind")]
    Unsupported,
    /// An address that no client can have.
    #[error("a PROXY protocol header with an impossible client address")]
    Address,
}

/// Reads a header at the beginning of `bytes`; what follows it is not looked at.
///
/// # Errors
///
/// [`ProxyHeaderError`] as soon as no further bytes can make a header of these.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    if begins(bytes, SIGNATURE) {
        return if bytes.len() < SIGNATURE.len() { Ok(Parsed::More) } else { version_2(bytes) };
    }
    if begins(bytes, WORD) {
        return if bytes.len() < WORD.len() { Ok(Parsed::More) } else { version_1(bytes) };
    }
    Err(ProxyHeaderError::NotProxy)
}

/// Whether one of the two is the beginning of the other.
fn begins(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.iter().zip(mark).all(|(a, b)| a == b)
}

fn version_1(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    let within = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
    let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() < LONGEST_LINE { Ok(Parsed::More) } else { Err(ProxyHeaderError::TooLong) };
    };
    let line = within.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(ProxyHeaderError::Syntax)?;
    let line = std::str::from_utf8(line).map_err(|_| ProxyHeaderError::Syntax)?;
    let mut words = line.split(' ').skip(1);
    let client = match words.next() {
        // Whatever follows is to be ignored.
        Some("UNKNOWN") => {
            return Ok(Parsed::Header(ProxyHeader { length: end + 1, sender: ProxiedSource::Unknown }));
        }
        Some("TCP4") => line_addresses::<Ipv4Addr>(words)?.into(),
        Some("TCP6") => line_addresses::<Ipv6Addr>(words)?.into(),
        _ => return Err(ProxyHeaderError::Unsupported),
    };
    Ok(Parsed::Header(ProxyHeader { length: end + 1, sender: ProxiedSource::Client(plausible(client)?) }))
}

/// Source and destination address, source and destination port, nothing else; gives the source.
fn line_addresses<'l, A: FromStr>(mut words: impl Iterator<Item = &'l str>) -> Result<A, ProxyHeaderError> {
    let mut next = || words.next().ok_or(ProxyHeaderError::Syntax);
    let (source, destination, ports) = (next()?, next()?, [next()?, next()?]);
    let source = source.parse().map_err(|_| ProxyHeaderError::Syntax)?;
    destination.parse::<A>().map_err(|_| ProxyHeaderError::Syntax)?;
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && (port == "0" || !port.starts_with('0'))
            && port.parse::<u16>().is_ok()
    };
    if !ports.into_iter().all(is_port) || words.next().is_some() {
        return Err(ProxyHeaderError::Syntax);
    }
    Ok(source)
}

fn version_2(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    let Some(&[version_and_command, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED) else {
        return Ok(Parsed::More);
    };
    let is_local = match version_and_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyHeaderError::Unsupported),
    };
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST {
        return Err(ProxyHeaderError::TooLong);
    }
    let Some(rest) = bytes.get(FIXED..length) else { return Ok(Parsed::More) };
    let source = match (is_local, family) {
        (true, _) => return Ok(Parsed::Header(ProxyHeader { length, sender: ProxiedSource::Proxy })),
        // A family without addresses for us: a socket file on the proxy's side, or unknown.
        (false, 0x00 | 0x31) => {
            return Ok(Parsed::Header(ProxyHeader { length, sender: ProxiedSource::Unknown }));
        }
        (false, 0x11) => {
            let [addresses @ .., _, _, _, _] = rest.first_chunk::<12>().ok_or(ProxyHeaderError::Syntax)?;
            IpAddr::from(*addresses.first_chunk::<4>().ok_or(ProxyHeaderError::Syntax)?)
        }
        (false, 0x21) => {
            let addresses = rest.first_chunk::<36>().ok_or(ProxyHeaderError::Syntax)?;
            IpAddr::from(*addresses.first_chunk::<16>().ok_or(ProxyHeaderError::Syntax)?)
        }
        _ => return Err(ProxyHeaderError::Unsupported),
    };
    Ok(Parsed::Header(ProxyHeader { length, sender: ProxiedSource::Client(plausible(source)?) }))
}

fn plausible(address: IpAddr) -> Result<IpAddr, ProxyHeaderError> {
    network::of_client(address).ok_or(ProxyHeaderError::Address)
}

/// Why a connection is refused before its first byte of TLS or HTTP.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// What came is no header.
    #[error(transparent)]
    Malformed(#[from] ProxyHeaderError),
    /// The connection broke off, or could not be read.
    #[error("the connection ended before its PROXY protocol header")]
    Ended(#[from] std::io::Error),
}

/// Takes the header, and not a byte more, off a connection. Says whose connection it is.
///
/// # Errors
///
/// [`Refused`]; then the connection must be closed.
pub async fn receive(stream: &mut ClientStream) -> Result<ProxiedSource, Refused> {
    let mut buffer = [0_u8; LONGEST];
    let mut taken = 0;
    loop {
        let free = buffer.get_mut(taken..).unwrap_or_default();
        let seen = stream.peek(free).await?;
        if seen == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        let known = buffer.get(..taken + seen).unwrap_or_default();
        let (end, sender) = match parse(known)? {
            Parsed::More => (taken + seen, None),
            Parsed::Header(header) => (header.length, Some(header.sender)),
        };
        let part = buffer.get_mut(taken..end).unwrap_or_default();
        tokio::io::AsyncReadExt::read_exact(stream, part).await?;
        if let Some(sender) = sender {
            return Ok(sender);
        }
        taken = end;
    }
}
