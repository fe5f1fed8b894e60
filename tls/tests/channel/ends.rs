//! How channels end.

use headwater_core::secure::{ChannelError, SecureChannel};
use headwater_tls::TlsError;

use crate::handshake::new_tls;
use crate::link::Link;

#[test]
fn an_end_is_announced_behind_what_was_sealed() {
    let mut link = Link::new(&new_tls(), &new_tls());
    link.run();
    link.dialer.send("last words");
    link.dialer.speak(usize::MAX);
    link.dialer.channel.close();
    link.dialer.channel.close();
    link.dialer.send("too late");
    link.run();
    assert_eq!(link.listener.received, b"last words");
    assert!(link.listener.closed);
    assert_eq!(link.listener.channel.handle_eof(), Ok(()));
    // The other side may go on, and is not heard.
    link.listener.send("an answer");
    link.run();
    assert!(link.dialer.received.is_empty());
    assert_eq!(link.dialer.error, None);
    assert_eq!(link.dialer.channel.handle_eof(), Ok(()));
}

#[test]
fn bad_records_after_our_end_are_ignored() {
    let mut link = Link::new(&new_tls(), &new_tls());
    link.run();
    link.listener.channel.close();
    link.listener
        .hear(&[23, 3, 3, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    link.listener.hear(b"what is this");
    link.listener.speak(usize::MAX);
    assert_eq!(link.listener.error, None);
    // One record: the close notice.
    assert_eq!(link.listener.wire.len(), 24);
}

#[test]
fn a_cut_is_told_from_an_end() {
    let mut link = Link::new(&new_tls(), &new_tls());
    assert_eq!(link.listener.channel.handle_eof(), Err(ChannelError::Silent));
    link.listener.hear(&[22]);
    assert_eq!(link.listener.channel.handle_eof(), Err(ChannelError::Truncated));
    let mut link = Link::new(&new_tls(), &new_tls());
    link.run();
    link.dialer.send("half a record");
    link.dialer.speak(usize::MAX);
    let half = link.dialer.wire.split_to(10);
    link.listener.hear(&half);
    assert_eq!(link.listener.error, None);
    assert_eq!(link.listener.channel.handle_eof(), Err(ChannelError::Truncated));
}

#[test]
fn a_changed_byte_ends_the_channel_with_an_alert() {
    let (a, b) = (new_tls(), new_tls());
    for at in 0..60 {
        let mut link = Link::new(&a, &b);
        link.run();
        link.dialer.send("before");
        link.run();
        link.dialer.send("something to change, of some length");
        link.dialer.speak(usize::MAX);
        link.dialer.wire[at % 57] ^= 1 << (at % 8);
        link.run();
        if at % 57 == 2 {
            // The minor version of a record means nothing.
            assert_eq!(link.listener.error, None);
            continue;
        }
        assert_eq!(link.listener.received, b"before", "{at}");
        if link.listener.error.is_none() {
            // A longer length: the record never ends.
            assert!(matches!(at % 57, 3 | 4), "{at}");
            continue;
        }
        assert!(matches!(link.dialer.failure(), TlsError::Alert { .. }), "{at}");
    }
}

#[test]
fn a_close_in_the_handshake_says_nothing() {
    let mut link = Link::new(&new_tls(), &new_tls());
    link.listener.channel.close();
    link.run();
    assert!(link.listener.wire.is_empty());
}
