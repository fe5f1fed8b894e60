//! Asking a running node: the other end of `/status`.

use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::access::read_token;
use super::shape;
use crate::failure::{Failure, foreign};
use crate::status::Status;

/// How long the whole may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest answer that is taken, in bytes.
const ANSWER_MAX: usize = 64 << 20;

/// Where a node's status is served, as the user writes it: `HOST:PORT`, or a URL of `http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place(String);

impl Place {
    /// Reads a place.
    ///
    /// # Errors
    ///
    /// What was expected.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let place = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let port = place.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() || place.contains('/') {
            return Err("expected HOST:PORT, as `headwater node --admin` prints it".to_owned());
        }
        Ok(Self(place.to_owned()))
    }
}

/// Asks for the status.
///
/// # Errors
///
/// [`Status::Admin`] if nobody answers there or nothing that is understood, [`Status::Config`] for
/// the token.
pub(crate) async fn status(place: &Place, token: Option<&Path>) -> Result<shape::Status, Failure> {
    let token = token.map(read_token).transpose()?;
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::new(Status::Admin, format!("cannot ask the node at {}: {why}", place.0))
    };
    let answer = timeout(PATIENCE, ask(place, "/status", token.as_deref())).await;
    let (code, text) = match answer {
        Ok(Ok(answer)) => answer,
        // Whoever listens there speaks something else.
        Ok(Err(error)) if error.is::<hyper::Error>() => {
            return Err(wrong(&format_args!(
                "what answers there is no status page ({error}); expected the address that \
                 `headwater node --admin` prints, not one that peers connect to"
            )));
        }
        Ok(Err(error)) => return Err(wrong(&error)),
        Err(_) => return Err(wrong(&"it does not answer")),
    };
    if code != StatusCode::OK {
        let said = foreign(String::from_utf8_lossy(&text).trim());
        return Err(wrong(&format_args!("it says {code}: {said}")));
    }
    let status = serde_json::from_slice(&text).and_then(|mut value| {
        make_printable(&mut value);
        serde_json::from_value::<shape::Status>(value)
    });
    let status = status.map_err(|error| {
        wrong(&format_args!("the answer is not understood: {}", foreign(&error.to_string())))
    })?;
    if status.version != shape::VERSION {
        return Err(wrong(&format_args!("it speaks version {} of its status", status.version)));
    }
    Ok(status)
}

/// Whoever answers may not be a node: what it says cannot move the cursor or break a line.
fn make_printable(value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::String(text) if text.contains(char::is_control) => {
            *text = text.replace(char::is_control, "\u{fffd}");
        }
        Value::Array(all) => all.iter_mut().for_each(make_printable),
        Value::Object(all) => all.values_mut().for_each(make_printable),
        _ => {}
    }
}

/// Any error of a request.
type Wrong = Box<dyn std::error::Error + Send + Sync>;

async fn ask(
    place: &Place,
    path: &str,
    token: Option<&str>,
) -> Result<(StatusCode, Vec<u8>), Wrong> {
    let socket = TcpStream::connect(&place.0).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Nothing>(TokioIo::new(socket)).await?;
    let carrying = tokio::spawn(connection);
    let mut request = Request::get(path).header(header::HOST, &place.0);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let response = sender.send_request(request.body(Nothing)?).await?;
    let status = response.status();
    let text = whole(response.into_body()).await?;
    carrying.abort();
    Ok((status, text))
}

async fn whole(mut body: Incoming) -> Result<Vec<u8>, Wrong> {
    let mut text = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Some(data) = frame?.data_ref() {
            text.extend_from_slice(data);
        }
        if text.len() > ANSWER_MAX {
            return Err("the answer is too long".into());
        }
    }
    Ok(text)
}

/// The body of a request that has none.
struct Nothing;

impl hyper::body::Body for Nothing {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_says_is_made_printable() {
        let mut value = serde_json::json!({"a": ["\u{1b}]0;x\u{7}", 5], "b": {"c": "one\ntwo"}});
        make_printable(&mut value);
        let printable = serde_json::json!({"a": ["\u{fffd}]0;x\u{fffd}", 5],
            "b": {"c": "one\u{fffd}two"}});
        assert_eq!(value, printable);
    }

    #[test]
    fn a_place_is_a_host_and_a_port_or_a_url() {
        for text in ["127.0.0.1:80", "http://127.0.0.1:80/", "[::1]:80", "node.example:80"] {
            assert!(Place::new(text).is_ok(), "{text}");
        }
        for text in ["127.0.0.1", "https://x:1", "http://x:1/status", "x:99999", ""] {
            assert!(Place::new(text).is_err(), "{text}");
        }
    }
}
