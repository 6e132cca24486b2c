//! Listeners: the short list and the tables, brought into one form and checked against each other.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::config::reading::{
    FromText, InvalidValue, Required, Section, SettingType, SettingsReader, section, text,
};
use crate::config::sections::server::Server;
use crate::model::network;
use ipnet::IpNet;

/// What a socket file's name may have, without the NUL that ends it (`sun_path`, unix(7)).
const LONGEST_PATH: usize = 107;
/// The owner and the group may connect.
const SOCKET_MODE: u32 = 0o660;

section! {
    /// A place where clients connect.
    Listener {
        /// As in `listen`: an address with port, `unix:FILE`, `systemd` or `systemd:NAME`.
        address: Required<ListenAddress>, r#""unix:/run/doorward/doorward.sock""#;
        /// Permissions of the socket file, in octal digits. By default its owner and group may connect: `0660`.
        mode: Option<FileMode>, r#""0666""#;
        /// Whether TLS is spoken. By default where `server.tls` is set, but not on socket files.
        tls: Option<bool>, "false";
        /// `off` or `required`, instead of `server.proxy_protocol`.
        proxy_protocol: Option<ProxyProtocol>, r#""required""#;
    }
}

/// One place where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Where.
    pub address: ListenAddress,
    /// Permissions of the socket file, where there is one.
    pub mode: u32,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Whether every connection begins with a PROXY protocol header, from peers that may send one.
    pub proxy_protocol: bool,
}

impl ListenerConfig {
    /// Without TLS and PROXY protocol.
    pub fn plain(address: ListenAddress) -> Self {
        Self { address, mode: SOCKET_MODE, tls: false, proxy_protocol: false }
    }
}

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// A socket file.
    Unix(PathBuf),
    /// Sockets handed over by the service manager: those of this name, or all that no other listener names.
    Inherited(Option<String>),
}

impl ListenAddress {
    /// Reads `127.0.0.1:8080`, `unix:/run/doorward.sock`, `systemd` or `systemd:NAME`.
    pub(in crate::config) fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(path) = text.strip_prefix("unix:") {
            let is_name = !path.is_empty() && !path.ends_with('/') && !path.contains('\0');
            return is_name.then(|| Self::Unix(path.into())).ok_or(
                "names no socket file: write unix: and its name, such as \"unix:/run/doorward/doorward.sock\"",
            );
        }
        if text == "systemd" {
            return Ok(Self::Inherited(None));
        }
        if let Some(name) = text.strip_prefix("systemd:") {
            let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic() && c != ':');
            return is_name
                .then(|| Self::Inherited(Some(name.to_owned())))
                .ok_or("names no socket: write systemd: and the FileDescriptorName of the socket unit");
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            "is not an address to listen on: write an IP address, not a name, and a port, such as \"127.0.0.1:8080\", \
             or unix:FILE, or systemd"
        })
    }

    /// Whether other machines may reach it; this is not known of an inherited socket before it is there.
    fn is_open(&self) -> bool {
        matches!(self, Self::Tcp(address) if !address.ip().is_loopback())
    }

    /// Whether two listeners would be one.
    pub(in crate::config) fn is_same(&self, other: &Self) -> bool {
        self == other && !matches!(self, Self::Tcp(address) if address.port() == 0)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inherited(None) => f.write_str("systemd"),
            Self::Inherited(Some(name)) => write!(f, "systemd:{name}"),
        }
    }
}

/// Every listener, those of the short list first.
pub(in crate::config) fn listeners(server: &Server, reader: &mut SettingsReader) -> Vec<ListenerConfig> {
    let list = server.at("listen");
    // The built-in address is for those who name no listener at all.
    let short = if server.listeners.is_empty() || reader.is_set(&list) { &*server.listen } else { &[] };
    let mut all = Vec::new();
    for address in short {
        let address = placed(address, &list, reader);
        all.push(complete(address, None, server));
    }
    for listener in &server.listeners {
        let Some(address) = &listener.address.0 else { continue };
        let address = placed(address, &listener.at("address"), reader);
        if listener.mode.is_some() && !matches!(address, ListenAddress::Unix(_)) {
            reader.problem(&listener.at("mode"), "is for socket files only", "leave it out");
        }
        if listener.tls == Some(true) && !speaks_tls(server) {
            let remedy = "set server.tls or server.acme, or leave it out";
            reader.problem(&listener.at("tls"), "needs a certificate", remedy);
        }
        all.push(complete(address, Some(listener), server));
    }
    if all.is_empty() && !reader.is_broken(&list) && !reader.is_broken(&server.at("listeners")) {
        reader.problem(&list, "is empty", "write for example [\"127.0.0.1:8080\"]");
    }
    for (index, listener) in all.iter().enumerate() {
        let address = &listener.address;
        if all.iter().skip(index + 1).any(|other| other.address.is_same(address)) {
            reader.problem(&list, format!("names {address} twice"), "leave one of them out");
        }
    }
    if let Some(ops) = &server.ops_listen {
        placed(ops, &server.at("ops_listen"), reader);
        if all.iter().any(|listener| listener.address.is_same(ops)) {
            reader.problem(&server.at("ops_listen"), "is one of `listen`", "choose another port or file");
        }
    }
    if all.iter().any(|listener| listener.proxy_protocol)
        && server.proxy_protocol_from.is_empty()
        && !reader.is_broken(&server.at("proxy_protocol_from"))
    {
        reader.problem(
            &server.at("proxy_protocol_from"),
            "is empty, but a listener requires the PROXY protocol: nobody could connect",
            "name the addresses your proxy connects from, such as [\"10.1.2.3\"], or \"unix\" for socket files",
        );
    }
    all
}

