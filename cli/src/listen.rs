//! `headwater listen`: waits for senders and stores what they send, one at a time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use headwater_core::id::PeerId;
use tokio::time::{MissedTickBehavior, interval};

use crate::event::Event;
use crate::failure::{Failure, foreign};
use crate::net::{self, Net, News, Security};
use crate::progress::Progress;
use crate::report::Report;
use crate::signal::Signals;
use crate::status::Status;
use crate::transfer::part::{self, Cause, Ending, Part};
use crate::transfer::sink::{Order, Place, Sink, Stored};
use crate::transfer::{ALIVE_EVERY, hex};
use crate::{address, args, keys, logs};

/// Runs the command.
///
/// # Errors
///
/// Each cause with its status; with `--keep`, only those that end the listener.
pub(crate) async fn run(
    report: Report,
    args: args::Listen,
    security: Security,
    signals: &Signals,
) -> Result<(), Failure> {
    let place = Place::of(args.output.as_deref())?;
    place.check()?;
    let mut at = Vec::new();
    for text in &args.listen {
        at.push(address::to_listen(text)?);
    }
    let key = keys::load(args.common.key.as_deref())?;
    let mut net = Net::start(&key, args.common.protocol, security, report).await?;
    let mut addresses = Vec::new();
    for address in at {
        addresses.extend(address::reachable(net.listen(address).await?, &net.id()));
    }
    report.event(Event::Listening { id: net.id().as_str(), addresses: &addresses });
    for address in &addresses {
        report.line(address);
    }
    let mut listener =
        Listener { report, place, keep: args.keep, patience: args.common.timeout, serving: None };
    let outcome = listener.run(&mut net, signals).await;
    net.stop(signals).await;
    outcome
}

/// A listener and the transfer that it serves.
struct Listener {
    report: Report,
    place: Place,
    keep: bool,
    patience: Duration,
    serving: Option<Serving>,
}

/// A transfer under way. At most one order waits for room here; as long as it does, no message
/// is taken.
struct Serving {
    peer: PeerId,
    transfer: u64,
    sink: Sink,
    waiting: Option<Order>,
    announced: Option<u64>,
    bytes: u64,
    /// The end has come; only the disk is waited for.
    ended: bool,
    heard: Instant,
    progress: Progress,
}

/// How a transfer ended without a file.
struct Broken {
    failure: Failure,
    /// Whether the sender is there and does not know.
    tell: bool,
}

impl Broken {
    const fn here(failure: Failure) -> Self {
        Self { failure, tell: true }
    }

    const fn there(failure: Failure) -> Self {
        Self { failure, tell: false }
    }

    fn format(text: &str) -> Self {
        Self::here(Failure::new(Status::Mismatch, text))
    }
}

/// What happened next.
enum Step {
    News(News),
    Written(Option<Result<Stored, Failure>>),
    Tick,
}

impl Listener {
    async fn run(&mut self, net: &mut Net, signals: &Signals) -> Result<(), Failure> {
        let mut ticks = interval(ALIVE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let takes = self.serving.as_ref().is_none_or(|serving| serving.waiting.is_none());
            let step = tokio::select! {
                biased;
                failure = signals.first() => return self.interrupted(net, failure).await,
                written = written(self.serving.as_mut()) => Step::Written(written),
                _ = ticks.tick() => Step::Tick,
                news = net.next(takes) => Step::News(news),
            };
            let outcome = match step {
                Step::News(News::Message { peer, payload }) => {
                    self.message(net, peer, payload).await
                }
                Step::News(News::Gone { peer, reason }) => {
                    let failure = net::gone(&peer, &reason);
                    self.gone(net, peer, failure).await
                }
                Step::News(News::Else) => Ok(()),
                Step::Tick => {
                    logs::tell_repeats();
                    self.tick(net)
                }
                Step::Written(None) => {
                    self.heard();
                    Ok(())
                }
                Step::Written(Some(Ok(stored))) => {
                    self.stored(net, stored).await;
                    if !self.keep {
                        return Ok(());
                    }
                    Ok(())
                }
                Step::Written(Some(Err(failure))) => Err(Broken::here(failure)),
            };
            if let Err(broken) = outcome {
                let failure = self.broken(net, broken).await;
                if !self.keep {
                    return Err(failure);
                }
                self.report.failure(&failure);
            }
        }
    }

    /// The user ends the listener. One that keeps listening has nothing else to wait for.
    async fn interrupted(&mut self, net: &Net, failure: Failure) -> Result<(), Failure> {
        if self.serving.is_none() {
            return if self.keep { Ok(()) } else { Err(failure) };
        }
        Err(self.broken(net, Broken::here(failure)).await)
    }

    /// Ends the transfer without a file, and leaves nothing of it.
    async fn broken(&mut self, net: &Net, broken: Broken) -> Failure {
        if let Some(serving) = self.serving.take() {
            if broken.tell {
                let refuse = Part::Refuse(Ending::from(&broken.failure));
                net.last_answer(&serving.peer, part::encode(serving.transfer, &refuse)).await;
            }
            drop(serving.progress);
            serving.sink.abandon().await;
        }
        broken.failure
    }

