//! The documents about what a node says name everything that it can say.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every enum that tells what went wrong, and where it is.
const ERRORS: [(&str, &str); 28] = [
    ("core/src/error.rs", "DialError"),
    ("core/src/error.rs", "RetryCause"),
    ("core/src/error.rs", "Refusal"),
    ("core/src/error.rs", "CloseReason"),
    ("core/src/error.rs", "ExchangeError"),
    ("core/src/error.rs", "Offence"),
    ("core/src/error.rs", "SendError"),
    ("core/src/error.rs", "UndeliveredReason"),
    ("core/src/error.rs", "BorrowError"),
    ("core/src/error.rs", "ApplicationError"),
    ("core/src/error.rs", "UsageError"),
    ("core/src/contract.rs", "TimerKind"),
    ("core/src/contract.rs", "IoCause"),
    ("core/src/secure/mod.rs", "ChannelError"),
    ("core/src/mux/error.rs", "SessionError"),
    ("core/src/address/error.rs", "AddressErrorKind"),
    ("tls/src/error.rs", "TlsError"),
    ("tls/src/error.rs", "Refusal"),
    ("tls/src/error.rs", "Distrust"),
    ("tls/src/builder.rs", "SetupError"),
    ("runtime/src/error.rs", "Error"),
    ("runtime/src/error.rs", "ListenError"),
    ("runtime/src/error.rs", "StartError"),
    ("runtime-mio/src/error.rs", "Error"),
    ("runtime-mio/src/error.rs", "StartError"),
    ("identity/src/error.rs", "KeyError"),
    ("identity/src/error.rs", "PublicKeyError"),
    ("identity/src/error.rs", "KeyFileErrorKind"),
];

/// The variants of an enum, as its source has them.
fn variants(path: &str, name: &str) -> BTreeSet<String> {
    let source = read(path);
    let start = [format!("pub enum {name} {{\n"), format!("pub enum {name}<P> {{\n")];
    let start = start.iter().find_map(|start| source.split_once(start));
    let (_, body) = start.unwrap_or_else(|| panic!("{path} has no {name}"));
    let (body, _) = body.split_once("\n}").unwrap();
    let variant = |line: &str| {
        let line = line.strip_prefix("    ")?;
        let end = line.find([',', '(', ' ', '{']).unwrap_or(line.len());
        line.starts_with(|first: char| first.is_ascii_uppercase()).then(|| line[..end].to_owned())
    };
    body.lines().filter_map(variant).collect()
}

/// The names in the first column, of the section whose title names an enum.
fn told(document: &str, path: &str, name: &str) -> BTreeSet<String> {
    let of_tls = path.starts_with("tls") && name == "Refusal";
    let title = if of_tls { format!("`headwater_tls::{name}`") } else { format!("`{name}`") };
    let section = document
        .split("\n## ")
        .find(|section| section.lines().next().is_some_and(|first| first.contains(&title)))
        .unwrap_or_else(|| panic!("no section about {title}"));
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        assert_eq!(cells.len(), 3, "{row}: a name, a cause and a cure are expected");
        cells[0].trim_end_matches('`').to_owned()
    })
    .collect()
}

#[test]
fn each_error_is_told_with_its_cause_and_its_cure_and_no_other() {
    let document = read("docs/telling.md");
    let mut known: BTreeSet<String> = BTreeSet::new();
    for (path, name) in ERRORS {
        let all = variants(path, name);
        assert!(all.len() > 1, "{path} {name}: {all:?}");
        let told = told(&document, path, name);
        let missing: Vec<_> = all.difference(&told).collect();
        assert!(missing.is_empty(), "{name}: the document does not name {missing:?}");
        known.extend(all);
    }
    for row in document.lines().filter_map(|line| line.strip_prefix("| `")) {
        let name = row.split('`').next().unwrap();
        assert!(known.contains(name), "{name} is no error");
    }
}

#[test]
fn no_error_of_core_is_left_out() {
    let source = read("core/src/error.rs");
    let enums = source.lines().filter_map(|line| line.strip_prefix("pub enum "));
    for name in enums.map(|rest| rest.split([' ', '<']).next().unwrap()) {
        // Which session it was is no error.
        assert!(name == "Layer" || ERRORS.iter().any(|(_, known)| *known == name), "{name}");
    }
}

#[test]
fn each_metric_and_each_field_of_the_status_is_documented() {
    let document = read("docs/status.md");
    let metrics = read("cli/src/admin/metrics.rs");
    let names = metrics.split("\"headwater_").skip(1).filter_map(|rest| rest.split('"').next());
    let names: BTreeSet<&str> = names.collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(document.contains(&format!("`headwater_{name}`")), "headwater_{name}");
    }
    let shape = read("cli/src/admin/shape.rs");
    let fields = shape.lines().filter_map(|line| line.strip_prefix("    pub(crate) "));
    let fields: BTreeSet<&str> = fields.filter_map(|line| line.split(':').next()).collect();
    assert!(fields.len() > 60, "{fields:?}");
    for field in fields {
        assert!(document.contains(&format!("`{field}`")), "{field}");
    }
}

#[test]
fn each_exit_status_is_told_with_its_code_and_its_meaning() {
    let document = read("docs/telling.md");
    let source = read("cli/src/status.rs");
    let (_, source) = source.split_once("\nstatuses! {\n").unwrap();
    let (source, _) = source.split_once("\n}").unwrap();
    let rows: Vec<String> = source
        .lines()
        .map(|line| {
            let (number, rest) = line.split_once(" = ").unwrap().1.split_once(' ').unwrap();
            let parts: Vec<&str> = rest.split('"').collect();
            format!("| {number} | `{}` | {} |", parts[1], parts[3])
        })
        .collect();
    assert!(rows.len() > 20, "{rows:?}");
    for row in rows {
        assert!(document.contains(&row), "{row}");
    }
}
