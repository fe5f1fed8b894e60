//! `headwater send`: offers a file to a listener and sends it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use headwater_core::id::PeerId;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::event::Event;
use crate::failure::{Failure, foreign};
use crate::keys;
use crate::net::{self, Lane, Net, News, Security};
use crate::progress::Progress;
use crate::report::Report;
use crate::signal::Signals;
use crate::status::Status;
use crate::transfer::part::{self, Ending, Part};
use crate::transfer::source::{Piece, Source};
use crate::transfer::{ALIVE_EVERY, Sum, hex};
use crate::{address, args};

/// Runs the command.
///
/// # Errors
///
/// Each cause with its status.
pub(crate) async fn run(
    report: Report,
    args: args::Send,
    security: Security,
    signals: &Signals,
) -> Result<(), Failure> {
    let address = address::of_peer(&args.address)?;
    let key = keys::load(args.common.key.as_deref())?;
    let source = Source::open(&args.file)?;
    let mut net = Net::start(&key, args.common.protocol, security, report).await?;
    let outcome = match net.connect(address, signals).await {
        Ok(peer) => transfer(&mut net, peer, source, args.common.timeout, report, signals).await,
        Err(failure) => Err(failure),
    };
    net.stop(signals).await;
    let sum = outcome?;
    let sha256 = hex(&sum.sha256);
    report.event(Event::Done { bytes: sum.bytes, sha256: &sha256 });
    report.line(&format!("sent {} bytes, sha256 {sha256}", sum.bytes));
    Ok(())
}

/// Sends the file; whatever goes wrong here, the listener is told.
async fn transfer(
    net: &mut Net,
    peer: PeerId,
    source: Source,
    patience: Duration,
    report: Report,
    signals: &Signals,
) -> Result<Sum, Failure> {
    let transfer = number();
    let lane = net.lane(&peer).await?;
    let offer = Part::Offer { length: source.length, name: source.name.clone() };
    let mut ticks = interval(ALIVE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sending = Sending {
        peer,
        transfer,
        lane,
        progress: Progress::start(report, source.length),
        pieces: source.start(transfer)?,
        waiting: Some(Outgoing { message: part::encode(transfer, &offer), bytes: 0 }),
        stage: Stage::Offered,
        heard: Instant::now(),
        patience,
        ticks,
    };
    let outcome = sending.run(net, signals).await;
    match outcome {
        Ok(sum) => {
            sending.progress.finish();
            Ok(sum)
        }
        Err(Broken::Here(failure)) => {
            let cancel = Part::Cancel(Ending::from(&failure));
            tokio::select! {
                () = net.last_answer(&peer, part::encode(transfer, &cancel)) => {}
                _ = signals.second() => {}
            }
            Err(failure)
        }
        Err(Broken::There(failure)) => Err(failure),
    }
}

/// A number that no other transfer of this listener is likely to have.
fn number() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::hash::RandomState::new().build_hasher().finish()
}

/// Where a transfer broke: whether the listener has to be told.
enum Broken {
    Here(Failure),
    There(Failure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The listener has not answered yet.
    Offered,
    /// It takes the file.
    Accepted,
    /// It has been sent the end.
    Ended(Sum),
}

/// A message that waits for room, and how many bytes of the file are in it.
struct Outgoing {
    message: Bytes,
    bytes: u64,
}

/// A transfer under way. At most one message waits for room here.
struct Sending {
    peer: PeerId,
    transfer: u64,
    lane: Lane,
    pieces: mpsc::Receiver<Piece>,
    waiting: Option<Outgoing>,
    stage: Stage,
    heard: Instant,
    patience: Duration,
    ticks: Interval,
    progress: Progress,
}

/// What happened next.
enum Step {
    News(News),
    Sent(Result<(), Failure>),
    Piece(Option<Piece>),
    Tick,
}

impl Sending {
    async fn run(&mut self, net: &mut Net, signals: &Signals) -> Result<Sum, Broken> {
        loop {
            let message = self.waiting.as_ref().map(|waiting| waiting.message.clone());
            let idle = message.is_none();
            let step = tokio::select! {
                biased;
                failure = signals.first() => return Err(Broken::Here(failure)),
                news = net.next(true) => Step::News(news),
                sent = self.lane.send(message.unwrap_or_default()), if !idle => Step::Sent(sent),
                piece = self.pieces.recv(), if idle && self.stage == Stage::Accepted => {
                    Step::Piece(piece)
                }
                _ = self.ticks.tick() => Step::Tick,
            };
            match step {
                Step::News(News::Message { peer, payload }) if peer == self.peer => {
                    if let Some(sum) = self.answer(payload)? {
                        return Ok(sum);
                    }
                }
                Step::News(News::Gone { peer, reason }) if peer == self.peer => {
                    return self.last_words(net, net::gone(&peer, &reason)).await;
                }
                Step::News(_) => {}
                Step::Sent(Ok(())) => {
                    if let Some(sent) = self.waiting.take() {
                        self.progress.add(sent.bytes);
                    }
                }
                Step::Sent(Err(failure)) => return self.lost(net, failure).await,
                Step::Piece(piece) => self.read(piece)?,
                Step::Tick => self.tick()?,
            }
        }
    }

