use super::*;
use crate::wire::{encode_package, package_head};
use std::vec::Vec;

const LIMITS: DecodeLimits = DecodeLimits { message_max: 1000, protocol_len_max: 20 };

/// Lends the buffers it got back, and counts what it had to allocate.
#[derive(Default)]
struct Recycled {
    idle: Vec<BytesMut>,
    taken: Vec<usize>,
}

impl AssemblyBuffers for Recycled {
    fn take(&mut self, declared: usize) -> BytesMut {
        self.taken.push(declared);
        let mut buffer = self.idle.pop().unwrap_or_default();
        let _ = buffer.try_reclaim(declared);
        buffer
    }

    fn give_back(&mut self, buffer: BytesMut) {
        self.idle.push(buffer);
    }
}

fn prefixed(body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u64).to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

fn push(decoder: &mut Decoder, input: &[u8]) -> Result<Pushed, PackageError> {
    decoder.push(input, &LIMITS, &mut Recycled::default())
}

fn first_error(bytes: &[u8]) -> (PackageError, usize) {
    let mut decoder = Decoder::new();
    for (at, byte) in bytes.iter().enumerate() {
        if let Err(error) = push(&mut decoder, &[*byte]) {
            return (error, at + 1);
        }
    }
    panic!("no error in {bytes:x?}");
}

#[test]
fn the_vector_of_the_spec_is_read_where_it_lies() {
    let stream = b"\0\0\0\0\0\0\0\x18\x09/_testing\x0cHello world!\0rest";
    let mut decoder = Decoder::new();
    let pushed = push(&mut decoder, stream).unwrap();
    assert_eq!(pushed.consumed, 32);
    let Some(Item::Inline { protocol, payload, compressed: false }) = pushed.item else {
        panic!("{pushed:?}");
    };
    assert_eq!((&stream[protocol], &stream[payload]), (&b"/_testing"[..], &b"Hello world!"[..]));
    assert!(decoder.is_between() && decoder.pending() == 0 && decoder.declared() == 0);
}

#[test]
fn a_length_that_came_alone_does_not_force_a_copy() {
    let mut stream = BytesMut::new();
    encode_package(&mut stream, "/p", b"payload", false);
    for cut in 1..=8 {
        let mut decoder = Decoder::new();
        let pushed = push(&mut decoder, &stream[..cut]).unwrap();
        assert!(pushed.consumed == cut && pushed.item.is_none() && !decoder.is_between());
        assert_eq!(decoder.declared(), if cut == 8 { stream.len() - 8 } else { 0 });
        let rest = &stream[cut..];
        let pushed = push(&mut decoder, rest).unwrap();
        let Some(Item::Inline { payload, .. }) = pushed.item else { panic!("{pushed:?}") };
        assert_eq!(&rest[payload], b"payload");
        assert_eq!(pushed.consumed, rest.len());
    }
}

#[test]
fn a_package_in_pieces_begins_once_and_is_assembled() {
    let mut stream = BytesMut::new();
    encode_package(&mut stream, "/p", &[7; 500], false);
    let declared = stream.len() - 8;
    let mut decoder = Decoder::new();
    let mut buffers = Recycled::default();
    let begun = decoder.push(&stream[..9], &LIMITS, &mut buffers).unwrap();
    assert!(
        matches!(begun, Pushed { consumed: 9, item: Some(Item::Begun { len }) } if len == declared)
    );
    assert_eq!((decoder.pending(), decoder.declared()), (1, declared));
    let more = decoder.push(&stream[9..300], &LIMITS, &mut buffers).unwrap();
    assert!(matches!(more, Pushed { consumed: 291, item: None }));
    stream.extend_from_slice(b"next");
    let last = decoder.push(&stream[300..], &LIMITS, &mut buffers).unwrap();
    assert_eq!(last.consumed, stream.len() - 300 - 4);
    let Some(Item::Assembled { package, payload, protocol, .. }) = last.item else { panic!() };
    assert_eq!((&package[protocol], &package[payload]), (&b"/p"[..], &[7; 500][..]));
    assert_eq!(buffers.taken, [declared]);
}

#[test]
fn a_recycled_buffer_serves_again_without_allocation() {
    let mut stream = BytesMut::new();
    encode_package(&mut stream, "/p", &[7; 500], false);
    let mut buffers =
        Recycled { idle: std::vec![BytesMut::with_capacity(600)], ..Recycled::default() };
    let mut pointers = Vec::new();
    for _ in 0..3 {
        let mut decoder = Decoder::new();
        decoder.push(&stream[..100], &LIMITS, &mut buffers).unwrap();
        let last = decoder.push(&stream[100..], &LIMITS, &mut buffers).unwrap();
        let Some(Item::Assembled { package, .. }) = last.item else { panic!() };
        pointers.push(package.as_ptr());
        assert_eq!(buffers.idle.len(), 1);
    }
    assert!(pointers.iter().all(|pointer| *pointer == pointers[0]));
}

#[test]
fn d1_an_absurd_length_is_an_error_at_its_eighth_byte() {
    for length in [u64::MAX, 1 << 63, 1 << 36, LIMITS.package_max() as u64 + 1] {
        let (error, at) = first_error(&length.to_be_bytes());
        assert_eq!(at, 8);
        let limit = LIMITS.package_max();
        assert_eq!(error, PackageError::PackageTooLong { limit, actual: length });
    }
}

