//! Certificates that are changed where their structure is, so that what is wrong lies deep.

/// How far values are looked into, and how long a certificate may become.
const DEPTH_MAX: usize = 12;
const LEN_MAX: usize = 48 * 1024;

/// Keys of types that others have, in the form in which certificates carry them.
const KEYS: [&[u8]; 5] = [ED25519, SECP256K1, SM2, RSA_SHORT, NO_POINT];

const ED25519: &[u8] = &[
    0x30, 42, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 33, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
    14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32,
];
/// The points of the last two are none, or the wrong ones.
const SECP256K1: &[u8] = &[
    0x30, 22, 0x30, 16, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 10, 3, 2,
    0, 4,
];
const SM2: &[u8] = &[
    0x30, 25, 0x30, 19, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x81, 0x1c, 0xcf,
    0x55, 1, 0x82, 0x2d, 3, 2, 0, 0,
];
const RSA_SHORT: &[u8] = &[
    0x30, 27, 0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0, 3, 10, 0, 0x30, 7,
    2, 2, 0, 0xff, 2, 1, 3,
];
const NO_POINT: &[u8] = &[
    0x30, 23, 0x30, 19, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 3, 1, 7, 3, 0,
];

/// One element: a tag, and bytes or elements.
#[derive(Clone, Debug)]
struct Item {
    tag: u8,
    /// Before the elements: the number of unused bits in a bit string.
    prefix: Vec<u8>,
    bytes: Vec<u8>,
    items: Vec<Item>,
    /// How its length is written, if not as it should be.
    length: Option<(u8, u8)>,
}

/// A certificate with changes, four bytes each: what, where, and two for how.
pub(super) fn changed(certificate: &[u8], changes: &[u8]) -> Vec<u8> {
    let Some(mut items) = parse(certificate, DEPTH_MAX) else { return certificate.to_vec() };
    let mut last = None;
    for change in changes.chunks_exact(4).take(24) {
        let [what, place, a, b] = [change[0], change[1], change[2], change[3]];
        if what & 0x80 != 0 {
            last = Some((what, place, a));
            continue;
        }
        let mut at = usize::from(place) % count(&items).max(1);
        let copy = pick(&items, &mut (usize::from(a) % count(&items).max(1))).cloned();
        edit(&mut items, &mut at, what, [a, b], copy.as_ref());
        if items.iter().map(Item::len).sum::<usize>() > LEN_MAX {
            break;
        }
    }
    let mut out = Vec::new();
    for item in &items {
        item.write(&mut out);
    }
    if let Some((what, place, a)) = last {
        mangle(&mut out, what, place, a);
    }
    out.truncate(2 * LEN_MAX);
    out
}

/// Changes the encoded bytes themselves.
fn mangle(out: &mut Vec<u8>, what: u8, place: u8, a: u8) {
    let at = (usize::from(place) * 4 + usize::from(a & 3)).min(out.len());
    match what % 4 {
        0 => out.truncate(at),
        1 => out.extend(std::iter::repeat_n(a, usize::from(place))),
        2 if at < out.len() => out[at] ^= a | 1,
        _ => out.insert(at, a),
    }
}

fn parse(mut bytes: &[u8], depth: usize) -> Option<Vec<Item>> {
    let mut items = Vec::new();
    while let Some((&[tag, short], rest)) = bytes.split_first_chunk::<2>() {
        let (len, rest) = match short {
            0..=0x7f => (usize::from(short), rest),
            0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
            0x82 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), rest.get(2..)?),
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(len)?;
        bytes = rest;
        items.push(item(tag, value, depth));
    }
    bytes.is_empty().then_some(items)
}

fn item(tag: u8, value: &[u8], depth: usize) -> Item {
    let prefixed = usize::from(tag == 3).min(value.len());
    let (prefix, inner) = value.split_at(prefixed);
    let may_nest = depth > 0 && inner.len() > 1 && (tag & 0x20 != 0 || tag == 3 || tag == 4);
    let items = if may_nest { parse(inner, depth - 1) } else { None };
    match items {
        Some(items) => Item { tag, prefix: prefix.to_vec(), bytes: vec![], items, length: None },
        None => Item { tag, prefix: vec![], bytes: value.to_vec(), items: vec![], length: None },
    }
}

fn count(items: &[Item]) -> usize {
    items.iter().map(|item| 1 + count(&item.items)).sum()
}

