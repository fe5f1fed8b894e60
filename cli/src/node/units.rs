//! How limits are written: sizes, times, counts, switches.
//!
//! A limit is a number inside (bytes, milliseconds, a count, 0 or 1); what is printed is read
//! again as the same number.

use toml::de::{DeInteger, DeValue};

/// What kind of value a limit has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Bytes.
    Size,
    /// How many.
    Count,
    /// Milliseconds.
    Time,
    /// Yes or no.
    Switch,
    /// One of these words, by its place among them.
    Choice(&'static [&'static str]),
}

const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const TIMES: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl Unit {
    /// Reads a value, if it is one of this unit.
    pub(crate) fn read(self, value: &DeValue<'_>) -> Option<u64> {
        match (self, value) {
            (Self::Size | Self::Count, DeValue::Integer(number)) => integer(number),
            (Self::Size, DeValue::String(text)) => amount(text, &SIZES),
            (Self::Time, DeValue::String(text)) => amount(text, &TIMES),
            (Self::Switch, DeValue::Boolean(value)) => Some(u64::from(*value)),
            (Self::Choice(words), DeValue::String(text)) => {
                words.iter().position(|word| word == text).and_then(|at| u64::try_from(at).ok())
            }
            _ => None,
        }
    }

    /// What to expect, for whoever wrote something else.
    pub(crate) fn expected(self) -> String {
        match self {
            Self::Size => {
                "a size: a number of bytes, or a text such as \"64 KiB\" or \"16 MiB\"".into()
            }
            Self::Count => "a whole number".into(),
            Self::Time => "a time: a text such as \"500 ms\", \"10 s\", \"5 m\" or \"1 h\"".into(),
            Self::Switch => "true or false".into(),
            Self::Choice(words) => format!("one of \"{}\"", words.join("\", \"")),
        }
    }

    /// The value in TOML.
    pub(crate) fn write(self, value: u64) -> String {
        match self {
            Self::Size => format!("\"{}\"", exact(value, &SIZES)),
            Self::Time => format!("\"{}\"", exact(value, &TIMES)),
            Self::Count => value.to_string(),
            Self::Switch => (value != 0).to_string(),
            Self::Choice(words) => {
                let word = usize::try_from(value).ok().and_then(|at| words.get(at));
                format!("\"{}\"", word.unwrap_or(&""))
            }
        }
    }
}

impl Unit {
    /// The value for people, who want to know about how much a large number of bytes is.
    pub(crate) fn tell(self, value: u64) -> String {
        const MEBI: u64 = 1 << 20;
        if self == Self::Size && value > MEBI && value % MEBI != 0 {
            // One digit, never above the value.
            return format!("{}.{} MiB", value / MEBI, value % MEBI * 10 / MEBI);
        }
        self.write(value).replace('"', "")
    }

    /// The least that is accepted, for people: in round numbers, of which each is enough.
    pub(crate) fn tell_least(self, value: u64) -> String {
        const MEBI: u64 = 1 << 20;
        let round = self == Self::Size && value > MEBI;
        self.tell(if round { value.div_ceil(MEBI).saturating_mul(MEBI) } else { value })
    }
}

fn integer(number: &DeInteger<'_>) -> Option<u64> {
    let digits = number.as_str().replace('_', "");
    u64::from_str_radix(&digits, number.radix()).ok()
}

/// A number and one of the units, with or without a space between.
fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// The largest unit of which it is a whole number.
fn exact(value: u64, units: &[(&str, u64)]) -> String {
    let whole = |(_, factor): &&(&str, u64)| value != 0 && value % factor == 0;
    let (name, factor) = units.iter().find(whole).or(units.last()).unwrap_or(&("", 1));
    format!("{} {name}", value / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(unit: Unit, text: &str) -> Option<u64> {
        unit.read(DeValue::parse(text).unwrap().get_ref())
    }

    #[test]
    fn values_have_their_unit_with_them() {
        for (unit, text, value) in [
            (Unit::Size, "65536", Some(65536)),
            (Unit::Size, "64_000", Some(64_000)),
            (Unit::Size, "0xff", Some(255)),
            (Unit::Size, "\"64 KiB\"", Some(65536)),
            (Unit::Size, "\"64KiB\"", Some(65536)),
            (Unit::Size, "\"64 KB\"", None),
            (Unit::Size, "\"64\"", None),
            (Unit::Size, "\"KiB\"", None),
            (Unit::Size, "-1", None),
            (Unit::Size, "\"99999999999 GiB\"", None),
            (Unit::Time, "\"10 s\"", Some(10_000)),
            (Unit::Time, "\"500ms\"", Some(500)),
            (Unit::Time, "10", None),
            (Unit::Time, "\"1.5 s\"", None),
            (Unit::Count, "7", Some(7)),
            (Unit::Count, "\"7\"", None),
            (Unit::Switch, "true", Some(1)),
            (Unit::Switch, "1", None),
            (Unit::Choice(&["a", "b"]), "'b'", Some(1)),
            (Unit::Choice(&["a", "b"]), "'c'", None),
        ] {
            assert_eq!(read(unit, text), value, "{text}");
        }
    }

    #[test]
    fn people_are_told_round_numbers() {
        let told = |value| (Unit::Size.tell(value), Unit::Size.tell_least(value));
        assert_eq!(told(3 << 19), ("1.5 MiB".into(), "2 MiB".into()));
        assert_eq!(told((16 << 20) - 1), ("15.9 MiB".into(), "16 MiB".into()));
        assert_eq!(told(1 << 30), ("1 GiB".into(), "1 GiB".into()));
        assert_eq!(told(65_535), ("65535 B".into(), "65535 B".into()));
        assert_eq!(Unit::Count.tell_least(3 << 19), "1572864");
    }

    #[test]
    fn what_is_written_is_read_again() {
        for unit in [Unit::Size, Unit::Count, Unit::Time, Unit::Switch] {
            for value in [0, 1, 999, 1000, 1024, 60_000, 90_000, 16 << 20, (16 << 20) + 1] {
                let value = if unit == Unit::Switch { value.min(1) } else { value };
                assert_eq!(read(unit, &unit.write(value)), Some(value), "{unit:?}");
            }
        }
        assert_eq!(Unit::Size.write(16 << 20), "\"16 MiB\"");
        assert_eq!(Unit::Time.write(90_000), "\"90 s\"");
    }
}