#[test]
fn d2_memory_follows_what_came_not_what_was_announced() {
    let limits = DecodeLimits::new(1 << 40);
    let mut stream = BytesMut::new();
    package_head(&mut stream, "/p", 1 << 36);
    let mut decoder = Decoder::new();
    let mut buffers = Recycled::default();
    decoder.push(&stream, &limits, &mut buffers).unwrap();
    for _ in 0..100 {
        decoder.push(&[0; 1000], &limits, &mut buffers).unwrap();
        assert!(decoder.memory() <= 2 * decoder.pending());
    }
    assert_eq!(decoder.pending(), 100_000 + stream.len() - 8);
    assert!(decoder.into_buffer().is_some());
}

#[test]
fn d3_malformed_packages_are_errors_as_early_as_possible() {
    let payload = Field::Payload;
    let field = Field::Protocol;
    let long = [&[21][..], &[b'p'; 21], &[0, 0]].concat();
    let head = |payload_len: u64, declared: u64| {
        let mut bytes = declared.to_be_bytes().to_vec();
        bytes.extend_from_slice(b"\x02/p");
        bytes.extend_from_slice(&varint::encode(payload_len));
        bytes.resize(bytes.len() + 100, 0);
        bytes
    };
    let limit = LIMITS.message_max;
    for (bytes, error, at) in [
        (prefixed(b""), PackageError::PackageTooShort { limit: 4, actual: 0 }, 8),
        (prefixed(b"\x01a\0"), PackageError::PackageTooShort { limit: 4, actual: 3 }, 8),
        (prefixed(b"\0\x01a\0"), PackageError::ProtocolEmpty, 9),
        (prefixed(&[0x80; 4]), PackageError::LengthTruncated { field }, 12),
        (prefixed(&[0xff; 12]), PackageError::LengthOverflow { field }, 18),
        (prefixed(&long), PackageError::ProtocolTooLong { limit: 20, actual: 21 }, 9),
        (prefixed(b"\x09/p\0\0"), PackageError::Overrun { field, limit: 4, actual: 9 }, 9),
        (prefixed(b"\x03/\xffp\0\0"), PackageError::ProtocolNotUtf8 { at: 1 }, 12),
        (prefixed(b"\x03/pp"), PackageError::LengthTruncated { field: payload }, 12),
        (prefixed(b"\x02/p\x80\x80"), PackageError::LengthTruncated { field: payload }, 13),
        (prefixed(b"\x02/p\x02a\0"), PackageError::CompressByteMissing, 12),
        (prefixed(b"\x02/p\x01a"), PackageError::CompressByteMissing, 12),
        (prefixed(b"\x02/p\0"), PackageError::CompressByteMissing, 12),
        (head(u64::MAX, 50), PackageError::MessageTooLong { limit, actual: u64::MAX }, 21),
        (head(2000, 1000), PackageError::MessageTooLong { limit, actual: 2000 }, 13),
        (head(900, 500), PackageError::Overrun { field: payload, limit: 495, actual: 900 }, 13),
    ] {
        assert_eq!(first_error(&bytes), (error, at), "{bytes:x?}");
    }
}

#[test]
fn the_longest_message_is_admitted_and_one_byte_more_is_not() {
    for (len, good) in [(1000, true), (1001, false)] {
        let mut stream = BytesMut::new();
        encode_package(&mut stream, "/p", &std::vec![1; len], false);
        let result = push(&mut Decoder::new(), &stream);
        assert_eq!(result.is_ok(), good);
        let last = stream.len() - 1;
        stream[last] = 1;
        assert!(push(&mut Decoder::new(), &stream).is_ok(), "gzip may be a little longer");
    }
}

#[test]
fn only_a_compress_byte_of_one_means_gzip_and_bytes_after_it_are_ignored() {
    for (byte, expected) in [(0, false), (1, true), (2, false), (255, false)] {
        let stream = prefixed(&[&b"\x02/p\x01x"[..], &[byte], b"ignored"].concat());
        let mut decoder = Decoder::new();
        let pushed = push(&mut decoder, &stream).unwrap();
        assert_eq!(pushed.consumed, stream.len());
        assert!(
            matches!(pushed.item, Some(Item::Inline { compressed, .. }) if compressed == expected)
        );
        assert!(decoder.is_between());
    }
}

#[test]
fn a_poisoned_decoder_repeats_its_error() {
    let mut decoder = Decoder::new();
    let error = push(&mut decoder, &[0; 8]).unwrap_err();
    let mut good = BytesMut::new();
    encode_package(&mut good, "/p", b"", false);
    assert_eq!(push(&mut decoder, &good).unwrap_err(), error);
}

#[test]
fn only_a_package_in_parts_takes_memory_and_gives_it_back_when_it_is_whole() {
    assert_eq!(size_of::<Decoder>(), size_of::<usize>());
    let mut package = BytesMut::new();
    encode_package(&mut package, "/p", b"hello", false);
    let mut decoder = Decoder::new();
    push(&mut decoder, &package).unwrap();
    assert!(!decoder.is_kept());
    let (one, two) = package.split_at(3);
    push(&mut decoder, one).unwrap();
    assert!(!decoder.shrink() && decoder.is_kept());
    let mut item = None;
    let mut rest = two;
    while !rest.is_empty() {
        let pushed = push(&mut decoder, rest).unwrap();
        rest = &rest[pushed.consumed..];
        item = pushed.item.or(item);
    }
    assert!(item.is_some() && decoder.is_kept());
    assert!(decoder.shrink() && !decoder.is_kept());
    // What it says of a stream that is broken it goes on saying.
    let error = push(&mut decoder, &[0; 8]).unwrap_err();
    assert!(!decoder.shrink());
    assert_eq!(push(&mut decoder, &package).unwrap_err(), error);
}
