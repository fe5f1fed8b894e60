//! What both contestants on quinn have in common.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use headwater_benches::configs::configs;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, MtuDiscoveryConfig, ServerConfig,
    TokioRuntime, TransportConfig, VarInt,
};
use socket2::SockRef;

/// What the buffers of a socket are asked to hold; the system may give less.
const SOCKET_BUFFER: usize = 4 << 20;
const STREAM_WINDOW: u32 = 16 << 20;
/// Streams that a peer may have open one way.
const STREAMS: u32 = 4096;
/// The largest payload of a datagram: loopback takes what TCP gets there, too.
const DATAGRAM: u16 = 65_527;

/// What defaults are raised to.
pub(super) const RAISED: &str = "stream window 16 MiB, send window 64 MiB, datagrams as large as \
    loopback takes, 4 MiB of socket buffer as far as the system gives it";

fn transport() -> Arc<TransportConfig> {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(DATAGRAM);
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(STREAM_WINDOW.into())
        .send_window(4 * u64::from(STREAM_WINDOW))
        .max_concurrent_uni_streams(STREAMS.into())
        .mtu_discovery_config(Some(mtu))
        .keep_alive_interval(Some(Duration::from_secs(5)))
        .max_idle_timeout(Some(VarInt::from_u32(600_000).into()));
    Arc::new(transport)
}

fn endpoint(server: Option<ServerConfig>) -> Endpoint {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let socket = UdpSocket::bind(any).expect("bound");
    let options = SockRef::from(&socket);
    options.set_recv_buffer_size(SOCKET_BUFFER).expect("an option");
    options.set_send_buffer_size(SOCKET_BUFFER).expect("an option");
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(DATAGRAM).expect("not too small");
    Endpoint::new(config, server, socket, Arc::new(TokioRuntime)).expect("an endpoint")
}

/// Both ends of a connection, each with the endpoint that it belongs to.
pub(super) async fn connect() -> [(Endpoint, Connection); 2] {
    let (client, server) = configs();
    let client = QuicClientConfig::try_from(client).expect("TLS 1.3");
    let server = QuicServerConfig::try_from(server).expect("TLS 1.3");
    let mut client = ClientConfig::new(Arc::new(client));
    client.transport_config(transport());
    let mut server = ServerConfig::with_crypto(Arc::new(server));
    server.transport_config(transport());
    let (one, two) = (endpoint(None), endpoint(Some(server)));
    let address = two.local_addr().expect("bound");
    let accepting = async { two.accept().await.expect("open").await };
    let connecting = one.connect_with(client, address, "localhost").expect("connecting");
    let (connected, accepted) = tokio::try_join!(connecting, accepting).expect("connected");
    [(one, connected), (two, accepted)]
}
