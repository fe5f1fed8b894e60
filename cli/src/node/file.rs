//! A TOML file in which every value knows its line and its key, so that whoever wrote it is told
//! where it is wrong, and what was expected.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::failure::Failure;
use crate::status::Status;

/// The longest file that is read, in bytes.
pub(crate) const SIZE_MAX: u64 = 16 << 20;

/// A file's name and text.
#[derive(Debug)]
pub(crate) struct File {
    name: String,
    text: String,
}

/// A value in a file.
#[derive(Clone, Debug)]
pub(crate) struct Item<'f> {
    file: &'f File,
    key: String,
    at: Range<usize>,
    value: &'f DeValue<'f>,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`Status::Config`] if it cannot be read, is too long, or is no text.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        use std::io::Read as _;
        let name = path.display().to_string();
        let wrong = |error: &dyn fmt::Display| {
            Failure::new(Status::Config, format!("cannot read {name}: {error}"))
        };
        let file = std::fs::File::open(path).map_err(|error| wrong(&error))?;
        let mut text = String::new();
        let read = file.take(SIZE_MAX + 1).read_to_string(&mut text);
        let read = read.map_err(|error| wrong(&error))? as u64;
        if read > SIZE_MAX {
            return Err(wrong(&"longer than 16 MiB"));
        }
        Ok(Self { name, text })
    }

    /// A text as if it were in a file of that name.
    #[cfg(test)]
    pub(crate) fn of(name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), text: text.to_owned() }
    }

    /// Splits it into keys and values.
    ///
    /// # Errors
    ///
    /// [`Status::Config`] with the line, if it is no TOML.
    pub(crate) fn parse(&self) -> Result<Spanned<DeTable<'_>>, Failure> {
        DeTable::parse(&self.text).map_err(|error| {
            let at = error.span().map_or(self.text.len(), |span| span.start);
            self.failure(at, error.message())
        })
    }

    /// The values of its top level.
    ///
    /// # Errors
    ///
    /// A key that is not among those expected.
    pub(crate) fn entries<'f>(
        &'f self,
        table: &'f DeTable<'f>,
        expected: &[&str],
    ) -> Result<Vec<(&'f str, Item<'f>)>, Failure> {
        entries(self, "", table, Some(expected))
    }

    /// A failure in the line of the byte `at`.
    fn failure(&self, at: usize, what: impl fmt::Display) -> Failure {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        Failure::new(Status::Config, format!("{}:{line}: {what}", self.name))
    }

    /// A failure of the file as a whole.
    pub(crate) fn wrong(&self, what: impl fmt::Display) -> Failure {
        Failure::new(Status::Config, format!("{}: {what}", self.name))
    }
}

impl<'f> Item<'f> {
    /// A failure that names the line and the key.
    pub(crate) fn wrong(&self, what: impl fmt::Display) -> Failure {
        self.file.failure(self.at.start, format_args!("{}: {what}", self.key))
    }

    /// A failure that says what was expected instead of this value.
    pub(crate) fn expected(&self, what: impl fmt::Display) -> Failure {
        self.wrong(format_args!("expected {what}, found {}", found(self.value)))
    }

    /// The value itself.
    pub(crate) const fn value(&self) -> &'f DeValue<'f> {
        self.value
    }

    /// A text.
    ///
    /// # Errors
    ///
    /// It is none; `what` says which was expected.
    pub(crate) fn text(&self, what: &str) -> Result<&'f str, Failure> {
        match self.value {
            DeValue::String(text) => Ok(text),
            _ => Err(self.expected(what)),
        }
    }

    /// A list of texts, each with its place.
    ///
    /// # Errors
    ///
    /// It is none; `what` says of what a list was expected.
    pub(crate) fn texts(&self, what: &str) -> Result<Vec<(&'f str, Self)>, Failure> {
        let DeValue::Array(list) = self.value else {
            return Err(self.expected(format_args!("a list, each entry {what}")));
        };
        list.iter()
            .map(|entry| {
                let item = self.within(self.key.clone(), entry);
                item.text(what).map(|text| (text, item.clone()))
            })
            .collect()
    }

    /// The values of a table, whatever their keys are.
    ///
    /// # Errors
    ///
    /// It is no table.
    pub(crate) fn table(&self) -> Result<Vec<(&'f str, Self)>, Failure> {
        match self.value {
            DeValue::Table(table) => entries(self.file, &self.key, table, None),
            _ => Err(self.expected("a table")),
        }
    }

    /// The values of a table and of the tables in it, each with the part of its key that follows
    /// this one's, which has to be among `expected`.
    ///
    /// # Errors
    ///
    /// It is no table, or has another key.
    pub(crate) fn leaves(&self, expected: &[&str]) -> Result<Vec<(String, Self)>, Failure> {
        let mut leaves = Vec::new();
        for (key, item) in self.table()? {
            if matches!(item.value, DeValue::Table(_)) {
                let within = format!("{key}.");
                let inner: Vec<&str> =
                    expected.iter().filter_map(|key| key.strip_prefix(&within)).collect();
                if !inner.is_empty() {
                    let inner = item.leaves(&inner)?;
                    leaves
                        .extend(inner.into_iter().map(|(key, item)| (within.clone() + &key, item)));
                    continue;
                }
            }
            if !expected.contains(&key) {
                return Err(item.unknown(expected));
            }
            leaves.push((key.to_owned(), item));
        }
        Ok(leaves)
    }

    fn unknown(&self, expected: &[&str]) -> Failure {
        self.wrong(format_args!("no such key, expected one of {}", expected.join(", ")))
    }

    fn within(&self, key: String, entry: &'f Spanned<DeValue<'f>>) -> Self {
        Self { file: self.file, key, at: entry.span(), value: entry.get_ref() }
    }
}

