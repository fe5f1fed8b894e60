//! Sealing and opening with no socket about: the TLS channel, and rustls' buffered connection,
//! which it does without, both with full records.

#![allow(missing_docs, reason = "what the macro makes has none")]

use std::io::{Read, Write};

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use headwater_benches::configs::configs;
use headwater_core::buffer::SealedBuf;
use headwater_core::buffer::out::OutBuf;
use headwater_core::contract::Direction;
use headwater_core::secure::{ChannelFactory, SecureChannel};
use headwater_identity::NodeKey;
use headwater_tls::{Tls, TlsChannel};
use rustls::{ClientConnection, ServerConnection};

/// What is sealed at once, and then opened.
const LEN: usize = 256 * 1024;

struct Channels {
    dialer: TlsChannel,
    listener: TlsChannel,
    sealed: SealedBuf,
    wire: BytesMut,
    plain: BytesMut,
}

impl Channels {
    fn connect() -> Self {
        let mut tls = Tls::new(&NodeKey::generate().expect("randomness")).expect("a usable key");
        let mut this = Self {
            dialer: tls.channel(Direction::Outbound, None),
            listener: tls.channel(Direction::Inbound, None),
            sealed: SealedBuf::new(),
            wire: BytesMut::new(),
            plain: BytesMut::with_capacity(2 * LEN),
        };
        while this.listener.peer().is_none() {
            this.dialer.flush(&mut this.sealed);
            this.carry();
            this.listener.open(&mut this.wire, &mut this.plain).expect("understood");
            this.listener.flush(&mut this.sealed);
            this.carry();
            if this.dialer.peer().is_none() {
                this.dialer.open(&mut this.wire, &mut this.plain).expect("understood");
            }
        }
        this
    }

    /// What the system does between two sockets.
    fn carry(&mut self) {
        self.wire.extend_from_slice(&self.sealed);
        self.sealed.clear();
    }

    fn transfer(&mut self, message: &Bytes) {
        let mut out = OutBuf::new();
        out.put_shared(message.clone());
        self.dialer.seal(&mut out, &mut self.sealed, usize::MAX);
        self.carry();
        while !self.wire.is_empty() {
            self.plain.clear();
            self.plain.reserve(LEN);
            self.listener.open(&mut self.wire, &mut self.plain).expect("opened");
        }
    }
}

struct Buffered {
    client: ClientConnection,
    server: ServerConnection,
    sealed: Vec<u8>,
    plain: Vec<u8>,
}

impl Buffered {
    fn connect() -> Self {
        let (client, server) = configs();
        let name = "localhost".try_into().expect("a name");
        let mut client = ClientConnection::new(client, name).expect("consistent");
        let mut server = ServerConnection::new(server).expect("consistent");
        client.set_buffer_limit(None);
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).expect("written");
            server.read_tls(&mut &wire[..]).expect("read");
            server.process_new_packets().expect("understood");
            wire.clear();
            server.write_tls(&mut wire).expect("written");
            client.read_tls(&mut &wire[..]).expect("read");
            client.process_new_packets().expect("understood");
        }
        Self { client, server, sealed: Vec::new(), plain: vec![0; LEN] }
    }

    fn transfer(&mut self, message: &[u8]) {
        self.client.writer().write_all(message).expect("room");
        self.sealed.clear();
        while self.client.wants_write() {
            self.client.write_tls(&mut self.sealed).expect("written");
        }
        let mut sealed = &self.sealed[..];
        let mut received = 0;
        while received < LEN {
            self.server.read_tls(&mut sealed).expect("read");
            self.server.process_new_packets().expect("opened");
            while let Ok(len) = self.server.reader().read(&mut self.plain) {
                received += len;
            }
        }
    }
}

fn records(criterion: &mut Criterion) {
    let message = Bytes::from(vec![7_u8; LEN]);
    let (mut channels, mut buffered) = (Channels::connect(), Buffered::connect());
    let mut group = criterion.benchmark_group("tls/256 KiB");
    group.throughput(Throughput::Bytes(LEN as u64));
    group.bench_function("channel", |bencher| bencher.iter(|| channels.transfer(&message)));
    group.bench_function("buffered", |bencher| bencher.iter(|| buffered.transfer(&message)));
    group.finish();
}

/// Both sides of a whole handshake.
fn handshake(criterion: &mut Criterion) {
    criterion.bench_function("tls/handshake", |bencher| bencher.iter(Channels::connect));
}

criterion_group!(benches, records, handshake);
criterion_main!(benches);
