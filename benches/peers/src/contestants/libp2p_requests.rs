//! rust-libp2p's request-response: a stream for each message, and an answer to each.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::request_response::{
    Behaviour, Codec, Config, Event, Message, OutboundRequestId, ProtocolSupport,
};
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, StreamProtocol, Swarm};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{runtime, swarm};
use crate::scenario::{Connected, Contestant, Inbox, Lane, SMALL};

/// Bytes under way in a lane, as the application bounds them, and what counts for each request at
/// least, so that there are at most 200: beyond 256 yamux opens no more streams until some are
/// acknowledged.
const UNDER_WAY: usize = 8 << 20;
const LEAST: usize = UNDER_WAY / 200;

/// Requests and responses of libp2p.
pub struct Libp2pRequests;

/// What is asked.
#[derive(Debug)]
struct Request {
    /// Whether the payload is to come back; otherwise the answer is empty.
    echo: bool,
    payload: Bytes,
}

/// A byte that says whether to echo, a length of four bytes, and the payload.
#[derive(Clone, Debug, Default)]
struct Framing;

async fn read(io: &mut (impl AsyncRead + Unpin + Send)) -> io::Result<Vec<u8>> {
    let mut len = [0; 4];
    io.read_exact(&mut len).await?;
    let mut payload = vec![0; u32::from_be_bytes(len) as usize];
    io.read_exact(&mut payload).await?;
    Ok(payload)
}

async fn write(
    io: &mut (impl AsyncWrite + Unpin + Send),
    head: &[u8],
    payload: &[u8],
) -> io::Result<()> {
    let len = u32::try_from(payload.len()).map_err(io::Error::other)?.to_be_bytes();
    let head = [head, &len].concat();
    // Small ones in one frame.
    if payload.len() < 8 * 1024 {
        return io.write_all(&[&head, payload].concat()).await;
    }
    io.write_all(&head).await?;
    io.write_all(payload).await
}

impl Codec for Framing {
    type Protocol = StreamProtocol;
    type Request = Request;
    type Response = Bytes;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut echo = [0];
        io.read_exact(&mut echo).await?;
        Ok(Request { echo: echo != [0], payload: read(io).await?.into() })
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes>
    where
        T: AsyncRead + Unpin + Send,
    {
        Ok(read(io).await?.into())
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        Request { echo, payload }: Request,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &[u8::from(echo)], &payload).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Bytes,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &[], &response).await
    }
}

/// A request for the task of a swarm.
type Asked = (Request, Waiting);

/// Where an answer goes, and the room that is free again then.
type Waiting = (oneshot::Sender<Bytes>, OwnedSemaphorePermit);

/// A peer, whose swarm has a task.
pub struct Peer {
    client: Client,
    requests: mpsc::UnboundedReceiver<Bytes>,
}

/// Asks the other peer.
pub struct Client {
    asked: mpsc::Sender<Asked>,
    room: Arc<Semaphore>,
}

impl Client {
    fn new(asked: mpsc::Sender<Asked>) -> Self {
        Self { asked, room: Arc::new(Semaphore::new(UNDER_WAY)) }
    }

    async fn ask(&self, echo: bool, payload: Bytes) -> oneshot::Receiver<Bytes> {
        let weight = u32::try_from(payload.len().clamp(LEAST, UNDER_WAY)).expect("clamped");
        let room = Arc::clone(&self.room).acquire_many_owned(weight).await.expect("never closed");
        let (answer, answered) = oneshot::channel();
        let asked = (Request { echo, payload }, (answer, room));
        self.asked.send(asked).await.expect("the swarm runs");
        answered
    }
}

impl Lane for Client {
    async fn send(&mut self, payload: Bytes) {
        self.ask(false, payload).await;
    }
}

impl Lane for Peer {
    async fn send(&mut self, payload: Bytes) {
        self.client.send(payload).await;
    }
}

