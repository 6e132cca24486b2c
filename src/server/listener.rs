//! Listeners: bound by ourselves on an address or a socket file, or handed over by the service manager.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustix::fs::{Access, access};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use super::Surface;
use super::admission::{Admission, Full};
use super::stream::Accepted;
use super::tls::Tls;
use super::worker::{AcceptedConnection, Worker};
use crate::model::network;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// A bound listener.
pub struct Listener {
    /// The socket.
    pub socket: Listening,
    /// How TLS is answered, if it is spoken.
    pub tls: Option<Tls>,
    /// What is served on it.
    pub surface: Surface,
    /// Where the PROXY protocol is required: peers that may send its header. Others cannot connect.
    pub proxies: Option<Arc<[IpNet]>>,
}

/// A socket that listens.
pub enum Listening {
    /// On an address.
    Tcp(TcpListener),
    /// On a socket file; ours, unless the service manager made it.
    Unix(UnixListener, Option<SocketFile>),
}

impl Listening {
    /// Where, if it is an IP address.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }

    /// Where, for people to read.
    pub fn place(&self) -> String {
        match self {
            Self::Tcp(socket) => {
                socket.local_addr().map_or_else(|_| "unknown".to_owned(), |it| it.to_string())
            }
            Self::Unix(socket, _) => {
                let address = socket.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                format!("unix:{}", path.unwrap_or(Path::new("?")).display())
            }
        }
    }

    /// The next connection, and the address of its other end.
    ///
    /// # Errors
    ///
    /// If it cannot be accepted, as when descriptors run out.
    pub async fn accept(&self) -> io::Result<(Accepted, IpAddr)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                Ok((Accepted::Tcp(stream.into_std()?), peer.ip()))
            }
            Self::Unix(socket, _) => {
                let (stream, _) = socket.accept().await?;
                Ok((Accepted::Unix(stream.into_std()?), network::UNIX_PEER))
            }
        }
    }
}

/// Listens on an address.
///
/// # Errors
///
/// If the address cannot be bound, for instance because another process has it.
pub fn bind(address: SocketAddr) -> io::Result<Listening> {
    let socket = bound(address)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into()).map(Listening::Tcp)
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Whether an address could be bound; nothing listens on it, not even for a moment.
///
/// # Errors
///
/// As [`bind`] would.
pub fn look(address: SocketAddr) -> io::Result<()> {
    bound(address).map(drop)
}

/// Whether a socket file could be made; nothing is made or removed.
///
/// # Errors
///
/// As [`bind_file`] would.
pub fn look_at_file(path: &Path) -> io::Result<()> {
    is_free(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Listens on a socket file with this `mode`: who may write may connect. A file that a process left behind is
/// replaced; one on which somebody answers is not.
///
/// # Errors
///
/// If the file cannot be made, is no socket, or is in use.
pub fn bind_file(path: &Path, mode: u32) -> io::Result<Listening> {
    if !is_free(path)? {
        fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::made(path)?;
    // No client can connect before it listens, whatever the mode is until then.
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    Ok(Listening::Unix(UnixListener::from_std(socket.into())?, Some(file)))
}

/// Takes over a socket that the service manager listens on; it stays open, and its file in place, when we stop.
///
/// # Errors
///
/// If it does not listen for streams.
pub fn inherit(socket: Socket) -> io::Result<Listening> {
    if !socket.is_listener()? || socket.r#type()? != Type::STREAM {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket does not listen for streams"));
    }
    socket.set_nonblocking(true)?;
    if socket.local_addr()?.is_unix() {
        Ok(Listening::Unix(UnixListener::from_std(socket.into())?, None))
    } else {
        TcpListener::from_std(socket.into()).map(Listening::Tcp)
    }
}

/// Whether there is no file; `false` for one that a process left behind.
fn is_free(path: &Path) -> io::Result<bool> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file exists and is not a socket"));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on the file")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error),
    }
}

/// A socket file we made; removed when dropped, unless something else has its name by then.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn made(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Device and inode of a file.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Accepts connections and hands each to the worker with the fewest, until told to stop.
///
/// One acceptor spreads long-lived connections evenly, which the kernel's own spreading does not; accepting
/// is not on the path of a request.
pub async fn accept(
    listener: Listener,
    workers: Vec<Worker>,
    admission: Admission,
    mut stopping: watch::Receiver<bool>,
) {
    let mut refusals = 0_u64;
    loop {
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            // A sender that is gone means the same.
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: waiting is all that helps, and it must not spin.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let admitted = match &listener.proxies {
            None => admission.admit(peer).map_err(ConnectionRefusal::Full),
            Some(proxies) if network::contains(proxies, peer) => {
                admission.admit_nameless().map_err(ConnectionRefusal::Full)
            }
            Some(_) => Err(ConnectionRefusal::NoProxy),
        };
        let slot = match admitted {
            Ok(slot) => slot,
            Err(refusal) => {
                refusals += 1;
                if refusals.is_power_of_two() {
                    let by = refusal.setting();
                    tracing::warn!(client.ip = %peer, by, refusals, "connections are refused");
                }
                continue;
            }
        };
        let Some(worker) = workers.iter().min_by_key(|worker| worker.load()) else { return };
        worker.take(AcceptedConnection {
            stream,
            peer,
            tls: listener.tls.as_ref().map(Tls::current),
            surface: listener.surface,
            proxied: listener.proxies.is_some(),
            slot,
        });
    }
}

/// Why a connection is refused at once.
enum ConnectionRefusal {
    Full(Full),
    NoProxy,
}

impl ConnectionRefusal {
    fn setting(&self) -> &'static str {
        match self {
            Self::Full(full) => full.setting(),
            Self::NoProxy => "server.proxy_protocol_from",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_file_has_its_mode_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let listening = bind_file(&path, 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(listening.place(), format!("unix:{}", path.display()));
        assert!(UnixStream::connect(&path).is_ok());
        drop(listening);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_on_which_somebody_answers_is_left_alone_and_a_stale_one_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let theirs = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(bind_file(&path, 0o660).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        drop(theirs);
        assert!(path.exists(), "what a killed process leaves");
        let ours = bind_file(&path, 0o660).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        // Somebody else took the name meanwhile: it is not ours to remove.
        fs::remove_file(&path).unwrap();
        let _theirs = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(ours);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        fs::write(&path, "data").unwrap();
        assert_eq!(bind_file(&path, 0o660).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(bind_file(&link, 0o660).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"data");
    }

    #[tokio::test]
    async fn only_a_listening_stream_socket_is_taken_over() {
        let listening = Socket::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        assert!(inherit(listening).is_ok());
        let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        assert!(inherit(silent).is_err());
        let datagram = Socket::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        assert!(inherit(datagram).is_err());
    }
}
