//! The calls of the application, and what the machine answers to them.

use futures_channel::oneshot;
use headwater_core::contract::{DialId, Notification};
use headwater_core::error::ApplicationError;
use headwater_core::id::PeerId;
use headwater_core::secure::ChannelFactory;

use super::Control;
use crate::call::{Call, Change};
use crate::error::{Error, ListenError};
use crate::runtime::Runtime;

impl<F, R> Control<F, R>
where
    R: Runtime,
    F: ChannelFactory + Send + 'static,
    F::Channel: Send + 'static,
{
    pub(super) fn on_call(&mut self, call: Call) {
        let now = self.runtime.now();
        match call {
            Call::Listen { address, answer } => match self.core.listen(now, address) {
                Ok(listener) => {
                    self.listen_answers.insert(listener, answer);
                }
                Err(error) => {
                    let _ = answer.send(Err(error.into()));
                }
            },
            Call::Dial { address, answer } => {
                let dial = self.core.dial(now, address);
                self.on_dial(dial, answer);
            }
            Call::Connect { peer, answer } => {
                let dial = self.core.connect(now, peer);
                self.on_dial(dial, answer);
            }
            Call::Require { addresses, answer } => {
                let _ = answer.send(self.core.require(now, addresses));
            }
            Call::RequiredState { required, answer } => {
                let _ = answer.send(self.core.required_state(required));
            }
            Call::Parts { answer } => {
                let links = self.links.values().chain(&self.ending);
                let _ = answer.send(links.filter_map(|link| link.ask()).collect());
            }
            Call::Snapshot { answer } => {
                // A connection that ended since the last look has left what it counted.
                self.take_reports();
                let _ = answer.send(self.core.snapshot(now));
            }
            Call::Change { change, answer } => {
                let done = match change {
                    Change::Disconnect(peer) => self.core.disconnect(now, peer),
                    Change::Register(protocol) => self.core.register(now, protocol),
                    Change::Unregister(protocol) => self.core.unregister(now, &protocol),
                    Change::Block(rule) => self.core.block(now, rule).map(drop),
                    Change::Unblock(rule) => {
                        self.core.unblock(now, &rule);
                        Ok(())
                    }
                    Change::SetRequired(required, addresses) => {
                        self.core.set_required(now, required, addresses)
                    }
                    Change::Release(required) => self.core.release(now, required),
                };
                self.changed.push((answer, done));
            }
            Call::Stop => self.stop(),
        }
    }

    fn on_dial(
        &mut self,
        dial: Result<DialId, ApplicationError>,
        answer: oneshot::Sender<Result<PeerId, Error>>,
    ) {
        match dial {
            Ok(dial) => {
                self.dial_answers.insert(dial, answer);
            }
            Err(error) => {
                let _ = answer.send(Err(error.into()));
            }
        }
    }

    pub(super) fn answer(&mut self, answer: Notification) {
        match answer {
            Notification::Listening { listener, local } => {
                if let Some(answer) = self.listen_answers.remove(&listener) {
                    let _ = answer.send(Ok(local));
                }
            }
            Notification::ListenFailed { listener, cause, .. } => {
                match self.listen_answers.remove(&listener) {
                    Some(answer) => {
                        let _ = answer.send(Err(ListenError::Bind(cause)));
                    }
                    // It had listened and broke: nobody waits for that.
                    None => self.shared.news.put(answer),
                }
            }
            Notification::Dialed { dial, peer } => {
                if let Some(answer) = self.dial_answers.remove(&dial) {
                    let _ = answer.send(Ok(peer));
                }
            }
            Notification::DialFailed { dial, error, .. } => {
                if let Some(answer) = self.dial_answers.remove(&dial) {
                    let _ = answer.send(Err(Error::Dial(error)));
                }
            }
            _ => {}
        }
    }
}
