//! Notes and frames in words.

use headwater_core::record::{Note, Outcome, Want};

use crate::frames::{Frame, FrameKind, Part, Parts, Track};

/// A note in words.
pub(crate) fn of(note: &Note) -> String {
    match note {
        Note::Event(event) => format!("event {event:?}"),
        Note::Report { connection, report } => format!("report of {connection}: {report:?}"),
        Note::Reported(report) => format!("reports {report:?}"),
        Note::Order(order) => format!("order {order:?}"),
        Note::Ordered { connection, order } => format!("orders {connection}: {order:?}"),
        Note::Command(text) => format!("command {text}"),
        Note::Notification(text) => format!("notification {text}"),
        Note::Answered(text) => format!("answer {text}"),
        Note::Gave(text) => format!("gave {text}"),
        Note::Route(peer) => format!("new route to {peer}"),
        Note::Read(bytes) | Note::Received(bytes) => format!("read {bytes} bytes"),
        Note::Opened { consumed, opened, outcome } => opened_words(*consumed, *opened, outcome),
        Note::Framed(bytes) => format!("framed {bytes} bytes"),
        Note::Sealed { plain, sealed } => format!("sealed {plain} bytes as {sealed}"),
        Note::Flushed { bytes, .. } => format!("channel has {bytes} bytes of its own to send"),
        Note::Transmitted(bytes) => format!("wrote {bytes} bytes"),
        Note::Transmit => "is asked for output".to_owned(),
        Note::Lend => "lends a buffer".to_owned(),
        Note::Timeout => "time has passed".to_owned(),
        Note::Eof => "the other side has ended".to_owned(),
        Note::IoError(cause) => format!("the link broke: {cause}"),
        Note::ChannelEof(None) => "channel: that end was announced, or needs no notice".to_owned(),
        Note::ChannelEof(Some(error)) => format!("channel: {error}"),
        Note::Messages { lane, messages, bytes, .. } => match lane {
            Some(lane) => format!("takes {messages} messages, {bytes} bytes, to send on {lane:?}"),
            None => format!("takes {messages} messages, {bytes} bytes, to send"),
        },
        Note::Taken { messages, bytes, .. } => {
            format!("hands out {messages} messages, {bytes} bytes")
        }
        Note::Consumed(_) => "messages were consumed".to_owned(),
        Note::Wants(Want::Buffer) => "no memory to read into".to_owned(),
        Note::Wants(Want::Room) => "no memory to open records into".to_owned(),
        Note::Wants(Want::Slices) => "little memory: copies messages".to_owned(),
        Note::LinkCommand(command) => format!("link: {command:?}"),
        Note::Leftover { peer, .. } => format!("messages for {peer} were left over"),
        Note::Lost { peer, .. } => format!("messages for {peer} were lost"),
        Note::Late { connection, .. } => format!("{connection} is done"),
        // What is left says it with its name.
        other => lowered(&format!("{other:?}")),
    }
}

fn lowered(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

fn opened_words(consumed: usize, opened: usize, outcome: &Outcome) -> String {
    let what = match outcome {
        Outcome::Waiting => String::new(),
        Outcome::Proven(Some(peer)) => format!(", the other side is {peer}"),
        Outcome::Proven(None) => ", the handshake is over".to_owned(),
        Outcome::Closed => ", the other side announced its end".to_owned(),
        Outcome::Failed(error) => format!(", {error}"),
    };
    format!("opened {consumed} bytes as {opened}{what}")
}

/// The frames of a step in words, with what is in them.
pub(crate) fn frames(track: &mut Track, parts: Parts<'_>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        if let Some(frame) = track.read(&part) {
            lines.push(frame_words(&frame));
            continue;
        }
        let data = match part {
            Part::Header { .. } => continue,
            Part::Data(bytes) => format!("{} bytes", bytes.len()),
            Part::Hashed { len, hash } => format!("{len} bytes #{hash:016x}"),
        };
        match lines.last_mut() {
            Some(line) => {
                line.push_str(if line.contains(": ") { " + " } else { ": " });
                line.push_str(&data);
            }
            None => lines.push(format!("more of the frame before: {data}")),
        }
    }
    lines
}

fn frame_words(frame: &Frame) -> String {
    let layer = match frame.on {
        None => "outer",
        // The dialer opens the one for messages first, then the one for the exchange.
        Some(1) => "uni",
        Some(3) => "bi",
        Some(_) => "inner",
    };
    let flags: Vec<&str> = [(1, "SYN"), (2, "ACK"), (4, "FIN"), (8, "RST")]
        .into_iter()
        .filter_map(|(bit, name)| (frame.flags & bit != 0).then_some(name))
        .collect();
    let flags = if flags.is_empty() { String::new() } else { format!(" {}", flags.join("+")) };
    let (stream, length) = (frame.stream, frame.length);
    match frame.kind {
        FrameKind::Data => format!("{layer} data, stream {stream}{flags}, {length} bytes"),
        FrameKind::WindowUpdate => format!("{layer} credit, stream {stream}{flags}, {length} more"),
        FrameKind::Ping => format!("{layer} ping{flags} {length:#x}"),
        FrameKind::GoAway => format!("{layer} goes away, code {length}"),
        FrameKind::Unknown(kind) => format!("{layer} frame of unknown kind {kind}"),
    }
}
