//! Who may look: the Host header, the token, and what every answer forbids.
//!
//! A page of somebody else, open in the user's browser, may send requests to loopback. It cannot
//! read the answers; but if its name suddenly leads to this machine (DNS rebinding), the browser
//! takes them for its own. So only requests are answered that call this server by an address, or
//! by a name that it was told. Beyond loopback everybody needs the token.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hyper::header::{self, HeaderMap, HeaderValue};

use crate::failure::Failure;
use crate::status::Status;

/// The least length of a token, in bytes.
const TOKEN_MIN: usize = 16;

/// Who may look.
#[derive(Debug)]
pub(crate) struct Access {
    /// Names by which this server may be called, in lower case.
    hosts: Vec<String>,
    token: Option<String>,
}

impl Access {
    /// Reads the token, if a file is given.
    ///
    /// # Errors
    ///
    /// [`Status::Config`] if others than its owner may read the file, or if it is no token; or if
    /// there is none although the server is reached from outside.
    pub(crate) fn new(
        at: SocketAddr,
        token: Option<&Path>,
        hosts: &[String],
    ) -> Result<Self, Failure> {
        if token.is_none() && !at.ip().is_loopback() {
            let text = format!(
                "--admin {at} can be reached from outside, so it needs a token: --admin-token FILE"
            );
            return Err(Failure::new(Status::Config, text));
        }
        let hosts = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        Ok(Self { hosts, token: token.map(read_token).transpose()? })
    }

    /// Whether a request that reached `local` calls this server by its own name.
    pub(crate) fn knows_host(&self, headers: &HeaderMap, local: SocketAddr) -> bool {
        let mut all = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (all.next(), all.next()) else { return false };
        let Ok(host) = host.to_str() else { return false };
        let name = without_port(host).to_ascii_lowercase();
        let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        match literal.unwrap_or(&name).parse::<IpAddr>() {
            Ok(ip) => ip.to_canonical() == local.ip().to_canonical() || ip.is_loopback(),
            Err(_) => {
                name == "localhost" && local.ip().to_canonical().is_loopback()
                    || self.hosts.contains(&name)
            }
        }
    }

    /// Whether a request carries the token, if there has to be one.
    pub(crate) fn is_allowed(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((kind, value)) = given.and_then(|given| given.split_once(' ')) else {
            return false;
        };
        match kind.to_ascii_lowercase().as_str() {
            "bearer" => is_same(value.trim(), token),
            // What browsers ask for: any name, and the token as password.
            "basic" => unbase64(value.trim())
                .and_then(|pair| String::from_utf8(pair).ok())
                .and_then(|pair| pair.split_once(':').map(|(_, given)| is_same(given, token)))
                .unwrap_or(false),
            _ => false,
        }
    }
}

/// Reads a token from its file.
///
/// # Errors
///
/// [`Status::Config`].
pub(crate) fn read_token(path: &Path) -> Result<String, Failure> {
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::new(Status::Config, format!("the token in {}: {why}", path.display()))
    };
    let mode = fs::metadata(path).map_err(|error| wrong(&error))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(wrong(&"others than its owner may read the file; chmod 600 mends that"));
    }
    let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let token = text.trim();
    let printable = token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.len() < TOKEN_MIN || !printable {
        return Err(wrong(&"expected 16 printable characters or more, without spaces"));
    }
    Ok(token.to_owned())
}

fn without_port(host: &str) -> &str {
    let end = host.rfind(']').map_or(0, |at| at + 1);
    let rest = host.get(end..).unwrap_or_default();
    let len = rest.find(':').map_or(host.len(), |at| end + at);
    host.get(..len).unwrap_or(host)
}

/// Compares in a time that does not tell where the first difference is.
fn is_same(one: &str, two: &str) -> bool {
    let (one, two) = (one.as_bytes(), two.as_bytes());
    let differences = one.iter().zip(two).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == two.len() && differences == 0
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = text.trim_end_matches('=').as_bytes();
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for digit in text {
        let value = DIGITS.iter().position(|known| known == digit)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

/// What every answer carries: the page may load and reach nothing but this server, nobody frames
/// it, and nothing is kept.
pub(crate) fn forbid(headers: &mut HeaderMap) {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                  img-src 'self' data:; base-uri 'none'; form-action 'none'; \
                  frame-ancestors 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn only_addresses_of_this_server_and_names_that_it_was_told_are_hosts() {
        let local: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let access = Access::new(local, None, &["Node.Example".to_owned()]).unwrap();
        let knows = |host: &str| access.knows_host(&headers(header::HOST, host), local);
        for host in ["127.0.0.1", "127.0.0.1:80", "localhost:80", "LOCALHOST", "[::1]:7"] {
            assert!(knows(host), "{host}");
        }
        assert!(knows("node.example:80"));
        for host in
            ["evil.example", "localhost.evil.example:80", "10.0.0.1", "", "127.0.0.1.nip.io"]
        {
            assert!(!knows(host), "{host}");
        }
        assert!(!access.knows_host(&HeaderMap::new(), local));
        let outside: SocketAddr = "10.0.0.1:80".parse().unwrap();
        assert!(!access.knows_host(&headers(header::HOST, "localhost"), outside));
        assert!(access.knows_host(&headers(header::HOST, "10.0.0.1:80"), outside));
    }

    #[test]
    fn beyond_loopback_there_has_to_be_a_token_that_only_its_owner_reads() {
        let outside: SocketAddr = "0.0.0.0:80".parse().unwrap();
        let status = |result: Result<Access, Failure>| result.unwrap_err().status;
        assert_eq!(status(Access::new(outside, None, &[])), Status::Config);
        let open = file("0123456789abcdef", 0o644);
        assert_eq!(status(Access::new(outside, Some(open.path()), &[])), Status::Config);
        let short = file("0123456789\n", 0o600);
        assert_eq!(status(Access::new(outside, Some(short.path()), &[])), Status::Config);
        let good = file("0123456789abcdef\n", 0o600);
        let access = Access::new(outside, Some(good.path()), &[]).unwrap();
        let allowed = |value: &str| access.is_allowed(&headers(header::AUTHORIZATION, value));
        assert!(allowed("Bearer 0123456789abcdef"));
        assert!(!allowed("Bearer 0123456789abcdeF") && !allowed("Bearer 0123456789abcdef0"));
        // "me:0123456789abcdef", and the same with another password.
        assert!(allowed("Basic bWU6MDEyMzQ1Njc4OWFiY2RlZg=="));
        assert!(!allowed("Basic bWU6MDEyMzQ1Njc4OWFiY2RlMA==") && !allowed("Basic %"));
        assert!(!access.is_allowed(&HeaderMap::new()));
    }
}
