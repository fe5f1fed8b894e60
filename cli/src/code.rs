//! Stable codes of what goes wrong: the names of an error and of what is inside it, from the
//! outside in, with dots between them. The names are those of docs/telling.md in lower case with
//! `_` between the words, and stay.

use headwater_core::error::{CloseReason, DialError, Refusal, RetryCause};

/// The code of a dial that led to nothing.
pub(crate) fn dial(error: &DialError) -> String {
    let inner = match error {
        DialError::Resolve(cause) | DialError::Link(cause) => cause.name().to_owned(),
        DialError::Refused(refusal) => self::refusal(refusal),
        _ => return error.name().to_owned(),
    };
    format!("{}.{inner}", error.name())
}

/// The code of a link that was turned away, or ended early.
pub(crate) fn refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Closed(reason) => format!("{}.{}", refusal.name(), close(reason)),
        refusal => refusal.name().to_owned(),
    }
}

/// The code of the end of a connection.
pub(crate) fn close(reason: &CloseReason) -> String {
    let inner = match reason {
        CloseReason::Refused(refusal) => self::refusal(refusal),
        CloseReason::Io(cause) => cause.name().to_owned(),
        CloseReason::Deadline(why) => why.name().to_owned(),
        CloseReason::Channel(error) => error.name().to_owned(),
        CloseReason::Exchange(error) => error.name().to_owned(),
        CloseReason::Offences { last } => last.name().to_owned(),
        _ => return reason.name().to_owned(),
    };
    format!("{}.{inner}", reason.name())
}

/// The code of a failure of a peer that is to be kept.
pub(crate) fn retry(cause: &RetryCause) -> String {
    let inner = match cause {
        RetryCause::Dial(error) => dial(error),
        RetryCause::Lost(reason) => close(reason),
        _ => return cause.name().to_owned(),
    };
    format!("{}.{inner}", cause.name())
}

#[cfg(test)]
mod tests {
    use headwater_core::contract::IoCause;
    use headwater_core::secure::ChannelError;

    use super::*;

    #[test]
    fn codes_go_from_the_outside_in() {
        let closed = CloseReason::Channel(ChannelError::SpeaksTls);
        let refused = Refusal::Closed(Box::new(closed.clone()));
        assert_eq!(close(&closed), "channel.speaks_tls");
        assert_eq!(close(&CloseReason::RemoteClosed), "remote_closed");
        assert_eq!(refusal(&Refusal::TooManyPeers), "too_many_peers");
        assert_eq!(refusal(&refused), "closed.channel.speaks_tls");
        let dialled = DialError::Refused(refused);
        assert_eq!(dial(&dialled), "refused.closed.channel.speaks_tls");
        assert_eq!(dial(&DialError::Deadline), "deadline");
        let unreachable = RetryCause::Dial(DialError::Link(IoCause::Unreachable));
        assert_eq!(retry(&unreachable), "dial.link.unreachable");
        assert_eq!(retry(&RetryCause::Lost(closed)), "lost.channel.speaks_tls");
    }
}
