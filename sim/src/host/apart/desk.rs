//! Borrowed streams, from the side of a connection's task.

use headwater_core::connection::{LaneId, LaneNews};
use headwater_core::error::{BorrowError, UndeliveredReason};
use headwater_core::id::ConnectionId;
use headwater_core::secure::ChannelFactory;
use headwater_core::time::Instant;

use super::Apart;
use super::task::Part;
use crate::host::{Stream, StreamNews};

impl<F: ChannelFactory> Apart<F> {
    /// Takes from the desk what the application has left there.
    pub(super) fn serve_desk(&mut self, id: ConnectionId, now: Instant) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        for lane in std::mem::take(&mut part.lanes_filled) {
            part.feed_lane(now, lane);
        }
        for lane in std::mem::take(&mut part.lanes_returned) {
            if let Some(mut rest) = part.lanes.remove(&lane) {
                part.connection.handle_last_lane_messages(now, lane, &mut rest);
                part.connection.give_back(now, lane);
            }
        }
        self.lend(id, now);
    }

    /// Lends streams to those who wait, as long as there are any.
    fn lend(&mut self, id: ConnectionId, now: Instant) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        while let Some(request) = part.requests.pop_front() {
            let answer = match part.connection.lend(now) {
                Ok(lane) => {
                    let outbox = part.connection.lane_outbox();
                    part.lanes.insert(lane, outbox);
                    Ok(Stream::Apart(id, lane))
                }
                Err(BorrowError::Pending | BorrowError::Exhausted) if !part.shut => {
                    part.requests.push_front(request);
                    return;
                }
                Err(error) => Err(error),
            };
            self.news.push_back(StreamNews::Lent(request, answer));
        }
    }

    /// Tells holders of streams what the machine says of them, and lends what came free.
    pub(super) fn lane_news(&mut self, id: ConnectionId, now: Instant) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        while let Some((lane, news)) = part.connection.poll_lane() {
            match news {
                LaneNews::Wants => part.feed_lane(now, lane),
                LaneNews::Lost(_) => {
                    if let Some(mut rest) = part.lanes.remove(&lane) {
                        rest.close();
                        part.connection.handle_lane_messages(now, lane, &mut rest);
                    }
                }
            }
            self.news.push_back(StreamNews::Of(Stream::Apart(id, lane), news));
        }
        if !part.requests.is_empty() {
            self.lend(id, now);
        }
    }

    /// The connection ends: streams are lost, and what waits for one hears so.
    pub(super) fn end_lanes(&mut self, id: ConnectionId, now: Instant) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        for (lane, mut rest) in std::mem::take(&mut part.lanes) {
            part.connection.handle_last_lane_messages(now, lane, &mut rest);
            part.connection.give_back(now, lane);
            let lost = LaneNews::Lost(UndeliveredReason::ConnectionLost);
            self.news.push_back(StreamNews::Of(Stream::Apart(id, lane), lost));
        }
        for request in std::mem::take(&mut part.requests) {
            self.news.push_back(StreamNews::Lent(request, Err(BorrowError::Closed)));
        }
        part.lanes_filled.clear();
        part.lanes_returned.clear();
    }
}

impl<C: headwater_core::secure::SecureChannel> Part<C> {
    /// Hands over what is in the outbox of a lane, if the machine wants it.
    fn feed_lane(&mut self, now: Instant, lane: LaneId) {
        let Self { connection, lanes, .. } = self;
        if let Some(outbox) = lanes.get_mut(&lane) {
            if connection.lane_wants_messages(lane) {
                connection.handle_lane_messages(now, lane, outbox);
            }
        }
    }
}
