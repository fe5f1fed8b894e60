//! What a message says of itself, so that whoever gets it can tell where it belongs.

use bytes::{BufMut, Bytes, BytesMut};

/// The length of the part that every message has.
pub(crate) const HEAD: usize = 30;

/// Where a message comes from and goes to, and which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) from: u16,
    pub(crate) life: u32,
    pub(crate) to: u16,
    /// Which one of those that this life of the sender has sent.
    pub(crate) number: u64,
    /// The borrowed stream that it was sent on, counted from 1, and its place there.
    pub(crate) stream: u32,
    pub(crate) place: u32,
    pub(crate) protocol: u16,
    pub(crate) len: u32,
}

impl Head {
    /// The whole message.
    pub(crate) fn encode(&self) -> Bytes {
        let len = (self.len as usize).max(HEAD);
        let mut bytes = BytesMut::with_capacity(len);
        bytes.put_u16(self.from);
        bytes.put_u32(self.life);
        bytes.put_u16(self.to);
        bytes.put_u64(self.number);
        bytes.put_u32(self.stream);
        bytes.put_u32(self.place);
        bytes.put_u16(self.protocol);
        bytes.put_u32(len as u32);
        bytes.put_bytes(self.fill(), len - HEAD);
        bytes.freeze()
    }

    /// Reads a message; `None` if it is not as it was made.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let word = |at: usize| Some(u32::from_be_bytes(head.get(at..at + 4)?.try_into().ok()?));
        let half = |at: usize| Some(u16::from_be_bytes(head.get(at..at + 2)?.try_into().ok()?));
        let head = Self {
            from: half(0)?,
            life: word(2)?,
            to: half(6)?,
            number: u64::from(word(8)?) << 32 | u64::from(word(12)?),
            stream: word(16)?,
            place: word(20)?,
            protocol: half(24)?,
            len: word(26)?,
        };
        let fill = head.fill();
        let whole = head.len as usize == bytes.len() && rest.iter().all(|byte| *byte == fill);
        whole.then_some(head)
    }

    fn fill(&self) -> u8 {
        (self.number ^ u64::from(self.from)) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_made_and_any_damage_is_seen() {
        for len in [0, 30, 31, 500] {
            let head = Head {
                from: 3,
                life: 2,
                to: 9,
                number: 1 << 40,
                stream: 7,
                place: 1,
                protocol: 4,
                len: len.max(HEAD as u32),
            };
            let bytes = head.encode();
            assert_eq!(Head::decode(&bytes), Some(head));
            assert_eq!(Head::decode(&bytes[1..]), None);
            let mut damaged = bytes.to_vec();
            damaged.push(1);
            assert_eq!(Head::decode(&damaged), None);
            if let Some(last) = damaged.get_mut(bytes.len() - 1).filter(|_| len > 30) {
                *last ^= 1;
                damaged.pop();
                assert_eq!(Head::decode(&damaged[..bytes.len()]), None);
            }
        }
    }
}
