//! rustls, either side of it, one step at a time.

use std::sync::Arc;

use bytes::BytesMut;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, ServerConfig};

/// One end of a TLS connection.
///
/// Rule of rustls that every caller here keeps to: the same bytes are given again until it has
/// used them up, and none are given while it still has some.
pub(crate) enum Machine {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

/// What a step came to.
#[derive(Debug)]
pub(crate) enum Step {
    /// Something was done, there may be more to do.
    Again,
    /// What a record holds was received.
    Read,
    /// There is nothing to do without further bytes.
    Idle,
    /// The peer has announced its end; told once.
    PeerClosed,
    /// The connection has failed; further steps may give an alert.
    Failed(Error),
}

impl Machine {
    pub(crate) fn client(config: ClientConfig) -> Result<Self, Error> {
        // Of no meaning: it is neither sent nor looked at.
        let name = ServerName::from(std::net::IpAddr::from([0, 0, 0, 0]));
        Ok(Self::Client(Box::new(UnbufferedClientConnection::new(Arc::new(config), name)?)))
    }

    pub(crate) fn server(config: ServerConfig) -> Result<Self, Error> {
        Ok(Self::Server(Box::new(UnbufferedServerConnection::new(Arc::new(config))?)))
    }

    pub(crate) fn common(&self) -> &CommonState {
        match self {
            Self::Client(connection) => connection,
            Self::Server(connection) => connection,
        }
    }

    /// Does one thing with `bytes`, and says how many of them are used up. What there is to send
    /// is appended to `out`; what was received to `plain`, which has room for a record.
    pub(crate) fn step(
        &mut self,
        bytes: &mut [u8],
        out: &mut BytesMut,
        plain: &mut BytesMut,
    ) -> (usize, Step) {
        match self {
            Self::Client(connection) => settle(connection.process_tls_records(bytes), out, plain),
            Self::Server(connection) => settle(connection.process_tls_records(bytes), out, plain),
        }
    }

    /// Takes what rustls says to the peer about an error. It is not asked anything else: it would
    /// look at the bytes that were wrong once more.
    pub(crate) fn last_words(&mut self, rest: &[u8], error: &Error, out: &mut BytesMut) {
        let alert = self.drain(out);
        if !alert && !matches!(error, Error::AlertReceived(_)) {
            self.say_decode_error(rest, out);
        }
    }

    /// Makes rustls send `decode_error`, where it has no alert of its own, by what it answers so:
    /// a record of no known type.
    pub(crate) fn say_decode_error(&mut self, held: &[u8], out: &mut BytesMut) {
        let mut bytes = [held, &[0; 5]].concat();
        let _failed = self.step(&mut bytes, out, &mut BytesMut::new());
        self.drain(out);
    }

    /// Whether there was something.
    fn drain(&mut self, out: &mut BytesMut) -> bool {
        let before = out.len();
        while self.common().wants_write() {
            let _again = self.step(&mut [], out, &mut BytesMut::new());
        }
        out.len() > before
    }

    /// Seals one record; the number of bytes of `out` that it takes, `None` if it cannot.
    pub(crate) fn seal(&mut self, held: &mut [u8], plain: &[u8], out: &mut [u8]) -> Option<usize> {
        match self {
            Self::Client(connection) => seal(connection.process_tls_records(held), plain, out),
            Self::Server(connection) => seal(connection.process_tls_records(held), plain, out),
        }
    }

    /// Queues the close notice; the number of bytes of `out` that it takes.
    pub(crate) fn close(&mut self, held: &mut [u8], out: &mut [u8]) -> usize {
        match self {
            Self::Client(connection) => close(connection.process_tls_records(held), out),
            Self::Server(connection) => close(connection.process_tls_records(held), out),
        }
    }
}

fn settle<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    out: &mut BytesMut,
    plain: &mut BytesMut,
) -> (usize, Step) {
    let mut discard = status.discard;
    let step = match status.state {
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
                let start = out.len();
                out.resize(start.saturating_add(size.required_size), 0);
                let written = data.encode(out.get_mut(start..).unwrap_or_default());
                out.truncate(start.saturating_add(written.unwrap_or(0)));
            }
            Step::Again
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Step::Again
        }
        Ok(ConnectionState::ReadTraffic(mut data)) => {
            let mut step = Step::Read;
            while let Some(record) = data.next_record() {
                match record {
                    Ok(record) => {
                        plain.extend_from_slice(record.payload);
                        discard = discard.saturating_add(record.discard);
                    }
                    Err(error) => step = Step::Failed(error),
                }
            }
            step
        }
        Ok(ConnectionState::PeerClosed) => Step::PeerClosed,
        Ok(_) => Step::Idle,
        Err(error) => Step::Failed(error),
    };
    (discard, step)
}

fn seal<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    plain: &[u8],
    out: &mut [u8],
) -> Option<usize> {
    match status.state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => traffic.encrypt(plain, out).ok(),
        _ => None,
    }
}

fn close<Data>(status: UnbufferedStatus<'_, '_, Data>, out: &mut [u8]) -> usize {
    match status.state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            traffic.queue_close_notify(out).unwrap_or(0)
        }
        _ => 0,
    }
}
