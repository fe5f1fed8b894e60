//! What a node is told to be: its configuration file and the command line, checked before
//! anything starts.
//!
//! Lists of the file and of the command line are added up; a key given on the command line takes
//! the place of the file's. Every mistake in the file is told with its line and its key.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use headwater_core::address::Address;
use headwater_core::config::{Config, ConfigError};
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::node::Node;
use headwater_core::peers::Rule;
use headwater_core::seed::Seed;
use headwater_core::time::Instant;

use super::action::Action;
use super::file::{File, Item};
use super::limits::{LIMITS, Limit};
use super::units::Unit;
use crate::address::{self, ID, id_of_key};
use crate::failure::Failure;
use crate::status::Status;
use crate::{admin, args};

/// Everything that a node is told.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Settings {
    /// The file of its key; without one, it makes a fresh one.
    pub(crate) key: Option<PathBuf>,
    /// The peers that it lets in, if not everybody.
    pub(crate) allow: Option<BTreeSet<PeerId>>,
    /// The file with the certificates of authorities, if peers have to be vouched for.
    pub(crate) authorities: Option<PathBuf>,
    /// The file with the certificates that it shows, if it does not sign one itself.
    pub(crate) certificates: Option<PathBuf>,
    /// Where it listens, if anybody said.
    pub(crate) listen: Option<Vec<SocketAddr>>,
    /// The peers that it keeps connections with, each with all its addresses.
    pub(crate) peers: Vec<Vec<Address>>,
    /// Whom it keeps out.
    pub(crate) blacklist: Vec<Rule>,
    /// Its status page.
    pub(crate) admin: admin::Settings,
    /// What it does with the messages of which protocol.
    pub(crate) protocols: BTreeMap<ProtocolId, Action>,
    /// The rest.
    pub(crate) limits: Config,
    /// The same before they were made to fit `max_memory`.
    asked: Config,
}

const KEYS: &[&str] = &[
    "admin",
    "admin_hosts",
    "admin_token",
    "allow",
    "authorities",
    "blacklist",
    "certificates",
    "key",
    "limits",
    "listen",
    "peers",
    "protocols",
];

impl Settings {
    /// Reads the file, if there is one, and adds the command line.
    ///
    /// # Errors
    ///
    /// [`Status::Config`] for what is wrong in the file, [`Status::Usage`] for the command line.
    pub(crate) fn new(args: &args::Node) -> Result<Self, Failure> {
        let mut settings = match &args.config {
            Some(path) => Self::of_file(&File::read(path)?, path.parent())?,
            None => Self::default(),
        };
        settings.add(args)?;
        Ok(settings)
    }

    /// What a file says; the paths in it start where it lies.
    pub(crate) fn of_file(file: &File, folder: Option<&Path>) -> Result<Self, Failure> {
        let (mut settings, mut limits) = (Self::default(), Vec::new());
        let table = file.parse()?;
        for (key, item) in file.entries(table.get_ref(), KEYS)? {
            match key {
                "key" | "authorities" | "certificates" | "allow" => {
                    settings.take_identity(key, &item, folder.unwrap_or(Path::new("")))?;
                }
                "admin" | "admin_token" | "admin_hosts" => {
                    settings.take_page(key, &item, folder.unwrap_or(Path::new("")))?;
                }
                "listen" | "peers" | "blacklist" => settings.take_places(key, &item)?,
                "protocols" => settings.take_protocols(&item)?,
                "limits" => limits = settings.take_limits(&item)?,
                _ => {}
            }
        }
        let asked = settings.limits.clone();
        let fitted = match asked.max_memory {
            Some(bytes) => asked.clone().fit_memory(bytes),
            None => asked.validate().map(|()| asked.clone()),
        };
        settings.limits = fitted.map_err(|error| unsound(file, &limits, error))?;
        settings.asked = asked;
        Ok(settings)
    }

    /// Who it is, and whom it lets in.
    fn take_identity(&mut self, key: &str, item: &Item<'_>, folder: &Path) -> Result<(), Failure> {
        if key == "allow" {
            let allow = self.allow.get_or_insert_default();
            for (text, item) in item.texts(ID)? {
                allow.insert(id_of_key(text).ok_or_else(|| item.expected(ID))?);
            }
            return Ok(());
        }
        let (place, what) = match key {
            "key" => (&mut self.key, "the file of a key"),
            "authorities" => (&mut self.authorities, "a file of certificates"),
            _ => (&mut self.certificates, "a file of certificates"),
        };
        *place = Some(folder.join(item.text(what)?));
        Ok(())
    }

    /// Its status page.
    fn take_page(&mut self, key: &str, item: &Item<'_>, folder: &Path) -> Result<(), Failure> {
        const EXPECTED: &str = "IP:PORT";
        match key {
            "admin" => {
                let at = item.text(EXPECTED)?.parse().map_err(|_| item.expected(EXPECTED))?;
                self.admin.at = Some(at);
            }
            "admin_token" => {
                self.admin.token = Some(folder.join(item.text("the file of a token")?));
            }
            _ => {
                let hosts = item.texts("a name")?.into_iter();
                self.admin.hosts = hosts.map(|(host, _)| host.to_owned()).collect();
            }
        }
        Ok(())
    }

