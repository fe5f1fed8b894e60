//! Files and command lines, right and wrong.

use super::*;

const ID: &str = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";

fn read(text: &str) -> Result<Settings, Failure> {
    Settings::of_file(&File::of("node.toml", text), Some(Path::new("/etc/headwater")))
}

fn complaint(text: &str) -> String {
    let failure = read(text).expect_err(text);
    assert_eq!(failure.status, Status::Config);
    failure.message
}

#[test]
fn an_empty_file_says_nothing() {
    assert_eq!(read(""), Ok(Settings::default()));
    assert_eq!(read("[limits]\n[protocols]\n"), Ok(Settings::default()));
    assert_eq!(Settings::default().listens(), ["127.0.0.1:0".parse().unwrap()]);
    assert!(read("listen = []").unwrap().listens().is_empty());
}

/// The documented file with everything that it only shows: explanations have a space behind the #,
/// entries of lists have four.
fn documented() -> String {
    let shown = |line: &str| {
        let rest = line.strip_prefix('#').filter(|r| !r.starts_with(' ') || r.starts_with("    "));
        rest.unwrap_or(line).to_owned() + "\n"
    };
    include_str!("../../node.toml").lines().map(shown).collect()
}

#[test]
fn the_documented_file_is_the_default_but_for_what_it_shows() {
    let mut as_it_is = read(include_str!("../../node.toml")).unwrap();
    assert_eq!(std::mem::take(&mut as_it_is.protocols).len(), 3);
    assert_eq!(as_it_is, Settings::default());

    let text = documented();
    let settings = read(&text).unwrap();
    assert_eq!(settings.limits, Config::default());
    assert_eq!(settings.key.as_deref(), Some(Path::new("/etc/headwater/node.pem")));
    assert!(settings.listens().len() > 1 && settings.peers.len() > 1);
    assert!(settings.peers.iter().any(|addresses| addresses.len() > 1));
    assert_eq!(settings.blacklist.len(), 4);
    assert_eq!(settings.allow.as_ref().map(BTreeSet::len), Some(2));
    let beside = |name: &str| Some(Path::new("/etc/headwater").join(name));
    assert_eq!(settings.authorities, beside("authorities.pem"));
    assert_eq!(settings.certificates, beside("node-certificates.pem"));
    for action in [Action::Echo, Action::Log, Action::Drop] {
        assert!(settings.protocols.values().any(|known| *known == action));
    }
    for limit in LIMITS {
        let line = format!("\n{} = {}\n", limit.key, limit.unit.write(limit.get(&settings.limits)));
        assert!(text.contains(&line), "not in cli/node.toml:{line}");
    }
    for key in KEYS {
        assert!(text.lines().any(|line| line.starts_with(key) || line == format!("[{key}]")));
    }
}

#[test]
fn what_is_printed_is_read_again() {
    let settings = read(&documented()).unwrap();
    assert_eq!(read(&settings.to_toml()), Ok(settings));
    let mut settings = Settings::default();
    let odd = ProtocolId::new("/a \"b\" \\ \n\u{7f}é=").unwrap();
    settings.protocols.insert(odd, Action::Drop);
    settings.listen = Some(settings.listens());
    assert_eq!(read(&settings.to_toml()), Ok(settings));
}

#[test]
fn what_max_memory_lowers_is_told() {
    let settings = read("[limits]\nmax_memory = '1 GiB'\nassembly_max = '64 MiB'").unwrap();
    let lowered = settings.lowered();
    let of = |key: &str| lowered.iter().find(|line| line.starts_with(key));
    assert!(
        of("message_max from 16 MiB to ").is_some_and(|line| line.ends_with("iB")),
        "{lowered:?}"
    );
    assert!(of("assembly_max from 64 MiB to ").is_some(), "{lowered:?}");
    assert!(of("leases_max from 64 GiB to ").is_some(), "{lowered:?}");
    assert!(of("receive_streams_max").is_none() && of("window_growth_max").is_none());
    assert!(of("peers_max").is_none() && of("max_memory").is_none(), "{lowered:?}");
    let text = settings.to_toml();
    let said =
        "accepted, after unpacking\n# lowered from 16 MiB, to fit max_memory\nmessage_max = \"";
    assert!(text.contains(said), "{text}");
    // What is printed is read again as what it came to.
    let again = read(&text).unwrap();
    assert_eq!((&again.limits, again.lowered().len()), (&settings.limits, 0));
    assert!(read("").unwrap().lowered().is_empty());
    let least = complaint("[limits]\nmax_memory = '100 MiB'");
    let (_, least) = least.split_once("limits.max_memory: expected at least ").unwrap();
    let (mebibytes, found) = least.split_once(", found ").unwrap();
    assert_eq!(found, "100 MiB");
    read(&format!("[limits]\nmax_memory = '{mebibytes}'")).unwrap();
}

