//! OpenSSL on the other side: what it is, what it shows, and what alerts it is given.
//!
//! Without the `openssl` program these tests only say so, except in CI, where they fail.

#![allow(missing_docs, reason = "a test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::BytesMut;
use headwater_core::buffer::SealedBuf;
use headwater_core::buffer::out::OutBuf;
use headwater_core::contract::Direction;
use headwater_core::id::PeerId;
use headwater_core::secure::{ChannelFactory, Opened, SecureChannel};
use headwater_identity::NodeKey;
use headwater_tls::{ALPN, Refusal, Tls, TlsChannel, TlsError};
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(60);

fn is_there() -> bool {
    let there = Command::new("openssl").arg("version").output().is_ok();
    assert!(there || std::env::var_os("CI").is_none(), "no openssl program");
    if !there {
        eprintln!("no openssl program: nothing is tested");
    }
    there
}

/// A key and a certificate, as `openssl req` makes them.
struct Identity {
    folder: TempDir,
}

impl Identity {
    fn new(algorithm: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-nodes", "-subj", "/CN=openssl", "-days", "1"]);
        command.args(algorithm).args(["-keyout", "key.pem", "-out", "cert.pem"]);
        let output = command.current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { folder }
    }

    fn p256() -> Self {
        Self::new(&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
    }

    fn key(&self) -> NodeKey {
        NodeKey::read_file(self.path().join("key.pem")).unwrap()
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// How our side fared.
struct Fared {
    peer: Option<PeerId>,
    failure: Option<TlsError>,
    received: Vec<u8>,
    closed: bool,
}

/// Drives a channel over a socket: says "pong" once it is proven, and closes once it has heard a
/// line.
fn drive(mut channel: TlsChannel, mut link: TcpStream) -> Fared {
    link.set_read_timeout(Some(LONG)).unwrap();
    let (mut input, mut fared) =
        (BytesMut::new(), Fared { peer: None, failure: None, received: vec![], closed: false });
    let mut buffer = [0; 4096];
    loop {
        loop {
            let mut plain = BytesMut::with_capacity(17 * 1024);
            let before = input.len();
            let opened = channel.open(&mut input, &mut plain);
            fared.received.extend_from_slice(&plain);
            match opened {
                Ok(Opened::Waiting) if input.len() == before && plain.is_empty() => break,
                Ok(Opened::Waiting) => {}
                Ok(Opened::Proven) => {
                    fared.peer = channel.peer();
                    let (mut pong, mut out) = (OutBuf::new(), SealedBuf::new());
                    pong.put(b"pong\n");
                    channel.seal(&mut pong, &mut out, 1000);
                    link.write_all(&out).unwrap();
                }
                Ok(Opened::Closed) => {
                    fared.closed = true;
                    break;
                }
                Err(_) => {
                    fared.failure = channel.failure().cloned();
                    break;
                }
            }
        }
        if fared.received.ends_with(b"\n") {
            channel.close();
        }
        let mut out = SealedBuf::new();
        channel.flush(&mut out);
        // It may be gone already.
        let _ = link.write_all(&out);
        if fared.failure.is_some() || fared.closed || fared.received.ends_with(b"\n") {
            let _ = link.shutdown(std::net::Shutdown::Write);
            // What it still says makes no reset of the end; a listener may stay there for ever.
            link.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            let _ = link.read_to_end(&mut Vec::new());
            return fared;
        }
        match link.read(&mut buffer) {
            Ok(0) | Err(_) => return fared,
            Ok(len) => input.extend_from_slice(&buffer[..len]),
        }
    }
}

/// Lets `openssl s_client` dial a listener of ours; how that fared, and what openssl printed.
fn s_client(ours: &Tls, shown: Option<&Identity>, arguments: &[&str]) -> (Fared, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address]).args(arguments);
    if let Some(identity) = shown {
        command.current_dir(identity.path()).args(["-cert", "cert.pem", "-key", "key.pem"]);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = command.spawn().unwrap();
    let mut stdin = client.stdin.take().unwrap();
    let (link, _) = listener.accept().unwrap();
    let channel = ours.clone().channel(Direction::Inbound, None);
    // It is read once the handshake is over.
    let _ = stdin.write_all(b"ping\n");
    let fared = drive(channel, link);
    drop(stdin);
    let output = client.wait_with_output().unwrap();
    (fared, String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn ours() -> Tls {
    Tls::new(&NodeKey::generate().unwrap()).unwrap()
}

#[test]
fn certificates_of_openssl_are_accepted_and_it_sees_our_protocol() {
    if !is_there() {
        return;
    }
    let ours = ours();
    for algorithm in [
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"][..],
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"],
        &["-newkey", "rsa:2048"],
        &["-newkey", "rsa:3072"],
    ] {
        let identity = Identity::new(algorithm);
        let (fared, text) = s_client(&ours, Some(&identity), &["-alpn", ALPN]);
        assert_eq!(fared.failure, None, "{algorithm:?}\n{text}");
        assert_eq!(fared.peer, Some(identity.key().peer_id()));
        assert_eq!(fared.received, b"ping\n");
        for expected in ["ALPN protocol: liquid-network-tcp-v0.0.1", "TLSv1.3", "pong"] {
            assert!(text.contains(expected), "{expected} is missing:\n{text}");
        }
        assert!(!text.contains("New Session Ticket") && !text.contains("unexpected eof"), "{text}");
    }
}

#[test]
fn what_is_refused_gets_the_right_alert() {
    if !is_there() {
        return;
    }
    let ours = ours();
    let (p256, ed25519) = (Identity::p256(), Identity::new(&["-newkey", "ed25519"]));
    let p256 = Some(&p256);
    let none = TlsError::Refused(Refusal::NoCertificate);
    let old = TlsError::Incompatible { what: "SupportedVersionsExtensionRequired".into() };
    for (shown, arguments, alert, failure) in [
        (None, &["-alpn", ALPN][..], "alert number 116", &none),
        // It is not asked for such a certificate, and shows none.
        (Some(&ed25519), &["-alpn", ALPN], "alert number 116", &none),
        (p256, &["-alpn", "h2"], "alert number 120", &TlsError::Alpn),
        (p256, &[], "alert number 120", &TlsError::Alpn),
        (p256, &["-alpn", ALPN, "-tls1_2"], "alert number 70", &old),
    ] {
        let (fared, text) = s_client(&ours, shown, arguments);
        assert_eq!(fared.failure.as_ref(), Some(failure), "{arguments:?}\n{text}");
        assert_eq!(fared.peer, None);
        assert!(text.contains(alert), "{alert} is missing:\n{text}");
    }
}

/// `openssl s_server`, for one connection.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(shown: &Identity, arguments: &[&str]) -> Self {
        let mut command = Command::new("openssl");
        command.current_dir(shown.path()).args(["s_server", "-accept", "127.0.0.1:0"]);
        command.args(["-naccept", "1", "-cert", "cert.pem", "-key", "key.pem"]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("ACCEPT")));
        let line = line.expect("it accepts").unwrap();
        let port = line.rsplit(':').next().unwrap().trim().parse().unwrap();
        // It blocks if nobody reads what it prints.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Dials `openssl s_server`, which sends a line once it is connected.
fn s_server(ours: &Tls, shown: &Identity, arguments: &[&str]) -> Fared {
    let mut server = Server::start(shown, arguments);
    let link = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let _ = server.child.stdin.as_mut().unwrap().write_all(b"ping\n");
    drive(ours.clone().channel(Direction::Outbound, None), link)
}

#[test]
fn a_listener_of_openssl_is_accepted_or_refused_by_the_same_rules() {
    if !is_there() {
        return;
    }
    let (ours, identity) = (ours(), Identity::p256());
    let fared = s_server(&ours, &identity, &["-alpn", ALPN, "-Verify", "1"]);
    assert_eq!((fared.failure, fared.peer), (None, Some(identity.key().peer_id())));
    let fared = s_server(&ours, &identity, &["-Verify", "1"]);
    assert_eq!((fared.failure, fared.peer), (Some(TlsError::Alpn), None));
    let fared = s_server(&ours, &identity, &["-alpn", ALPN, "-tls1_2"]);
    assert_eq!(fared.failure, Some(TlsError::Alert { alert: "protocol_version".into() }));
    let other = Identity::new(&["-newkey", "ed25519"]);
    let fared = s_server(&ours, &other, &["-alpn", ALPN]);
    assert_eq!(fared.failure, Some(TlsError::Alert { alert: "handshake_failure".into() }));
}