    /// Where it listens, whom it dials and whom it keeps out.
    fn take_places(&mut self, key: &str, item: &Item<'_>) -> Result<(), Failure> {
        const RULE: &str = "IP, IP/PREFIX, IP:PORT, [IPv6]:PORT or a peer id";
        match key {
            "listen" => {
                let mut listen = Vec::new();
                for (text, item) in item.texts("an address to listen on")? {
                    let at = address::to_listen(text);
                    listen.push(at.map_err(|failure| item.wrong(failure.message))?);
                }
                self.listen = Some(listen);
            }
            "peers" => {
                for (text, item) in item.texts("the address of a peer")? {
                    let peer = address::of_required(text);
                    self.peer(peer.map_err(|failure| item.wrong(failure.message))?);
                }
            }
            _ => {
                for (text, item) in item.texts(RULE)? {
                    let address = text.contains(['.', ':']);
                    let rule = text.parse().ok();
                    let rule = rule.filter(|_| address || id_of_key(text).is_some());
                    self.blacklist.push(rule.ok_or_else(|| item.expected(RULE))?);
                }
            }
        }
        Ok(())
    }

    fn take_protocols(&mut self, item: &Item<'_>) -> Result<(), Failure> {
        for (name, item) in item.table()? {
            let protocol = protocol(name).map_err(|why| item.wrong(why))?;
            let text = item.text(Action::EXPECTED)?;
            let action = text.parse().map_err(|()| item.expected(Action::EXPECTED))?;
            self.protocols.insert(protocol, action);
        }
        Ok(())
    }

