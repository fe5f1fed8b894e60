//! What the tasks of the node have come to.

use std::task::{Context, Poll};

use headwater_core::connection::ToNode;
use headwater_core::contract::{Event, IoCause};
use headwater_core::id::ConnectionId;
use headwater_core::secure::ChannelFactory;

use super::Control;
use super::spawn::{Ended, Kind};

impl<F> Control<F>
where
    F: ChannelFactory + Send + 'static,
    F::Channel: Send + 'static,
{
    pub(super) fn take_ended(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        while let Poll::Ready(Some(ended)) = self.tasks.poll_join_next_with_id(cx) {
            any = true;
            match ended {
                Ok((id, ended)) => {
                    self.kinds.remove(&id);
                    self.on_ended(ended);
                }
                Err(error) => {
                    let kind = self.kinds.remove(&error.id()).map(|(kind, _)| kind);
                    // A listener that was closed, a dial that was given up: nothing is lost.
                    if let (Some(kind), true) = (kind, error.is_panic()) {
                        self.on_broken(kind);
                    }
                }
            }
        }
        any
    }

    fn on_ended(&mut self, ended: Ended) {
        let now = self.clock.now();
        match ended {
            Ended::Connection(id) => {
                // Its last report may be on its way still.
                self.take_reports();
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
        let now = self.clock.now();
        let Some(link) = self.links.remove(&id) else { return };
        if let Some(order) = link.take_order() {
            let mut report = ToNode::default();
            order.send_back(&mut report);
            self.core.handle_report(now, id, report);
        }
        self.core.handle_vanished(now, id);
    }

    /// A task did not come to its end.
    fn on_broken(&mut self, kind: Kind) {
        match kind {
            Kind::Connection(id) => {
                self.take_reports();
                self.ending.retain(|link| link.id() != id);
                self.on_vanished(id);
            }
            Kind::Listener(listener) => self.on_ended(Ended::Listener(listener, IoCause::Other)),
            Kind::Dial(connection) => self.on_ended(Ended::Dial(connection, Err(IoCause::Other))),
            Kind::Resolve(query) => self.on_ended(Ended::Resolve(query, Err(IoCause::Other))),
        }
    }
}
