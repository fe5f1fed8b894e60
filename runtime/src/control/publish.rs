//! Everything that comes out of the machine, handed to whoever it is for.

use headwater_core::contract::Command;
use headwater_core::id::PeerId;
use headwater_core::secure::ChannelFactory;

use super::Control;
use super::spawn::{Ended, Kind};
use crate::dial;
use crate::routes::Route;
use crate::runtime::Runtime;

impl<F, R> Control<F, R>
where
    R: Runtime,
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
        while self.shared.news.has_room() || (self.stopping && self.kinds.is_empty()) {
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
                        task.cancel();
                    }
                }
                Command::Resolve { query, name, port, family } => {
                    let resolve =
                        dial::resolve(self.runtime.clone(), name.as_ref().to_owned(), port, family);
                    self.spawn_work(
                        |task| Kind::Resolve(query, task),
                        resolve,
                        move |found| Ended::Resolve(query, found),
                    );
                }
                Command::Dial { connection, remote } => {
                    let task = self.spawn_work(
                        |task| Kind::Dial(connection, task),
                        dial::connect(self.runtime.clone(), remote),
                        move |made| Ended::Dial(connection, made),
                    );
                    self.dials.insert(connection, task);
                }
                Command::CancelDial { connection } => {
                    if let Some(task) = self.dials.remove(&connection) {
                        task.cancel();
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