#[test]
fn mistakes_are_told_with_file_line_key_and_what_was_expected() {
    for (text, expected) in [
        ("lisen = []", "node.toml:1: lisen: no such key, expected one of admin, admin_hosts, a"),
        ("allow = ['Qm']", "node.toml:1: allow: expected a peer id, 46 characters that begin"),
        (
            "authorities = []",
            "node.toml:1: authorities: expected a file of certificates, found a l",
        ),
        ("key = 5", "node.toml:1: key: expected the file of a key, found 5"),
        ("\nlisten = '/ip4/1.2.3.4/tcp/1'", "node.toml:2: listen: expected a list, each entry an"),
        (
            "listen = [\n  '1.2.3.4:99999',\n]",
            "node.toml:2: listen: cannot listen on 1.2.3.4:99999",
        ),
        ("listen = ['/dns/a.b/tcp/1']", "node.toml:1: listen: cannot listen on /dns/a.b/tcp/1: a"),
        ("peers = ['/ip4/1.2.3.4/udp/1']", "at position 13: expected \"tcp\", found \"udp\""),
        ("peers = ['/ip4/1.2.3.4/tcp/1/p2p/Qmfoo']", "no key has the id Qmfoo, expected a peer id"),
        ("blacklist = ['Qmfoo']", "node.toml:1: blacklist: expected IP, IP/PREFIX, IP:PORT, [IP"),
        ("peers = [true]", "node.toml:1: peers: expected the address of a peer, found true"),
        (
            "blacklist = ['10.0.0.o']",
            "node.toml:1: blacklist: expected IP, IP/PREFIX, IP:PORT, [IP",
        ),
        (
            "blacklist = ['10.0.0.0/33']",
            "node.toml:1: blacklist: expected IP, IP/PREFIX, IP:PORT, [IP",
        ),
        (
            "[limits]\nelimination = 'none'",
            "expected one of \"random\", \"first-in\", \"last-in\", found",
        ),
        ("[limits]\nbackoff.first = 1", "node.toml:2: limits.backoff.first: expected a time: a"),
        (
            "[limits.backoff]\n\nfrist = '1 s'",
            "node.toml:3: limits.backoff.frist: no such key, exp",
        ),
        (
            "[protocols]\n'/a' = 'ecko'",
            "node.toml:2: protocols./a: expected \"echo\", \"log\" or \"d",
        ),
        (
            "[protocols]\n'/a' = 7",
            "node.toml:2: protocols./a: expected \"echo\", \"log\" or \"drop\"",
        ),
        ("[protocols]\n'' = 'log'", "node.toml:2: protocols.: "),
        ("[protocols]\n'/protocol-exchanger/v0.0.1' = 'log'", "belongs to the node"),
        (
            "[limits]\npeer_max = 3",
            "node.toml:2: limits.peer_max: no such key, expected one of mes",
        ),
        ("[limits]\npeers_max = '3'", "node.toml:2: limits.peers_max: expected a whole number, f"),
        (
            "[limits]\npeers_max = 0",
            "node.toml:2: limits.peers_max: expected 1 to 1000000, found 0",
        ),
        ("[limits]\nslab = '3 bytes'", "node.toml:2: limits.slab: expected a size: a number of by"),
        ("[limits]\nslab = 12", "node.toml:2: limits.slab: expected 4 KiB to 4 MiB, found 12 B"),
        ("[limits]\n\ndial_deadline = 5", "node.toml:3: limits.dial_deadline: expected a time: a"),
        ("[limits]\ndial_deadline = '0 s'", "expected 1 ms to 24 h, found 0 ms"),
        ("[limits]\noffences_max = 9999999999", "limits.offences_max: expected a smaller number"),
        (
            "[limits]\nassembly_max = '1 MiB'",
            "node.toml: limits.message_max: its default of 16 MiB does not fit the other limits",
        ),
        ("limits = 3", "node.toml:1: limits: expected a table, found 3"),
        ("key = 'a\nlisten = []", "node.toml:1: "),
    ] {
        let message = complaint(text);
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn addresses_of_the_same_peer_are_one_peer() {
    let (one, two) = (format!("/ip4/1.2.3.4/tcp/1/p2p/{ID}"), format!("/dns/a.b/tcp/1/p2p/{ID}"));
    let text = format!("peers = ['{one}', '/ip4/1.2.3.4/tcp/2', '{two}', '/ip4/1.2.3.4/tcp/3']");
    let settings = read(&text).unwrap();
    let sizes: Vec<usize> = settings.peers.iter().map(Vec::len).collect();
    assert_eq!(sizes, [2, 1, 1]);
    let again = read(&format!("peers = ['{one}', '{one}']")).unwrap();
    assert_eq!(again.peers.len(), 1);
    assert_eq!(again.peers[0].len(), 1);
}

#[test]
fn the_command_line_is_added_to_the_file() {
    let mut settings =
        read("key = 'a'\nlisten = ['1.2.3.4:5']\n[protocols]\n'/x' = 'log'").unwrap();
    let args = args::Node {
        listen: vec!["1.2.3.4:6".to_owned()],
        peer: vec![format!("/ip4/1.2.3.4/tcp/1/p2p/{ID}")],
        protocol: vec!["/x=drop".to_owned(), "/a=b=echo".to_owned()],
        key: Some("b".into()),
        ..args::Node::default()
    };
    settings.add(&args).unwrap();
    assert_eq!(settings.key.as_deref(), Some(Path::new("b")));
    assert_eq!(settings.listens().len(), 2);
    assert_eq!(settings.peers.len(), 1);
    let actions: Vec<String> =
        settings.protocols.iter().map(|(id, action)| format!("{id} {action}")).collect();
    assert_eq!(actions, ["/a=b echo", "/x drop"]);
    assert_eq!(settings.add(&args), Ok(()));
    assert_eq!(settings.peers.len(), 1);
}

#[test]
fn mistakes_on_the_command_line_are_usage_errors() {
    let text = |text: &str| vec![text.to_owned()];
    let none = args::Node::default;
    for args in [
        args::Node { listen: text("nowhere"), ..none() },
        args::Node { peer: text("nobody"), ..none() },
        args::Node { protocol: text("/x"), ..none() },
        args::Node { protocol: text("/x=shout"), ..none() },
        args::Node { protocol: text("=echo"), ..none() },
    ] {
        assert_eq!(Settings::new(&args).unwrap_err().status, Status::Usage, "{args:?}");
    }
    assert_eq!(Settings::new(&none()), Ok(Settings::default()));
    let args = args::Node { config: Some("/nowhere/at/all.toml".into()), ..none() };
    assert_eq!(Settings::new(&args).unwrap_err().status, Status::Config);
}