    async fn stored(&mut self, net: &Net, stored: Stored) {
        let Some(serving) = self.serving.take() else { return };
        let sum = stored.sum;
        let sha256 = hex(&sum.sha256);
        net.last_answer(&serving.peer, part::encode(serving.transfer, &Part::Confirm(sum))).await;
        serving.progress.finish();
        self.report.event(Event::Done { bytes: sum.bytes, sha256: &sha256 });
        let name = stored.path.map_or_else(String::new, |path| format!(" as {}", path.display()));
        self.report.line(&format!("received {} bytes, sha256 {sha256}{name}", sum.bytes));
    }

    async fn message(&mut self, net: &Net, peer: PeerId, payload: Bytes) -> Result<(), Broken> {
        let ours = self.serving.as_ref().is_some_and(|serving| serving.peer == peer);
        let (transfer, part) = match part::parse(payload) {
            Ok(parsed) => parsed,
            Err(_) if ours => return Err(Broken::format("a message does not follow the format")),
            Err(_) => {
                tracing::trace!(target: logs::FILE, %peer, "a message does not follow the format");
                return Ok(());
            }
        };
        match (part, &mut self.serving) {
            (part, Some(serving)) if ours && serving.transfer == transfer => serving.take(part),
            (Part::Offer { .. }, Some(_)) => {
                let text = "another transfer is under way".to_owned();
                let refuse = Part::Refuse(Ending { cause: Cause::Busy, text });
                net.send(&peer, part::encode(transfer, &refuse));
                let same = format!("busy {peer}");
                tracing::warn!(target: logs::FILE, same, %peer, "sender turned away: a transfer is under way");
                Ok(())
            }
            (Part::Offer { length, name }, None) => {
                self.offered(net, peer, transfer, length, &name).await
            }
            _ => {
                tracing::trace!(target: logs::FILE, %peer, "a message of no transfer");
                Ok(())
            }
        }
    }

    async fn offered(
        &mut self,
        net: &Net,
        peer: PeerId,
        transfer: u64,
        length: Option<u64>,
        name: &str,
    ) -> Result<(), Broken> {
        let sink = match Sink::start(&self.place, name) {
            Ok(sink) => sink,
            Err(failure) => {
                let refuse = Part::Refuse(Ending::from(&failure));
                net.last_answer(&peer, part::encode(transfer, &refuse)).await;
                return Err(Broken::there(failure));
            }
        };
        self.serving = Some(Serving {
            peer,
            transfer,
            sink,
            waiting: None,
            announced: length,
            bytes: 0,
            ended: false,
            heard: Instant::now(),
            progress: Progress::start(self.report, length),
        });
        // Without it both would wait for each other, alive.
        net.answer(&peer, part::encode(transfer, &Part::Accept)).await.map_err(Broken::there)
    }

    fn heard(&mut self) {
        if let Some(serving) = &mut self.serving {
            serving.heard = Instant::now();
        }
    }

    fn tick(&self, net: &Net) -> Result<(), Broken> {
        let Some(serving) = &self.serving else { return Ok(()) };
        let waits_for_sender = serving.waiting.is_none() && !serving.ended;
        if waits_for_sender && serving.heard.elapsed() > self.patience {
            let text =
                format!("the sender gave no sign of life for {} seconds", self.patience.as_secs());
            return Err(Broken::here(Failure::new(Status::Timeout, text)));
        }
        net.send(&serving.peer, part::encode(serving.transfer, &Part::Alive));
        Ok(())
    }

    /// A peer is gone. If it was the sender it may have said why, and once it has sent the end
    /// it is not needed any more.
    async fn gone(&mut self, net: &mut Net, peer: PeerId, failure: Failure) -> Result<(), Broken> {
        let concerned = |serving: &&Serving| serving.peer == peer && !serving.ended;
        if self.serving.as_ref().filter(concerned).is_none() {
            return Ok(());
        }
        while let Some((from, payload)) = net.last_words().await {
            if from != peer {
                self.message(net, from, payload).await?;
            } else if let Ok((_, Part::Cancel(ending))) = part::parse(payload) {
                return Err(Broken::there(cancelled(&ending)));
            }
        }
        Err(Broken::there(failure))
    }
}

impl Serving {
    fn take(&mut self, part: Part) -> Result<(), Broken> {
        self.heard = Instant::now();
        match part {
            Part::Alive => {}
            Part::Cancel(ending) => return Err(Broken::there(cancelled(&ending))),
            Part::Chunk { offset, data } if !self.ended => {
                let bytes = self.bytes.saturating_add(data.len() as u64);
                if offset != self.bytes || self.announced.is_some_and(|length| bytes > length) {
                    return Err(Broken::format("a piece of the file is out of place"));
                }
                self.bytes = bytes;
                self.progress.add(data.len() as u64);
                self.waiting = Some(Order::Write(data));
            }
            Part::End(sum) if !self.ended => {
                if self.announced.is_some_and(|length| sum.bytes != length) {
                    return Err(Broken::format("the file is not as long as announced"));
                }
                self.ended = true;
                self.waiting = Some(Order::Finish(sum));
            }
            _ => return Err(Broken::format("a message is out of place")),
        }
        Ok(())
    }
}

/// Waits until the disk took what waits, or the file is complete or broken.
async fn written(serving: Option<&mut Serving>) -> Option<Result<Stored, Failure>> {
    match serving {
        Some(serving) => serving.sink.advance(&mut serving.waiting).await,
        None => std::future::pending().await,
    }
}

/// What a cancellation means here.
fn cancelled(ending: &Ending) -> Failure {
    let text = format!("the sender ended the transfer: {}", foreign(&ending.text));
    Failure::new(ending.cause.status(), text)
}
