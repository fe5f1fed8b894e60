//! The command line, keys, logs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::program::{Running, headwater, listen, run, write_private};

#[test]
fn insecure_has_to_be_asked_for_on_both_sides_and_says_what_it_means() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("from");
    fs::write(&from, "in the clear").unwrap();
    let to = folder.path().join("to");
    let (mut listener, address) = listen(&to, &["--insecure"]);
    assert!(listener.complaint().contains("nothing is encrypted"));
    // TLS is no id, and an id is no TLS.
    let refused = run(&["send", &address, from.to_str().unwrap()]);
    assert_eq!(refused.status, Some(15), "{refused:?}");
    // The listener ended it without a word, so that is all that can be said of it.
    assert!(refused.complaint().contains("may run with --insecure"), "{refused:?}");
    let ended = run(&["send", "--insecure", &address, from.to_str().unwrap()]);
    assert!(ended.stderr[0].contains("nothing is encrypted"), "{ended:?}");
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(listener.wait().status, Some(0));
    assert_eq!(fs::read(to).unwrap(), b"in the clear");
}

#[test]
fn one_side_without_encryption_is_told_on_the_side_that_can_see_it() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("from");
    fs::write(&from, "x").unwrap();
    let from = from.to_str().unwrap();
    let (mut listener, address) = listen(&folder.path().join("to"), &["--json"]);
    let ended = run(&["send", "--insecure", &address, from]);
    assert_eq!(ended.status, Some(15), "{ended:?}");
    assert!(ended.complaint().contains("the other side seems to speak TLS"), "{ended:?}");
    let refused = listener.until(|event| event["event"] == "refused");
    let reason = refused["reason"].as_str().unwrap();
    assert!(reason.contains("the other side seems to be insecure"), "{reason}");
    assert_eq!(refused["code"], "closed.channel.speaks_plain");

    let to = folder.path().join("insecure");
    let (mut listener, address) = listen(&to, &["--insecure", "--json"]);
    assert_eq!(run(&["send", &address, from]).status, Some(15));
    let refused = listener.until(|event| event["event"] == "refused");
    let reason = refused["reason"].as_str().unwrap();
    assert!(reason.contains("the other side seems to speak TLS"), "{reason}");
    assert_eq!(refused["code"], "closed.channel.speaks_tls");
}

#[test]
fn keys_of_every_type_prove_the_id_that_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("from");
    fs::write(&from, "proven").unwrap();
    for (number, name) in ["p384", "p521", "rsa2048"].into_iter().enumerate() {
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cli/keys/{name}.pem"));
        let key = folder.path().join(format!("{name}.pem"));
        write_private(&key, fs::read(kept).unwrap());
        let id = run(&["id", key.to_str().unwrap()]).stdout.remove(0);
        let to = folder.path().join(number.to_string());
        let (mut listener, address) = listen(&to, &["--key", key.to_str().unwrap()]);
        assert!(address.ends_with(&id), "{address}");
        let sent = run(&["send", &address, from.to_str().unwrap()]);
        assert_eq!(sent.status, Some(0), "{name}: {sent:?}");
        assert_eq!(listener.wait().status, Some(0));
        assert_eq!(fs::read(to).unwrap(), b"proven");
    }
}

#[test]
fn addresses_without_an_id_and_unknown_arguments_are_usage_errors() {
    for args in [
        &["send", "/ip4/127.0.0.1/tcp/1"][..],
        &["send", "nonsense"],
        &["listen", "--listen", "nonsense"],
        &["listen", "--timeout", "0"],
        &["send", "--insecure"],
        &["keygen"],
        &["flow"],
        &[],
    ] {
        let ended = run(args);
        assert_eq!(ended.status, Some(2), "{args:?} {ended:?}");
        assert!(!ended.stderr.is_empty());
    }
    let ended = run(&["node", "--peer", "127.0.0.1:4111"]);
    assert!(ended.complaint().contains("write it as /ip4/127.0.0.1/tcp/4111"), "{ended:?}");
}

#[test]
fn insecure_is_taken_where_there_are_links_and_nowhere_else() {
    for command in ["demo", "node", "listen", "send"] {
        assert!(run(&[command, "--help"]).stdout.join("\n").contains("--insecure"), "{command}");
    }
    for command in ["sim", "status", "why", "keygen", "id", "man", "completions"] {
        assert!(!run(&[command, "--help"]).stdout.join("\n").contains("--insecure"), "{command}");
    }
    for args in [&["id", "--insecure", "x.pem"][..], &["--insecure", "id", "x.pem"]] {
        let ended = run(args);
        assert_eq!(ended.status, Some(2), "{ended:?}");
        assert!(ended.stderr.join(" ").contains("--insecure"), "{ended:?}");
    }
    let printed = run(&["--insecure", "node", "--print-config"]);
    assert!(printed.stderr[0].contains("nothing is encrypted"), "{printed:?}");
}

#[test]
fn usage_errors_are_events_too() {
    for args in [&["--json", "flow"][..], &["--json", "send"]] {
        let ended = run(args);
        assert_eq!(ended.status, Some(2));
        let events = ended.events();
        assert_eq!(events.len(), 1, "{ended:?}");
        assert_eq!((&events[0]["event"], &events[0]["status"]), (&"error".into(), &2.into()));
        assert!(!events[0]["message"].as_str().unwrap().is_empty());
    }
}