fn entries<'f>(
    file: &'f File,
    path: &str,
    table: &'f DeTable<'f>,
    expected: Option<&[&str]>,
) -> Result<Vec<(&'f str, Item<'f>)>, Failure> {
    let entry = |(name, value): (&'f Spanned<_>, &'f Spanned<DeValue<'f>>)| {
        let text: &'f std::borrow::Cow<'f, str> = name.get_ref();
        let dot = if path.is_empty() { "" } else { "." };
        let key = format!("{path}{dot}{text}");
        // A value's line is that of its key: a table's own span may begin elsewhere.
        let item = Item { file, key, at: name.span(), value: value.get_ref() };
        match expected.filter(|expected| !expected.contains(&&**text)) {
            Some(expected) => Err(item.unknown(expected)),
            None => Ok((&**text, item)),
        }
    };
    table.iter().map(entry).collect()
}

/// A value as the one who wrote it knows it.
fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Float(_) => "a number with a fraction".to_owned(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first<T>(text: &str, look: impl FnOnce(&Item<'_>) -> Result<T, Failure>) -> String {
        let file = File::of("f.toml", text);
        let table = match file.parse() {
            Ok(table) => table,
            Err(failure) => return failure.message,
        };
        let entries = match file.entries(table.get_ref(), &["a", "b"]) {
            Ok(entries) => entries,
            Err(failure) => return failure.message,
        };
        look(&entries[0].1).map_or_else(|failure| failure.message, |_| "fine".to_owned())
    }

    #[test]
    fn failures_name_the_file_the_line_the_key_and_what_was_expected() {
        let text = |item: &Item<'_>| item.text("a name").map(drop);
        let texts = |item: &Item<'_>| item.texts("a name").map(drop);
        let table = |item: &Item<'_>| item.leaves(&["x", "y.u", "y.v"]).map(drop);
        assert_eq!(first("a = 'x'", text), "fine");
        assert_eq!(first("\n\na = 5", text), "f.toml:3: a: expected a name, found 5");
        assert_eq!(first("c = 1\na = 2", text), "f.toml:1: c: no such key, expected one of a, b");
        assert_eq!(
            first("a = 'x'", texts),
            "f.toml:1: a: expected a list, each entry a name, found \"x\""
        );
        assert_eq!(
            first("a = [\n'x',\ntrue,\n]", texts),
            "f.toml:3: a: expected a name, found true"
        );
        assert_eq!(
            first("\n[a]\nx = 1\nz = 2", table),
            "f.toml:4: a.z: no such key, expected one of x, y.u, y.v"
        );
        assert_eq!(first("[a]\ny.u = 1\ny.v = 2", table), "fine");
        assert_eq!(
            first("[a.y]\nu = 1\nw = 2", table),
            "f.toml:3: a.y.w: no such key, expected one of u, v"
        );
        assert_eq!(
            first("[a]\ny = 3", table),
            "f.toml:2: a.y: no such key, expected one of x, y.u, y.v"
        );
        assert_eq!(first("a = [1]", table), "f.toml:1: a: expected a table, found a list");
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let message = first("a = 1\nb = = 2\n", |_| Ok(()));
        assert!(message.starts_with("f.toml:2: "), "{message}");
        let message = first("a = 1\na = 2\n", |_| Ok(()));
        assert!(message.starts_with("f.toml:2: "), "{message}");
        assert_eq!(first("a = 'never ends", |_| Ok(())).split(' ').next(), Some("f.toml:1:"));
    }
}