fn complete(address: ListenAddress, written: Option<&Listener>, server: &Server) -> ListenerConfig {
    let is_file = matches!(address, ListenAddress::Unix(_));
    let said = written.and_then(|listener| listener.tls);
    ListenerConfig {
        mode: written.and_then(|listener| listener.mode).map_or(SOCKET_MODE, |mode| mode.0),
        tls: speaks_tls(server) && said.unwrap_or(!is_file),
        proxy_protocol: written
            .and_then(|listener| listener.proxy_protocol)
            .unwrap_or(server.proxy_protocol)
            .0,
        address,
    }
}

fn speaks_tls(server: &Server) -> bool {
    server.tls.is_some() || server.acme.is_some()
}

/// The address with its file name made relative to the configuration file's directory.
pub(in crate::config) fn placed(
    address: &ListenAddress,
    path: &str,
    reader: &mut SettingsReader,
) -> ListenAddress {
    let ListenAddress::Unix(file) = address else { return address.clone() };
    let file = resolved(file, reader);
    if file.as_os_str().len() > LONGEST_PATH {
        let what = format!("names a socket file of more than {LONGEST_PATH} bytes, which no system can open");
        reader.problem(path, what, "choose a shorter path, such as \"unix:/run/doorward/doorward.sock\"");
    }
    ListenAddress::Unix(file)
}

fn resolved(file: &Path, reader: &SettingsReader) -> PathBuf {
    file.to_str().map_or_else(|| file.to_owned(), |name| reader.resolve(name))
}

/// What `server.ops_listen` means.
pub(in crate::config) fn ops(server: &Server, reader: &SettingsReader) -> Option<ListenAddress> {
    server.ops_listen.as_ref().map(|address| match address {
        ListenAddress::Unix(file) => ListenAddress::Unix(resolved(file, reader)),
        other => other.clone(),
    })
}

/// Addresses that other machines may reach, if any: (with TLS, without).
pub(in crate::config) fn open(
    listeners: &[ListenerConfig],
) -> (Option<&ListenAddress>, Option<&ListenAddress>) {
    let first = |tls: bool| {
        let mut open = listeners.iter().filter(|listener| listener.tls == tls && listener.address.is_open());
        open.next().map(|listener| &listener.address)
    };
    (first(true), first(false))
}

/// A network whose peers are believed; `unix` stands for those on socket files.
pub(in crate::config) fn trusted_network(text: &str) -> Result<TrustedNetwork, InvalidValue> {
    const ADVICE: &str = "write the addresses of your own proxies, such as \"10.1.2.3\" or \"10.1.0.0/16\"";
    if text == "unix" {
        return Ok(TrustedNetwork(network::UNIX_PEER.into()));
    }
    if text == "*" {
        return Err(InvalidValue::new(
            "would believe X-Forwarded-* headers of everyone, so that anyone could pose as any client",
            ADVICE,
        ));
    }
    let found =
        network::parse(text).map_err(|_| InvalidValue::new("is neither an address nor a network", ADVICE))?;
    let least = if found.addr().is_ipv4() { 8 } else { 16 };
    if found.prefix_len() < least {
        let what = format!(
            "spans more than a /{least}: so many strangers' X-Forwarded-* headers would be believed that anyone could pose as any client"
        );
        return Err(InvalidValue::new(what, ADVICE));
    }
    // Peers on socket files are meant only where they are named.
    if found.contains(&network::UNIX_PEER) || found.contains(&IpAddr::from([0_u16; 8])) {
        return Err(InvalidValue::new("holds no address a peer can have", ADVICE));
    }
    Ok(TrustedNetwork(found.trunc()))
}

/// Whether connections begin with a PROXY protocol header.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct ProxyProtocol(pub(in crate::config) bool);

impl FromText for ProxyProtocol {
    const WHAT: &'static SettingType = &SettingType::Choice(&["off", "required"]);

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        match text {
            "off" => Ok(Self(false)),
            "required" => Ok(Self(true)),
            _ => Err("is neither: write \"off\" or \"required\"".into()),
        }
    }
}

/// Permission bits of a file.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct FileMode(pub(in crate::config) u32);

impl FromText for FileMode {
    const WHAT: &'static SettingType = &SettingType::Text("permissions such as \"0660\"");

    fn from_text(text: &str) -> Result<Self, InvalidValue> {
        match u32::from_str_radix(text, 8) {
            Ok(mode) if mode & !0o777 == 0 && mode & 0o600 == 0o600 && !text.starts_with('+') => {
                Ok(Self(mode))
            }
            _ => Err("is not a file mode: write octal digits with 6 for the owner, such as \"0660\"".into()),
        }
    }
}

/// A network whose peers are believed.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct TrustedNetwork(pub(in crate::config) IpNet);

text! {
    ListenAddress, "an address and port such as \"127.0.0.1:8080\", unix:FILE or systemd", |text| Self::parse(text).map_err(InvalidValue::from);
    TrustedNetwork, "a network such as \"10.0.0.0/8\"", trusted_network;
}
