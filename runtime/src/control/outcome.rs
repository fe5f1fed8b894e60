//! What the tasks of the node have come to.

use headwater_core::connection::ToNode;
use headwater_core::contract::{Event, IoCause};
use headwater_core::id::ConnectionId;
use headwater_core::secure::ChannelFactory;
use headwater_core::snapshot::Traffic;

use super::Control;
use super::spawn::{Ended, Kind};
use crate::runtime::Runtime;

impl<F, R> Control<F, R>
where
    R: Runtime,
    F: ChannelFactory + Send + 'static,
    F::Channel: Send + 'static,
{
    pub(super) fn take_ended(&mut self) -> bool {
        let mut ended = std::mem::take(&mut self.ended);
        self.results.take(&mut ended);
        let any = !ended.is_empty();
        for (task, ended) in ended.drain(..) {
            let kind = self.kinds.remove(&task);
            match ended {
                Some(ended) => self.on_ended(ended),
                None => kind.into_iter().for_each(|kind| self.on_broken(&kind)),
            }
        }
        self.ended = ended;
        any
    }

    fn on_ended(&mut self, ended: Ended<R::Socket>) {
        let now = self.runtime.now();
        match ended {
            Ended::Connection(id, late) => {
                // Its last report may be on its way still.
                self.take_reports();
                self.core.handle_late(id, *late);
                self.ending.retain(|link| link.id() != id);
                self.on_vanished(id);
            }
            Ended::Listener(listener, cause) => {
                self.listeners.remove(&listener);
                self.core.handle_event(now, Event::ListenFailed { listener, cause });
            }
            Ended::Dial(connection, made) => {
                self.dials.remove(&connection);
                match made {
                    Ok((socket, local)) => {
                        if let Ok(setup) = self.core.handle_dialed(now, connection, local) {
                            self.spawn_connection(setup, socket);
                        }
                    }
                    Err(cause) => {
                        self.core.handle_event(now, Event::DialFailed { connection, cause });
                    }
                }
            }
            Ended::Cancelled => {}
            Ended::Resolve(query, found) => {
                let event = match found {
                    Ok(addresses) => Event::Resolved { query, addresses },
                    Err(cause) => Event::ResolveFailed { query, cause },
                };
                self.core.handle_event(now, event);
            }
        }
    }

    /// The task of a connection ended without a last report.
    fn on_vanished(&mut self, id: ConnectionId) {
        let now = self.runtime.now();
        let Some(link) = self.links.remove(&id) else { return };
        if let Some(order) = link.take_order() {
            let mut report = ToNode::default();
            order.send_back(&mut report);
            self.core.handle_report(now, id, report);
        }
        self.core.handle_vanished(now, id);
    }

    /// A task did not come to its end.
    fn on_broken(&mut self, kind: &Kind) {
        match *kind {
            Kind::Connection(id, _) => {
                self.take_reports();
                self.core.handle_late(id, Traffic::default());
                self.ending.retain(|link| link.id() != id);
                self.on_vanished(id);
            }
            Kind::Listener(listener, _) => self.on_ended(Ended::Listener(listener, IoCause::Other)),
            Kind::Dial(connection, _) => {
                self.on_ended(Ended::Dial(connection, Err(IoCause::Other)));
            }
            Kind::Resolve(query, _) => self.on_ended(Ended::Resolve(query, Err(IoCause::Other))),
        }
    }
}
