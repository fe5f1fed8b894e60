//! Borrowed streams, from the side of the connection's task.

use std::sync::Arc;

use headwater_core::connection::{LaneId, LaneNews};
use headwater_core::error::{BorrowError, UndeliveredReason};
use headwater_core::secure::SecureChannel;
use headwater_core::time::Instant;

use super::Task;
use crate::lanes::{Hold, Lane, Request};
use crate::runtime::Runtime;
use crate::wake::lock;

impl<C: SecureChannel, R: Runtime> Task<C, R> {
    /// Takes from the desk what the application has left there.
    pub(super) fn serve_desk(&mut self, now: Instant) {
        let mut marked = std::mem::take(&mut self.marked);
        marked.append(&mut lock(&self.link.desk).filled);
        for id in marked.drain(..) {
            self.feed_lane(now, id);
        }
        marked.append(&mut lock(&self.link.desk).returned);
        for id in marked.drain(..) {
            if let Some(lane) = self.lanes.remove(&id) {
                let connection = &mut self.connection;
                lane.swap_outbox(|rest| connection.handle_last_lane_messages(now, id, rest));
                self.connection.give_back(now, id);
            }
        }
        self.marked = marked;
        self.lend(now);
    }

    /// Hands over what is in the outbox of a lane, if the machine wants it.
    fn feed_lane(&mut self, now: Instant, id: LaneId) {
        if !self.connection.lane_wants_messages(id) {
            return;
        }
        if let Some(lane) = self.lanes.get(&id) {
            let connection = &mut self.connection;
            lane.swap_outbox(|outbox| connection.handle_lane_messages(now, id, outbox));
        }
    }

    /// Lends streams to those who wait, as long as there are any.
    pub(super) fn lend(&mut self, now: Instant) {
        self.borrowers_wait = false;
        while let Some(request) = self.next_request() {
            match self.connection.lend(now) {
                Ok(id) => {
                    let lane = Arc::new(Lane::new(id, self.connection.lane_outbox()));
                    self.lanes.insert(id, Arc::clone(&lane));
                    let hold = Hold { lane, link: Arc::clone(&self.link) };
                    // If nobody waits any more, dropping it gives the stream back.
                    let _ = request.send(Ok(hold));
                }
                Err(BorrowError::Pending | BorrowError::Exhausted) if !self.shut => {
                    lock(&self.link.desk).requests.push_front(request);
                    self.borrowers_wait = true;
                    return;
                }
                Err(error) => {
                    let _ = request.send(Err(error));
                }
            }
        }
    }

    fn next_request(&self) -> Option<Request> {
        let mut desk = lock(&self.link.desk);
        while let Some(request) = desk.requests.pop_front() {
            if !request.is_canceled() {
                return Some(request);
            }
        }
        None
    }

    /// Tells holders of streams what the machine says of them, and lends what came free.
    pub(super) fn lane_news(&mut self, now: Instant) {
        while let Some((id, news)) = self.connection.poll_lane() {
            match news {
                LaneNews::Wants => self.feed_lane(now, id),
                LaneNews::Lost(reason) => {
                    if let Some(lane) = self.lanes.remove(&id) {
                        lane.lose(reason);
                        let connection = &mut self.connection;
                        lane.swap_outbox(|rest| connection.handle_lane_messages(now, id, rest));
                    }
                }
            }
        }
        if self.borrowers_wait {
            self.lend(now);
        }
    }

    /// The connection ends: streams are lost, and what waits for one hears so.
    pub(super) fn end_lanes(&mut self, now: Instant) {
        for (id, lane) in std::mem::take(&mut self.lanes) {
            lane.lose(UndeliveredReason::ConnectionLost);
            let connection = &mut self.connection;
            lane.swap_outbox(|rest| connection.handle_last_lane_messages(now, id, rest));
            self.connection.give_back(now, id);
        }
        lock(&self.link.desk).close();
    }
}
