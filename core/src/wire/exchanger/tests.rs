use super::*;
use proptest::prelude::*;
use std::string::String;

const PEER: &str = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";

fn message(names: &[&str], kind: MessageKind) -> ExchangerMessage {
    ExchangerMessage {
        pid: PEER.parse().unwrap(),
        protocols: names.iter().map(|name| ProtocolId::new(name).unwrap()).collect(),
        kind,
    }
}

fn decode(bytes: &[u8]) -> Result<ExchangerMessage, ExchangerError> {
    ExchangerMessage::decode(bytes, &ExchangerLimits::default())
}

/// A message with `fields` behind a good `pid`.
fn with_pid(fields: &[u8]) -> Vec<u8> {
    let mut bytes = std::vec![TAG_PID, 46];
    bytes.extend_from_slice(PEER.as_bytes());
    bytes.extend_from_slice(fields);
    bytes
}

#[test]
fn the_request_of_the_spec_is_written_and_read() {
    let request = message(&["/test", ProtocolId::EXCHANGER], MessageKind::Request);
    let mut payload = BytesMut::new();
    request.encode(&mut payload);
    let mut expected = with_pid(&[TAG_PROTOCOLS, 26]);
    expected.extend_from_slice(b"/protocol-exchanger/v0.0.1\x12\x05/test\x18\x02");
    assert_eq!(payload, expected);
    assert_eq!(decode(&payload), Ok(request));

    let mut package = BytesMut::new();
    crate::wire::encode_package(&mut package, ProtocolId::EXCHANGER, &payload, false);
    assert_eq!(package[..8], [0, 0, 0, 0, 0, 0, 0, 0x72]);
    assert_eq!(package[8 + 27], 0x55);
    assert_eq!(package.len(), 8 + 0x72);
}

#[test]
fn a_push_writes_no_kind() {
    let push = message(&["/a"], MessageKind::Push);
    let mut bytes = BytesMut::new();
    push.encode(&mut bytes);
    assert_eq!(bytes, with_pid(b"\x12\x02/a"));
    assert_eq!(bytes.len(), push.encoded_len());
    assert_eq!(decode(&bytes), Ok(push));
}

#[test]
fn unknown_fields_are_skipped_and_the_last_scalar_counts() {
    let bytes = with_pid(
        b"\x18\x03\x20\x96\x01\x2a\x03xyz\x31\0\0\0\0\0\0\0\0\x3d\0\0\0\0\x12\x02/b\x12\x02/a\
          \x12\x02/b\x18\x01",
    );
    assert_eq!(decode(&bytes), Ok(message(&["/a", "/b"], MessageKind::PushOk)));
    let mut twice = std::vec![TAG_PID, 1, b'!'];
    twice.extend(with_pid(&[]));
    assert_eq!(decode(&twice), Ok(message(&[], MessageKind::Push)));
}

#[test]
fn what_breaks_a_rule_is_named() {
    let long = |len: usize| {
        let mut fields = std::vec![TAG_PROTOCOLS];
        fields.extend_from_slice(&varint::encode(len as u64));
        fields.resize(fields.len() + len, b'p');
        with_pid(&fields)
    };
    let id_error = |actual| ProtocolId::new(&"p".repeat(actual)).unwrap_err();
    for (bytes, error) in [
        (Vec::new(), ExchangerError::PeerId(PeerIdError::Length { actual: 0 })),
        (b"\x0a\x01!".to_vec(), ExchangerError::PeerId(PeerIdError::NotBase58 { at: 0 })),
        (with_pid(b"\x0a"), ExchangerError::Truncated { at: 48 }),
        (with_pid(b"\x12\x03/a"), ExchangerError::Truncated { at: 48 }),
        (
            with_pid(b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
            ExchangerError::Truncated { at: 48 },
        ),
        (
            with_pid(b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
            ExchangerError::Overflow { at: 48 },
        ),
        (with_pid(b"\x21\0\0"), ExchangerError::Truncated { at: 48 }),
        (with_pid(b"\x00\0"), ExchangerError::BadTag { at: 48, actual: 0 }),
        (with_pid(b"\x23"), ExchangerError::BadTag { at: 48, actual: 0x23 }),
        (with_pid(b"\x26"), ExchangerError::BadTag { at: 48, actual: 0x26 }),
        (with_pid(b"\x10\x01"), ExchangerError::WrongType { field: 2 }),
        (with_pid(b"\x1a\0"), ExchangerError::WrongType { field: 3 }),
        (with_pid(b"\x18\x04"), ExchangerError::UnknownKind { actual: 4 }),
        (with_pid(b"\x12\x01a\x12\x01\xff"), ExchangerError::ProtocolNotUtf8 { index: 1 }),
        (with_pid(b"\x12\0"), ExchangerError::Protocol { index: 0, error: id_error(0) }),
        (long(1025), ExchangerError::Protocol { index: 0, error: id_error(1025) }),
    ] {
        assert_eq!(decode(&bytes), Err(error), "{bytes:x?}");
    }
    assert!(decode(&long(1024)).is_ok());
}

#[test]
fn both_limits_are_kept() {
    let limits = ExchangerLimits { protocols_max: 2, message_max: 60 };
    let bytes = with_pid(b"\x12\x02/a\x12\x02/b");
    assert_eq!(
        ExchangerMessage::decode(&bytes, &limits),
        Ok(message(&["/a", "/b"], MessageKind::Push))
    );
    let bytes = with_pid(b"\x12\x02/a\x12\x02/a\x12\x02/a");
    assert_eq!(
        ExchangerMessage::decode(&bytes, &limits),
        Err(ExchangerError::TooManyProtocols { limit: 2 })
    );
    let bytes = with_pid(&[0x20; 13]);
    assert_eq!(
        ExchangerMessage::decode(&bytes, &limits),
        Err(ExchangerError::MessageTooLong { limit: 60, actual: 61 })
    );
}

#[test]
fn the_default_limits_admit_the_largest_registry() {
    let longest = |index: usize| ProtocolId::new(&std::format!("{index:01024}")).unwrap();
    let largest = ExchangerMessage {
        pid: PeerId::from_bytes(&[b'1'; 61]).unwrap(),
        protocols: (0..1024).map(longest).collect(),
        kind: MessageKind::Response,
    };
    let mut bytes = BytesMut::new();
    largest.encode(&mut bytes);
    assert_eq!(decode(&bytes), Ok(largest));
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        names in prop::collection::vec("\\PC{1,40}", 0..20), kind in 0_usize..4,
        pid in "[1-9A-HJ-NP-Za-km-z]{1,61}",
    ) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let kinds =
            [MessageKind::Push, MessageKind::PushOk, MessageKind::Request, MessageKind::Response];
        let mut sent = message(&names, kinds[kind]);
        sent.pid = pid.parse().unwrap();
        let mut bytes = BytesMut::new();
        sent.encode(&mut bytes);
        prop_assert_eq!(bytes.len(), sent.encoded_len());
        prop_assert_eq!(decode(&bytes), Ok(sent));
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(read) = decode(&bytes) {
            let mut out = BytesMut::new();
            read.encode(&mut out);
            prop_assert_eq!(decode(&out), Ok(read));
        }
    }
}