    /// The listener says something.
    fn answer(&mut self, payload: Bytes) -> Result<Option<Sum>, Broken> {
        let Ok((transfer, part)) = part::parse(payload) else {
            let text = "the listener's answer does not follow the format";
            return Err(Broken::Here(Failure::new(Status::Mismatch, text)));
        };
        if transfer != self.transfer {
            return Ok(None);
        }
        self.heard = Instant::now();
        match (part, self.stage) {
            (Part::Alive, _) => Ok(None),
            (Part::Accept, Stage::Offered) => {
                self.stage = Stage::Accepted;
                Ok(None)
            }
            (Part::Refuse(ending), _) => Err(Broken::There(refused(&ending))),
            (Part::Confirm(confirmed), Stage::Ended(sum)) if confirmed == sum => Ok(Some(sum)),
            (Part::Confirm(confirmed), _) => {
                let text = format!(
                    "the listener confirms something else: {} bytes, sha256 {}",
                    confirmed.bytes,
                    hex(&confirmed.sha256)
                );
                Err(Broken::Here(Failure::new(Status::Mismatch, text)))
            }
            _ => {
                let text = "the listener's answer is out of place";
                Err(Broken::Here(Failure::new(Status::Mismatch, text)))
            }
        }
    }

    /// The file has more, or has ended.
    fn read(&mut self, piece: Option<Piece>) -> Result<(), Broken> {
        match piece {
            Some(Piece::Chunk(message, bytes)) => self.waiting = Some(Outgoing { message, bytes }),
            Some(Piece::End(sum)) => {
                let message = part::encode(self.transfer, &Part::End(sum));
                self.waiting = Some(Outgoing { message, bytes: 0 });
                self.stage = Stage::Ended(sum);
            }
            Some(Piece::Failed(failure)) => return Err(Broken::Here(failure)),
            None => {
                return Err(Broken::Here(Failure::internal("the reading thread ended early")));
            }
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Broken> {
        if self.heard.elapsed() > self.patience {
            let text = format!(
                "the listener gave no sign of life for {} seconds",
                self.patience.as_secs()
            );
            return Err(Broken::Here(Failure::new(Status::Timeout, text)));
        }
        if self.waiting.is_none() {
            let message = part::encode(self.transfer, &Part::Alive);
            self.waiting = Some(Outgoing { message, bytes: 0 });
        }
        Ok(())
    }

    /// The stream broke; the connection tells why, if it broke with it.
    async fn lost(&mut self, net: &mut Net, failure: Failure) -> Result<Sum, Broken> {
        let why = async {
            loop {
                match net.next(false).await {
                    News::Gone { peer, reason } if peer == self.peer => {
                        return net::gone(&peer, &reason);
                    }
                    _ => {}
                }
            }
        };
        let failure = tokio::time::timeout(Duration::from_secs(1), why).await.unwrap_or(failure);
        self.last_words(net, failure).await
    }

    /// The peer is gone; it may have said why, or even that all is well.
    async fn last_words(&mut self, net: &mut Net, failure: Failure) -> Result<Sum, Broken> {
        while let Some((peer, payload)) = net.last_words().await {
            if peer == self.peer {
                if let Some(sum) = self.answer(payload)? {
                    return Ok(sum);
                }
            }
        }
        Err(Broken::There(failure))
    }
}

/// What a refusal means here.
fn refused(ending: &Ending) -> Failure {
    let status = ending.cause.status();
    let text = match status {
        Status::Busy => "the listener is serving another sender; try again later".to_owned(),
        _ => format!("the listener ended the transfer: {}", foreign(&ending.text)),
    };
    Failure::new(status, text)
}