#[test]
fn help_has_the_statuses_and_the_events() {
    let ended = run(&["--help"]);
    assert_eq!(ended.status, Some(0));
    let text = ended.stdout.join("\n");
    for words in ["Exit statuses:", "  6  the peer does not support", "Events of --json"] {
        assert!(text.contains(words), "{text}");
    }
    for command in ["demo", "node", "listen", "send", "keygen", "id"] {
        let text = run(&[command, "--help"]).stdout.join("\n");
        assert!(text.ends_with("headwater --help") && !text.contains("130"), "{text}");
    }
}

#[test]
fn keys_are_private_new_and_have_an_id() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let path = path.to_str().unwrap();
    let made = run(&["keygen", path]);
    assert_eq!(made.status, Some(0), "{made:?}");
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    let pem = fs::read_to_string(path).unwrap();
    assert!(pem.starts_with("-----BEGIN ") && pem.contains("PRIVATE KEY-----"));

    let again = run(&["keygen", path]);
    assert_eq!(again.status, Some(17), "{again:?}");
    assert!(again.complaint().contains(path));
    assert_eq!(fs::read_to_string(path).unwrap(), pem);

    for args in [&["id", path][..], &["id", "--key", path]] {
        assert_eq!(run(args).stdout, made.stdout);
    }
    let by_environment = Running::spawn(headwater().arg("id").env("HEADWATER_KEY", path)).end();
    assert_eq!(by_environment.stdout, made.stdout);
    let event = run(&["id", "--json", path]).events().remove(0);
    assert_eq!(event["event"], "key");
    assert_eq!(event["id"].as_str(), made.stdout.first().map(String::as_str));
    assert_eq!(event["path"], path);

    let other = folder.path().join("other.pem");
    let other = run(&["keygen", "--json", other.to_str().unwrap()]).events().remove(0);
    assert_ne!(other["id"], event["id"]);
    assert_eq!(other["id"].as_str().map(str::len), Some(46));
}

#[test]
fn a_key_goes_to_standard_output_and_comes_from_standard_input() {
    for json in [&[][..], &["--json"]] {
        let made = run(&[&["keygen", "-"], json].concat());
        assert_eq!(made.status, Some(0), "{made:?}");
        assert!(made.stdout[0].starts_with("-----BEGIN ") && made.stderr.len() == 1, "{made:?}");
        let mut asked = Running::start(&["id", "-"]);
        asked.write(made.stdout.join("\n").as_bytes());
        let asked = asked.end();
        assert_eq!(asked.status, Some(0), "{asked:?}");
        assert!(made.stderr[0].contains(&asked.stdout[0]), "{made:?} {asked:?}");
    }
    assert!(!Path::new("-").exists());
}

#[test]
fn a_key_that_others_may_use_is_refused_wherever_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let file = path.to_str().unwrap();
    run(&["keygen", file]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    for args in [&["id", file][..], &["node", "--key", file], &["listen", "--key", file]] {
        let ended = run(args);
        assert_eq!(ended.status, Some(17), "{ended:?}");
        let mend = format!(
            "its mode is 0644, so others than its owner may use it; expected 0600: \
                            chmod 600 {file}"
        );
        assert!(ended.complaint().ends_with(&mend), "{ended:?}");
    }
}

#[test]
fn a_file_that_is_no_key_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    write_private(&path, "not a key");
    let ended = run(&["id", path.to_str().unwrap()]);
    assert_eq!(ended.status, Some(17), "{ended:?}");
}

#[test]
fn logs_are_pairs_on_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    let (_listener, address) = listen(&folder.path().join("to"), &[]);
    let mut command = headwater();
    command.args(["send", &address]).env("RUST_LOG", "headwater=info");
    let ended = Running::spawn(&mut command).end();
    let log: Vec<&String> = ended.stderr.iter().filter(|line| line.starts_with("time=")).collect();
    assert!(
        log.iter()
            .any(|line| line.contains(" level=info target=headwater::peer msg=connected peer=Qm")),
        "{ended:?}"
    );
    assert!(!ended.stderr.iter().any(|line| line.contains('\u{1b}')));
}

#[test]
fn manual_pages_and_completions_name_every_command() {
    let commands = ["demo", "sim", "node", "status", "why", "listen", "send", "keygen", "id"];
    let page = run(&["man"]).stdout.join("\n");
    for command in commands {
        assert!(page.contains(&format!("headwater\\-{command}(1)")), "{command}: {page}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(&["completions", shell]);
        assert_eq!(ended.status, Some(0), "{ended:?}");
        let text = ended.stdout.join("\n");
        assert!(commands.iter().all(|command| text.contains(command)), "{shell}");
    }
    assert_eq!(run(&["completions", "abacus"]).status, Some(2));
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_printed_is_a_failure() {
    for args in [
        &["node", "--print-config"][..],
        &["completions", "bash"],
        &["sim", "--seeds", "1", "--nodes", "3", "--minutes", "1"],
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = headwater().args(args).stdout(full).output().unwrap();
        assert_eq!(ended.status.code(), Some(10), "{args:?}: {ended:?}");
        let told = String::from_utf8(ended.stderr).unwrap();
        assert!(told.contains("no space left to write standard output"), "{told}");
    }
}