impl Inbox for Peer {
    async fn receive(&mut self, mut take: impl FnMut(&[u8]) + Send) {
        take(&self.requests.recv().await.expect("the swarm runs"));
        while let Ok(payload) = self.requests.try_recv() {
            take(&payload);
        }
    }
}

/// The task of a swarm.
struct Driver {
    swarm: Swarm<Behaviour<Framing>>,
    other: PeerId,
    asked: mpsc::Receiver<Asked>,
    waiting: HashMap<OutboundRequestId, Waiting>,
    requests: mpsc::UnboundedSender<Bytes>,
}

impl Driver {
    async fn run(mut self) {
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => {
                    if let SwarmEvent::Behaviour(event) = event {
                        self.heard(event);
                    }
                }
                Some((request, waiting)) = self.asked.recv() => {
                    let id = self.swarm.behaviour_mut().send_request(&self.other, request);
                    self.waiting.insert(id, waiting);
                }
            }
        }
    }

    fn heard(&mut self, event: Event<Request, Bytes>) {
        match event {
            Event::Message { message: Message::Request { request, channel, .. }, .. } => {
                let Request { echo, payload } = request;
                let response = if echo { payload.clone() } else { Bytes::new() };
                self.swarm.behaviour_mut().send_response(channel, response).expect("open");
                if !echo {
                    // Nobody listens any more at the end.
                    let _ = self.requests.send(payload);
                }
            }
            Event::Message { message: Message::Response { request_id, response }, .. } => {
                if let Some((answer, _room)) = self.waiting.remove(&request_id) {
                    // Nobody waits for empty ones.
                    let _ = answer.send(response);
                }
            }
            Event::ResponseSent { .. } => {}
            failure => panic!("a request failed: {failure:?}"),
        }
    }
}

async fn pair() -> [Peer; 2] {
    let new = || {
        let config = Config::default()
            .with_max_concurrent_streams(4096)
            .with_request_timeout(Duration::from_secs(60));
        let protocols = [(StreamProtocol::new("/bench"), ProtocolSupport::Full)];
        swarm::swarm(Behaviour::new(protocols, config))
    };
    let (mut one, mut two) = (new(), new());
    let [first, second] = swarm::connect(&mut one, &mut two).await;
    [(one, second), (two, first)].map(|(swarm, other)| {
        let (asks, asked) = mpsc::channel(64);
        let (requests, taken) = mpsc::unbounded_channel();
        let waiting = HashMap::new();
        tokio::spawn(Driver { swarm, other, asked, waiting, requests }.run());
        Peer { client: Client::new(asks), requests: taken }
    })
}

impl Contestant for Libp2pRequests {
    type End = Peer;
    type Bulk = Client;
    type Small = Client;
    type Inbox = Peer;

    const NAME: &'static str = "rust-libp2p, requests";
    const NOTE: &'static str = "The same transport with `request-response`: every message is a \
        request on a stream of its own and gets an answer, an empty one except there and back. \
        Up to 200 or 8 MiB are under way in a lane, for which the limits of streams and of their negotiation are \
        raised from 100, 128 and 512 to 4096, 1024 and 4096.";

    fn connect() -> Connected<Self> {
        let handle = runtime();
        let (ends, [one, two]) = handle.block_on(async { (pair().await, pair().await) });
        let (bulk, small) = (Client::new(one.client.asked.clone()), one.client);
        Connected { handle, ends, bulk, small, inboxes: vec![two] }
    }

    async fn ping_pong(ends: [Peer; 2], rounds: usize) -> (Vec<Duration>, [Peer; 2]) {
        let [one, two] = ends;
        let asking = tokio::spawn(async move {
            let mut times = Vec::with_capacity(rounds);
            for _ in 0..rounds {
                let begun = Instant::now();
                let answered = one.client.ask(true, Bytes::copy_from_slice(&[7; SMALL])).await;
                assert_eq!(answered.await.expect("answered").len(), SMALL, "not what was sent");
                times.push(begun.elapsed());
            }
            (times, one)
        });
        let (times, one) = asking.await.expect("answered");
        (times, [one, two])
    }
}