fn pick<'a>(items: &'a [Item], at: &mut usize) -> Option<&'a Item> {
    for item in items {
        if *at == 0 {
            return Some(item);
        }
        *at -= 1;
        if let Some(found) = pick(&item.items, at) {
            return Some(found);
        }
    }
    None
}

/// Edits the element that stands at a place in the order of the bytes; whether it was found.
fn edit(
    items: &mut Vec<Item>,
    at: &mut usize,
    what: u8,
    how: [u8; 2],
    copy: Option<&Item>,
) -> bool {
    for place in 0..items.len() {
        if *at == 0 {
            edit_here(items, place, what, how, copy);
            return true;
        }
        *at -= 1;
        if edit(&mut items[place].items, at, what, how, copy) {
            return true;
        }
    }
    false
}

fn edit_here(items: &mut Vec<Item>, place: usize, what: u8, [a, b]: [u8; 2], copy: Option<&Item>) {
    let next = (place + 1) % items.len();
    let item = &mut items[place];
    match what % 14 {
        0 => item.tag = a,
        1 if !item.bytes.is_empty() => {
            let at = usize::from(a) % item.bytes.len();
            item.bytes[at] = b;
        }
        2 => item.bytes.truncate(usize::from(a)),
        3 => item.bytes.extend(std::iter::repeat_n(b, usize::from(a) * 16)),
        4 => {
            let twin = item.clone();
            let times = usize::from(b % 32) + 1;
            items.splice(place..place, std::iter::repeat_n(twin, times));
        }
        5 => drop(items.remove(place)),
        6 => items.swap(place, next),
        7 => wrap(item, a, usize::from(b)),
        8 => item.length = Some((a, b)),
        9 => *item = leaf(2, &vec![b | 1; usize::from(a) * 16 + 1]),
        10 => {
            let key = KEYS[usize::from(a) % KEYS.len()];
            if let Some(key) = parse(key, DEPTH_MAX).and_then(|mut key| key.pop()) {
                *item = key;
            }
        }
        11 => {
            if let Some(copy) = copy {
                *item = copy.clone();
            }
        }
        12 => items.insert(place, leaf(a, &[b])),
        _ => *item = leaf(item.tag, &[]),
    }
}

fn leaf(tag: u8, bytes: &[u8]) -> Item {
    Item { tag, prefix: vec![], bytes: bytes.to_vec(), items: vec![], length: None }
}

/// Puts an element into others of a tag, one in the other.
fn wrap(item: &mut Item, tag: u8, times: usize) {
    for _ in 0..times {
        let mut inner = Vec::new();
        item.write(&mut inner);
        *item = leaf(tag, &inner);
    }
}

impl Item {
    fn len(&self) -> usize {
        let inner: usize = self.items.iter().map(Self::len).sum();
        4 + self.prefix.len() + self.bytes.len() + inner
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut value = [&self.prefix[..], &self.bytes].concat();
        for item in &self.items {
            item.write(&mut value);
        }
        out.push(self.tag);
        let wide = u32::try_from(value.len()).unwrap().to_be_bytes();
        match self.length {
            None if value.len() < 0x80 => out.push(wide[3]),
            None if value.len() < 0x100 => out.extend_from_slice(&[0x81, wide[3]]),
            None if value.len() < 0x1_0000 => out.extend_from_slice(&[0x82, wide[2], wide[3]]),
            None => out.extend_from_slice(&[0x83, wide[1], wide[2], wide[3]]),
            // Longer than it has to be.
            Some((0..0x40, _)) => out.extend([[0x84].as_slice(), &wide].concat()),
            Some((0x40..0x60, _)) => out.push(0x80),
            Some((0x60..0x80, b)) => out.extend_from_slice(&[0x84, 0xff, 0xff, 0xff, b]),
            Some((0x80..0xa0, b)) => {
                out.extend_from_slice(&[0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, b]);
            }
            // Wrong.
            Some((a, b)) => out.extend_from_slice(&[0x82, a & 0xf, b]),
        }
        out.extend_from_slice(&value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_changed_is_written_as_it_was() {
        let key = super::super::key(9, false);
        let certificate = crate::certificate::self_signed(&key).unwrap().to_vec();
        assert_eq!(changed(&certificate, &[]), certificate);
        assert!(count(&parse(&certificate, DEPTH_MAX).unwrap()) > 20);
        for key in KEYS {
            let mut out = Vec::new();
            parse(key, DEPTH_MAX).unwrap().iter().for_each(|item| item.write(&mut out));
            assert_eq!(out, key);
        }
    }
}
