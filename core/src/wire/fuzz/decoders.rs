//! The decoders of single things: a number, an exchanger message, a packed payload.

use alloc::vec::Vec;

use bytes::BytesMut;

use crate::id::{PeerId, ProtocolId};
use crate::protocol::ProtocolSet;
use crate::wire::gzip::GzipError;
use crate::wire::varint::{self, LEN_MAX, Overflow};
use crate::wire::{ExchangerLimits, ExchangerMessage, MessageKind, gzip};

/// Takes `data` as a run of numbers and compares each with a decoder that thinks in 128 bits.
///
/// # Panics
///
/// If they differ, or a number that is written is not read again.
pub fn varint(data: &[u8]) {
    let mut rest = data;
    while !rest.is_empty() {
        let read = varint::decode(rest);
        assert_eq!(read, wide(rest), "{:?}", &rest[..rest.len().min(LEN_MAX + 1)]);
        let Ok(Some((value, taken))) = read else { break };
        let written = varint::encode(value);
        assert!(written.len() <= taken && written.len() == varint::len(value));
        assert_eq!(varint::decode(&written), Ok(Some((value, written.len()))));
        for cut in 0..taken {
            assert_eq!(varint::decode(&rest[..cut]), Ok(None), "a prefix is a number");
        }
        rest = &rest[taken..];
    }
    for word in data.chunks_exact(8) {
        let value = word.iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
        let written = varint::encode(value);
        assert_eq!(varint::decode(&written), Ok(Some((value, written.len()))));
    }
}

/// The same without any trick.
fn wide(input: &[u8]) -> Result<Option<(u64, usize)>, Overflow> {
    let mut value = 0_u128;
    for (at, byte) in input.iter().enumerate().take(LEN_MAX) {
        value |= u128::from(byte & 0x7f) << (7 * at);
        let ends = byte & 0x80 == 0;
        if value > u128::from(u64::MAX) || (!ends && at + 1 == LEN_MAX) {
            return Err(Overflow);
        }
        if ends {
            return Ok(Some((value as u64, at + 1)));
        }
    }
    Ok(None)
}

/// Takes `data` as an exchanger message behind its limits, and compares what is read with what a
/// reader without regard to cost finds.
///
/// # Panics
///
/// If they differ, or what is written again reads differently.
pub fn exchanger(data: &[u8]) {
    let Some((&[protocols_max, message_max], input)) = data.split_first_chunk() else { return };
    let limits = ExchangerLimits {
        protocols_max: usize::from(protocols_max) % 32,
        message_max: usize::from(message_max) * 16,
    };
    let read = ExchangerMessage::decode(input, &limits);
    assert_eq!(read.as_ref().ok(), plainly(input, &limits).as_ref(), "{read:?}");
    let Ok(read) = read else { return };
    assert!(input.len() <= limits.message_max && read.protocols.len() <= limits.protocols_max);
    let mut written = BytesMut::new();
    read.encode(&mut written);
    assert_eq!(written.len(), read.encoded_len());
    assert!(written.len() <= input.len(), "duplicates and defaults only make it shorter");
    assert_eq!(ExchangerMessage::decode(&written, &limits), Ok(read));
}

