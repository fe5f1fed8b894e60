//! What both contestants on quinn have in common.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use headwater_benches::configs::configs;
use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, MtuDiscoveryConfig, ServerConfig,
    TokioRuntime, TransportConfig, VarInt,
};
use socket2::SockRef;

/// What the buffers of a socket are asked to hold; the system may give less.
const SOCKET_BUFFER: usize = 4 << 20;
/// Enough for a message of the bulk transfer, and more under way behind it; still more would only
/// be a longer queue for whoever sends after that.
const STREAM_WINDOW: u32 = 4 << 20;
const SEND_WINDOW: u64 = 8 << 20;
/// Streams that a peer may have open one way.
const STREAMS: u32 = 1024;
/// The largest payload of a datagram: on loopback TCP is not cut smaller either.
const DATAGRAM: u16 = 65_527;
/// Loopback is no network that has to be felt for first.
const CONGESTION_WINDOW: u64 = 1 << 20;

fn transport() -> Arc<TransportConfig> {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(DATAGRAM);
    let mut congestion = CubicConfig::default();
    congestion.initial_window(CONGESTION_WINDOW);
    let mut transport = TransportConfig::default();
    transport
        .congestion_controller_factory(Arc::new(congestion))
        .stream_receive_window(STREAM_WINDOW.into())
        .send_window(SEND_WINDOW)
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
