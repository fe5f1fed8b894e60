//! Everything that comes out of the machine, handed to whoever it is for.

use headwater_core::contract::Command;
use headwater_core::id::PeerId;
use headwater_core::secure::ChannelFactory;

use super::Control;
use super::spawn::{Ended, Kind};
use crate::dial;
use crate::routes::Route;

impl<F> Control<F>
where
    F: ChannelFactory + Send + 'static,
    F::Channel: Send + 'static,
{
    /// Carries out and hands on everything that the machine has; whether there was something.
    pub(super) fn drain(&mut self) -> bool {
        let mut any = self.commands();
        // Before orders and answers: whoever hears of a peer, or from it, can send to it.
        while let Some(peer) = self.core.poll_route() {
            self.publish_route(peer);
            any = true;
        }
        for (link, told) in self.rerouted.drain(..) {
            link.route_is_made(told);
        }
        while let Some((id, order)) = self.core.poll_order() {
            if let Some(link) = self.links.get(&id) {
                link.leave_order(order);
            }
            any = true;
        }
        // What a peer learns of a change reaches our connections after the change.
        for (answer, done) in self.changed.drain(..) {
            let _ = answer.send(done);
        }
        while let Some(answer) = self.core.poll_answer() {
            self.answer(answer);
            any = true;
        }
        // At the end nothing is held back, or the end would wait for the application.
        while self.shared.news.has_room() || (self.stopping && self.tasks.is_empty()) {
            let Some(notification) = self.core.poll_notification() else { break };
            self.shared.news.put(notification);
            any = true;
        }
        any
    }

    pub(super) fn commands(&mut self) -> bool {
        let mut any = false;
        while let Some(command) = self.core.poll_command() {
            any = true;
            match command {
                Command::Listen { listener, address } => self.listen(listener, address),
                Command::StopListening { listener } => {
                    if let Some((task, _)) = self.listeners.remove(&listener) {
                        task.abort();
                    }
                }
                Command::Resolve { query, name, port, family } => {
                    let resolve = async move {
                        Ended::Resolve(query, dial::resolve(&name, port, family).await)
                    };
                    self.spawn(Kind::Resolve(query), resolve);
                }
                Command::Dial { connection, remote } => {
                    let dial = async move { Ended::Dial(connection, dial::connect(remote).await) };
                    let task = self.spawn(Kind::Dial(connection), dial);
                    self.dials.insert(connection, task);
                }
                Command::CancelDial { connection } => {
                    if let Some(task) = self.dials.remove(&connection) {
                        task.abort();
                    }
                }
                Command::PauseAccept => self.pause(true),
                Command::ResumeAccept => self.pause(false),
                _ => {}
            }
        }
        any
    }

    fn pause(&mut self, paused: bool) {
        self.paused = paused;
        for (_, gate) in self.listeners.values() {
            gate.set(paused);
        }
    }

    fn publish_route(&self, peer: PeerId) {
        let route = self.core.route(&peer).map(|route| {
            let entries = route.entries().iter();
            let links = entries.filter_map(|entry| self.links.get(&entry.connection).cloned());
            Route::new(route.protocols().clone(), links.collect())
        });
        self.shared.routes.set(peer, route);
    }
}