    fn take_limits<'f>(&mut self, item: &Item<'f>) -> Result<Vec<(String, Item<'f>)>, Failure> {
        let keys: Vec<&str> = LIMITS.iter().map(|limit| limit.key).collect();
        let entries = item.leaves(&keys)?;
        for (key, item) in &entries {
            let Some(limit) = Limit::named(key) else { continue };
            let value = limit.unit.read(item.value());
            let value = value.ok_or_else(|| item.expected(limit.unit.expected()))?;
            if !limit.set(&mut self.limits, value) {
                return Err(item.expected("a smaller number"));
            }
        }
        Ok(entries)
    }

    /// Adds what the command line says.
    fn add(&mut self, args: &args::Node) -> Result<(), Failure> {
        if let Some(key) = &args.key {
            self.key = Some(key.clone());
        }
        for text in &args.allow {
            let id = id_of_key(text).ok_or_else(|| {
                Failure::new(Status::Usage, format!("--allow {text}: expected {ID}"))
            })?;
            self.allow.get_or_insert_default().insert(id);
        }
        for (given, place) in [
            (&args.authorities, &mut self.authorities),
            (&args.certificates, &mut self.certificates),
        ] {
            if given.is_some() {
                place.clone_from(given);
            }
        }
        self.admin.at = args.admin.or(self.admin.at);
        let wants_page = args.admin_token.is_some() || !args.admin_host.is_empty();
        if wants_page && self.admin.at.is_none() {
            let text = "--admin-token and --admin-host are for the page that --admin serves";
            return Err(Failure::new(Status::Usage, text));
        }
        if let Some(token) = &args.admin_token {
            self.admin.token = Some(token.clone());
        }
        self.admin.hosts.extend(args.admin_host.iter().cloned());
        for text in &args.listen {
            self.listen.get_or_insert_default().push(address::to_listen(text)?);
        }
        for text in &args.peer {
            let peer = address::of_required(text)?;
            self.peer(peer);
        }
        for text in &args.protocol {
            let usage =
                |why: &str| Failure::new(Status::Usage, format!("--protocol {text}: {why}"));
            let (name, action) =
                text.rsplit_once('=').ok_or_else(|| usage("expected ID=ACTION"))?;
            let protocol = protocol(name).map_err(|why| usage(&why))?;
            let action = action.parse();
            let action = action.map_err(|()| usage(&format!("expected {}", Action::EXPECTED)))?;
            self.protocols.insert(protocol, action);
        }
        Ok(())
    }

    /// Has a node with that id, which goes nowhere, judge the peers to keep.
    ///
    /// # Errors
    ///
    /// [`Status::Config`] for the first one that cannot be kept.
    pub(crate) fn check_peers(&self, local: &PeerId) -> Result<(), Failure> {
        let now = Instant::ZERO;
        let mut node = Node::new(self.limits.clone(), Seed::from_u64(0), *local, now)
            .map_err(Failure::internal)?;
        for addresses in &self.peers {
            let kept = node.require(now, addresses.clone());
            kept.map_err(|error| not_kept(addresses, &error))?;
        }
        Ok(())
    }

    /// Where it listens.
    pub(crate) fn listens(&self) -> Vec<SocketAddr> {
        self.listen.clone().unwrap_or_else(|| vec![(Ipv4Addr::LOCALHOST, 0).into()])
    }

    /// What became of limits that were too high for `max_memory`, each in words.
    pub(crate) fn lowered(&self) -> Vec<String> {
        let told = |limit: &Limit| {
            let tell = |config| limit.unit.tell(limit.get(config));
            Some(format!("{} from {} to {}", limit.key, self.before(limit)?, tell(&self.limits)))
        };
        LIMITS.iter().filter_map(told).collect()
    }

    /// What a limit was before it was lowered, if it was.
    fn before(&self, limit: &Limit) -> Option<String> {
        let before = limit.get(&self.asked);
        (before != limit.get(&self.limits)).then(|| limit.unit.tell(before))
    }

    /// Adds an address to the peer that it names, or a peer whose id is not known yet.
    fn peer(&mut self, address: Address) {
        let named = address.peer.is_some();
        let same = |known: &&mut Vec<Address>| {
            named && known.first().is_some_and(|first| first.peer == address.peer)
        };
        match self.peers.iter_mut().find(same) {
            Some(known) if known.contains(&address) => {}
            Some(known) => known.push(address),
            None => self.peers.push(vec![address]),
        }
    }

    /// The whole as a configuration file.
    pub(crate) fn to_toml(&self) -> String {
        let list = |entries: Vec<String>| {
            let lines = entries.iter().map(|entry| format!("\n    {},", quoted(entry)));
            let lines: String = lines.collect();
            format!("[{lines}{}]", if entries.is_empty() { "" } else { "\n" })
        };
        let mut text = String::new();
        if let Some(key) = &self.key {
            text += &format!("key = {}\n", quoted(&key.to_string_lossy()));
        }
        for (name, path) in
            [("authorities", &self.authorities), ("certificates", &self.certificates)]
        {
            if let Some(path) = path {
                text += &format!("{name} = {}\n", quoted(&path.to_string_lossy()));
            }
        }
        if let Some(allow) = &self.allow {
            text += &format!("allow = {}\n", list(allow.iter().map(PeerId::to_string).collect()));
        }
        let listen = self.listens().into_iter().map(|at| Address::from(at).to_string()).collect();
        text += &format!("listen = {}\n", list(listen));
        let peers = self.peers.iter().flatten().map(Address::to_string).collect();
        text += &format!("peers = {}\n", list(peers));
        text += &format!(
            "blacklist = {}\n",
            list(self.blacklist.iter().map(Rule::to_string).collect())
        );
        if let Some(at) = self.admin.at {
            text += &format!("admin = \"{at}\"\n");
        }
        if let Some(token) = &self.admin.token {
            text += &format!("admin_token = {}\n", quoted(&token.to_string_lossy()));
        }
        if !self.admin.hosts.is_empty() {
            text += &format!("admin_hosts = {}\n", list(self.admin.hosts.clone()));
        }
        text += "\n[protocols]\n";
        for (protocol, action) in &self.protocols {
            text += &format!("{} = \"{action}\"\n", quoted(protocol.as_str()));
        }
        text += "\n[limits]\n";
        for limit in LIMITS {
            let value = limit.unit.write(limit.get(&self.limits));
            text += &format!("# {}\n", limit.about);
            if let Some(before) = self.before(limit) {
                text += &format!("# lowered from {before}, to fit max_memory\n");
            }
            text += &format!("{} = {value}\n", limit.key);
        }
        text
    }
}

/// A peer that a node does not keep, with its reason.
pub(super) fn not_kept(addresses: &[Address], why: &dyn std::fmt::Display) -> Failure {
    let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let text = format!("the peer at {} cannot be kept: {why}", all.join(" and "));
    Failure::new(Status::Config, text)
}

/// A limit that makes no sense, with the line of its key if the file has it.
fn unsound(file: &File, limits: &[(String, Item<'_>)], error: ConfigError) -> Failure {
    let ConfigError { key, actual, min, max } = error;
    let unit = Limit::named(key).map_or(Unit::Count, |limit| limit.unit);
    let least = unit.tell_least(min);
    let expected = match max {
        u64::MAX => format!("expected at least {least}"),
        max => format!("expected {least} to {}", unit.tell(max)),
    };
    let actual = unit.tell(actual);
    match limits.iter().find(|(name, _)| *name == key) {
        Some((_, item)) => item.wrong(format_args!("{expected}, found {actual}")),
        None => file.wrong(format_args!(
            "limits.{key}: its default of {actual} does not fit the other limits: {expected}"
        )),
    }
}

fn protocol(name: &str) -> Result<ProtocolId, String> {
    match ProtocolId::new(name) {
        Ok(protocol) if protocol.as_str() == ProtocolId::EXCHANGER => {
            Err("that protocol belongs to the node".to_owned())
        }
        Ok(protocol) => Ok(protocol),
        Err(error) => Err(error.to_string()),
    }
}

/// A text in TOML, in which a basic string escapes as Rust's does, but for control characters.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted += &format!("\\U{:08x}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
