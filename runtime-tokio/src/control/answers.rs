//! The calls of the application, and what the machine answers to them.

use headwater_core::contract::Notification;
use headwater_core::secure::ChannelFactory;

use super::Control;
use crate::call::{Call, Change};
use crate::error::{Error, ListenError};

impl<F> Control<F>
where
    F: ChannelFactory + Send + 'static,
    F::Channel: Send + 'static,
{
    pub(super) fn on_call(&mut self, call: Call) {
        let now = self.clock.now();
        match call {
            Call::Listen { address, answer } => match self.core.listen(now, address) {
                Ok(listener) => {
                    self.listen_answers.insert(listener, answer);
                }
                Err(error) => {
                    let _ = answer.send(Err(error.into()));
                }
            },
            Call::Dial { address, answer } => match self.core.dial(now, address) {
                Ok(dial) => {
                    self.dial_answers.insert(dial, answer);
                }
                Err(error) => {
                    let _ = answer.send(Err(error.into()));
                }
            },
            Call::Require { addresses, answer } => {
                let _ = answer.send(self.core.require(now, addresses));
            }
            Call::Change { change, answer } => {
                let done = match change {
                    Change::Disconnect(peer) => self.core.disconnect(now, peer),
                    Change::Register(protocol) => self.core.register(now, protocol),
                    Change::Unregister(protocol) => self.core.unregister(now, &protocol),
                    Change::Block(rule) => self.core.block(now, rule).map(drop),
                };
                self.changed.push((answer, done));
            }
            Call::Stop => self.stop(),
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
