//! The server: HTTP/1.1 over plain TCP, for reading alone.
//!
//! Bounds: [`CONNECTIONS_MAX`] connections, of which each holds one request and its answer, and
//! [`EVENTS_MAX`] of them a stream of events, a few batches of 256 at a time; a request's head has
//! ten seconds to come, and 16 KiB; an answer of which nothing is taken for as long is given up.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::patient::Patient;
use super::{Admin, access, metrics, shape};

/// Connections at the same time; more wait in the system's backlog.
const CONNECTIONS_MAX: usize = 64;

/// Streams of events at the same time; more are refused.
const EVENTS_MAX: usize = 16;

/// How often a silent stream of events says that it is there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// How long a request's head may take, and how long the other side may take nothing of an answer.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// The page and its parts: path, type, text.
const PAGE: [(&str, &str, &str); 3] = [
    ("/", "text/html; charset=utf-8", include_str!("page.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("page.js")),
];

/// The body of an answer.
pub(super) enum Answer {
    Whole(Option<Bytes>),
    /// Pieces as they come.
    Events(mpsc::Receiver<Bytes>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(pieces) => pieces.poll_recv(cx).map(|piece| Some(Ok(Frame::data(piece?)))),
        }
    }
}

/// Answers until the task is ended.
pub(super) async fn serve(admin: Arc<Admin>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let streams = Arc::new(Semaphore::new(EVENTS_MAX));
    // They end with this task.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, _)) => {
                let (admin, streams) = (Arc::clone(&admin), Arc::clone(&streams));
                connections.spawn(async move {
                    answer_one(admin, streams, socket).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(target: crate::logs::PAGE, %error, "the status page cannot accept a connection");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer_one(admin: Arc<Admin>, streams: Arc<Semaphore>, socket: TcpStream) {
    let Ok(local) = socket.local_addr() else { return };
    let service = service_fn(|request| {
        let (admin, streams) = (Arc::clone(&admin), Arc::clone(&streams));
        async move { Ok::<_, Infallible>(answer(&admin, streams, local, &request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(16 * 1024)
        // What came behind a request would wait here for as long as the other side likes.
        .keep_alive(false)
        .serve_connection(TokioIo::new(Patient::new(socket, HEAD_DEADLINE)), service);
    if let Err(error) = connection.await {
        tracing::debug!(target: crate::logs::PAGE, %error, "a connection to the status page");
    }
}

async fn answer(
    admin: &Arc<Admin>,
    streams: Arc<Semaphore>,
    local: SocketAddr,
    request: &Request<Incoming>,
) -> Response<Answer> {
    let mut response = respond(admin, streams, local, request).await;
    access::forbid(response.headers_mut());
    response
}

async fn respond(
    admin: &Arc<Admin>,
    streams: Arc<Semaphore>,
    local: SocketAddr,
    request: &Request<Incoming>,
) -> Response<Answer> {
    if !admin.access.knows_host(request.headers(), local) {
        let text = "this server goes by another name; see --admin-host\n";
        return plain(StatusCode::MISDIRECTED_REQUEST, text);
    }
    if !admin.access.is_allowed(request.headers()) {
        let mut refused = plain(StatusCode::UNAUTHORIZED, "the token is missing or wrong\n");
        let challenge = HeaderValue::from_static("Basic realm=\"headwater\", charset=\"UTF-8\"");
        refused.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        return refused;
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "nothing can be changed here\n");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/status" => {
            let nodes = admin.status().await;
            let text = serde_json::to_vec(&shape::Status { version: shape::VERSION, nodes });
            // Strings, numbers and lists of them can always be written.
            whole("application/json", text.unwrap_or_default())
        }
        "/metrics" => {
            let nodes = admin.snapshots().await;
            whole(
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                metrics::text(&nodes),
            )
        }
        "/events" => match streams.try_acquire_owned() {
            Ok(place) => events(admin, place, request),
            Err(_) => {
                let text = "too many read the events; try again later\n";
                plain(StatusCode::SERVICE_UNAVAILABLE, text)
            }
        },
        path => match PAGE.iter().find(|(known, ..)| *known == path) {
            Some((_, kind, text)) => whole(kind, *text),
            None => plain(StatusCode::NOT_FOUND, "there are /, /status, /metrics and /events\n"),
        },
    }
}

fn events(
    admin: &Arc<Admin>,
    place: OwnedSemaphorePermit,
    request: &Request<Incoming>,
) -> Response<Answer> {
    let seen = request.headers().get("last-event-id").and_then(|value| value.to_str().ok());
    let mut number = seen.and_then(|number| number.parse().ok()).unwrap_or(0);
    let feed = admin.feed.clone();
    let (pieces, receiver) = mpsc::channel(1);
    if request.method() == Method::GET {
        tokio::spawn(async move {
            let _place = place;
            let mut newest = feed.watch();
            loop {
                newest.mark_unchanged();
                let (mut text, last) = feed.after(number);
                number = last;
                if text.is_empty() {
                    text.push_str(": still here\n\n");
                }
                if pieces.send(text.into()).await.is_err() {
                    return;
                }
                tokio::select! {
                    _ = timeout(SIGN_OF_LIFE, newest.changed()) => {}
                    () = pieces.closed() => return,
                }
            }
        });
    }
    let mut response = Response::new(Answer::Events(receiver));
    let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn whole(kind: &'static str, text: impl Into<Bytes>) -> Response<Answer> {
    let mut response = Response::new(Answer::Whole(Some(text.into())));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Answer> {
    let mut response = whole("text/plain; charset=utf-8", text);
    *response.status_mut() = status;
    response
}