/// An exchanger message as spec 4.1 and the rules of protobuf tell it.
fn plainly(input: &[u8], limits: &ExchangerLimits) -> Option<ExchangerMessage> {
    let mut rest = (input.len() <= limits.message_max).then_some(input)?;
    let (mut pid, mut kind, mut protocols) = (&[][..], 0, Vec::new());
    let number = |rest: &mut &[u8]| -> Option<u64> {
        let (value, taken) = wide(rest).ok()??;
        *rest = &rest[taken..];
        Some(value)
    };
    let bytes = |rest: &mut &[u8], len: u64| -> Option<Vec<u8>> {
        let (bytes, after) = rest.split_at_checked(usize::try_from(len).ok()?)?;
        *rest = after;
        Some(bytes.to_vec())
    };
    let mut last_pid = Vec::new();
    while !rest.is_empty() {
        let tag = number(&mut rest)?;
        match (tag >> 3, tag & 7) {
            (0, _) => return None,
            (1, 2) => {
                let len = number(&mut rest)?;
                last_pid = bytes(&mut rest, len)?;
            }
            (2, 2) => {
                let len = number(&mut rest)?;
                let name = bytes(&mut rest, len)?;
                protocols.push(ProtocolId::new(core::str::from_utf8(&name).ok()?).ok()?);
            }
            (3, 0) => kind = number(&mut rest)?,
            (1..=3, _) => return None,
            (_, 0) => drop(number(&mut rest)?),
            (_, 1) => drop(bytes(&mut rest, 8)?),
            (_, 2) => {
                let len = number(&mut rest)?;
                bytes(&mut rest, len)?;
            }
            (_, 5) => drop(bytes(&mut rest, 4)?),
            _ => return None,
        }
    }
    if !last_pid.is_empty() {
        pid = &last_pid;
    }
    let kinds =
        [MessageKind::Push, MessageKind::PushOk, MessageKind::Request, MessageKind::Response];
    (protocols.len() <= limits.protocols_max).then_some(())?;
    Some(ExchangerMessage {
        pid: PeerId::from_bytes(pid).ok()?,
        protocols: protocols.into_iter().collect::<ProtocolSet>(),
        kind: *kinds.get(usize::try_from(kind).ok()?)?,
    })
}

/// Takes `data` as a payload and as gzip behind a cap.
///
/// # Panics
///
/// If more is unpacked than the cap allows, the cap alone decides about what fits another one, or
/// a payload that was packed is not found again.
pub fn gzip(data: &[u8]) {
    let Some((&[cap, flags], input)) = data.split_first_chunk() else { return };
    let cap = usize::from(cap) * 16;
    unpack(input, cap);
    // A good end behind whatever the input says in deflate, so that its middle is reached.
    let member = [&[0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 0xff], input].concat();
    unpack(&member, cap);
    let mut packed = BytesMut::new();
    gzip::compress(input, &mut packed);
    let unpacked = gzip::decompress(&packed, input.len());
    assert_eq!(unpacked.as_deref(), Ok(input));
    if let Some(less) = input.len().checked_sub(1) {
        let refused = gzip::decompress(&packed, less);
        assert_eq!(refused, Err(GzipError::TooLong { limit: less }));
    }
    // Two members are one payload; the cap counts both.
    let twice = [&packed[..], &packed].concat();
    assert_eq!(gzip::decompress(&twice, 2 * input.len()).map(|all| all.len()), Ok(2 * input.len()));
}

fn unpack(input: &[u8], cap: usize) {
    match gzip::decompress(input, cap) {
        Ok(payload) => {
            assert!(payload.len() <= cap);
            assert_eq!(
                gzip::decompress(input, cap + 1),
                Ok(payload),
                "a higher cap, another result"
            );
        }
        Err(GzipError::TooLong { limit }) => assert_eq!(limit, cap),
        Err(error) => {
            let again = gzip::decompress(input, cap * 2 + 100);
            assert_eq!(again, Err(error), "what is malformed is so under any cap");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use proptest::prelude::*;

    #[test]
    fn decoders_hold_for_inputs_that_look_random() {
        let mut rng = Seed::from_u64(5).rng("decoders", 0);
        for _ in 0..1500 {
            let len = rng.below(200);
            let data: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
            varint(&data);
            exchanger(&data);
            gzip(&data);
        }
    }

    proptest! {
        #[test]
        fn exchanger_messages_are_read_as_the_rules_of_protobuf_say(
            fields in prop::collection::vec((0_u8..6, 0_u8..6, "[a-c/]{0,3}"), 0..12),
        ) {
            let mut data = b"\x10\x40\x0a\x05Qmabc".to_vec();
            for (field, wire, text) in fields {
                data.extend_from_slice(&[field << 3 | wire, text.len() as u8]);
                data.extend_from_slice(text.as_bytes());
            }
            exchanger(&data);
        }
    }
}
