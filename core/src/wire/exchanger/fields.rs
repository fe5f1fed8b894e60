//! The fields of a protobuf message, one after another, without knowledge of their meaning.

use super::ExchangerError;
use crate::wire::varint;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Wire type 0.
    Number(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire types 1 and 5, skipped.
    Fixed,
}

/// Iterates over `(number, value)`; after an error it ends.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Fields<'a> {
    pub(super) const fn new(input: &'a [u8]) -> Self {
        Self { rest: input, len: input.len() }
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), ExchangerError> {
        let at = self.len.saturating_sub(self.rest.len());
        let tag = self.number(at)?;
        let number = tag >> 3;
        let value = match tag & 7 {
            _ if number == 0 => return Err(ExchangerError::BadTag { at, actual: tag }),
            0 => Value::Number(self.number(at)?),
            1 => self.bytes(8, at).map(|_| Value::Fixed)?,
            2 => {
                let len = self.number(at)?;
                Value::Bytes(self.bytes(len, at)?)
            }
            5 => self.bytes(4, at).map(|_| Value::Fixed)?,
            _ => return Err(ExchangerError::BadTag { at, actual: tag }),
        };
        Ok((number, value))
    }

    fn number(&mut self, at: usize) -> Result<u64, ExchangerError> {
        match varint::decode(self.rest) {
            Ok(Some((value, taken))) => {
                self.rest = self.rest.get(taken..).unwrap_or(&[]);
                Ok(value)
            }
            Ok(None) => Err(ExchangerError::Truncated { at }),
            Err(varint::Overflow) => Err(ExchangerError::Overflow { at }),
        }
    }

    fn bytes(&mut self, len: u64, at: usize) -> Result<&'a [u8], ExchangerError> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let (bytes, rest) =
            self.rest.split_at_checked(len).ok_or(ExchangerError::Truncated { at })?;
        self.rest = rest;
        Ok(bytes)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), ExchangerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}
