//! The server of the status page: who may look, and what it says.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use crate::program::{Running, headwater, run};
use crate::why::Node;

/// An answer: status, head and body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// Sends a request as it stands, and reads until the other side has enough or closes.
fn send(url: &str, request: &str, enough: impl Fn(&str) -> bool) -> Answer {
    let place = url.trim_start_matches("http://").trim_end_matches('/');
    let mut link = TcpStream::connect(place).unwrap();
    link.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    link.write_all(request.as_bytes()).unwrap();
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let read = link.read(&mut piece).unwrap();
        all.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&all);
        if read == 0 || enough(&text) {
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            return Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() };
        }
    }
}

fn get(url: &str, path: &str, more: &str) -> Answer {
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let host = if more.to_ascii_lowercase().contains("host:") {
        String::new()
    } else {
        format!("Host: {host}\r\n")
    };
    let request = format!("GET {path} HTTP/1.1\r\n{host}Connection: close\r\n{more}\r\n");
    send(url, &request, |_| false)
}

#[test]
fn it_answers_to_its_own_name_and_only_reads() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "node", "admin_hosts = ['node.example']\n", &[]);
    let page = get(&node.url, "/", "");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-security-policy: default-src 'none'; script-src 'self'"));
    assert!(page.head.contains("x-content-type-options: nosniff"));
    // Nothing from outside, and no script or style in the page itself.
    for outside in ["http://", "https://", "//", "<script>", "style=", "onclick"] {
        let inside = page.body.replace("http://www.w3.org", "").replace("'http:'", "");
        assert!(!inside.contains(outside), "{outside}");
    }
    for (path, kind) in [
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
        ("/status", "application/json"),
        ("/metrics", "application/openmetrics-text; version=1.0.0"),
    ] {
        let answer = get(&node.url, path, "");
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.head.contains(&format!("content-type: {kind}")), "{}", answer.head);
    }
    assert_eq!(get(&node.url, "/nothing", "").status, 404);
    assert_eq!(get(&node.url, "/", "Host: node.example:1\r\n").status, 200);
    for host in ["evil.example", "127.0.0.1.evil.example", "", "a\r\nHost: 127.0.0.1"] {
        assert!(
            matches!(get(&node.url, "/status", &format!("Host: {host}\r\n")).status, 400 | 421),
            "{host:?}"
        );
    }
    let post = "POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(send(&node.url, post, |_| false).status, 405);
}

#[test]
fn events_come_as_they_happen_and_the_newest_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let one = Node::start(folder.path(), "one", "listen = ['127.0.0.1:0']\n", &[]);
    let config = format!("peers = ['/ip4/127.0.0.1/tcp/{}/p2p/{}']\n", one.port, one.id);
    let two = Node::start(folder.path(), "two", &config, &[]);
    let request = |more: &str| format!("GET /events HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
    let connected = format!(r#""event":"connected","peer":"{}""#, one.id);
    let heard = send(&two.url, &request(""), |text| text.contains(&connected));
    assert!(heard.head.contains("content-type: text/event-stream"), "{}", heard.head);
    assert!(heard.body.contains("id: 1\ndata: {"), "{}", heard.body);
    let again = send(&two.url, &request("Last-Event-ID: 1\r\n"), |text| text.contains(&connected));
    assert!(!again.body.contains("id: 1\n") && again.body.contains("id: 2\n"), "{}", again.body);
}

#[test]
fn a_connection_has_one_answer_and_streams_of_events_are_few() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), "node", "", &[]);
    let place = node.url.trim_start_matches("http://").trim_end_matches('/');
    let request = |path| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let twice = send(&node.url, &(request("/page.css") + &request("/nothing")), |_| false);
    assert!(twice.status == 200 && !twice.body.contains("HTTP/1.1"), "{}", twice.head);
    let readers: Vec<TcpStream> = (0..16)
        .map(|_| {
            let mut link = TcpStream::connect(place).unwrap();
            link.write_all(request("/events").as_bytes()).unwrap();
            link.read_exact(&mut [0; 12]).unwrap();
            link
        })
        .collect();
    assert_eq!(get(&node.url, "/events", "").status, 503);
    assert_eq!(get(&node.url, "/status", "").status, 200);
    drop(readers);
}

#[test]
fn beyond_loopback_it_asks_for_the_token() {
    let ended = run(&["node", "--admin", "0.0.0.0:0"]);
    assert!(ended.status == Some(18) && ended.complaint().contains("--admin-token"), "{ended:?}");
    let ended = run(&["node", "--admin-token", "nofile"]);
    assert!(ended.status == Some(2) && ended.complaint().contains("--admin serves"), "{ended:?}");
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "correct-horse-battery\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o640)).unwrap();
    let args = ["node", "--json", "--admin", "0.0.0.0:0", "--admin-token", token.to_str().unwrap()];
    let ended = run(&args);
    assert!(ended.status == Some(18) && ended.complaint().contains("chmod 600"), "{ended:?}");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let mut node = Running::spawn(headwater().args(args));
    let admin = node.until(|event| event["event"] == "admin");
    let url = admin["url"].as_str().unwrap().replace("0.0.0.0", "127.0.0.1");
    let refused = get(&url, "/status", "");
    assert_eq!(refused.status, 401);
    assert!(refused.head.contains("www-authenticate: basic") && !refused.body.contains("nodes"));
    for path in ["/", "/metrics", "/events"] {
        assert_eq!(get(&url, path, "Authorization: Bearer wrong-horse-battery\r\n").status, 401);
    }
    assert_eq!(get(&url, "/status", "Authorization: Bearer correct-horse-battery\r\n").status, 200);
    let asked = run(&["status", "--admin", &url]);
    assert_eq!(asked.status, Some(20), "{asked:?}");
    let asked = run(&["status", "--admin", &url, "--admin-token", token.to_str().unwrap()]);
    assert_eq!(asked.status, Some(0), "{asked:?}");
}
