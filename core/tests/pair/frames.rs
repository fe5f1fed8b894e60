//! What one side of a plain link wrote, frame by frame (spec 1.7, 2.1).

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Layer {
    Outer,
    Uni,
    Bi,
}

pub(crate) const DATA: u8 = 0;
pub(crate) const WINDOW: u8 = 1;
pub(crate) const PING: u8 = 2;
pub(crate) const RST: u16 = 8;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Frame {
    pub(crate) layer: Layer,
    pub(crate) kind: u8,
    pub(crate) flags: u16,
    pub(crate) stream: u32,
    pub(crate) len: u32,
    pub(crate) body: Vec<u8>,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl Frame {
    /// As the specification writes them: kind/flags/stream/length.
    pub(crate) fn text(&self) -> String {
        let kind = ["Data", "WindowUpdate", "Ping", "GoAway"][usize::from(self.kind)];
        let names = [(1, "SYN"), (2, "ACK"), (4, "FIN"), (8, "RST")];
        let flags: Vec<&str> =
            names.iter().filter(|(bit, _)| self.flags & bit != 0).map(|(_, name)| *name).collect();
        let flags = if flags.is_empty() { "0".to_owned() } else { flags.join("+") };
        format!("{:?} {kind}/{flags}/{}/{}", self.layer, self.stream, self.len)
    }
}

/// Takes whole frames off the front of `bytes`.
fn take(layer: Layer, bytes: &mut Vec<u8>) -> Option<Frame> {
    let head = bytes.first_chunk::<12>()?;
    assert_eq!(head[0], 0, "the version");
    let word = |at| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (kind, flags) = (head[1], u16::from_be_bytes([head[2], head[3]]));
    let (stream, len) = (word(4), word(8));
    let body = if kind == DATA { len as usize } else { 0 };
    if bytes.len() < 12 + body {
        return None;
    }
    let body = bytes.drain(..12 + body).skip(12).collect();
    Some(Frame { layer, kind, flags, stream, len, body })
}

/// The frames in what a side wrote after its id; outer data frames are given as what they carry.
pub(crate) fn frames(written: &[u8]) -> Vec<Frame> {
    let (mut outer, mut uni, mut bi) = (written.to_vec(), Vec::new(), Vec::new());
    let mut all = Vec::new();
    while let Some(frame) = take(Layer::Outer, &mut outer) {
        if frame.kind != DATA {
            all.push(frame);
            continue;
        }
        assert_eq!(frame.flags, 0);
        let (layer, carried) = match frame.stream {
            1 => (Layer::Uni, &mut uni),
            3 => (Layer::Bi, &mut bi),
            other => panic!("data on outer stream {other}"),
        };
        carried.extend(frame.body);
        all.extend(std::iter::from_fn(|| take(layer, carried)));
    }
    assert!(outer.is_empty() && uni.is_empty() && bi.is_empty(), "unfinished frames");
    all
}
